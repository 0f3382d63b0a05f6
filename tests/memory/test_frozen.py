"""What a source gives back of a VM that has left, and what it still knows of it."""

import os

import numpy as np
import pytest

from cluster.memory.frozen import Frozen
from cluster.memory.guest_memory import PAGE_BYTES, create_memory, map_memory, populated_pages

PAGES = 3000


@pytest.fixture
def memory():
    fd = create_memory("frozen", PAGES * PAGE_BYTES)
    mapping = map_memory(fd, PAGES * PAGE_BYTES)
    touched = np.r_[0:1500, 2000:2400]
    mapping.pages[touched] = (touched % 251 + 1)[:, None]
    yield fd, mapping, touched
    os.close(fd)


def test_pages_that_are_given_back_are_holes_and_their_hashes_stay_known(memory):
    fd, mapping, touched = memory
    right = Frozen(mapping, hashed=True).hashes(touched).copy()
    frozen = Frozen(mapping, hashed=True)
    back = np.r_[3, 7:1300, 2001, 2003, 2399]

    frozen.give_back(back)

    left = populated_pages(fd, len(mapping.flat))
    assert np.setdiff1d(touched, back).tolist() == left.tolist()
    assert np.array_equal(right, frozen.hashes(left))


def test_giving_back_twice_or_what_was_never_touched_changes_nothing(memory):
    fd, mapping, touched = memory
    frozen = Frozen(mapping, hashed=True)
    frozen.give_back(np.array([5]))
    right = frozen.hashes(touched).copy()
    held = os.fstat(fd).st_blocks

    for again in (np.array([5]), np.array([1700, 1800]), np.empty(0, dtype=np.int64)):
        frozen.give_back(again)

    assert held == os.fstat(fd).st_blocks
    assert np.array_equal(right, frozen.hashes(touched))
