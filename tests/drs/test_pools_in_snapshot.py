"""Resource pools of a snapshot: what DRS balances is what each VM is entitled to through them."""

import numpy as np
import pytest

from drs import PlanStatus, Policy, ProblemKind, ResourcePool, Snapshot, recommend
from drs.load import entitlement

PRODUCTION = ResourcePool(name="production", shares={"cpu_mhz": 8000})
TEST = ResourcePool(name="test", shares={"cpu_mhz": 2000})


def cluster(*, demand, pool, pools=(PRODUCTION, TEST), capacity=1000, hosts=2, **rest):
    vms = [f"vm-{i}" for i in range(len(demand))]
    return Snapshot.build(
        [f"h{i}" for i in range(hosts)],
        vms,
        [capacity, 10_000],
        [[mhz, 10] for mhz in demand],
        ["h0"] * len(vms),
        pools=pools,
        pool=pool,
        **rest,
    )


def test_a_contended_cluster_is_divided_by_the_pools_and_then_by_the_vms():
    """2000 MHz, shares 8000 : 2000: production may have 1600 and test 400, each halved by two alike VMs."""
    snapshot = cluster(demand=[1500] * 4, pool=["production"] * 2 + ["test"] * 2)
    assert [800.0, 800.0, 200.0, 200.0] == entitlement(snapshot)[:, 0].tolist()


def test_what_a_pool_does_not_use_the_other_one_gets():
    snapshot = cluster(demand=[300, 300, 1500, 1500], pool=["production"] * 2 + ["test"] * 2)
    assert [300.0, 300.0, 700.0, 700.0] == entitlement(snapshot)[:, 0].tolist()


def test_a_pools_limit_binds_without_contention():
    small = ResourcePool(name="test", limit={"cpu_mhz": 100})
    snapshot = cluster(demand=[300, 80, 120], pool=[None, "test", "test"], pools=(small,))
    assert [300.0, 50.0, 50.0] == entitlement(snapshot)[:, 0].tolist()


def test_a_nested_pools_reservation_is_kept():
    inner = ResourcePool(name="db", parent="test", reservation={"cpu_mhz": 900})
    snapshot = cluster(
        demand=[3000, 3000, 3000],
        pool=["production", "test", "db"],
        pools=(PRODUCTION, TEST, inner),
    )
    # db holds 900 through test's expandable reservation; production shares the rest by 8000 : 2000
    # up to what test's own reservation of 900 leaves: 1100.
    assert [1100.0, 0.0, 900.0] == pytest.approx(entitlement(snapshot)[:, 0].tolist())


def test_memory_that_is_demanded_is_not_taken_away_and_that_is_said():
    small = ResourcePool(name="test", limit={"memory_mib": 15})
    snapshot = cluster(demand=[1, 1], pool=["test", "test"], pools=(small,))
    assert [10.0, 10.0] == entitlement(snapshot)[:, 1].tolist()
    (problem,) = snapshot.problems()
    assert (ProblemKind.NO_CAPACITY, "test", False) == (
        problem.kind,
        problem.subject,
        problem.fatal,
    )
    assert "demand 20 of memory_mib, its limit is 15" in problem.message


def test_recommend_balances_what_the_pools_leave():
    """By demand h0 has 1600 and h1 800; entitled to 100 through its pool, the large VM makes no load."""
    small = ResourcePool(name="test", limit={"cpu_mhz": 100})
    snapshot = Snapshot.build(
        ["h0", "h1"],
        ["greedy", "a", "b"],
        [2000, 10_000],
        [[900, 10], [700, 10], [800, 10]],
        ["h0", "h0", "h1"],
        pools=(small,),
        pool=("test", None, None),
    )
    plan = recommend(snapshot, Policy(migration_threshold=5), now=0.0, rng=np.random.default_rng(1))
    assert () == plan.moves()
    assert plan.imbalance_before < 0.01


def test_every_mistake_of_the_tree_is_told_at_once():
    pools = (
        ResourcePool(name="a", parent="nowhere"),
        ResourcePool(name="b", limit={"cpu_mhz": 5}, reservation={"cpu_mhz": 10}),
        ResourcePool(name="c", shares={"cpu_mhz": -1}),
    )
    snapshot = cluster(demand=[1], pool=["d"], pools=pools)
    told = [p.message for p in snapshot.problems()]
    assert [
        "pool a: no parent nowhere",
        "VM vm-0: no pool d",
        "b: reservation above limit",
        "c: shares, reservation and limit must be numbers from 0 on",
    ] == told
    plan = recommend(snapshot, Policy(), now=0.0, rng=np.random.default_rng(1))
    assert PlanStatus.INVALID is plan.status


def test_a_pool_that_is_its_own_ancestor_is_refused():
    pools = (ResourcePool(name="a", parent="b"), ResourcePool(name="b", parent="a"))
    (problem, *_) = cluster(demand=[1], pool=["a"], pools=pools).problems()
    assert (ProblemKind.RULE_CONFLICT, True) == (problem.kind, problem.fatal)


def test_a_pool_for_some_vms_only_is_refused():
    (problem,) = cluster(demand=[1, 1], pool=["test"]).problems()
    assert (ProblemKind.SHAPE, "pool") == (problem.kind, problem.subject)


def test_reservations_that_no_longer_fit_are_told_and_a_plan_is_made():
    """A host less must not stop DRS."""
    large = ResourcePool(name="test", reservation={"cpu_mhz": 3000})
    snapshot = cluster(demand=[10], pool=["test"], pools=(large,))
    (problem,) = snapshot.problems()
    assert (ProblemKind.NO_CAPACITY, False) == (problem.kind, problem.fatal)
    assert "3000 exceed the capacity of 2000 (cpu_mhz)" in problem.message
    plan = recommend(snapshot, Policy(), now=0.0, rng=np.random.default_rng(1))
    assert PlanStatus.NOTHING_WORTH_DOING is plan.status
