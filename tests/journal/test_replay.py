"""After any sequence of events a journal leads to the same state, whenever the states were kept."""

import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis.stateful import rule

from cluster.journal.database import JournalFailed
from cluster.journal.journal import Journal
from cluster.journal.replay import begin, begun_at, go_on, restore
from cluster.policy.messages import HostConnected, Restarted, Started
from cluster.policy.state import PowerState
from tests.policy.building import host, scenario, vm
from tests.policy.test_laws import HOSTS, Anything, small_cluster


def seen(center):
    """Everything that a decision may rest on, in a form that compares."""
    state = center.state
    return {
        "hosts": state.hosts,
        "vms": state.vms,
        "migrations": state.migrations,
        "owners": {name: state.ownership.get(name) for name in state.vms},
        "taking over": state.taking_over,
        "residents": {at: sorted(vms) for at, vms in state.residents.items()},
        "settings": state.scenario,
        "overhead": state.overhead_s,
        "tasks": center.tasks.all(),
        "wakes": center.wake_at,
        "open": center.recommendations(),
        "shares": center._shares.of(state.migrations),
    }


class Journaled(Anything):
    """The same machine of any events, written down as VirtualCenter does."""

    def __init__(self) -> None:
        super().__init__()
        self.place = tempfile.TemporaryDirectory()
        self.journal = Journal(Path(self.place.name) / "vmotion.db")
        known = begin(self.journal, small_cluster(), seed=0, unix_s=0.0)
        self.center, self.random = known.center, known.rng
        self.state = self.center.state

    def decide(self, event):
        commands = self.center.handle(event, now=self.now, rng=self.random)
        self.journal.hear(event, [], now_s=self.now)
        return commands

    @rule()
    def a_state_is_kept(self):
        self.journal.keep((self.center, self.random), now_s=self.now)

    @rule()
    def virtualcenter_dies(self):
        """From here on the machine runs on what the journal led to."""
        known = restore(Journal(self.journal.path))
        assert known is not None
        assert seen(self.center) == seen(known.center)
        assert self.random.bit_generator.state == known.rng.bit_generator.state
        self.center, self.random = known.center, known.rng
        self.state = self.center.state
        self.feed(Restarted())
        for name in HOSTS:
            if self.state.hosts[name].answers:
                self.feed(HostConnected(host=name, serves_faults=True))

    def teardown(self):
        known = restore(Journal(self.journal.path))
        assert known is not None
        assert seen(self.center) == seen(known.center)
        self.journal.close()
        self.place.cleanup()


TestJournaled = Journaled.TestCase
TestJournaled.settings = settings(max_examples=25, stateful_step_count=35, deadline=None)


def test_nothing_is_restored_from_an_empty_journal(tmp_path):
    assert restore(Journal(tmp_path / "vmotion.db")) is None


def test_a_life_goes_on_with_what_was_begun(tmp_path):
    path = tmp_path / "vmotion.db"
    begun_at(path, scenario(["a"], [vm("x", "a")]), seed=3)
    journal, known = go_on(path, name="test")

    assert ["x"] == list(known.center.state.vms)
    assert 0 == known.replayed
    journal.close()


def emptied(path):
    os.truncate(path, 0)


def put_in_place_of_it(path):
    """A journal in which nothing has begun."""
    path.unlink()
    Journal(path).close()


@pytest.mark.parametrize("harm", [emptied, os.unlink, put_in_place_of_it])
def test_a_life_never_begins_anew_in_a_lost_database(tmp_path, harm):
    """It would power off everything that runs on the hosts."""
    path = tmp_path / "vmotion.db"
    begun_at(path, scenario(["a"], [vm("x", "a")]), seed=3)
    harm(path)
    for _ in range(2):  # the first try must not make what the second one then takes
        with pytest.raises(JournalFailed, match=r"damaged or no database.*Put a copy back"):
            go_on(path, name="test")


def test_another_clusters_database_is_not_gone_on_with(tmp_path):
    path = tmp_path / "vmotion.db"
    begun_at(path, scenario(["a"], []), seed=3)
    with pytest.raises(JournalFailed, match=r"of the cluster test.*Put a copy back"):
        go_on(path, name="other")


def test_time_goes_on_where_it_was(tmp_path):
    journal = Journal(tmp_path / "vmotion.db")
    known = begin(journal, scenario(["a"], [vm("x", "a")]), seed=1, unix_s=100.0)
    for second, event in enumerate((HostConnected(host="a", serves_faults=True), Started())):
        known.center.handle(event, now=float(second), rng=known.rng)
        journal.hear(event, [], now_s=float(second))
    again = restore(Journal(journal.path))

    assert (1.0, 2, True) == (again.now_s, again.replayed, again.restarted)
    assert PowerState.STARTING is again.center.state.vms["x"].power
    assert 1.0 == again.center.state.began_s


def test_events_that_do_not_fit_the_state_are_damage_and_are_said(tmp_path):
    journal = Journal(tmp_path / "vmotion.db")
    begin(journal, scenario(["a"], []), seed=1, unix_s=0.0)
    journal.hear(HostConnected(host="nobody", serves_faults=True), [], now_s=1.0)
    with pytest.raises(JournalFailed, match=r"cannot be heard again.*move it aside"):
        restore(Journal(journal.path))


def test_the_same_random_numbers_follow(tmp_path):
    journal = Journal(tmp_path / "vmotion.db")
    known = begin(journal, scenario([host("a")], []), seed=7, unix_s=0.0)
    first = known.rng.integers(1 << 32)
    again = restore(Journal(journal.path))

    assert first == again.rng.integers(1 << 32)
    assert isinstance(again.rng, np.random.Generator)
