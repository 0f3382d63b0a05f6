"""How a cluster stands before anything is moved, and where one VM could go."""

import numpy as np
import pytest

from drs import Affinity, AntiAffinity, HostState, Policy, Snapshot, VmHostAffinity
from drs.situation import situation_of, vm_situation


def cluster(**more):
    """h0 holds a and b (6 and 2 of 10), h1 holds c (1), h2 is empty."""
    return Snapshot.build(
        ["h0", "h1", "h2"],
        ["a", "b", "c"],
        [10, 10],
        [[6, 6], [2, 2], [1, 1]],
        [0, 0, 1],
        **more,
    )


def test_each_host_is_told_with_its_load_and_what_its_vms_get():
    told = situation_of(cluster(), Policy(migration_threshold=5))["hosts"]
    assert ["h0", "h1", "h2"] == [host["name"] for host in told]
    assert [2, 1, 0] == [host["vms"] for host in told]
    assert [0.8, 0.1, 0.0] == [host["load"]["cpu_mhz"] for host in told]
    assert [1.0, 1.0, None] == [host["happiness"] for host in told]


def test_what_the_threshold_asks_for_is_told_beside_what_is():
    """Loads 0.8, 0.1 and 0: mean 0.3, deviation sqrt(0.38 / 3)."""
    told = situation_of(cluster(), Policy(migration_threshold=5))
    assert pytest.approx(np.sqrt(0.38 / 3)) == told["imbalance"]
    assert (0.0, True) == (told["target"], told["worth_balancing"])
    never = situation_of(cluster(), Policy(migration_threshold=1))
    assert (None, False) == (never["target"], never["worth_balancing"])


def test_who_gets_less_than_it_should_comes_worst_first():
    """12 and 8 of 10 MHz: halved where two share a host, by equal shares 5 of 9 and 5 of 6."""
    crowded = Snapshot.build(
        ["h0", "h1"],
        ["a", "b", "c"],
        [10, 10],
        [[9, 1], [6, 1], [1, 1]],
        [0, 0, 1],
    )
    told = situation_of(crowded, Policy())
    assert [("a", pytest.approx(5 / 9)), ("b", pytest.approx(5 / 6))] == [
        (one["vm"], one["happiness"]) for one in told["unhappy_vms"]
    ]


def test_broken_rules_and_what_cannot_hold_together_are_told():
    rules = [
        AntiAffinity(name="apart", vms=("a", "b")),
        VmHostAffinity(name="pin", vms=("a", "b"), hosts=("h2",)),
    ]
    told = situation_of(cluster(rules=rules), Policy())
    assert {"apart", "pin"} == {one["rule"] for one in told["broken_rules"]}
    assert {"apart", "pin"} == set(told["conflict"]["rules"])
    assert "rule pin" in told["conflict"]["sentence"]


def test_a_cluster_without_a_connected_host_has_no_imbalance():
    told = situation_of(cluster(host_states=[HostState.STANDBY] * 3), Policy())
    assert 0.0 == told["imbalance"]
    assert {"standby"} == {host["state"] for host in told["hosts"]}


def test_a_vm_is_told_where_it_could_go_and_what_keeps_it_from_the_rest():
    states = [HostState.CONNECTED, HostState.CONNECTED, HostState.MAINTENANCE]
    told = vm_situation(cluster(host_states=states), Policy(), "a")
    assert ("h0", ["h1"]) == (told["host"], told["can_go_to"])
    assert [{"host": "h2", "obstacle": "host_state", "detail": "maintenance"}] == told["blockers"]
    assert {"cpu_mhz": 6.0, "memory_mib": 6.0} == told["demand"] == told["entitlement"]


def test_a_preflight_that_forbids_a_host_is_named_as_what_it_is():
    allowed = [[True, False, True], [True] * 3, [True] * 3]
    told = vm_situation(cluster(allowed=allowed), Policy(), "a")
    assert [("h1", "not_allowed", "preflight")] == [
        (one["host"], one["obstacle"], one["detail"]) for one in told["blockers"]
    ]


def test_a_vm_that_is_migrating_can_go_nowhere_else():
    told = vm_situation(cluster(in_flight=[("a", "h1")]), Policy(), "a")
    assert [] == told["can_go_to"]
    assert {"vm_fixed"} == {one["obstacle"] for one in told["blockers"]}


def test_a_vm_that_is_kept_with_others_needs_room_for_all_of_them():
    """h1 has 9 left, which is enough for the 6 or the 4 but not for both."""
    together = Snapshot.build(
        ["h0", "h1", "h2"],
        ["a", "b", "c"],
        [10, 10],
        [[6, 6], [4, 4], [1, 1]],
        [0, 0, 1],
        rules=[Affinity(name="both", vms=("a", "b"))],
    )
    told = vm_situation(together, Policy(), "a")
    assert (["both"], ["h2"]) == (told["rules"], told["can_go_to"])
    assert [("h1", "no_room")] == [(one["host"], one["obstacle"]) for one in told["blockers"]]


def test_a_vm_that_is_not_placed_has_no_host_and_gets_nothing():
    waiting = Snapshot.build(["h0"], ["a"], [10, 10], [[1, 1]], [None])
    told = vm_situation(waiting, Policy(), "a")
    assert (None, None, ["h0"]) == (told["host"], told["happiness"], told["can_go_to"])
