"""A destination's memory equals the source's, whatever is written, sent, interrupted, lost or repeated."""

import os

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cluster.memory.frozen import Frozen
from cluster.memory.guest_memory import (
    PAGE_BYTES,
    create_memory,
    map_memory,
    populated_pages,
)
from cluster.memory.tracker import ShadowTracker, TrackerKind, WriteProtectTracker, probe
from cluster.memory.transfer import Intake, Outbox
from cluster.memory.userfaultfd import open_userfaultfd

PAGES = 64
NBYTES = PAGES * PAGE_BYTES


class PageStore(RuleBasedStateMachine):
    """One VM's memory at the source, its tracker, what is owed, and the memory that fills.

    The model is one set: pages whose contents the destination may not have yet.
    """

    def __init__(self) -> None:
        super().__init__()
        self.fds = [create_memory("source", NBYTES), create_memory("destination", NBYTES)]
        self.guest, self.host, self.there = (
            map_memory(self.fds[0], NBYTES),
            map_memory(self.fds[0], NBYTES),
            map_memory(self.fds[1], NBYTES),
        )
        self.uffd = -1
        if probe()[0] is TrackerKind.WRITE_PROTECT:
            self.uffd = open_userfaultfd()
            self.tracker = WriteProtectTracker(
                uffd=self.uffd,
                pid=os.getpid(),
                address=self.guest.address,
                nbytes=NBYTES,
                memory=self.host,
            )
            self.tracker.arm()
        else:
            self.tracker = ShadowTracker(memory=self.host, fd=self.fds[0])
        self.outbox = Outbox(self.tracker, populated_pages(self.fds[0], NBYTES), PAGES)
        self.intake = Intake(self.there)
        self.in_round = False
        self.pending = []
        self.stunned = False

    def teardown(self) -> None:
        self.tracker.close()
        for fd in (*self.fds, *([self.uffd] if self.uffd >= 0 else [])):
            os.close(fd)

    @precondition(lambda self: not self.stunned)
    @rule(
        page=st.integers(0, PAGES - 1), at=st.integers(0, PAGE_BYTES - 1), value=st.integers(0, 255)
    )
    def the_guest_writes(self, page, at, value):
        self.guest.pages[page, at] = value

    @precondition(lambda self: not self.stunned)
    @rule(page=st.integers(0, PAGES - 1))
    def the_guest_clears_a_page(self, page):
        """What it frees reads as zeros, here and there alike."""
        self.guest.pages[page] = 0

    @rule()
    def a_round_begins(self):
        self.outbox.begin_round()
        self.pending.clear()
        self.in_round = True

    @precondition(lambda self: self.in_round)
    @rule(pages=st.integers(1, 16), lost=st.booleans())
    def a_batch_travels(self, pages, lost):
        """A lost one ends its round: it is not confirmed, and all is owed again."""
        batch = self.outbox.next_batch(pages * PAGE_BYTES)
        if batch is None:
            return
        if lost:
            self.in_round = False
            return
        self.intake.install_hashed(batch)

    @precondition(lambda self: self.in_round)
    @rule()
    def the_round_is_confirmed(self):
        """Also one that was interrupted: what was handed out has been installed."""
        self.outbox.confirm()
        self.in_round = False

    @precondition(lambda self: self.in_round)
    @rule()
    def the_round_is_interrupted(self):
        self.outbox.interrupt()

    @rule()
    def it_is_stunned_and_the_rest_is_sent(self):
        self.stunned = True
        self.outbox.begin_round()
        while (batch := self.outbox.next_batch(8 * PAGE_BYTES)) is not None:
            self.intake.install_hashed(batch)
        self.outbox.confirm()
        self.in_round = False
        assert 0 == self.outbox.owed_count()
        assert np.array_equal(self.guest.pages, self.there.pages)
        populated = populated_pages(self.fds[0], NBYTES)
        assert np.array_equal(Frozen(self.host, hashed=True).hashes(populated), self.intake.hashes)

    @precondition(lambda self: self.stunned)
    @rule()
    def it_is_rolled_back(self):
        self.stunned = False

    @invariant()
    def what_differs_is_owed_or_dirty(self):
        """The other way round may be: what is owed may be equal by chance."""
        if self.in_round:
            return  # what is on its way is neither
        differing = set(np.flatnonzero((self.guest.pages != self.there.pages).any(axis=1)).tolist())
        owed = set(self.outbox.owed().tolist())
        dirty = self.tracker.count()
        assert len(differing - owed) <= dirty


PageStore.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
TestPageStore = PageStore.TestCase
