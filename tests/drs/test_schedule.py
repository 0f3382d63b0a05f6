"""Order and time: cycles, full hosts, limits."""

import numpy as np
import pytest

from drs import AntiAffinity, Plan, PlanStatus, Policy, Snapshot
from drs.instance import compile_instance
from drs.schedule import schedule


def order(snapshot, after, policy=None):
    policy = policy or Policy()
    return schedule(
        snapshot, policy, compile_instance(snapshot, policy, now=0.0), np.array(after, np.int64)
    )


def legal(snapshot, made, **limits):
    return Plan(status=PlanStatus.OK, actions=made.actions).check(snapshot, **limits)


def full(hosts, size=7.0, spare_hosts=0):
    """Hosts of 10 with one VM of 7 each: two never fit on one host."""
    names = [f"h{i}" for i in range(hosts + spare_hosts)]
    vms = [f"v{i}" for i in range(hosts)]
    return Snapshot.build(names, vms, [10, 10], [[size, size]] * hosts, list(range(hosts)))


def test_a_swap_between_full_hosts_goes_by_way_of_a_third():
    snapshot = full(2, spare_hosts=1)
    made = order(snapshot, [1, 0])
    assert () == made.blocked
    assert 3 == len(made.actions)
    assert () == legal(snapshot, made)
    assert [1, 0] == Plan(status=PlanStatus.OK, actions=made.actions).placement(snapshot).tolist()


def test_a_swap_without_a_third_host_is_blocked_and_said():
    made = order(full(2), [1, 0])
    assert ((0, 1), ()) == (made.blocked, made.actions)


def test_a_long_cycle_is_broken_once():
    snapshot = full(6, spare_hosts=1)
    made = order(snapshot, [1, 2, 3, 4, 5, 0])
    assert () == made.blocked
    assert 7 == len(made.actions)
    assert () == legal(snapshot, made, concurrent_per_host_max=2)


def test_a_chain_waits_for_room():
    """v1 must leave h1 before v0 may come."""
    snapshot = full(2, spare_hosts=1)
    made = order(snapshot, [1, 2])
    assert [1, 0] == [a.move.vm for a in made.actions]
    assert made.actions[0].end_s <= made.actions[1].start_s


def test_vms_to_be_kept_apart_do_not_meet_on_the_way():
    rules = [AntiAffinity(name="apart", vms=("a", "b"))]
    snapshot = Snapshot.build(
        ["h0", "h1", "h2"], ["a", "b"], [10, 10], [[1, 1]] * 2, [0, 1], rules=rules
    )
    made = order(snapshot, [1, 0])
    assert () == made.blocked
    assert () == legal(snapshot, made)


@pytest.mark.parametrize("limit", [1, 2, 8])
def test_limits_hold(limit):
    snapshot = Snapshot.build(
        ["h0", "h1", "h2"], [f"v{i}" for i in range(8)], [10, 10], [[1, 1]] * 8, [0] * 8
    )
    policy = Policy(concurrent_per_host_max=limit, concurrent_max=limit)
    made = order(snapshot, [1, 1, 1, 1, 2, 2, 2, 2], policy)
    assert () == made.blocked
    assert () == legal(snapshot, made, concurrent_per_host_max=limit, concurrent_max=limit)


def test_with_one_migration_a_host_none_sends_while_it_receives():
    """v0 goes where v1 comes from: there is room, but each host has one migration at a time."""
    snapshot = Snapshot.build(["h0", "h1", "h2"], ["v0", "v1"], [10, 10], [[1, 1]] * 2, [0, 1])
    first, second = order(snapshot, [1, 2], Policy(concurrent_per_host_max=1)).actions
    assert first.end_s <= second.start_s
    both = order(snapshot, [1, 2], Policy(concurrent_per_host_max=2)).actions
    assert [0.0, 0.0] == [a.start_s for a in both]


def test_with_one_migration_in_the_cluster_strangers_wait_too():
    snapshot = Snapshot.build(
        ["h0", "h1", "h2", "h3"], ["v0", "v1"], [10, 10], [[1, 1]] * 2, [0, 1]
    )
    first, second = order(snapshot, [2, 3], Policy(concurrent_max=1)).actions
    assert first.end_s <= second.start_s


def test_where_a_vm_in_flight_has_not_left_its_group_does_not_come():
    rules = [AntiAffinity(name="apart", vms=("v0", "v1"))]
    snapshot = Snapshot.build(
        ["h0", "h1", "h2"],
        ["v0", "v1"],
        [10, 10],
        [[1, 1]] * 2,
        [0, 1],
        rules=rules,
        in_flight=[("v0", "h2")],
    )
    assert (1,) == order(snapshot, [2, 0]).blocked


def test_independent_migrations_reach_the_bound():
    """Four hosts each send two equal VMs to a host of their own: the bound is two durations."""
    snapshot = Snapshot.build(
        [f"h{i}" for i in range(8)],
        [f"v{i}" for i in range(8)],
        [10, 10],
        [[1, 1]] * 8,
        [0, 0, 1, 1, 2, 2, 3, 3],
    )
    made = order(snapshot, [4, 4, 5, 5, 6, 6, 7, 7])
    assert made.makespan_s() == pytest.approx(made.makespan_s_min)
