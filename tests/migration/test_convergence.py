"""What to do after a round, in the four modes' three rules."""

from dataclasses import replace

import pytest

from cluster.inventory.model import PAGE_BYTES, Mode
from cluster.migration.convergence import (
    Convergence,
    Course,
    Verdict,
    decide,
    predicted_flip_s,
)
from cluster.migration.estimates import Dirtying

RULE = Convergence()
LINK = 10_000 * PAGE_BYTES  # 10,000 pages a second
COURSE = Course(
    mode=Mode.PRECOPY,
    memory_pages=100_000,
    downtime_s_max=0.1,
    overhead_s=0.01,
    rounds_max=30,
    rounds_done=1,
    left_pages=(5_000,),
    bytes_per_second=LINK,
    dirtying=Dirtying(pages_per_second=2_000.0),
)


def after(**fields):
    return decide(replace(COURSE, **fields), RULE)


# Pre-copy.


def test_precopy_switches_over_when_what_is_left_fits_the_downtime():
    """900 pages take 90 ms, the overhead 10 ms: exactly the 100 ms allowed."""
    decision = after(left_pages=(900,))
    assert Verdict.SWITCH_OVER is decision.verdict
    assert not decision.bitmap_only
    assert pytest.approx(0.1) == decision.predicted_downtime_s


def test_precopy_goes_on_while_what_is_left_shrinks():
    """5,000 pages take 0.5 s, in which 1,000 get dirty."""
    assert Verdict.NEXT_ROUND is after().verdict


def test_the_overhead_counts_in_the_prediction():
    assert Verdict.NEXT_ROUND is after(left_pages=(900,), overhead_s=0.02).verdict


def test_precopy_throttles_a_guest_that_dirties_as_fast_as_the_link_sends():
    """12,000 pages a second against 10,000: half the bandwidth needs 1 - 5,000/12,000 taken away."""
    decision = after(dirtying=Dirtying(pages_per_second=12_000.0))
    assert Verdict.THROTTLE_MORE is decision.verdict
    assert pytest.approx(1 - 5 / 12) == decision.throttle_ratio


def test_a_first_throttle_takes_at_least_a_fifth_and_a_further_one_a_tenth_more():
    """A small working set is dirty again after each round, though its guest is slow."""
    saturated = Dirtying(pages_per_second=5_001.0, working_set_pages=2_000.0)
    stuck = {"dirtying": saturated, "left_pages": (2_000, 2_000), "rounds_done": 2}
    assert 0.2 == after(**stuck).throttle_ratio
    assert pytest.approx(0.3) == after(**stuck, throttle_ratio=0.2).throttle_ratio


def test_the_throttle_has_a_limit():
    decision = after(dirtying=Dirtying(pages_per_second=1e9), throttle_ratio=0.95)
    assert RULE.throttle_ratio_max == decision.throttle_ratio


def test_what_history_shows_counts_also_when_the_forecast_is_better():
    """The mean rate of a saturated guest promises progress that the rounds do not show."""
    decision = after(left_pages=(2_000, 2_000, 1_990), rounds_done=3)
    assert Verdict.THROTTLE_MORE is decision.verdict


def test_a_throttle_that_cannot_help_is_not_tried():
    """The fixed part alone is over the limit, but within what is near enough."""
    decision = after(overhead_s=0.12, left_pages=(100, 100), rounds_done=2)
    assert Verdict.SWITCH_OVER is decision.verdict


def test_precopy_gives_up_when_the_fixed_part_alone_is_too_long():
    decision = after(overhead_s=0.2)
    assert Verdict.GIVE_UP is decision.verdict
    assert "a switchover takes 200.0 ms without any page, allowed are 100.0 ms" == decision.reason


STUCK = {"throttle_ratio": 0.99, "dirtying": Dirtying(pages_per_second=20_000.0)}


def test_at_the_highest_throttle_precopy_switches_at_a_local_minimum_that_is_near_enough():
    """1,400 pages predict 150 ms, 1.5 times what is allowed; 1,450 are more than that."""
    assert Verdict.SWITCH_OVER is after(left_pages=(1_450, 1_400), **STUCK).verdict
    assert Verdict.NEXT_ROUND is after(left_pages=(1_300, 1_400), **STUCK).verdict


def test_at_the_highest_throttle_precopy_gives_up_after_a_window_without_a_better_round():
    lefts = (4_000,) + (4_500,) * (RULE.window_rounds - 1)
    decision = after(left_pages=lefts, rounds_done=9, **STUCK)
    assert Verdict.GIVE_UP is decision.verdict
    assert Verdict.NEXT_ROUND is after(left_pages=lefts[1:], rounds_done=8, **STUCK).verdict


def test_with_the_rounds_used_up_near_enough_is_good_enough():
    assert Verdict.SWITCH_OVER is after(left_pages=(1_400,), rounds_done=30).verdict
    decision = after(left_pages=(1_500,), rounds_done=30)
    assert Verdict.GIVE_UP is decision.verdict
    assert (
        "not converged in 30 rounds: the downtime would be 160.0 ms, allowed are 100.0 ms"
        == decision.reason
    )


def test_a_link_that_never_carried_a_byte_is_no_reason_to_wait():
    """All of round 0 was zero pages."""
    assert Verdict.SWITCH_OVER is after(bytes_per_second=None).verdict


# Hybrid: it can always flip, so a round must be worth its bytes.


def test_hybrid_flips_when_one_more_round_would_not_halve_what_is_left():
    """What the round leaves is sent again; the remainder is sent once."""
    decision = after(mode=Mode.HYBRID, dirtying=Dirtying(pages_per_second=6_000.0))
    assert Verdict.SWITCH_OVER is decision.verdict
    assert decision.bitmap_only


def test_hybrid_goes_on_while_a_round_halves_what_is_left():
    assert Verdict.NEXT_ROUND is after(mode=Mode.HYBRID).verdict


def test_hybrid_flips_when_the_last_round_did_not_halve_it_whatever_the_forecast():
    decision = after(mode=Mode.HYBRID, left_pages=(5_000, 2_600), rounds_done=2)
    assert Verdict.SWITCH_OVER is decision.verdict


def test_hybrid_flips_when_the_remainder_is_as_short_as_the_switchover():
    decision = after(mode=Mode.HYBRID, left_pages=(100,))
    assert (Verdict.SWITCH_OVER, True) == (decision.verdict, decision.bitmap_only)


def test_hybrid_flips_when_its_rounds_are_used_up():
    assert Verdict.SWITCH_OVER is after(mode=Mode.HYBRID, rounds_done=30).verdict


@pytest.mark.parametrize("mode", [Mode.HYBRID, Mode.AUTO])
@pytest.mark.parametrize("pages_per_second", [0.0, 1e3, 1e4, 1e6])
def test_what_can_flip_never_throttles_and_never_gives_up(mode, pages_per_second):
    decision = after(mode=mode, dirtying=Dirtying(pages_per_second=pages_per_second))
    assert decision.verdict in {Verdict.NEXT_ROUND, Verdict.SWITCH_OVER}


# Auto: the same rounds; then the shorter interruption.


@pytest.mark.parametrize(("left", "copies"), [(21, True), (22, False)])
def test_auto_copies_when_that_adds_little_to_the_overhead(left, copies):
    """A page takes 0.1 ms on the wire and 15 µs beside it; a quarter of the overhead is 2.5 ms."""
    decision = after(mode=Mode.AUTO, left_pages=(left,))
    assert (Verdict.SWITCH_OVER, not copies) == (decision.verdict, decision.bitmap_only)
    if copies:
        assert pytest.approx(0.012415) == decision.predicted_downtime_s


def test_auto_flips_when_copying_would_show():
    decision = after(mode=Mode.AUTO, left_pages=(800,), dirtying=Dirtying(pages_per_second=9_000.0))
    assert (Verdict.SWITCH_OVER, True) == (decision.verdict, decision.bitmap_only)


def test_auto_flips_when_even_a_short_copy_is_not_allowed():
    decision = after(mode=Mode.AUTO, left_pages=(20,), downtime_s_max=0.011)
    assert decision.bitmap_only


# Post-copy.


def test_post_copy_has_no_rounds():
    with pytest.raises(ValueError, match="no rounds"):
        after(mode=Mode.POSTCOPY)


def test_a_flip_ships_page_numbers_as_bits_or_as_a_list():
    """100,000 pages are 12,500 bytes of bits; 10 pages are 40 bytes of numbers."""
    rate = 1e6
    assert pytest.approx(0.01 + 0.0125) == predicted_flip_s(100_000, 50_000, rate, 0.01)
    assert pytest.approx(0.01 + 4e-5) == predicted_flip_s(100_000, 10, rate, 0.01)
    assert 0.01 == predicted_flip_s(100_000, 10, None, 0.01)


# The VM's own limit.


@pytest.mark.parametrize(
    ("fields", "verdict"),
    [
        ({"left_pages": (900,), "stun_s_max": 0.09}, Verdict.GIVE_UP),
        ({"left_pages": (900,), "stun_s_max": 0.11}, Verdict.SWITCH_OVER),
        ({"mode": Mode.HYBRID, "left_pages": (90,), "stun_s_max": 0.005}, Verdict.GIVE_UP),
        ({"mode": Mode.HYBRID, "left_pages": (90,), "stun_s_max": 0.02}, Verdict.SWITCH_OVER),
        ({"left_pages": (5_000,), "stun_s_max": 0.001}, Verdict.NEXT_ROUND),
    ],
)
def test_no_switchover_is_begun_that_would_stun_a_vm_for_longer_than_it_allows(fields, verdict):
    decision = after(**fields)
    assert verdict is decision.verdict
    assert ("stun limit" in decision.reason) == (verdict is Verdict.GIVE_UP)
