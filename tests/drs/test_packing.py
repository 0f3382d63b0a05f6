"""Power management by headroom: who is relieved, who wakes, who stands by."""

from dataclasses import replace

import numpy as np

from drs import HostState, PlanStatus, Policy, Reason, Snapshot, StepBudget
from drs.manage import PowerRequest, manage
from drs.packing import Headroom, pack
from drs.rules import Affinity

ON, OFF = HostState.CONNECTED, HostState.STANDBY
# Named here, so that no test moves with the defaults.
BAND = {"deviations": 1.0, "high_ratio": 0.95, "target_ratio": 0.88, "low_ratio": 0.8}


def cluster(placement, demand, states, **fields) -> Snapshot:
    """Hosts of 1000 MHz and 1000 MiB, VMs of 100 MiB."""
    hosts = [f"h{at}" for at in range(len(states))]
    vms = [f"v{at}" for at in range(len(demand))]
    return Snapshot.build(
        hosts,
        vms,
        [[1000.0, 1000.0]] * len(hosts),
        [[mhz, 100.0] for mhz in demand],
        placement,
        host_states=states,
        **fields,
    )


def packed(snapshot, deviation=0.0, **fields):
    headroom = Headroom(**{**BAND, **fields})
    return pack(snapshot, headroom, deviation=np.full(len(snapshot.vms), deviation))


def test_the_smallest_vm_that_is_enough_leaves_a_full_host():
    snapshot = cluster([0, 0, 0, 1], [600.0, 250.0, 150.0, 700.0], [ON, ON])
    plan = packed(snapshot)
    assert [0, 0, 1, 1] == plan.after.tolist()
    assert ((), ()) == (plan.power_on, plan.stand_by)


def test_a_host_is_powered_on_only_where_nobody_has_room():
    plan = packed(cluster([0, 0, 1], [800.0, 190.0, 800.0], [ON, ON, OFF]))
    assert ("h2",) == plan.power_on
    assert [0, 2, 1] == plan.after.tolist()


def test_a_full_host_keeps_what_nobody_can_take():
    alone = cluster([0, 0], [600.0, 390.0], [ON])
    assert [0, 0] == packed(alone).after.tolist()
    forbidden = cluster([0, 0], [600.0, 390.0], [ON, OFF], allowed=[[True, False]] * 2)
    plan = packed(forbidden)
    assert ((), [0, 0]) == (plan.power_on, plan.after.tolist())


def test_a_vm_on_its_way_takes_memory_where_it_goes():
    """h1 has 900 of its 1000 MiB in use: with v0 on its way there is no room for v1."""
    free = cluster([0, 0, *[1] * 9], [500.0, 50.0, *[10.0] * 9], [ON, ON])
    band = {"hosts_on_min": 2, "high_ratio": 0.3, "target_ratio": 0.9}
    assert 1 == packed(free, **band).after[1]
    assert 0 == packed(replace(free, in_flight=((0, 1),)), **band).after[1]


def test_the_emptiest_host_stands_by_when_the_others_carry_its_vms():
    plan = packed(cluster([0, 1, 1], [100.0, 300.0, 300.0], [ON, ON]))
    assert ("h0",) == plan.stand_by
    assert [1, 1, 1] == plan.after.tolist()


def test_demand_that_jumps_keeps_a_host_on():
    snapshot = cluster([0, 1, 1], [100.0, 300.0, 300.0], [ON, ON])
    assert ("h0",) == packed(snapshot, deviation=10.0).stand_by
    assert () == packed(snapshot, deviation=150.0).stand_by


def test_what_memory_forbids_is_not_done():
    snapshot = cluster([0, *[1] * 10], [50.0] * 11, [ON, ON])
    plan = packed(snapshot)
    assert ("h1" not in plan.stand_by, "h0" not in plan.stand_by) == (True, True)


def test_a_vm_under_a_rule_keeps_its_host_on():
    rule = Affinity(name="pair", vms=("v0",))
    plan = packed(cluster([0, 1], [100.0, 100.0], [ON, ON], rules=[rule]))
    assert 0 == plan.after[0]


def test_at_most_three_hosts_stand_by_in_a_pass():
    plan = packed(cluster([0, 1, 2, 3, 4], [10.0] * 5, [ON] * 5))
    assert 3 == len(plan.stand_by)


def test_so_many_hosts_stay_on_as_are_asked_for():
    plan = packed(cluster([0, 1], [1.0, 1.0], [ON, ON]), hosts_on_min=2)
    assert () == plan.stand_by


def test_a_managed_pass_orders_the_moves_and_says_why():
    snapshot = cluster([0, 1, 1], [100.0, 300.0, 300.0], [ON, ON])
    plan = manage(
        snapshot,
        Policy(cooldown_s=0.0),
        PowerRequest(deviation_mhz=np.zeros(3), headroom=Headroom(**BAND)),
        now=0.0,
        rng=np.random.default_rng(0),
        budget=StepBudget(steps=100),
    )
    assert ("h0",) == plan.stand_by
    assert ["Move v0 from h0 to h1: h0 is to stand by."] == [
        one.sentence for one in plan.recommendations
    ]
    assert [(0, 1)] == [(a.move.source, a.move.destination) for a in plan.actions]


def passed(snapshot, power=None, **policy):
    return manage(
        snapshot,
        Policy(cooldown_s=0.0, **policy),
        power or request(snapshot),
        now=0.0,
        rng=np.random.default_rng(0),
        budget=StepBudget(steps=100),
    )


def request(snapshot):
    return PowerRequest(deviation_mhz=np.zeros(len(snapshot.vms)), headroom=Headroom(**BAND))


def test_a_managed_pass_fills_a_host_that_it_powers_on():
    plan = passed(cluster([0, 0, 1], [800.0, 190.0, 800.0], [ON, ON, OFF]))
    assert (("h2",), ()) == (plan.power_on, plan.stand_by)
    (told,) = plan.recommendations
    assert (Reason.POWER, 2) == (told.reason, told.move.destination)
    assert "Move v1 from h0 to h2: h0 has too little headroom." == told.sentence


def test_a_host_that_is_to_be_empty_comes_before_power():
    """h1 could stand by; that waits until v0 has left h0, and not while somebody moves it already."""
    leaving = cluster([0, 1, 2], [10.0, 10.0, 500.0], [HostState.ENTERING_MAINTENANCE, ON, ON])
    plan = passed(leaving)
    assert ([Reason.MAINTENANCE], ()) == ([r.reason for r in plan.recommendations], plan.stand_by)
    moved = replace(leaving, in_flight=((0, 2),))
    assert ("h1",) == passed(moved).stand_by


def test_power_is_not_managed_in_a_cluster_that_cannot_be_read():
    plan = passed(cluster([0, 1, 1], [100.0, -1.0, 300.0], [ON, ON]))
    assert (PlanStatus.INVALID, ()) == (plan.status, plan.stand_by)


def test_no_moves_of_power_management_leaves_the_pass_to_drs():
    snapshot = cluster([0, 0, 0, 0], [230.0] * 4, [ON, ON])
    plan = manage(
        snapshot,
        Policy(migration_threshold=5, cooldown_s=0.0),
        PowerRequest(deviation_mhz=np.zeros(4), headroom=Headroom(low_ratio=0.0)),
        now=0.0,
        rng=np.random.default_rng(0),
        budget=StepBudget(steps=1000),
    )
    assert plan.imbalance_after < plan.imbalance_before
