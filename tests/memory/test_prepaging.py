"""The bubble around faults: what is fetched, and that it ends."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.memory.prepaging import BLOCK_PAGES, STEP_PAGES_MAX, Bubble, rest_s, step_pages_max


@pytest.mark.parametrize("seed", range(3))
def test_fetching_ahead_takes_a_tenth_of_a_core_however_long_the_steps_are(seed):
    rng = np.random.default_rng(seed)
    now = used = 0.0
    for step_s in rng.uniform(0.0001, 0.01, 100):
        took = step_s * rng.uniform(1.0, 30.0)  # some of it waits for the network
        used += step_s
        now += took + rest_s(took, step_s)

    assert used <= 0.1001 * now


def test_a_step_that_waited_long_enough_for_the_network_needs_no_rest():
    assert 0.0 == rest_s(since_step_s=0.02, used_s=0.001)


def test_a_fault_brings_the_block_that_holds_it():
    bubble = Bubble(100)

    assert range(32, 48) == bubble.faulted(37)
    assert range(96, 100) == bubble.faulted(99)


def test_the_bubble_grows_on_both_sides_by_more_each_time_until_a_fault():
    bubble = Bubble(10_000)
    bubble.faulted(5000)  # its block is 4992 to 5007

    assert (range(5008, 5024), range(4976, 4992)) == bubble.grown()
    assert (range(5024, 5056), range(4944, 4976)) == bubble.grown()
    bubble.faulted(100)
    assert (range(112, 128), range(80, 96)) == bubble.grown()


@given(pages=st.integers(1, 40_000), data=st.data(), step=st.integers(1, 2000))
def test_a_bubble_covers_every_page_once_and_ends(pages, data, step):
    bubble = Bubble(pages, step_pages_max=step)
    seen = np.zeros(pages, dtype=np.int64)
    assert bubble.covers_all  # nothing to fetch before the first fault
    asked = bubble.faulted(data.draw(st.integers(0, pages - 1)))
    seen[asked.start : asked.stop] += 1
    for _ in range(pages):
        if bubble.covers_all:
            break
        for side in bubble.grown():
            assert len(side) <= max(step, BLOCK_PAGES)
            seen[side.start : side.stop] += 1

    assert {1} == set(seen.tolist())


@pytest.mark.parametrize(
    ("rate", "pages"), [(None, STEP_PAGES_MAX), (125e6, 30), (1.25e9, 305), (1e6, BLOCK_PAGES)]
)
def test_a_slow_link_fetches_less_ahead(rate, pages):
    assert pages == step_pages_max(rate, 4096)
