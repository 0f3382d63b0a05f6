"""What a pass does where it can do little: nobody may move, nothing fits, no order works, no time is left."""

from dataclasses import replace

import numpy as np
import pytest

from drs import (
    Affinity,
    Automation,
    DeadlineBudget,
    HostState,
    PlanStatus,
    Policy,
    Preference,
    Reason,
    Snapshot,
    StepBudget,
    VmHostAffinity,
    VmHostAntiAffinity,
    greedy_plan,
    recommend,
)
from drs.generate import skewed_cluster
from drs.rules import AntiAffinity, Strength

EAGER = Policy(migration_threshold=5, cost_benefit=False)
ON, LEAVING, OFF = HostState.CONNECTED, HostState.ENTERING_MAINTENANCE, HostState.STANDBY


def cluster(sizes, placement, hosts=2, **more):
    return Snapshot.build(
        [f"h{i}" for i in range(hosts)],
        [f"v{i}" for i in range(len(sizes))],
        [10, 10],
        [[size, size] for size in sizes],
        placement,
        **more,
    )


def run(snapshot, policy=EAGER, budget=None):
    rng = np.random.default_rng(0)
    return recommend(snapshot, policy, now=0.0, rng=rng, budget=budget or StepBudget(steps=60_000))


@pytest.mark.parametrize(
    ("state", "status"),
    [(LEAVING, PlanStatus.INCOMPLETE), (OFF, PlanStatus.NOTHING_WORTH_DOING)],
)
def test_without_a_connected_host_only_an_evacuation_is_left_undone(state, status):
    dark = cluster([1], [0], hosts=1, host_states=[state])
    assert status is run(dark).status
    assert PlanStatus.NOTHING_WORTH_DOING is greedy_plan(dark, EAGER, now=0.0).status


PINS = [
    VmHostAffinity(name="pin-0", vms=("v0",), hosts=("h1",)),
    VmHostAffinity(name="pin-1", vms=("v1",), hosts=("h0",)),
]


def test_a_swap_that_no_order_can_make_is_not_begun():
    """7 and 7 on hosts of 10, each pinned to where the other is."""
    plan = run(cluster([7, 7], [0, 1], rules=PINS))
    assert (PlanStatus.INCOMPLETE, ()) == (plan.status, plan.actions)
    assert ["v0", "v1"] == [p.subject for p in plan.problems]


def test_a_swap_by_way_of_a_third_host_is_one_recommendation_a_vm():
    """Each of the two may not be where it is; the third host has room for one of them, and is evener without."""
    off = [
        VmHostAntiAffinity(name="off-0", vms=("v0",), hosts=("h0",)),
        VmHostAntiAffinity(name="off-1", vms=("v1",), hosts=("h1",)),
    ]
    automation = [None, None, Automation.DISABLED]
    plan = run(cluster([7, 7, 3], [0, 1, 2], hosts=3, rules=off, automation=automation))
    assert (PlanStatus.OK, 2, 3) == (plan.status, len(plan.recommendations), len(plan.actions))
    (stops,) = [r for r in plan.recommendations if "with a stop on a third host" in r.sentence]
    assert Reason.RULE is stops.reason


def test_what_is_to_be_together_and_cannot_be_moved_is_left_apart():
    """Both are on their way, each to another host."""
    rules = [Affinity(name="both", vms=("v0", "v1"))]
    flying = cluster([1, 1], [0, 1], hosts=4, rules=rules, in_flight=[("v0", "h2"), ("v1", "h3")])
    plan = run(flying)
    assert [2, 3] == plan.placement(flying).tolist()


def test_rules_about_vms_that_are_not_placed_wait_until_they_are():
    rules = [
        Affinity(name="both", vms=("v0", "v2")),
        AntiAffinity(name="apart", vms=("v1", "v2")),
        VmHostAffinity(name="must", vms=("v2",), hosts=("h1",)),
        VmHostAffinity(name="should", vms=("v2",), hosts=("h1",), strength=Strength.SHOULD),
    ]
    waiting = cluster([3, 3, 3], [0, 0, None], rules=rules)
    plan = run(waiting)
    assert (1, -1) == (len(plan.recommendations), plan.placement(waiting)[2])


def test_no_more_vms_come_to_a_host_than_the_policy_admits():
    """Five of 1 and one of 5: by load alone all of the small ones share a host."""
    crowded = cluster([1, 1, 1, 1, 1, 5], [0, 0, 0, 1, 1, 1])
    assert 5 == np.bincount(run(crowded).placement(crowded)).max()
    four = replace(EAGER, vms_per_host_max=4)
    assert 4 >= np.bincount(run(crowded, four).placement(crowded)).max()


def test_a_vm_that_may_not_move_stays_on_a_host_that_is_to_be_empty():
    stays = cluster(
        [1, 1], [0, 0], host_states=[LEAVING, ON], automation=[Automation.DISABLED, None]
    )
    plan = run(stays)
    assert [0, 1] == plan.placement(stays).tolist()


def test_with_no_time_left_what_is_mandatory_is_still_planned():
    leaving = cluster([2, 2, 2], [0, 0, 1], hosts=3, host_states=[LEAVING, ON, ON])
    plan = run(leaving, budget=DeadlineBudget(deadline_s=0.0))
    assert PlanStatus.OK is plan.status
    assert 0 not in plan.placement(leaving)


def test_with_no_time_left_the_plan_is_no_worse_than_the_published_one():
    snapshot = cluster([3, 2, 1, 1], [0] * 4, hosts=3)
    plan = run(snapshot, budget=DeadlineBudget(deadline_s=0.0))
    assert plan.imbalance_after <= greedy_plan(snapshot, EAGER, now=0.0).imbalance_after


def test_when_everybody_rests_nothing_is_balanced():
    resting = cluster([3, 3], [0, 0], moved_at_s=[-1.0, -1.0])
    assert () == run(resting, Policy(migration_threshold=5)).recommendations


def test_an_overload_that_nothing_can_end_is_left_as_it_is():
    """Neither of the two fits beside what h1 has."""
    full = cluster([6, 6, 8], [0, 0, 1])
    assert () == run(full, Policy(migration_threshold=1)).recommendations


def test_a_wish_that_is_kept_gives_way_to_what_is_mandatory():
    """The two should be apart; the only host that is left is the other one's."""
    rules = [AntiAffinity(name="apart", vms=("v0", "v1"), strength=Strength.SHOULD)]
    leaving = cluster([2, 2], [0, 1], host_states=[LEAVING, ON], rules=rules)
    plan = run(leaving)
    assert [1, 1] == plan.placement(leaving).tolist()


def test_three_that_are_kept_apart_on_two_hosts_leave_one_out():
    """Of 40 VMs three are a triple; the generator breaks no rule and leaves the third without a host."""
    made = skewed_cluster(2, 40, seed=1)
    (rule,) = made.rules
    where = [int(made.placement[made.vms.index(vm)]) for vm in rule.vms]
    assert [-1, 0, 1] == sorted(where)


def test_an_evener_plan_of_a_small_cluster_is_solved_as_a_whole():
    snapshot = cluster([3, 3, 2, 2, 2], [0, 0, 0, 1, 1], hosts=2)
    plan = run(
        snapshot,
        Policy(migration_threshold=5, cost_benefit=False, preference=Preference.EVENER),
    )
    assert pytest.approx(0.0) == plan.imbalance_after
