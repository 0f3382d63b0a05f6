"""Dirty tracking: nothing missed, nothing invented, what is sent is what was seen."""

import sys
import threading

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cluster.memory.guest_memory import PAGE_BYTES, populated_pages


def test_fresh_memory_is_clean_and_unallocated(tracked):
    assert [] == tracked.tracker.harvest().tolist()
    assert 0 == tracked.tracker.count()
    assert [] == populated_pages(tracked.fd, len(tracked.guest.flat)).tolist()


def test_a_write_is_seen_once_and_counting_does_not_forget_it(tracked):
    tracked.guest.flat[5 * PAGE_BYTES + 17] = 1

    assert 1 == tracked.tracker.count()
    assert [5] == tracked.tracker.harvest().tolist()
    assert [] == tracked.tracker.harvest().tolist()


def test_a_page_written_again_after_a_harvest_is_seen_again(tracked):
    tracked.guest.flat[0] = 1
    tracked.tracker.harvest()
    tracked.guest.flat[0] = 2

    assert [0] == tracked.tracker.harvest().tolist()


def test_scattered_and_adjacent_pages_come_ascending(tracked):
    pages = [0, 1, 2, 1023, 1024, 1500, 2998, 2999]
    for page in reversed(pages):
        tracked.guest.pages[page, 100] = 7

    assert pages == tracked.tracker.harvest().tolist()


def test_reading_harvested_pages_gives_their_contents(tracked):
    tracked.guest.pages[10:13] = 9
    tracked.guest.pages[40] = 4

    pages = tracked.tracker.harvest()

    assert [9, 9, 9, 4] == tracked.tracker.read(pages)[:, 77].tolist()


def test_counting_in_another_thread_takes_nothing_from_a_harvest(tracked):
    """A migration's progress is looked at while its round ends."""
    tracker, pages = tracked.tracker, tracked.guest.pages
    odd, even = np.arange(1, 3000, 2), np.arange(0, 3000, 2)
    done = threading.Event()

    def count():
        while not done.is_set():
            tracker.count()

    counting = [threading.Thread(target=count) for _ in range(2)]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in counting:
            thread.start()
        for value, written in enumerate([odd, even] * 150):
            pages[written, 0] = value % 251 + 1
            assert set(written.tolist()) <= set(tracker.harvest().tolist())
    finally:
        done.set()
        for thread in counting:
            thread.join()
        sys.setswitchinterval(before)


def test_following_the_harvests_always_ends_with_equal_memory(tracked):
    """A copy that takes each harvest's pages equals the guest at the end of every round."""

    @settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        st.lists(
            st.lists(st.tuples(st.integers(0, 2999), st.integers(0, 255)), max_size=40),
            max_size=6,
        )
    )
    def rounds(writes):
        copy = tracked.guest.pages.copy()
        tracked.tracker.harvest()
        for batch in writes:
            for page, value in batch:
                tracked.guest.pages[page, page % PAGE_BYTES] = value
            pages = tracked.tracker.harvest()
            copy[pages] = tracked.tracker.read(pages)
            assert np.array_equal(tracked.guest.pages, copy)

    rounds()


def test_a_page_that_changes_and_changes_back_is_sent_as_it_is(tracked):
    """The value in between must not be what the destination keeps."""
    tracked.guest.pages[3] = 1
    pages = tracked.tracker.harvest()
    tracked.guest.pages[3] = 2
    sent = tracked.tracker.read(pages).copy()
    tracked.guest.pages[3] = 1
    again = tracked.tracker.harvest()
    final = tracked.tracker.read(again) if len(again) else sent

    assert 1 == final[0, 0]


def test_closing_twice_is_harmless(tracked):
    tracked.tracker.close()
    tracked.tracker.close()
