"""`vmotion tune` stops hopeless trials: a whole search, with figures that are made up, without Ray."""

import json
from contextlib import nullcontext

import optuna
import pytest
from click.testing import CliRunner

from cluster.cli import tune as searching
from cluster.cli.main import main

SCENARIO = """
[scenario]
duration_s = 60
[[host]]
name = "esx"
cpu_mhz = 2000
memory_mib = 1024
[[vm]]
name = "vm"
memory_mib = 64
cpu_mhz = 1000
demand = 100
"""
SEEDS = 3


class Hand:
    """Stands in for Ray's workers: one run at a time, with a figure by the policy alone."""

    at_once_max = 1

    def __init__(self, figure):
        self.runs = []  # (trial, threshold, seed), in their order
        self._figure = figure
        self._waiting = []

    def __len__(self):
        return len(self._waiting)

    def submit(self, key, scenario, wanted):
        threshold = scenario.drs.threshold
        self.runs.append((key, threshold, scenario.seed))
        self._waiting.append((key, (self._figure(threshold),) * len(wanted)))

    def next(self, *, wait_s_max):
        return self._waiting.pop(0)


class InMemory:
    """Stands in for the study's file: SQLite takes seconds, and no search goes on here."""

    def __new__(cls, url):
        return optuna.storages.InMemoryStorage()


@pytest.fixture
def search(tmp_path, monkeypatch):
    """Search where a threshold has this figure; return the runs, and what was said and left."""
    monkeypatch.setattr(optuna.storages, "RDBStorage", InMemory)
    monkeypatch.setattr(searching, "ray_session", lambda *_, **__: nullcontext())
    path = tmp_path / "small.toml"
    path.write_text(SCENARIO)

    def go(figure, *, trials):
        hand = Hand(figure)
        monkeypatch.setattr(searching, "FanOut", lambda _: hand)
        words = ["tune", path, "--space", "threshold=1..5", "--seeds", SEEDS, "--trials", trials]
        done = CliRunner().invoke(main, [str(word) for word in [*words, "--out", tmp_path / "out"]])
        assert 0 == done.exit_code, done.output
        left = tmp_path / "out"
        counts = json.loads((left / "front.json").read_text())
        assert counts["trials"] == trials
        return hand.runs, done.stdout, (left / "policy.toml").read_text(), counts["stopped_early"]

    return go


def test_a_hopeless_trial_is_stopped_after_its_first_seed_and_counted(search):
    """Thresholds above 3, the scenario's own, are twice as bad: none of them gets a second seed."""
    trials = 12  # the sampler has begun to go by what it has seen, stopped trials among it
    runs, said, policy, stopped = search(
        lambda threshold: 20.0 if threshold > 3 else 10.0, trials=trials
    )
    seeds = {trial: [s for t, _, s in runs if t == trial] for trial, _, _ in runs}
    bad = {trial for trial, threshold, _ in runs if threshold > 3}
    assert trials == len(seeds)
    assert 0 < len(bad) == stopped < trials
    for trial, seen in seeds.items():
        assert ([0] if trial in bad else [0, 1, 2]) == seen
    count = f"{trials} trials, {len(bad)} of them stopped early"
    assert count in said
    assert f"# After {count}." in policy


def test_where_no_trial_is_hopeless_all_seeds_are_simulated(search):
    """11 is within the margin of 10."""
    runs, said, _, _ = search(lambda threshold: 11.0 if threshold > 3 else 10.0, trials=5)
    assert any(threshold > 3 for _, threshold, _ in runs)
    assert 5 * SEEDS == len(runs)
    assert "5 trials, 0 of them stopped early" in said
