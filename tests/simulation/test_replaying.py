"""What a failure says to type shows the same run again, with its story."""

import pytest

from cluster.migration import table
from cluster.migration.state import Phase
from cluster.simulation import injections, second_requests, trial
from cluster.simulation.seat import WorldBroken
from tests.simulation.test_faults import MUTANTS


def test_a_seed_is_replayed_with_what_was_drawn_and_its_story(capsys):
    trial.main(["11"])
    said = capsys.readouterr().out
    world = trial.faulty_trial(11)
    outcome = world.run().outcome
    assert f"{world.machine.spec}\n{world.faults}\n{world.machine.story}\n{outcome}\n" == said


def test_an_injection_is_replayed_with_its_story(capsys):
    injections.main(["F5", "committing", "3"])
    said = capsys.readouterr().out
    again = injections.inject("F5", Phase.COMMITTING, 3)
    assert said.endswith(f"{again.world.machine.story}\n{again.outcome}\n")


def test_second_requests_are_replayed_with_what_was_told(capsys):
    second_requests.main(["precopying", "1"])
    said = capsys.readouterr().out
    assert 3 == said.count("refused, vm-0 is migrating already to esx-1")


def test_a_replay_of_a_broken_promise_breaks_it_again_and_still_tells_the_story(
    capsys, monkeypatch
):
    key, edge = MUTANTS["a failed commit is taken for a refusal"]
    monkeypatch.setitem(table.TABLE, key, edge)
    seed = next(seed for seed in range(2_000) if trial.failure(seed))
    with pytest.raises(WorldBroken):
        trial.main([str(seed)])
    assert "esx-1" in capsys.readouterr().out


def test_a_failure_of_second_requests_says_how_to_see_it_again(monkeypatch):
    """A VM that VirtualCenter does not know is asked for."""
    monkeypatch.setattr(second_requests, "_VM", "vm-9")
    count, text = second_requests.failure(Phase.PRECOPYING, 1)
    assert 0 == count
    assert text.endswith("replay: python -m cluster.simulation.second_requests precopying 1")
