"""`recommend` as a whole: against brute force, against the greedy, and what must always hold."""

import itertools
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drs import (
    Affinity,
    AntiAffinity,
    Automation,
    DomainSpread,
    HostState,
    PlanStatus,
    Policy,
    Preference,
    Reason,
    Snapshot,
    StepBudget,
    Strength,
    VmHostAffinity,
    greedy_plan,
    objective,
    recommend,
)
from drs.generate import skewed_cluster
from drs.instance import compile_instance
from drs.layout import Layout
from drs.objective import judge

SMALL = StepBudget(steps=60_000)


def run(snapshot, policy=None, *, now=0.0, seed=0, budget=SMALL):
    return recommend(
        snapshot, policy or Policy(), now=now, rng=np.random.default_rng(seed), budget=budget
    )


def names(snapshot, plan):
    return {
        snapshot.vms[r.move.vm]: snapshot.hosts[r.move.destination] for r in plan.recommendations
    }


def brute_force(snapshot, policy):
    """The best objective over all placements that keep within every host's capacity."""
    instance = compile_instance(snapshot, policy, now=0.0)
    start = Layout(instance)
    best = judge(start, start, policy)
    for at in itertools.product(range(len(snapshot.hosts)), repeat=len(snapshot.vms)):
        layout = Layout(instance, np.array(at))
        if layout.overloaded().size == 0 and instance.preferred[np.arange(len(at)), at].all():
            best = min(best, judge(layout, start, policy))
    return best


@pytest.mark.parametrize("threshold", [2, 3, 4, 5])
@pytest.mark.parametrize("seed", range(4))
def test_small_clusters_equal_brute_force(threshold, seed):
    """Up to 4 hosts and 6 VMs, at most half full, so that every placement can be reached."""
    rng = np.random.default_rng(100 * threshold + seed)
    hosts, vms = int(rng.integers(2, 5)), int(rng.integers(3, 7))
    demand = rng.integers(1, 20, (vms, 2)).astype(float)
    snapshot = Snapshot.build(
        [f"h{i}" for i in range(hosts)],
        [f"v{i}" for i in range(vms)],
        demand.sum(axis=0) * 1.2,
        demand,
        rng.integers(0, hosts, vms).tolist(),
        rules=[AntiAffinity(name="apart", vms=("v0", "v1"))],
    )
    policy = Policy(migration_threshold=threshold, cost_benefit=False, preference=Preference.EVENER)
    assert brute_force(snapshot, policy) == objective(snapshot, run(snapshot, policy), policy)


def test_who_asks_for_evener_gets_it_in_a_small_cluster_too():
    """8 hosts and 100 VMs are searched by models of a few hosts, which make a plan cheaper but no evener."""
    snapshot = skewed_cluster(8, 100, seed=1)
    fewer = Policy(migration_threshold=5, cost_benefit=False)
    greedy = greedy_plan(snapshot, fewer, now=0.0)
    evener = replace(fewer, preference=Preference.EVENER)
    plan = run(snapshot, evener, budget=StepBudget())
    assert plan.imbalance_after < 0.6 * greedy.imbalance_after
    assert len(plan.moves()) <= len(greedy.moves())


def random_cluster(seed, hosts, vms):
    rng = np.random.default_rng(seed)
    demand = rng.integers(1, 30, (vms, 2)).astype(float)
    capacity = np.maximum(
        np.round(demand.sum(axis=0) / hosts / rng.uniform(0.4, 1.1)), 1.0
    ) * rng.choice([1, 2], (hosts, 1))
    states = [HostState.CONNECTED] * hosts
    if rng.random() < 0.4:
        states[int(rng.integers(hosts))] = HostState.ENTERING_MAINTENANCE
    vm_names = [f"v{i}" for i in range(vms)]
    picked = rng.permutation(vms).tolist()
    rules = [
        AntiAffinity(name="apart", vms=tuple(vm_names[i] for i in picked[:2])),
        Affinity(name="together", vms=tuple(vm_names[i] for i in picked[2:4])),
        VmHostAffinity(name="pin", vms=(vm_names[picked[4]],), hosts=("h0",)),
        VmHostAffinity(
            name="wish", vms=(vm_names[picked[5]],), hosts=("h1",), strength=Strength.SHOULD
        ),
    ]
    return Snapshot.build(
        [f"h{i}" for i in range(hosts)],
        vm_names,
        capacity,
        demand,
        rng.integers(0, hosts, vms).tolist(),
        rules=[r for r in rules if rng.random() < 0.6],
        reservation=demand * rng.choice([0.0, 0.5]),
    )


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 10**6), st.integers(2, 6), st.integers(6, 16), st.integers(1, 5), st.booleans()
)
def test_never_worse_than_staying_or_the_greedy_and_always_legal(seed, hosts, vms, threshold, pays):
    snapshot = random_cluster(seed, hosts, vms)
    policy = Policy(migration_threshold=threshold, cost_benefit=pays)
    plan, baseline = run(snapshot, policy), greedy_plan(snapshot, policy, now=0.0)
    stay = objective(snapshot, type(plan)(status=PlanStatus.OK), policy)
    assert objective(snapshot, plan, policy) <= min(stay, objective(snapshot, baseline, policy))
    for made in (plan, baseline):
        limits = {"concurrent_per_host_max": policy.concurrent_per_host_max}
        assert [] == [v for v in made.check(snapshot, **limits) if v.strength is Strength.MUST]


def test_the_same_arguments_give_the_same_plan():
    snapshot = skewed_cluster(8, 100, seed=3)
    policy = Policy(migration_threshold=5)
    assert run(snapshot, policy, seed=5) == run(snapshot, policy, seed=5)


def even(vms=4, **more):
    """Two hosts, one VM of 3 out of 10 each side and more; balanced but for what a test adds."""
    return Snapshot.build(
        ["h0", "h1", "h2"],
        [f"v{i}" for i in range(vms)],
        [10, 10],
        [[2, 2]] * vms,
        [i % 3 for i in range(vms)],
        **more,
    )


def test_a_balanced_cluster_has_nothing_worth_doing():
    plan = run(even(3))
    assert (PlanStatus.NOTHING_WORTH_DOING, ()) == (plan.status, plan.recommendations)


def test_a_broken_rule_is_fixed_with_one_move_even_at_threshold_one():
    snapshot = even(4, rules=[AntiAffinity(name="apart", vms=("v0", "v3"))])
    plan = run(snapshot, Policy(migration_threshold=1))
    assert [(1, Reason.RULE)] == [(r.priority, r.reason) for r in plan.recommendations]
    assert "rule apart" in plan.recommendations[0].sentence


def test_a_group_is_brought_together_by_moving_the_fewer():
    snapshot = Snapshot.build(
        ["h0", "h1"],
        ["a", "b", "c"],
        [10, 10],
        [[1, 1]] * 3,
        [0, 0, 1],
        rules=[Affinity(name="t", vms=("a", "b", "c"))],
    )
    assert {"c": "h0"} == names(snapshot, run(snapshot, Policy(migration_threshold=1)))


def test_a_pinned_vm_goes_to_its_host():
    snapshot = even(3, rules=[VmHostAffinity(name="pin", vms=("v0",), hosts=("h2",))])
    assert {"v0": "h2"} == names(snapshot, run(snapshot, Policy(migration_threshold=1)))


def test_fault_domains_are_kept():
    domains = {"h0": "east", "h1": "east", "h2": "west"}
    snapshot = even(2, rules=[DomainSpread(name="sites", vms=("v0", "v1"), domains=domains)])
    moved = names(snapshot, run(snapshot, Policy(migration_threshold=1)))
    assert ["h2"] == list(moved.values())


def test_maintenance_empties_the_host_and_says_so():
    snapshot = Snapshot.build(
        ["h0", "h1", "h2"],
        [f"v{i}" for i in range(6)],
        [10, 10],
        [[2, 2]] * 6,
        [0, 0, 0, 0, 1, 2],
        host_states=[HostState.ENTERING_MAINTENANCE, HostState.CONNECTED, HostState.CONNECTED],
    )
    plan = run(snapshot, Policy(migration_threshold=1))
    assert PlanStatus.OK is plan.status
    assert {Reason.MAINTENANCE} == {r.reason for r in plan.recommendations}
    assert [0, 3, 3] == np.bincount(plan.placement(snapshot), minlength=3).tolist()
    assert () == plan.check(snapshot)


def test_a_vm_that_cannot_leave_is_named():
    """h1 has room for one of the two."""
    states = [HostState.ENTERING_MAINTENANCE, HostState.CONNECTED]
    snapshot = Snapshot.build(
        ["h0", "h1"], ["a", "b"], [10, 10], [[6, 6], [7, 7]], [0, 0], host_states=states
    )
    plan = run(snapshot)
    assert PlanStatus.INCOMPLETE is plan.status
    assert 1 == len(plan.actions)
    assert 1 == len(plan.problems)


def test_room_is_made_for_an_evacuation():
    """8 must leave h0; h1 and h2 hold 2 x 3 each: one of the 3s has to change host first."""
    states = [HostState.ENTERING_MAINTENANCE, HostState.CONNECTED, HostState.CONNECTED]
    demand = [[7, 7], [3, 3], [3, 3]]
    snapshot = Snapshot.build(
        ["h0", "h1", "h2"], ["big", "s1", "s2"], [10, 10], demand, [0, 1, 2], host_states=states
    )
    assert ["big"] == list(names(snapshot, run(snapshot, Policy(migration_threshold=1))))
    demand = [[8, 8], [3, 3], [3, 3]]
    tight = Snapshot.build(
        ["h0", "h1", "h2"], ["big", "s1", "s2"], [10, 10], demand, [0, 1, 2], host_states=states
    )
    plan = run(tight, Policy(migration_threshold=1))
    assert 2 == len(plan.recommendations)
    assert () == plan.check(tight)


def test_an_overload_is_ended_with_the_fewest_moves():
    """12 of 10 on h0: moving the 4 alone ends it."""
    snapshot = Snapshot.build(
        ["h0", "h1"], ["a", "b", "c"], [10, 10], [[4, 4], [4, 4], [4, 4]], [0, 0, 0]
    )
    plan = run(snapshot, Policy(migration_threshold=1))
    assert [Reason.OVERLOAD] == [r.reason for r in plan.recommendations]


def test_what_rests_or_is_disabled_or_in_flight_is_not_balanced():
    demand = [[4, 4], [4, 4]]
    resting = Snapshot.build(
        ["h0", "h1"], ["a", "b"], [10, 10], demand, [0, 0], moved_at_s=[95.0, 90.0]
    )
    assert {} == names(
        resting, run(resting, Policy(migration_threshold=5, cooldown_s=60), now=100.0)
    )
    assert 1 == len(
        run(resting, Policy(migration_threshold=5, cooldown_s=60), now=160.0).recommendations
    )
    off = Snapshot.build(
        ["h0", "h1"], ["a", "b"], [10, 10], demand, [0, 0], automation=[Automation.DISABLED, None]
    )
    assert ["b"] == list(names(off, run(off, Policy(migration_threshold=5))))
    flying = Snapshot.build(
        ["h0", "h1"], ["a", "b"], [10, 10], demand, [0, 0], in_flight=[("a", "h1")]
    )
    assert {} == names(flying, run(flying, Policy(migration_threshold=5)))


def test_automation_says_what_may_be_applied_without_asking():
    snapshot = Snapshot.build(["h0", "h1"], ["a", "b"], [10, 10], [[4, 4]] * 2, [0, 0])
    for automation, automatic in (
        (Automation.FULLY_AUTOMATED, True),
        (Automation.PARTIALLY_AUTOMATED, False),
    ):
        plan = run(snapshot, Policy(migration_threshold=5, automation=automation))
        assert [automatic] == [r.automatic for r in plan.recommendations]


def test_the_limit_on_moves_holds():
    snapshot = skewed_cluster(8, 100, seed=1)
    assert 3 == len(run(snapshot, Policy(migration_threshold=5, moves_max=3)).recommendations)
    plan = run(snapshot, Policy(migration_threshold=5, moves_per_host_max=2))
    ends = [h for r in plan.recommendations for h in (r.move.source, r.move.destination)]
    assert 2 == np.bincount(ends).max()


def test_a_move_that_does_not_pay_is_not_made():
    """The load lasts 10 s; moving 4 GiB takes longer than that is worth."""
    demand = [[400.0, 4096.0], [400.0, 4096.0]]
    snapshot = Snapshot.build(["h0", "h1"], ["a", "b"], [1000.0, 16384.0], demand, [0, 0])
    assert 1 == len(run(snapshot, Policy(migration_threshold=5)).recommendations)
    assert 0 == len(run(snapshot, Policy(migration_threshold=5, stable_s=10.0)).recommendations)


def test_importing_the_library_is_light():
    code = "import sys, drs, drs.entitlement, drs.cost; print([m for m in ('ortools', 'pandas', 'numba', 'pyarrow') if m in sys.modules])"
    assert (
        "[]"
        == subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
    )
