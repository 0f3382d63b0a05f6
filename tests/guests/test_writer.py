"""The writer against a scalar copy of its definition, and its rates."""

import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.guests.base import Budget
from cluster.guests.memory_map import bind, make_guest
from cluster.guests.writer import DEBT_S_MAX, PAGE_WORDS, Writer
from cluster.inventory.model import MIB, PAGE_BYTES

MASK = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15


def budget(seconds):
    return Budget(seconds=seconds, cycles=seconds * 1000, demand_mhz=1000)


def started(*, vm_mib=1, seed=3, **params):
    vm = np.zeros(vm_mib * MIB, dtype=np.uint8)
    guest = make_guest(Writer, params, vm_memory_bytes=vm.nbytes, seed=seed)
    bind(guest, vm)
    guest.start()
    return guest, vm


def run_until(guest, writes):
    """Step until the writes are done; a slow machine needs more steps, never other writes."""
    while guest.writes_done < writes:
        guest.step(budget(min(writes - guest.writes_done, 64) / guest.writes_per_second))


def splitmix(word):
    """Vigna's reference code, on Python's integers."""
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & MASK
    return word ^ (word >> 31)


def drawn(seed, stream, number):
    key = splitmix(splitmix((seed * GOLDEN + stream) & MASK))
    return splitmix((number * GOLDEN + key) & MASK)


@pytest.mark.parametrize("pattern", ["uniform", "sweep"])
def test_memory_is_what_one_write_after_the_other_leaves(pattern):
    """Few pages and many words, so that writes meet and their order matters."""
    guest, vm = started(rate_mb_s=100, working_set_mib=3 / 256, pattern=pattern, words_per_page=300)
    run_until(guest, 500)
    expected = [0] * (3 * PAGE_WORDS)
    for number in range(guest.writes_done):
        page = number % 3 if pattern == "sweep" else (drawn(3, 1, number) >> 32) * 3 >> 32
        word = drawn(3, 2, number)
        for place in range(300):
            expected[page * PAGE_WORDS + (word + place) % PAGE_WORDS] = (
                word + place * GOLDEN
            ) & MASK
    assert expected == vm[PAGE_BYTES : 4 * PAGE_BYTES].view(np.uint64).tolist()
    assert not vm[4 * PAGE_BYTES :].any()


def test_zipf_gives_a_page_half_the_writes_of_a_page_one_rank_better():
    guest, _ = started(rate_mb_s=100, working_set_mib=0.25, pattern="zipf")
    counts = np.sort(np.bincount(guest.pages_of(0, 100_000), minlength=64))[::-1]
    assert 64 == np.count_nonzero(counts)
    harmonic = (1 / np.arange(1, 65)).sum()
    for rank in (1, 2, 3, 10):
        assert counts[rank - 1] == pytest.approx(100_000 / rank / harmonic, rel=0.1)


def test_uniform_writes_spread_evenly():
    guest, _ = started(rate_mb_s=100, working_set_mib=0.25)
    counts = np.bincount(guest.pages_of(0, 64_000), minlength=64)
    assert counts.min() > 850
    assert counts.max() < 1150


@given(st.lists(st.floats(0, 0.005), max_size=40))
@settings(deadline=None, max_examples=30)
def test_writes_follow_guest_time_however_it_is_cut(seconds):
    guest, _ = started(rate_mb_s=8)
    for part in seconds:
        guest.step(budget(part))
    due = sum(seconds) * 8e6 / PAGE_BYTES
    assert due == pytest.approx(guest.writes_done + guest._debt, abs=1e-6)


def test_a_slowed_guest_writes_less():
    guest, _ = started(rate_mb_s=10)
    for _ in range(100):
        guest.step(budget(0.0025))
    assert 610 == int(guest.writes_done + guest._debt)


def test_what_cannot_be_written_in_time_is_given_up_and_counted():
    guest, _ = started(rate_mb_s=1000)
    guest.step(budget(10.0))
    due = 10 * guest.writes_per_second
    assert guest._debt <= DEBT_S_MAX * guest.writes_per_second + 1
    assert due == pytest.approx(guest.writes_done + guest.writes_skipped + guest._debt)
    assert guest.writes_skipped > 0


@pytest.mark.parametrize(
    ("rate", "period"), [(0, 0.005), (10, 0.005), (1000, 0.001), (9000, 0.001)]
)
def test_a_faster_writer_is_called_more_often(rate, period):
    guest, _ = started(rate_mb_s=rate)
    assert period == pytest.approx(guest.period_s, rel=0.001)


def test_a_working_set_of_the_whole_vm_means_all_but_the_header():
    guest, _ = started(working_set_mib=1)
    assert 255 == guest.pages
    assert 255 == started()[0].pages


def test_every_wrong_parameter_is_told_at_once():
    with pytest.raises(ValueError, match="rate_mb_s") as caught:
        started(rate_mb_s=-1, working_set_mib=2, pattern="zigzag", words_per_page=0)
    for word in ("working_set_mib", "zigzag", "words_per_page"):
        assert word in str(caught.value)


def test_a_filled_vm_holds_distinct_pages_that_do_not_compress():
    guest, vm = started(filled=True, working_set_mib=0.25, rate_mb_s=100)
    pages = vm.reshape(-1, PAGE_BYTES)[1:]
    assert len(pages) == len(np.unique(pages, axis=0))
    assert all(len(zlib.compress(page.tobytes())) > 0.98 * PAGE_BYTES for page in pages[::16])
    run_until(guest, 200)
    again, copy = started(filled=True, working_set_mib=0.25, rate_mb_s=100)
    again.writes_done = guest.writes_done
    again.replay([])
    assert np.array_equal(vm, copy)
