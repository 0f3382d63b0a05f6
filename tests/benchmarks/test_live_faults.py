"""Live faults strike where they are put, and nothing is lost by them: one of each kind."""

import os
from pathlib import Path

import live_faults
import pytest

import cluster.actors.births as births
import cluster.actors.cluster as launching
from cluster.actors.session import ray_session

# Deaths take long to get over, and have tests of their own.
DEATHS = (*live_faults.KILLS, "kill center", "busy guest")
# The first command of each kind, which every mode comes to.
ONE_OF_EACH = [
    next(seed for seed, (_, kind, _) in enumerate(live_faults.CASES) if kind == what)
    for what in dict.fromkeys(kind for _, kind, _ in live_faults.CASES)
    if what not in DEATHS
]


@pytest.fixture
def ours(monkeypatch):
    """A Ray whose workers find the faulty host; the faults end with the test."""
    monkeypatch.setattr(births, "Host", births.Host)
    monkeypatch.setattr(launching, "VirtualCenter", launching.VirtualCenter)
    here = str(Path(live_faults.__file__).parent)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([here, os.environ.get("PYTHONPATH", "")]))
    with ray_session(None, namespace="live-faults"):
        yield


@pytest.mark.long
@pytest.mark.ray
def test_one_of_each_kind_strikes_and_breaks_no_law(ours):
    bench = live_faults.Bench()
    told = {}
    try:
        for seed in ONE_OF_EACH:
            one = live_faults.Injection.drawn(seed)
            told[str(one)] = live_faults.injected(bench, one)
            if told[str(one)][1]:
                break
        at_the_end = bench.settle()
    finally:
        bench.stop()
    assert {} == {one: said for one, said in told.items() if said != (True, [])}
    assert len(ONE_OF_EACH) == len(told)
    assert [] == at_the_end
