"""Bandwidth and dirty rate from a migration's own rounds."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.migration.estimates import FULL_SAMPLE_BYTES, Dirtying, LinkEstimate, fit_dirtying

MIB = 1 << 20


def test_nothing_is_known_of_a_link_that_sent_nothing():
    assert LinkEstimate().bytes_per_second is None
    assert LinkEstimate() == LinkEstimate().sampled(0, 1.0)
    assert LinkEstimate() == LinkEstimate().sampled(MIB, 0.0)


def test_the_first_sample_is_believed():
    assert 100 * MIB == LinkEstimate().sampled(200 * MIB, 2.0).bytes_per_second


def test_full_samples_are_smoothed_by_time():
    """16 MiB in 1 s, then 16 MiB in 2 s: (0.6·16 + 16) MiB over (0.6·1 + 2) s = 25.6/2.6 MiB/s."""
    link = LinkEstimate().sampled(FULL_SAMPLE_BYTES, 1.0).sampled(FULL_SAMPLE_BYTES, 2.0)
    assert pytest.approx(25.6 / 2.6 * MIB) == link.bytes_per_second


def test_a_hundred_tiny_rounds_do_not_forget_a_gigabyte():
    """Each sends one page in 1 ms (4 MB/s); the link did 1 GB/s before."""
    link = LinkEstimate().sampled(1 << 30, 1.0)
    for _ in range(100):
        link = link.sampled(4096, 0.001)
    assert link.bytes_per_second > 0.9 * (1 << 30)


@given(
    rate=st.floats(10, 1e6),
    pages=st.integers(1, 1 << 24),
    first_s=st.floats(0.01, 0.5),
    duration_s=st.floats(1.0, 100.0),
)
def test_the_fit_passes_through_the_round_that_it_was_made_from(rate, pages, first_s, duration_s):
    truth = Dirtying(pages_per_second=rate, working_set_pages=float(pages))
    seen = round(truth.pages_after(duration_s))
    first = round(truth.pages_after(first_s))
    fitted = fit_dirtying(seen, duration_s, (first_s, first))
    assert pytest.approx(seen, rel=0.01, abs=1e-6) == fitted.pages_after(duration_s)


def test_a_saturated_working_set_is_seen_through():
    """200 MB/s over 256 MiB for 8.6 s leaves it all dirty; the mean rate says 31 MB/s."""
    truth = Dirtying(pages_per_second=200e6 / 4096, working_set_pages=65536.0)
    fitted = fit_dirtying(round(truth.pages_after(8.6)), 8.6, (0.1, round(truth.pages_after(0.1))))
    assert pytest.approx(200e6 / 4096, rel=0.001) == fitted.pages_per_second
    assert pytest.approx(65536, rel=0.001) == fitted.working_set_pages


def test_without_a_count_within_the_round_dirtying_is_a_straight_line():
    assert Dirtying(pages_per_second=50.0) == fit_dirtying(100, 2.0)
    assert Dirtying(pages_per_second=50.0) == fit_dirtying(100, 2.0, (2.5, 40))
    assert math.isinf(fit_dirtying(100, 2.0, (1.0, 51)).working_set_pages)


def test_a_guest_that_writes_nothing_dirties_nothing():
    assert Dirtying() == fit_dirtying(0, 1.0)
    assert 0.0 == Dirtying().pages_after(1e9)


def test_a_throttled_guest_dirties_in_proportion_to_its_time():
    half = Dirtying(pages_per_second=100.0).throttled(0.5, 0.0)
    assert 50.0 == half.pages_per_second
    assert pytest.approx(25.0) == half.throttled(0.75, 0.5).pages_per_second
