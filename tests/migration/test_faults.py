"""Thousands of faulty migrations: whatever goes wrong, one runner at most, and every one ends."""

from collections import Counter

import pytest

from cluster.migration import endings, steps, table
from cluster.migration.spec import Result
from cluster.migration.state import Phase
from cluster.migration.table import Edge, Kind
from tests.migration.world import World, failure

SEEDS = 2_000


def failures(seeds):
    return [text for seed in seeds if (text := failure(seed)) is not None]


def test_no_seed_breaks_a_law():
    assert [] == failures(range(SEEDS))


@pytest.mark.long
def test_no_seed_of_many_breaks_a_law():
    assert [] == failures(range(SEEDS, 30 * SEEDS))


def test_the_seeds_reach_every_result_in_number():
    results = Counter()
    for seed in range(300):
        world = World(seed)
        world.run()
        results[world.machine.outcome.result] += 1
    assert set(Result) == set(results)
    assert min(results[Result.COMPLETED], results[Result.ABORTED], results[Result.LOST]) > 20


def test_a_seed_is_one_run():
    def story(seed):
        world = World(seed)
        world.run()
        return str(world.machine.story)

    assert story(7) == story(7)


def _lose_at_once(turn, event):
    turn.change(destination_lost=True)
    steps.roll_back(turn, "believed dead")


def _forget_remainder(turn, event):
    turn.measure(ran_after_stun=True)
    turn.end(Phase.COMPLETED)


MUTANTS = {
    "a failed commit is taken for a refusal": (
        (Phase.COMMITTING, Kind.FAILED),
        Edge(steps.commit_refused, frozenset({Phase.ROLLING_BACK, Phase.LOST})),
    ),
    "a dead destination is taken for a refused commit": (
        (Phase.COMMITTING, Kind.DESTINATION_LOST),
        Edge(_lose_at_once, frozenset({Phase.ROLLING_BACK})),
    ),
    "a cancel leads back also while committing": (
        (Phase.COMMITTING, Kind.CANCEL_REQUESTED),
        Edge(steps.interrupted, frozenset({Phase.ROLLING_BACK})),
    ),
    "a failed stun is left alone": (
        (Phase.STUNNING, Kind.FAILED),
        Edge(lambda turn, event: turn.end(Phase.ABORTED, "?"), frozenset({Phase.ABORTED})),
    ),
    "the remainder is forgotten": (
        (Phase.RESUMING, Kind.SUCCEEDED),
        Edge(_forget_remainder, frozenset({Phase.COMPLETED})),
    ),
    "a failed resume loses the VM": (
        (Phase.RESUMING, Kind.FAILED),
        Edge(steps.destination_gone, frozenset({Phase.LOST})),
    ),
    "a failed preparation is not cleaned up": (
        (Phase.PREPARING, Kind.FAILED),
        Edge(endings.cancel_unbegun, frozenset({Phase.ABORTED})),
    ),
    "a failed rollback is believed": (
        (Phase.ROLLING_BACK, Kind.FAILED),
        Edge(steps.rolled_back, frozenset({Phase.ABORTED})),
    ),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_the_checkers_find_a_broken_machine(mutant, monkeypatch):
    """A fuzz that cannot fail proves nothing: each mutant must be caught within the seeds."""
    key, edge = MUTANTS[mutant]
    monkeypatch.setitem(table.TABLE, key, edge)
    assert any(failure(seed) for seed in range(SEEDS))
