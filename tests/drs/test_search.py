"""The compiled search against plain arithmetic."""

import numpy as np
import pytest

from drs import AntiAffinity, Policy, Snapshot
from drs.generate import skewed_cluster
from drs.improve import improve
from drs.instance import compile_instance
from drs.layout import Layout
from drs.limits import MoveLimits
from drs.recommend import aim_of
from drs.refine import Patience
from drs.search import compiled_greedy, greedy, plain_greedy


def dense_greedy(layout, target, steps_max):
    """The published loop as it is written: every item against every host, every time."""
    instance = layout.instance
    for _ in range(steps_max):
        now = layout.imbalance()
        if now <= target:
            return
        best = (now, -1, -1)
        for item in range(layout.at.size):
            home = int(layout.at[item])
            for host in np.flatnonzero(layout.open_hosts(item)).tolist():
                layout.place(item, host)
                best = min(best, (round(layout.imbalance(), 12), item, host))
                layout.place(item, home)
        if best[1] < 0 or now - best[0] < 1e-6:
            return
        layout.place(best[1], best[2])
    assert instance.home.size


@pytest.mark.parametrize("seed", range(5))
def test_the_incremental_greedy_equals_the_dense_one(seed):
    """Random sizes, so that no two moves are equally good."""
    rng = np.random.default_rng(seed)
    demand = rng.uniform(1, 20, (30, 2))
    snapshot = Snapshot.build(
        [f"h{i}" for i in range(5)],
        [f"v{i}" for i in range(30)],
        demand.sum(axis=0) / 5 / 0.6,
        demand,
        np.minimum(rng.geometric(0.4, 30) - 1, 4).tolist(),
        rules=[AntiAffinity(name="apart", vms=("v0", "v1", "v2"))],
    )
    policy = Policy(migration_threshold=5, cost_benefit=False)
    instance = compile_instance(snapshot, policy, now=0.0)
    dense = Layout(instance)
    dense_greedy(dense, 0.02, 120)
    for made in (plain_greedy, compiled_greedy):
        ours = Layout(instance)
        assert made(ours, policy, target=0.02, steps_max=120) > 3
        assert dense.at.tolist() == ours.at.tolist()


@pytest.fixture(scope="module")
def annealed():
    snapshot = skewed_cluster(16, 300, seed=2)
    policy = Policy(migration_threshold=5, cost_benefit=False)
    instance = compile_instance(snapshot, policy, now=0.0)
    baseline = Layout(instance)
    greedy(baseline, policy, target=0.0)
    return instance, baseline


def run(baseline, *, evener=False, seed=1, limits=None):
    limits = limits or MoveLimits(moves_max=baseline.moves_total, moves_per_host_max=10**9)
    patience = Patience(steps_left=60_000, end_s=None)
    return improve(
        baseline,
        aim_of(baseline, 0.0),
        limits,
        rng=np.random.default_rng(seed),
        patience=patience,
        evener=evener,
    )


def test_annealing_keeps_the_balance_with_fewer_moves(annealed):
    _, baseline = annealed
    found = run(baseline)
    assert (found.spread() <= baseline.spread() + 1e-9).all()
    assert found.moves_total <= 0.8 * baseline.moves_total
    assert found.cost_s() < baseline.cost_s()
    assert (0, 0.0) == (found.hard_violations(), found.unmet())


def test_annealing_for_evenness_keeps_the_number_of_moves(annealed):
    _, baseline = annealed
    found = run(baseline, evener=True)
    assert (found.spread() < 0.6 * baseline.spread()).all()
    assert found.moves_total <= baseline.moves_total
    assert (0, 0.0) == (found.hard_violations(), found.unmet())


def test_annealing_is_repeatable_and_seeded(annealed):
    _, baseline = annealed
    assert run(baseline).at.tolist() == run(baseline).at.tolist()
    assert run(baseline).at.tolist() != run(baseline, seed=9).at.tolist()


def test_annealing_keeps_the_limits_on_moves_of_a_host(annealed):
    instance, _ = annealed
    policy = Policy(migration_threshold=5, cost_benefit=False, moves_per_host_max=4)
    start = Layout(instance)
    greedy(start, policy, target=0.0)
    limits = MoveLimits.of(policy)
    assert limits.hold(start)
    assert limits.hold(run(start, limits=limits))


def test_a_layout_keeps_its_sums(annealed):
    """What `place` keeps up to date equals what a new layout computes."""
    instance, _ = annealed
    rng = np.random.default_rng(3)
    layout = Layout(instance)
    for _ in range(200):
        layout.place(int(rng.integers(layout.at.size)), int(rng.integers(16)))
    again = Layout(instance, layout.at)
    assert np.allclose(again.used, layout.used)
    assert again.moved.tolist() == layout.moved.tolist()
    assert again.moves_total == layout.moves_total == int((layout.at != instance.home).sum())
    assert [x.tolist() for x in again.inside] == [x.tolist() for x in layout.inside]
