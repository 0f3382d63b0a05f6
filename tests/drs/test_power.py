"""Distributed power management by its band: who is powered on, who stands by, and what stays."""

import numpy as np

from drs import Automation, HostState, Policy, Snapshot
from drs.power import PowerPolicy, recommend_power

ON, OFF = HostState.CONNECTED, HostState.STANDBY
ALONE = PowerPolicy(host_failures_tolerated=0)


def cluster(demand, placement, states, **more):
    """Hosts of 10: the band is from 4.5 to 8.1."""
    return Snapshot.build(
        [f"h{at}" for at in range(len(states))],
        [f"v{at}" for at in range(len(demand))],
        [10, 10],
        [[d, d] for d in demand],
        placement,
        host_states=states,
        **more,
    )


def powered(snapshot, power=ALONE):
    return recommend_power(snapshot, Policy(), power, now=0.0)


def test_a_host_is_powered_on_for_what_would_be_left_if_one_failed():
    """Two hosts of 10 at 6 each: one alone could not carry 12."""
    snapshot = cluster([6, 6], [0, 1], [ON, ON, OFF, OFF])
    plan = powered(snapshot, PowerPolicy(host_failures_tolerated=1))
    assert ("h2",) == plan.power_on
    assert ("Power on h2: too little would be left if a host failed.",) == plan.reasons


def test_all_that_is_in_standby_is_powered_on_where_even_that_is_too_little():
    plan = powered(cluster([9, 9, 9], [0, 1, 2], [ON, ON, ON, OFF]))
    assert ("h3",) == plan.power_on
    assert ("Power on h3: a host is above 81%.",) == plan.reasons


def test_the_largest_host_in_standby_comes_first():
    sizes = [[10, 10], [10, 10], [20, 20]]
    snapshot = Snapshot.build(
        ["h0", "h1", "h2"], ["v0"], sizes, [[9, 9]], [0], host_states=[ON, OFF, OFF]
    )
    assert ("h2",) == powered(snapshot).power_on


def test_no_more_hosts_stand_by_in_a_pass_than_are_asked_for():
    idle = cluster([1, 1, 1, 1], [0, 1, 2, 3], [ON] * 4)
    assert 3 == len(powered(idle).stand_by)
    one = PowerPolicy(host_failures_tolerated=0, off_max=1)
    assert 1 == len(powered(idle, one).stand_by)
    three_stay = PowerPolicy(host_failures_tolerated=0, hosts_on_min=3)
    assert 1 == len(powered(idle, three_stay).stand_by)


def test_a_host_with_a_vm_that_may_not_move_stays_on():
    stays = cluster([1, 5], [0, 1], [ON, ON], automation=[Automation.DISABLED, None])
    plan = powered(stays)
    assert ((), [0, 1]) == (plan.stand_by, plan.after.tolist())


def test_a_host_is_emptied_as_a_whole_or_not_at_all():
    """6 + 2 are within the band, 6 + 2 + 2 are not: v0 finds a place, v1 does not, both stay."""
    plan = powered(cluster([2, 2, 6], [0, 0, 1], [ON, ON]))
    assert ((), [0, 0, 1]) == (plan.stand_by, plan.after.tolist())


def test_a_broken_snapshot_and_a_dark_cluster_stay_as_they_are():
    for snapshot in (cluster([-1], [0], [ON]), cluster([1], [0], [OFF])):
        plan = powered(snapshot)
        assert ((), (), [0]) == (plan.power_on, plan.stand_by, plan.after.tolist())


def test_a_vm_that_is_not_placed_needs_no_room_and_goes_nowhere():
    plan = powered(cluster([1, 9, 5], [0, None, 1], [ON, ON]))
    assert ("h0",) == plan.stand_by
    assert np.array_equal([1, -1, 1], plan.after)
