"""Packing is decided by gain and gives back what it was given."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.memory.packing import pack, unpack, worthwhile

GIGABIT = 125e6


@pytest.mark.parametrize(
    ("left", "packs", "link", "worth"),
    [
        (0.35, 500e6, GIGABIT, True),
        (0.35, 500e6, 1.25e9, False),  # the core is the slowest
        (0.95, 4e9, GIGABIT, False),  # hardly smaller
        (0.90, 4e9, GIGABIT, True),
        (0.10, GIGABIT, GIGABIT, False),  # as slow as the wire
    ],
)
def test_what_does_not_arrive_a_tenth_sooner_is_not_packed(left, packs, link, worth):
    assert worth is worthwhile(left, packs, link)


@given(pages=st.integers(1, 100), seed=st.integers(0, 9))
def test_what_is_packed_is_given_back(pages, seed):
    rng = np.random.default_rng(seed)
    data = np.repeat(rng.integers(0, 256, (pages, 64), dtype=np.uint8), 64, axis=1)
    packed = pack(data, 1e3)

    assert packed is not None
    assert packed.nbytes < data.nbytes / 4
    assert np.array_equal(data, unpack(packed, 4096))


def test_chance_and_nothing_are_left_as_they_are():
    data = np.random.default_rng(1).integers(0, 256, (64, 4096), dtype=np.uint8)

    assert pack(data, 1e3) is None
    assert pack(data[:0], 1e3) is None
