"""What was written is known to the next life, in order and once, however the last one ended."""

import contextlib
import shutil
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from cluster.journal.database import JournalFailed
from cluster.journal.journal import Journal, Noted
from cluster.journal.replay import begin, begun_at, go_on
from cluster.policy.center import Center
from cluster.policy.messages import HostConnected, MaintenanceRequested, Started, Ticked
from tests.journal.test_replay import seen
from tests.policy.building import scenario, vm

CLUSTER = scenario(["a", "b"], [vm("x", "a"), vm("y", "b")])
SEED = 3
EVENTS = [
    Ticked(),
    Started(),
    HostConnected(host="a", serves_faults=True),
    HostConnected(host="b", serves_faults=True),
    MaintenanceRequested(host="a"),
]
ENDS = ["closed", "abandoned", "killed"]


class Lives(RuleBasedStateMachine):
    """One life of VirtualCenter after the other, with one journal.

    Attributes:
        written: (now, event) of all that was ever written.
        waiting: The same, of what is written with the next that is.
        forgotten: How many of the written ones are in the kept state.
        story: (number, text) of the notes that were written.
    """

    def __init__(self) -> None:
        super().__init__()
        self.place = Path(tempfile.mkdtemp())
        self.path = self.place / "0" / "vmotion.db"
        begun_at(self.path, CLUSTER, seed=SEED)
        self.journal, self.known = go_on(self.path, name=CLUSTER.name)
        self.now = 0.0
        self.written: list[tuple[float, object]] = []
        self.waiting: list[tuple[float, object]] = []
        self.forgotten = 0
        self.story: list[tuple[int, str]] = []

    # What a life does.

    @rule(event=st.sampled_from(EVENTS), notes=st.integers(0, 2))
    def hears(self, event, notes):
        made = [self.note() for _ in range(notes)]
        self.decides(event)
        self.journal.hear(event, made, now_s=self.now)
        self.waiting.append((self.now, event))
        self.all_is_written(made)

    @rule(event=st.sampled_from(EVENTS))
    def hears_what_may_wait(self, event):
        self.decides(event)
        self.journal.hear_later(event, now_s=self.now)
        self.waiting.append((self.now, event))

    @rule(notes=st.integers(0, 2))
    def notes_something(self, notes):
        made = [self.note() for _ in range(notes)]
        self.journal.note(made)
        self.all_is_written(made)

    @rule()
    def keeps_its_state(self):
        self.journal.keep((self.known.center, self.known.rng), now_s=self.now)
        self.all_is_written([])
        self.forgotten = len(self.written)

    @rule()
    def brings_it_to_the_disk(self):
        self.journal.checkpoint()
        self.journal.check()

    # How it ends.

    @rule(how=st.sampled_from(ENDS))
    def ends(self, how):
        if how == "closed":
            self.journal.close()
            self.all_is_written([])
        elif how == "killed":
            self.killed()
        self.next_life()

    @rule(event=st.sampled_from(EVENTS))
    def is_killed_in_the_middle_of_writing(self, event):
        """Its event is in the file by then, and what makes it count is not."""
        made = [self.note(Killing(self.killed))]
        with pytest.raises(InterruptedError):
            self.journal.hear(event, made, now_s=self.now + 1.0)
        self.next_life()

    @rule(event=st.sampled_from(EVENTS), how=st.sampled_from(ENDS))
    def cannot_write(self, event, how):
        """The disk is full: it ends, and the next one must not know what was not written."""
        database = self.journal._database
        (pages,) = database.execute("PRAGMA page_count").fetchone()
        database.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(JournalFailed, match="cannot be written"):
            self.journal.hear(event, [self.note("x" * 500_000)], now_s=self.now + 1.0)
        database.execute("PRAGMA max_page_count = 1000000")
        self.ends(how)

    # What always holds.

    @invariant()
    def what_was_written_is_there_in_order_and_once(self):
        kept = self.journal.kept()
        found = [(one.now_s, one.event) for one in self.journal.heard_since(kept.number)]
        assert self.written[self.forgotten :] == found
        notes = self.journal.notes_since(0, count_max=1000)
        assert self.story == [(one.number, one.note) for one in notes]

    @invariant()
    def a_restart_would_hear_these_again(self):
        since = len(self.written) - self.forgotten + len(self.waiting)
        assert since == self.journal.events_since_kept

    def teardown(self):
        self.journal.abandon()
        shutil.rmtree(self.place)

    # Inside.

    def decides(self, event):
        self.now += 0.5
        self.known.center.handle(event, now=self.now, rng=self.known.rng)

    def note(self, thing="it was so"):
        number = self.journal.next_note()
        return Noted(number=number, kind="story", time_s=self.now, unix_s=9.0, note=thing)

    def all_is_written(self, notes):
        self.written += self.waiting
        self.waiting = []
        self.story += [(one.number, one.note) for one in notes]

    def killed(self):
        """Leave the file and its log as they are now; to close a connection would tidy them."""
        new = self.place / str(int(self.path.parent.name) + 1) / self.path.name
        new.parent.mkdir()
        for end in ("", "-wal"):
            with contextlib.suppress(FileNotFoundError):
                shutil.copy(f"{self.path}{end}", f"{new}{end}")
        self.path = new

    def next_life(self):
        """It knows what hearing all that was written leads to, from the very beginning."""
        self.journal.abandon()
        self.waiting = []
        self.journal, self.known = go_on(self.path, name=CLUSTER.name)
        center, rng = Center(CLUSTER), np.random.default_rng(SEED)
        for now, event in self.written:
            center.handle(event, now=now, rng=rng)
        assert len(self.written) - self.forgotten == self.known.replayed
        assert seen(center) == seen(self.known.center)
        assert rng.bit_generator.state == self.known.rng.bit_generator.state
        self.now = max([self.now, *(now for now, _ in self.written)])


class Killing:
    """A note during whose writing something happens, and then the write goes no further."""

    def __init__(self, happens):
        self.happens = happens

    def __reduce__(self):
        self.happens()
        raise InterruptedError


TestLives = Lives.TestCase
TestLives.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, derandomize=True
)


def heard(journal):
    return [(one.now_s, one.event) for one in journal.heard_since(journal.kept().number)]


def test_what_could_not_be_written_does_not_wait(tmp_path):
    """Else it would be written with the next event, though it was told that it is not."""
    journal = Journal(tmp_path / "vmotion.db")
    begin(journal, CLUSTER, seed=SEED, unix_s=0.0)
    journal.hear_later(Ticked(), now_s=1.0)
    with pytest.raises(TypeError):
        journal.hear(threading.Lock(), [], now_s=2.0)
    journal.hear(Started(), [], now_s=3.0)

    assert [(1.0, Ticked()), (3.0, Started())] == heard(journal)
    journal.close()
    again, known = go_on(journal.path, name=CLUSTER.name)
    assert 2 == known.replayed
    again.close()


def test_a_life_that_could_not_begin_leaves_no_gap(tmp_path):
    """A number that is never written would be a missing event to the next life."""
    journal = Journal(tmp_path / "vmotion.db")
    begin(journal, CLUSTER, seed=SEED, unix_s=0.0)
    with pytest.raises(TypeError):
        journal.begin("test", threading.Lock(), unix_s=0.0)
    journal.hear(Ticked(), [], now_s=1.0)

    assert [(1.0, Ticked())] == heard(journal)
    journal.close()
