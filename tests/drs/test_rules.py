"""Each rule judges a placement and a whole plan."""

import pytest

from drs import (
    Action,
    Affinity,
    AntiAffinity,
    DomainSpread,
    Move,
    Plan,
    PlanStatus,
    Snapshot,
    VmHostAffinity,
    VmHostAntiAffinity,
)

PLACED = {"a": ("h1",), "b": ("h1",), "c": ("h2",), "d": ()}


@pytest.mark.parametrize(
    ("rule", "violations"),
    [
        (Affinity(name="r", vms=("a", "b")), 0),
        (Affinity(name="r", vms=("a", "c")), 1),
        (Affinity(name="r", vms=("a", "d")), 0),
        (AntiAffinity(name="r", vms=("a", "b", "c")), 1),
        (AntiAffinity(name="r", vms=("a", "c", "d")), 0),
        (VmHostAffinity(name="r", vms=("a", "b"), hosts=("h2",)), 2),
        (VmHostAffinity(name="r", vms=("a", "d"), hosts=("h1",)), 0),
        (VmHostAntiAffinity(name="r", vms=("a", "c"), hosts=("h1",)), 1),
        (DomainSpread(name="r", vms=("a", "c"), domains={"h1": "east", "h2": "east"}), 1),
        (DomainSpread(name="r", vms=("a", "c"), domains={"h1": "east", "h2": "west"}), 0),
        (DomainSpread(name="r", vms=("a", "b"), domains={}, vms_per_domain_max=2), 0),
    ],
)
def test_a_rule_judges_a_placement(rule, violations):
    assert violations == len(rule.check(PLACED))


def snapshot(rules=()):
    return Snapshot.build(
        ["h1", "h2", "h3"], ["a", "b"], [10, 10], [[1, 1], [1, 1]], ["h1", "h2"], rules=rules
    )


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


def test_two_vms_that_swap_at_once_meet_on_the_way():
    """Both end apart, but while they migrate each is on both hosts."""
    rule = AntiAffinity(name="apart", vms=("a", "b"))
    swap = plan((0, 0, 1, 0, 5), (1, 1, 0, 1, 6))
    assert [0, 1] == [v.at_s for v in rule.check_plan(swap.instants(snapshot()))]
    assert rule.check(PLACED)


def test_vms_that_follow_one_another_do_not_meet():
    rule = AntiAffinity(name="apart", vms=("a", "b"))
    chain = plan((1, 1, 2, 0, 5), (0, 0, 1, 5, 9))
    assert () == rule.check_plan(chain.instants(snapshot()))


def test_a_violation_from_before_the_plan_is_not_the_plans():
    rule = VmHostAffinity(name="pin", vms=("a",), hosts=("h3",))
    assert () == rule.check_plan(plan((0, 0, 2, 0, 5)).instants(snapshot()))
    assert 1 == len(rule.check_plan(plan((0, 0, 1, 0, 5)).instants(snapshot())))


def test_keep_together_is_judged_at_the_end():
    """The two arrive one after another; only a plan that leaves them apart is wrong."""
    together = Snapshot.build(["h1", "h2"], ["a", "b"], [10, 10], [[1, 1]] * 2, ["h1", "h1"])
    rule = Affinity(name="both", vms=("a", "b"))
    assert () == rule.check_plan(plan((0, 0, 1, 0, 5), (1, 0, 1, 5, 9)).instants(together))
    assert [5] == [v.at_s for v in rule.check_plan(plan((0, 0, 1, 0, 5)).instants(together))]
