"""A VM's memory: shared, sparse, and gone with its last holder."""

import os
import sys

import numpy as np
import pytest

from cluster.memory.guest_memory import (
    PAGE_BYTES,
    create_memory,
    map_memory,
    populated_pages,
    read_pages,
    resident_pages,
    write_pages,
    zero_pages,
)
from cluster.memory.hashes import ZERO_PAGE_HASH, hash_pages


@pytest.fixture
def memory():
    fd = create_memory("test", 64 * PAGE_BYTES)
    yield fd, map_memory(fd, 64 * PAGE_BYTES)
    os.close(fd)


@pytest.mark.parametrize("nbytes", [0, -4096, 100, 4097])
def test_memory_is_whole_pages(nbytes):
    with pytest.raises(ValueError, match="whole pages"):
        create_memory("test", nbytes)


def test_two_mappings_are_the_same_memory(memory):
    fd, first = memory
    second = map_memory(fd, 64 * PAGE_BYTES)
    first.pages[7, 8] = 9

    assert 9 == second.pages[7, 8]


def test_only_touched_pages_are_populated(memory):
    fd, mapping = memory
    mapping.pages[3] = 1
    mapping.pages[9] = 0
    mapping.pages[63, 4095] = 1

    assert [3, 9, 63] == populated_pages(fd, 64 * PAGE_BYTES).tolist()


def test_a_memory_that_cannot_be_looked_at_is_not_taken_for_an_untouched_one(memory):
    closed = os.dup(memory[0])
    os.close(closed)
    with pytest.raises(OSError, match="Bad file descriptor"):
        populated_pages(closed, 64 * PAGE_BYTES)


@pytest.mark.skipif(sys.platform != "linux", reason="mincore as Linux has it")
def test_pages_are_resident_through_a_mapping_that_has_not_touched_them(memory):
    fd, mapping = memory
    mapping.pages[[3, 9, 63]] = 1
    other = map_memory(fd, 64 * PAGE_BYTES)

    assert [3, 9, 63] == np.flatnonzero(resident_pages(other, 0, 64)).tolist()
    assert [0, 6] == np.flatnonzero(resident_pages(other, 3, 10)).tolist()


@pytest.mark.parametrize("pages", [[], [5], [5, 6, 7], [1, 30, 31, 60]])
def test_what_is_written_is_read(memory, pages):
    _, mapping = memory
    numbers = np.array(pages, dtype=np.int64)
    data = np.random.default_rng(1).integers(0, 256, (len(pages), PAGE_BYTES), dtype=np.uint8)

    write_pages(mapping, numbers, data)

    assert np.array_equal(data, read_pages(mapping, numbers))
    assert int(data.any(axis=1).sum()) == int(mapping.pages.any(axis=1).sum())


@pytest.mark.parametrize("byte", [0, 1, 2047, 2048, 2049, 4095])
def test_one_byte_makes_a_page_not_zero(byte):
    data = np.zeros((3, PAGE_BYTES), dtype=np.uint8)
    data[1, byte] = 1

    assert [True, False, True] == zero_pages(data).tolist()


def test_hashes_differ_where_pages_differ():
    data = np.zeros((3, PAGE_BYTES), dtype=np.uint8)
    data[1, 5] = 1
    hashes = hash_pages(data)

    assert ZERO_PAGE_HASH == hashes[0] == hashes[2]
    assert hashes[1] != hashes[0]
