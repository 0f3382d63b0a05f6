"""What a source owes and a destination notes, over real memory and both trackers."""

import os
from dataclasses import replace

import numpy as np
import pytest

from cluster.memory.frozen import Frozen
from cluster.memory.guest_memory import (
    PAGE_BYTES,
    allocate,
    create_memory,
    map_allocated,
    map_memory,
    populated_runs,
)
from cluster.memory.hashes import ZERO_PAGE_HASH
from cluster.memory.transfer import Batch, DamagedBatch, Intake, Outbox

PAGES = 400


def mapped():
    fd = create_memory("t", PAGES * PAGE_BYTES)
    try:
        return map_memory(fd, PAGES * PAGE_BYTES)
    finally:
        os.close(fd)


class Written:
    """A tracker whose writes a test names; the memory is real."""

    quick = True

    def __init__(self, memory):
        self.memory, self.written = memory, set()

    def harvest(self):
        found, self.written = np.array(sorted(self.written), dtype=np.int64), set()
        return found

    def count(self):
        return len(self.written)

    def read(self, pages):
        return self.memory.pages[pages]


@pytest.fixture
def memories():
    return [mapped() for _ in range(2)]


def drained(outbox, bytes_max=16 * PAGE_BYTES):
    while (batch := outbox.next_batch(bytes_max)) is not None:
        yield batch


def test_what_was_sent_and_not_written_again_is_owed_no_more(memories):
    tracker = Written(memories[0])
    outbox = Outbox(tracker, np.arange(100), PAGES)
    tracker.written = {5, 300}
    assert 101 == outbox.begin_round()
    sent = [page for batch in drained(outbox) for page in batch.pages.tolist()]
    tracker.written = {7, 300}
    outbox.confirm()

    assert [*range(100), 300] == sent
    assert [7, 300] == outbox.harvest().tolist() == outbox.owed().tolist()
    assert 2 == outbox.owed_count()
    assert [page for page in range(100) if page != 7] == outbox.across().tolist()


def test_an_interrupted_round_owes_what_it_had_not_handed_out(memories):
    outbox = Outbox(Written(memories[0]), np.arange(100), PAGES)
    outbox.begin_round()
    outbox.next_batch(30 * PAGE_BYTES)
    outbox.interrupt()
    assert outbox.next_batch(30 * PAGE_BYTES) is None
    outbox.confirm()

    assert list(range(30, 100)) == outbox.owed().tolist()


def test_what_goes_ahead_is_read_as_it_is_and_left_out_of_the_round(memories):
    here, _ = memories
    fetched = np.zeros(PAGES, dtype=np.uint8)
    tracker = Written(here)
    outbox = Outbox(tracker, np.array([3, 4, 5]), PAGES, fetched)
    here.pages[4] = 9

    ahead = outbox.ahead(np.array([4, 7]))
    outbox.begin_remainder()
    left = [page for batch in drained(outbox) for page in batch.pages.tolist()]

    assert [4] == ahead.pages.tolist()
    assert (ahead.data == 9).all()
    assert [3, 5] == left
    assert [4] == np.flatnonzero(fetched).tolist()


def test_a_round_that_failed_forgets_nothing(memories):
    outbox = Outbox(Written(memories[0]), np.arange(100), PAGES)
    outbox.begin_round()
    list(drained(outbox))

    assert 100 == outbox.begin_round()


def test_what_is_installed_is_what_was_read_and_is_noted_as_it_lies_in_memory(memories):
    source, here = memories
    rng = np.random.default_rng(3)
    source.flat[:] = rng.integers(1, 256, len(source.flat), dtype=np.uint8)
    source.pages[rng.choice(PAGES, 90, replace=False)] = 0
    here.flat[:] = 7  # as an earlier round may have left it
    intake = Intake(here)
    outbox = Outbox(Written(source), np.arange(PAGES), PAGES)
    outbox.begin_round()
    for batch in drained(outbox, 150 * PAGE_BYTES):
        intake.install_hashed(batch)

    assert np.array_equal(source.flat, here.flat)
    assert np.array_equal(Frozen(source, hashed=True).hashes(np.arange(PAGES)), intake.hashes)
    assert 90 == outbox.zero_pages == np.count_nonzero(intake.hashes == ZERO_PAGE_HASH)


def test_a_batch_that_is_worth_it_is_packed_and_installed_as_it_was(memories):
    source, here = memories
    source.flat[:] = np.repeat(np.arange(len(source.flat) // 64, dtype=np.uint8), 64)
    outbox = Outbox(Written(source), np.arange(PAGES), PAGES)
    outbox.begin_round()
    batch = outbox.next_batch(PAGES * PAGE_BYTES, 1e4)
    Intake(here).install_hashed(batch.unpacked())

    assert batch.wire_bytes == outbox.sent_bytes < len(source.flat) / 2
    assert np.array_equal(source.flat, here.flat)


@pytest.mark.parametrize("rate", [None, 1e4], ids=["plain", "packed"])
def test_a_batch_that_was_damaged_on_its_way_is_noticed(memories, rate):
    memories[0].flat[:] = np.repeat(np.arange(len(memories[0].flat) // 64, dtype=np.uint8), 64)
    outbox = Outbox(Written(memories[0]), np.arange(PAGES), PAGES, checksummed=True)
    outbox.begin_round()
    batch = outbox.next_batch(PAGES * PAGE_BYTES, rate)
    batch.unpacked()
    memories[0].flat[:] = 0  # what the guest writes later is another round's
    batch.unpacked()
    travelled = (batch.data if rate is None else batch.packed).copy()
    travelled.reshape(-1)[travelled.size // 2] ^= 1
    damaged = replace(batch, **{"data" if rate is None else "packed": travelled})

    with pytest.raises(DamagedBatch, match="400 pages"):
        damaged.unpacked()


def test_a_batch_names_the_pages_of_its_rows():
    zero = np.array([False, True, False])
    batch = Batch(
        pages=np.array([3, 5, 9]), zero=zero, data=np.ones((2, PAGE_BYTES), dtype=np.uint8)
    )
    assert [3, 9] == batch.full_pages.tolist()


def test_memory_that_is_allocated_early_holds_what_it_held():
    fd = create_memory("t", PAGES * PAGE_BYTES)
    memory = map_memory(fd, PAGES * PAGE_BYTES)
    memory.pages[20] = 9
    allocate(memory, ((10, 40), (50, 60)))
    map_allocated(memory, ((10, 40),))

    assert set(populated_runs(fd, PAGES * PAGE_BYTES)) <= {((10, 40)), (50, 60), (20, 21)}
    assert 9 * PAGE_BYTES == int(memory.flat.sum())
    os.close(fd)
