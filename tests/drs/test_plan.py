"""The judge of a plan finds what is wrong with plans that nobody's solver made."""

import pytest

from drs import Action, HostState, Move, Plan, PlanStatus, Snapshot


def snapshot(**more):
    """h0 holds a and b (4 each), h1 holds c (8 of 10), h2 is empty."""
    demand = [[4, 4], [4, 4], [8, 8]]
    return Snapshot.build(["h0", "h1", "h2"], ["a", "b", "c"], [10, 10], demand, [0, 0, 1], **more)


def plan(*moves):
    return Plan(
        status=PlanStatus.OK,
        actions=tuple(
            Action(
                move=Move(vm=vm, source=source, destination=destination),
                order=i,
                start_s=start_s,
                end_s=end_s,
            )
            for i, (vm, source, destination, start_s, end_s) in enumerate(moves)
        ),
    )


def test_a_good_plan_has_no_violation():
    assert () == plan((0, 0, 2, 0.0, 5.0), (1, 0, 2, 5.0, 9.0)).check(
        snapshot(), concurrent_per_host_max=1
    )


@pytest.mark.parametrize(
    ("moves", "rule"),
    [
        ([(0, 0, 1, 0, 5)], "capacity"),
        ([(2, 1, 2, 0, 5), (0, 0, 1, 4, 9)], "capacity"),  # c still holds h1 at 4
        ([(0, 1, 2, 0, 5)], "action"),
        ([(0, 0, 0, 0, 5)], "action"),
        ([(0, 0, 2, 0, 5), (0, 2, 1, 3, 6)], "action"),
        ([(0, 0, 2, 5, 3)], "action"),
        ([(9, 0, 2, 0, 5)], "action"),
        ([(0, 9, 2, 0, 5)], "action"),
        ([(0, 0, 9, 0, 5)], "action"),
    ],
)
def test_a_bad_plan_is_found_out(moves, rule):
    assert rule in {v.rule for v in plan(*moves).check(snapshot())}


def test_a_vm_that_is_migrating_already_is_not_for_a_plan():
    (violation,) = plan((0, 0, 2, 0, 5)).check(snapshot(in_flight=[("a", "h2")]))
    assert "is already migrating" in violation.message


@pytest.mark.parametrize("state", [HostState.NOT_RESPONDING, HostState.STANDBY])
def test_no_vm_leaves_a_host_that_does_not_answer(state):
    states = [state, HostState.CONNECTED, HostState.CONNECTED]
    (violation,) = plan((0, 0, 2, 0, 5)).check(snapshot(host_states=states))
    assert ("host", "h0") == (violation.rule, *violation.hosts)


def test_a_vm_on_its_way_takes_room_where_it_goes_and_once_where_it_has_arrived():
    """h2 has room for b beside a in flight (4 + 4), and none for c (8)."""
    flying = snapshot(in_flight=[("a", "h2")])
    assert () == plan((1, 0, 2, 0, 5)).check(flying)
    assert ["capacity"] * 2 == [v.rule for v in plan((2, 1, 2, 0, 5)).check(flying)]
    arrived = snapshot(in_flight=[("c", "h1")])
    assert () == plan((0, 0, 2, 0, 5)).check(arrived)


def test_room_is_free_once_the_vm_before_has_left():
    assert () == plan((2, 1, 2, 0, 5), (0, 0, 1, 5, 9)).check(snapshot())


def test_hosts_that_take_no_vms_and_places_not_allowed_are_found():
    states = [HostState.CONNECTED, HostState.CONNECTED, HostState.MAINTENANCE]
    assert ["host"] == [v.rule for v in plan((0, 0, 2, 0, 5)).check(snapshot(host_states=states))]
    allowed = [[True, True, False]] * 3
    assert ["allowed"] == [v.rule for v in plan((0, 0, 2, 0, 5)).check(snapshot(allowed=allowed))]


def test_reservations_need_room_even_when_nobody_uses_them():
    """c demands 1 of its reservation of 8; a with a reservation of 4 does not fit beside it."""
    shape = [[4, 4], [4, 4], [8, 8]]
    idle = Snapshot.build(
        ["h0", "h1"], ["a", "b", "c"], [10, 10], [[1, 1]] * 3, [0, 0, 1], reservation=shape
    )
    assert {"capacity"} == {v.rule for v in plan((0, 0, 1, 0, 5)).check(idle)}


def test_limits_are_judged_when_they_are_given():
    both = plan((0, 0, 2, 0, 5), (1, 0, 2, 1, 6))
    assert () == both.check(snapshot())
    assert 2 == len(both.check(snapshot(), concurrent_per_host_max=1))
    assert 1 == len(both.check(snapshot(), concurrent_max=1))
