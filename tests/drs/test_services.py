"""What surrounds a pass: initial placement, power, admission, blockers, conflicts."""

import numpy as np
import pytest

from drs import (
    Affinity,
    AntiAffinity,
    HostState,
    PlanStatus,
    Policy,
    Snapshot,
    VmHostAffinity,
    recommend,
)
from drs.admission import dedicated_hosts_suffice, percentage_admits, slots, unreserved_ratio
from drs.conflict import explain_conflict
from drs.place import place
from drs.power import PowerPolicy, recommend_power


def rng():
    return np.random.default_rng(0)


def cluster(hosts, demand, placement, **more):
    return Snapshot.build(
        [f"h{i}" for i in range(hosts)],
        [f"v{i}" for i in range(len(demand))],
        [10, 10],
        [[d, d] for d in demand],
        placement,
        **more,
    )


def test_a_batch_is_placed_evenly_and_apart():
    rules = [AntiAffinity(name="apart", vms=("v1", "v2"))]
    placed = place(
        cluster(3, [6, 2, 2], [0, None, None], rules=rules), Policy(), now=0.0, rng=rng()
    )
    assert {"h1", "h2"} == set(placed.hosts.values())
    assert () == placed.problems


def test_a_batch_that_first_fit_cannot_pack_is_packed():
    """5, 5, 4, 3, 3 into two hosts of 10: biggest first to the emptiest gives 5+4 and 5+3; 3 is left."""
    placed = place(cluster(2, [5, 5, 4, 3, 3], [None] * 5), Policy(), now=0.0, rng=rng())
    assert 5 == len(placed.hosts)


def test_what_fits_nowhere_says_why_by_host():
    states = [HostState.CONNECTED, HostState.STANDBY, HostState.CONNECTED]
    rules = [VmHostAffinity(name="pin", vms=("v1",), hosts=("h0", "h1"))]
    snapshot = cluster(3, [6, 6], [0, None], host_states=states, rules=rules)
    placed = place(snapshot, Policy(), now=0.0, rng=rng())
    assert {} == placed.hosts
    message = placed.problems[-1].message
    assert "standby" in message
    assert "rule (pin)" in message
    assert "no_room (cpu_mhz)" in message


def test_a_vm_is_placed_beside_its_running_partner():
    rules = [Affinity(name="both", vms=("v0", "v1"))]
    placed = place(cluster(2, [2, 3], [1, None], rules=rules), Policy(), now=0.0, rng=rng())
    assert {"v1": "h1"} == placed.hosts


def test_with_nobody_to_place_nothing_is_said():
    placed = place(cluster(1, [1], [0]), Policy(), now=0.0, rng=rng())
    assert ({}, ()) == (placed.hosts, placed.problems)


def test_without_a_connected_host_every_waiting_vm_says_so():
    dark = cluster(1, [1, 1], [None, None], host_states=[HostState.STANDBY])
    placed = place(dark, Policy(), now=0.0, rng=rng())
    assert {} == placed.hosts
    assert ["v0", "v1"] == [
        p.subject for p in placed.problems if p.message.endswith("no host is connected")
    ]


def test_nothing_is_placed_by_a_broken_policy():
    placed = place(cluster(1, [1], [None]), Policy(stable_s=-1.0), now=0.0, rng=rng())
    assert ({}, ["stable_s"]) == (placed.hosts, [p.subject for p in placed.problems])


def test_an_incomplete_evacuation_names_what_blocks():
    states = [HostState.ENTERING_MAINTENANCE, HostState.CONNECTED]
    plan = recommend(cluster(2, [6, 6], [0, 1], host_states=states), Policy(), now=0.0, rng=rng())
    assert PlanStatus.INCOMPLETE is plan.status
    assert "1 host no_room (memory_mib)" in plan.problems[-1].message


def test_idle_hosts_stand_by_while_the_rest_stays_in_the_band():
    """Three hosts at 20 %: two can be emptied into the third (60 %), one stays on for HA."""
    snapshot = cluster(3, [2, 2, 2], [0, 1, 2])
    alone = recommend_power(snapshot, Policy(), PowerPolicy(host_failures_tolerated=0), now=0.0)
    assert (2, ()) == (len(alone.stand_by), alone.power_on)
    assert 1 == len(set(alone.after.tolist()))
    kept = recommend_power(snapshot, Policy(), PowerPolicy(), now=0.0)
    assert 1 == len(kept.stand_by)


def test_a_host_above_the_band_powers_one_on():
    """9 of 10 on h0 is above 81 %; h1 is in standby."""
    states = [HostState.CONNECTED, HostState.STANDBY, HostState.STANDBY]
    power = PowerPolicy(host_failures_tolerated=0)
    plan = recommend_power(cluster(3, [9], [0], host_states=states), Policy(), power, now=0.0)
    assert (("h1",), ()) == (plan.power_on, plan.stand_by)
    calm = recommend_power(cluster(3, [6], [0], host_states=states), Policy(), power, now=0.0)
    assert ((), ()) == (calm.power_on, calm.stand_by)


def test_the_mean_of_forty_minutes_decides_on_standby():
    snapshot = cluster(2, [2, 2], [0, 1])
    power = PowerPolicy(host_failures_tolerated=0)
    busy = np.array([[6.0, 6.0], [6.0, 6.0]])
    assert () == recommend_power(snapshot, Policy(), power, now=0.0, recent_demand=busy).stand_by
    assert 1 == len(recommend_power(snapshot, Policy(), power, now=0.0).stand_by)


def test_slots_tolerate_what_the_arithmetic_says():
    """Slot 2 GHz x 1 GB; hosts 9x9, 9x6, 6x6 -> slots 4, 4, 3; 5 VMs: 11 - 4 = 7, 7 - 4 = 3 < 5: one."""
    found = slots(
        [[9, 9], [9, 6], [6, 6]], [[2, 1], [2, 1], [1, 1], [1, 0.5], [1, 0.5]], slot_min=[0.032, 0]
    )
    assert ([4, 4, 3], 5, 1) == (found.by_host.tolist(), found.needed, found.failures_tolerated)


def test_without_slots_for_all_no_failure_is_tolerated_and_it_shows():
    assert slots([[2, 2]], [[2, 1]] * 2, slot_min=[0, 0]).failures_tolerated == -1


def test_a_resource_that_nobody_reserves_limits_no_slot():
    found = slots([[9, 9], [9, 9]], [[0, 0]] * 3, slot_min=[0, 0])
    assert ([3, 3], 1) == (found.by_host.tolist(), found.failures_tolerated)


def test_percentage_looks_at_each_resource():
    """24 GHz with 7 reserved and 96 GB with 6: 70.8 % and 93.75 % free."""
    capacity, reserved = [[9, 9], [9, 6], [6, 81]], [[7, 6]]
    assert pytest.approx([17 / 24, 90 / 96]) == unreserved_ratio(capacity, reserved)
    assert percentage_admits(capacity, reserved, failover_ratio_min=0.7)
    assert not percentage_admits(capacity, reserved, failover_ratio_min=0.71)


def test_dedicated_hosts_must_hold_any_one_host():
    assert dedicated_hosts_suffice([[5, 5], [6, 2], [0, 0]], [[10, 10]] * 3, [2])
    assert not dedicated_hosts_suffice([[5, 11], [6, 2], [0, 0]], [[10, 10]] * 3, [2])


def test_a_conflict_is_explained_by_the_least_that_conflicts():
    """Three VMs apart on two hosts; the pin and the memory have nothing to do with it."""
    rules = [
        VmHostAffinity(name="pin", vms=("v3",), hosts=("h0",)),
        AntiAffinity(name="apart", vms=("v0", "v1", "v2")),
    ]
    conflict = explain_conflict(cluster(2, [1, 1, 1, 1], [0, 0, 1, 0], rules=rules), Policy())
    assert (("apart",), (), False) == (conflict.rules, conflict.capacities, conflict.allowed)
    assert "rule apart" in conflict.sentence()


def test_a_rule_and_a_capacity_conflict_together():
    """Two of 6 pinned to one host of 10: rule and CPU (or memory: one of them suffices)."""
    rules = [VmHostAffinity(name="pin", vms=("v0", "v1"), hosts=("h0",))]
    conflict = explain_conflict(cluster(2, [6, 6], [0, 1], rules=rules), Policy())
    assert (("pin",), 1) == (conflict.rules, len(conflict.capacities))


def test_what_can_hold_has_no_conflict():
    assert explain_conflict(cluster(2, [6, 6], [0, 1]), Policy()) is None
