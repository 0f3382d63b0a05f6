"""Thousands of faulty migrations in virtual time: one runner at most, and every one ends."""

from collections import Counter

import numpy as np
import pytest

from cluster.inventory.faults import Faults
from cluster.migration import steps, table
from cluster.migration.spec import Result
from cluster.migration.state import Phase
from cluster.migration.table import Edge, Kind
from cluster.simulation.faults import drawn_faults
from cluster.simulation.trial import failure, faulty_trial

SEEDS = 2_000


def failures(seeds):
    return [text for seed in seeds if (text := failure(seed)) is not None]


def test_no_seed_breaks_a_law():
    assert [] == failures(range(SEEDS))


@pytest.mark.long
def test_no_seed_of_twenty_thousand_breaks_a_law():
    assert [] == failures(range(SEEDS, 20_000))


def test_the_seeds_reach_every_result_in_number():
    results = Counter(faulty_trial(seed).run().outcome.result for seed in range(400))
    assert set(Result) == set(results)
    assert min(results[Result.COMPLETED], results[Result.ABORTED], results[Result.LOST]) > 20


def test_a_seed_is_one_run():
    assert str(faulty_trial(11).run().story) == str(faulty_trial(11).run().story)


MUTANTS = {
    "a failed commit is taken for a refusal": (
        (Phase.COMMITTING, Kind.FAILED),
        Edge(steps.commit_refused, frozenset({Phase.ROLLING_BACK, Phase.LOST})),
    ),
    "a failed resume loses the VM": (
        (Phase.RESUMING, Kind.FAILED),
        Edge(steps.destination_gone, frozenset({Phase.LOST})),
    ),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_the_checkers_find_a_broken_machine(mutant, monkeypatch):
    key, edge = MUTANTS[mutant]
    monkeypatch.setitem(table.TABLE, key, edge)
    assert any(failure(seed) for seed in range(SEEDS))


def test_a_failure_says_how_to_see_it_again(monkeypatch):
    key, edge = MUTANTS["a failed commit is taken for a refusal"]
    monkeypatch.setitem(table.TABLE, key, edge)
    seed, text = next((s, text) for s in range(SEEDS) if (text := failure(s)))
    assert text.startswith("WorldBroken: ")
    assert text.endswith(f"replay: python -m cluster.simulation.trial {seed}")


def test_every_wrong_rate_is_named_at_once():
    problems = Faults(lose=1.5, delay=float("nan"), delay_s_max=0.0).problems()
    assert (
        "lose must be a chance from 0 to 1, is 1.5",
        "delay must be a chance from 0 to 1, is nan",
        "delay_s_max must be positive, is 0.0",
    ) == problems


def test_drawn_faults_are_valid():
    rng = np.random.default_rng(0)
    assert [] == [p for _ in range(100) for p in drawn_faults(rng, until_s=1.0).problems()]
