"""Bad input is told all at once, as data."""

from dataclasses import replace

import numpy as np
import pytest

from drs import (
    Affinity,
    AntiAffinity,
    DomainSpread,
    PlanStatus,
    Policy,
    ProblemKind,
    Snapshot,
    Strength,
    VmHostAffinity,
    VmHostAntiAffinity,
    greedy_plan,
    recommend,
)

NAN = float("nan")


def build(*, placement=(0, 1), demand=((1, 1), (1, 1)), capacity=(10, 10), **more):
    return Snapshot.build(["h0", "h1"], ["a", "b"], capacity, demand, placement, **more)


def kinds(snapshot):
    return {p.kind for p in snapshot.problems()}


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"demand": [[NAN, 1], [1, 1]]}, ProblemKind.NOT_A_NUMBER),
        ({"demand": [[-1, 1], [1, 1]]}, ProblemKind.NEGATIVE),
        ({"demand": [[1, 1]] * 3}, ProblemKind.SHAPE),
        ({"placement": ["h0", "nowhere"]}, ProblemKind.UNKNOWN_HOST),
        ({"placement": [0, 7]}, ProblemKind.UNKNOWN_HOST),
        ({"capacity": [10, 0]}, ProblemKind.NO_CAPACITY),
        ({"reservation": [5, 5], "limit": [4, 9]}, ProblemKind.RESERVATION_ABOVE_LIMIT),
        ({"in_flight": [("a", "nowhere")]}, ProblemKind.UNKNOWN_HOST),
        ({"in_flight": [("nobody", "h1")]}, ProblemKind.UNKNOWN_VM),
        ({"limit": [NAN, 1]}, ProblemKind.NOT_A_NUMBER),
        ({"memory_bytes": [1.0]}, ProblemKind.SHAPE),
    ],
)
def test_what_cannot_be_used_is_fatal(change, kind):
    snapshot = build(**change)
    assert kind in kinds(snapshot)
    for plan in (
        recommend(snapshot, Policy(), now=0.0, rng=np.random.default_rng(0)),
        greedy_plan(snapshot, Policy(), now=0.0),
    ):
        assert PlanStatus.INVALID is plan.status
        assert () == plan.actions


def test_all_problems_come_at_once():
    snapshot = build(
        demand=[[NAN, 1], [-1, 1]],
        placement=["h0", "nowhere"],
        rules=[AntiAffinity(name="r", vms=("a", "nobody"))],
    )
    assert kinds(snapshot) == {
        ProblemKind.NOT_A_NUMBER,
        ProblemKind.NEGATIVE,
        ProblemKind.UNKNOWN_HOST,
        ProblemKind.UNKNOWN_VM,
        ProblemKind.NOTHING_FITS,
    }


@pytest.mark.parametrize(
    "rules",
    [
        [
            VmHostAffinity(name="old", vms=("a",), hosts=("h0",)),
            VmHostAffinity(name="new", vms=("a",), hosts=("h1",)),
        ],
        [
            VmHostAffinity(name="old", vms=("a",), hosts=("h0",)),
            VmHostAntiAffinity(name="new", vms=("a",), hosts=("h0",)),
        ],
        [Affinity(name="old", vms=("a", "b")), AntiAffinity(name="new", vms=("a", "b"))],
        [AntiAffinity(name="old", vms=("a", "b")), Affinity(name="new", vms=("a", "b"))],
        [AntiAffinity(name="old", vms=("a",)), AntiAffinity(name="new", vms=())],
    ],
)
def test_of_two_contradicting_rules_the_newer_is_disabled(rules):
    problems = build(rules=rules).problems()
    assert ["new"] == [p.subject for p in problems]
    assert not problems[0].fatal


@pytest.mark.parametrize(
    ("rule", "kind", "says"),
    [
        (
            VmHostAffinity(name="r", vms=("a",), hosts=("h0", "h9")),
            ProblemKind.UNKNOWN_HOST,
            "names unknown hosts: h9",
        ),
        (Affinity(name="r", vms=()), ProblemKind.RULE_EMPTY, "names no VM"),
        (
            DomainSpread(name="r", vms=("a",), domains={}, vms_per_domain_max=0),
            ProblemKind.RULE_EMPTY,
            "allows no VM in any domain",
        ),
    ],
)
def test_a_rule_that_cannot_be_applied_is_disabled_and_says_why(rule, kind, says):
    (problem,) = build(rules=[rule]).problems()
    assert (kind, False) == (problem.kind, problem.fatal)
    assert f"rule r {says}; it is disabled" == problem.message


def test_of_two_rules_with_one_name_the_newer_is_disabled():
    rules = [AntiAffinity(name="r", vms=("a",)), Affinity(name="r", vms=("b",))]
    (problem,) = build(rules=rules).problems()
    assert ProblemKind.DUPLICATE_NAME is problem.kind


def test_a_group_may_not_be_joined_through_others_that_is_kept_apart():
    """a with b, b with c: then a and c are together, which are kept apart."""
    three = Snapshot.build(["h0"], ["a", "b", "c"], [10, 10], [[1, 1]] * 3, [0] * 3)
    rules = [
        AntiAffinity(name="apart", vms=("a", "c")),
        Affinity(name="first", vms=("a", "b")),
        Affinity(name="second", vms=("b", "c")),
    ]
    assert ["second"] == [p.subject for p in replace(three, rules=tuple(rules)).problems()]


def test_names_used_twice_are_fatal():
    twice = Snapshot.build(["h0", "h0"], ["a", "a"], [10, 10], [[1, 1]] * 2, [0, 0])
    assert ["host names used twice: h0", "VM names used twice: a"] == [
        p.message for p in twice.problems()
    ]


def test_on_unequal_hosts_each_vm_is_held_against_each():
    """a fits h1 by CPU and h0 by memory, and neither by both."""
    assert {ProblemKind.NOTHING_FITS} == kinds(
        build(capacity=[[10, 20], [20, 10]], demand=[[15, 15], [1, 1]])
    )


def test_a_should_gives_way_without_being_disabled():
    rules = [
        VmHostAffinity(name="old", vms=("a",), hosts=("h0",)),
        VmHostAffinity(name="new", vms=("a",), hosts=("h1",), strength=Strength.SHOULD),
    ]
    assert () == build(rules=rules).problems()


def test_a_vm_that_fits_nowhere_is_told():
    assert {ProblemKind.NOTHING_FITS} == kinds(build(demand=[[11, 1], [1, 1]]))


@pytest.mark.parametrize(("hosts", "vms"), [(0, 0), (2, 0), (1, 2)])
def test_empty_and_tiny_clusters_are_nothing_to_do(hosts, vms):
    snapshot = Snapshot.build(
        [f"h{i}" for i in range(hosts)],
        [f"v{i}" for i in range(vms)],
        [10, 10],
        [[1, 1]] * vms,
        [0] * vms,
    )
    plan = recommend(snapshot, Policy(migration_threshold=5), now=0.0, rng=np.random.default_rng(0))
    assert PlanStatus.NOTHING_WORTH_DOING is plan.status
    assert () == plan.check(snapshot)


def test_a_policy_out_of_range_is_told_in_full():
    policy = Policy(
        migration_threshold=6, moves_max=-1, rate_bytes_per_second=0.0, weights={"cpu_mhz": 0.0}
    )
    assert {p.subject for p in policy.problems()} == {
        "migration_threshold",
        "moves_max",
        "rate_bytes_per_second",
        "weights",
    }
    plan = recommend(build(), policy, now=0.0, rng=np.random.default_rng(0))
    assert PlanStatus.INVALID is plan.status


def test_a_group_that_fits_together_nowhere_is_disabled_unless_it_is_together():
    rules = [Affinity(name="both", vms=("a", "b"))]
    demand = [[6, 6], [6, 6]]
    assert ["both"] == [p.subject for p in build(demand=demand, rules=rules).problems()]
    assert () == build(demand=demand, placement=(0, 0), rules=rules).problems()
