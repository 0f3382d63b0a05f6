"""The urgent socket's two ends in one process: runs, pace, and what a cut loses."""

import json
import os
import socket
import threading
import time

import numpy as np
import pytest

from cluster.memory.guest_memory import PAGE_BYTES, create_memory, map_memory
from cluster.memory.ledger import CLAIMED, HERE, INSTALLED, MISSING, Ledger, create_ledger
from cluster.memory.page_server import REQUEST, Pace, PageService, marks_bytes
from cluster.memory.pager import Pager
from cluster.memory.urgent import Dialer, UrgentPages

PAGES = 300
KEY = b"k" * 16
SILENCE_S_MAX = 30.0


class Served:
    """A page server in a thread, and the memory that receives."""

    def __init__(self):
        nbytes = PAGES * PAGE_BYTES
        self.fds = [create_memory("m", nbytes), create_memory("marks", marks_bytes(PAGES))]
        self.memory = map_memory(self.fds[0], nbytes)
        self.memory.flat[:] = np.random.default_rng(2).integers(0, 256, nbytes, dtype=np.uint8)
        self.marks = map_memory(self.fds[1], marks_bytes(PAGES)).flat
        self.control, theirs = socket.socketpair()
        service = PageService(
            {
                "control": theirs.detach(),
                "pages": PAGES,
                "memory": self.fds[0],
                "marks": self.fds[1],
                "key": KEY.hex(),
                "host": "127.0.0.1",
            }
        )
        self.service, self.dialers = service, []
        self.thread = threading.Thread(target=service.run)
        self.thread.start()
        self.port = json.loads(self.control.recv(64))
        self.here = bytearray(nbytes)

    def dial(self):
        self.dialers.append(Dialer("127.0.0.1", self.port, KEY))
        return UrgentPages(self.dialers[-1].dial(), memoryview(self.here))

    def close(self):
        self.control.close()
        self.thread.join(SILENCE_S_MAX)
        self.service.close()
        for dialer in self.dialers:
            dialer.close()
        for fd in self.fds:
            os.close(fd)


@pytest.fixture
def served():
    made = Served()
    yield made
    made.close()


def receive(urgent):
    runs = []
    end = time.monotonic() + SILENCE_S_MAX
    while urgent.under_way and not urgent.broken:
        assert time.monotonic() < end
        runs += urgent.arrived()
    return runs


def test_runs_are_received_in_place_and_counted_by_the_source(served):
    urgent = served.dial()
    urgent.ask(7, 1, urgent=True)
    urgent.ask(100, 200, urgent=False)
    runs = receive(urgent)
    urgent.close()

    assert (7, 1) == runs[0]
    assert (100, 300) == (runs[1][0], sum(runs[-1]))
    assert 201 == sum(count for _, count in runs)
    # The source counts what it has sent, and may be a moment behind who has received it.
    end = time.monotonic() + SILENCE_S_MAX
    while int(served.marks[-8:].view(np.uint64)[0]) < 201:
        assert time.monotonic() < end
    assert 201 == int(served.marks[-8:].view(np.uint64)[0])
    for first, count in runs:
        at = slice(first * PAGE_BYTES, (first + count) * PAGE_BYTES)
        assert bytes(served.memory.flat[at]) == served.here[at]
    assert [0, 1] == [int(served.marks[page]) for page in (8, 299)]


def test_a_connection_that_ends_tells_what_had_not_come_and_a_new_one_is_let_in(served):
    first = served.dial()
    first.ask(0, 10, urgent=True)
    receive(first)
    first.socket.shutdown(socket.SHUT_RDWR)
    first.ask(20, 5, urgent=True)
    first.ask(40, 2, urgent=False)
    assert first.silent(time.monotonic())
    assert [(20, 5), (40, 2)] == first.close()
    second = served.dial()
    second.ask(20, 5, urgent=True)

    assert [(20, 5)] == receive(second)
    second.close()


def test_the_latest_that_knows_the_key_replaces_one_that_may_be_dead(served):
    first, second = served.dial(), served.dial()
    second.ask(3, 1, urgent=True)
    assert [(3, 1)] == receive(second)
    end = time.monotonic() + SILENCE_S_MAX
    while not first.broken and time.monotonic() < end:
        first.arrived()

    assert first.broken
    first.close()
    second.close()


@pytest.mark.parametrize("said", [b"x" * 16, REQUEST.pack(0, 1, 1)])
def test_a_stranger_is_hung_up_on_and_disturbs_nobody(served, said):
    urgent = served.dial()
    with socket.create_connection(("127.0.0.1", served.port)) as stranger:
        stranger.sendall(said)
        stranger.settimeout(SILENCE_S_MAX)
        assert b"" == stranger.recv(1)
    urgent.ask(3, 1, urgent=True)

    assert [(3, 1)] == receive(urgent)
    urgent.close()


def test_a_dialer_keeps_trying_until_somebody_listens():
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    listener.close()
    dialer = Dialer("127.0.0.1", port, KEY)
    dialer.start()
    time.sleep(0.05)
    with socket.create_server(("127.0.0.1", port)) as listener:
        dialer.start()  # it is at it already
        dialer.done.settimeout(SILENCE_S_MAX)
        made = dialer.take()
        peer, _ = listener.accept()
        peer.settimeout(SILENCE_S_MAX)
        assert KEY == peer.recv(16, socket.MSG_WAITALL)
    made.close()
    peer.close()
    dialer.close()


def test_what_is_fetched_ahead_takes_half_of_the_card_and_a_fault_waits_for_nothing():
    pace = Pace(1e6)

    assert pytest.approx(0.2) == pace.sent(100_000, urgent=False, now=5.0)
    assert 0.0 == pace.sent(4096, urgent=True, now=5.2)
    assert 0.0 == Pace(None).sent(1 << 30, urgent=False, now=5.0)
    assert 0.0 == Pace(1e9).sent(4096, urgent=False, now=5.0)  # too short to wait for


def test_a_ledger_claims_runs_of_missing_pages_and_gives_them_back():
    fd = create_ledger("t", PAGES)
    ledger = Ledger(fd, PAGES)
    for page in (3, 4, 5, 9, 20):
        ledger.states[page] = MISSING
    ledger.states[6] = INSTALLED
    assert ledger.claim(4)

    assert [(3, 1), (5, 1), (9, 1)] == ledger.claim_runs(range(20))
    assert [] == ledger.claim_runs(range(20))
    ledger.give_back([(3, 1), (5, 1)])
    assert [(3, 1), (5, 1)] == ledger.claim_runs(range(10))
    assert [HERE, CLAIMED, MISSING] == [ledger.states[page] for page in (2, 9, 20)]
    ledger.count_fetched(3)
    ledger.count_fetched(2)
    assert 5 == Ledger(fd, PAGES).fetched_pages
    os.close(fd)


def test_a_pager_rests_between_the_steps_that_it_fetches_ahead(served):
    states = create_ledger("resting", PAGES)
    ledger = Ledger(states, PAGES)
    ledger.states[:] = bytes([MISSING]) * PAGES
    pager = Pager(
        uffd=-1,
        memory_fd=served.fds[0],
        ledger=ledger,
        address=0,
        step_pages_max=16,
        source=served.dial().socket,
    )
    pager._bubble.faulted(PAGES // 2)
    asked = pager._urgent

    def step(now, cpu_s):
        again_s = pager.prepage(now, cpu_s)
        began = asked.under_way
        receive(asked)
        return again_s, began

    first, soon, later = step(100.0, 0.0), step(100.2, 0.1), step(101.1, 0.1)
    asked.close()
    os.close(states)

    assert (None, True) == first == later
    assert (pytest.approx(0.8), False) == soon
