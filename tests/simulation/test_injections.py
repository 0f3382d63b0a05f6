"""Each row of the fault matrix at each state where it can happen: no law breaks."""

import pytest

from cluster.migration import steps, table
from cluster.migration.spec import Result
from cluster.migration.state import FINAL, Phase
from cluster.migration.table import Edge, Kind
from cluster.simulation.fault_matrix import MATRIX, failure
from cluster.simulation.injections import LASTING, inject

SEEDS = 8
CASES = [(line.row, state) for line in MATRIX for state in line.states]


def run(row, state, seeds):
    """How often the fault was injected, and all that went wrong."""
    found = [failure(row, state, seed) for seed in seeds]
    return sum(count for count, _ in found), [text for _, text in found if text]


@pytest.mark.parametrize(
    ("row", "state"), CASES, ids=[f"{row}-{state.value}" for row, state in CASES]
)
def test_no_law_breaks(row, state):
    count, wrong = run(row, state, range(SEEDS))
    assert [] == wrong
    assert count >= 1


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("row", [line.row for line in MATRIX if line.states])
def test_no_law_breaks_over_many_seeds(row):
    states = next(line.states for line in MATRIX if line.row == row)
    seeds = range(SEEDS, SEEDS + 60)
    assert [] == [text for state in states for text in run(row, state, seeds)[1]]


def test_every_state_that_is_not_final_is_in_the_matrix():
    assert set(Phase) - FINAL == set(LASTING)


def test_an_injection_is_one_run():
    def story(seed):
        return str(inject("F5", Phase.COMMITTING, seed).world.machine.story)

    assert story(3) == story(3)


def test_a_cancel_before_the_commit_is_in_time():
    results = {inject("F1", Phase.PRECOPYING, seed).outcome.result for seed in range(20)}
    assert Result.ABORTED in results


MUTANTS = {
    "a failed commit is taken for a refusal": (
        (Phase.COMMITTING, Kind.FAILED),
        Edge(steps.commit_refused, frozenset({Phase.ROLLING_BACK, Phase.LOST})),
        ("F4", Phase.COMMITTING),
    ),
    "a cancel leads back also while committing": (
        (Phase.COMMITTING, Kind.CANCEL_REQUESTED),
        Edge(steps.interrupted, frozenset({Phase.ROLLING_BACK})),
        ("F1", Phase.COMMITTING),
    ),
    "a failed remainder is taken for a whole one": (
        (Phase.REMAINDER, Kind.FAILED),
        Edge(
            lambda turn, event: turn.end(Phase.COMPLETED),
            frozenset({Phase.COMPLETED}),
        ),
        ("F6", Phase.REMAINDER),
    ),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_the_matrix_finds_a_broken_machine(mutant, monkeypatch):
    key, edge, case = MUTANTS[mutant]
    monkeypatch.setitem(table.TABLE, key, edge)
    assert any(failure(*case, seed)[1] for seed in range(100))
