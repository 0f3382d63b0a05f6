"""The model of a migration against formulas and exact sums."""

import math

import numpy as np
import pytest

from drs.cost import (
    PAGE_BYTES,
    Calibration,
    DirtyModel,
    DirtyPattern,
    Limits,
    Mode,
    distinct_pages,
    durations_s,
    expected_downtime_s,
    predict,
)

GIB = 2**30
IDEAL = Calibration(
    rate_efficiency_ratio=1.0,
    copy_rate_bytes_per_second_max=math.inf,
    prepare_s=0.0,
    round_s=0.0,
    scan_s_per_gib=0.0,
    scan_s_per_dirty_page=0.0,
    quiesce_s=0.0,
    state_bytes=0.0,
    state_s=0.0,
    commit_s=0.0,
    resume_s=0.0,
)


def sweep(rate, working_set_bytes):
    return DirtyModel(
        pattern=DirtyPattern.SWEEP,
        write_rate_bytes_per_second=rate,
        working_set_bytes=working_set_bytes,
    )


def test_the_textbook_formula_holds_for_a_sweeping_guest():
    """Memory M = 4 GiB, B = 125 MB/s, D = 50 MB/s: M/B ÷ (1 - D/B) = 34.36 ÷ 0.6 = 57.27 s.

    SimGrid 3.32 predicts 57.253 s for the same case.
    """
    prediction = predict(
        memory_bytes=4 * GIB,
        dirty=sweep(50e6, 3.6 * GIB),
        rate_bytes_per_second=125e6,
        mode=Mode.PRECOPY,
        calibration=IDEAL,
        limits=Limits(downtime_s_max=0.03),
    )
    assert prediction.converged
    assert prediction.duration_s == pytest.approx(4 * GIB / 125e6 / 0.6, rel=0.01)
    assert prediction.duration_s == pytest.approx(57.253, rel=0.001)
    assert prediction.downtime_s <= 0.03


@pytest.mark.parametrize(
    ("gib", "gbps", "dirty_mb", "total_s"),
    [
        (1, 1, 10, 9.337),
        (1, 1, 100, 42.857),
        (16, 1, 50, 229.057),
        (16, 10, 625, 27.463),
        (64, 25, 1562, 43.947),
    ],
)
def test_simgrid_predicts_the_same_duration(gib, gbps, dirty_mb, total_s):
    """SimGrid 3.32's live-migration plugin: working set 90 % of memory, downtime allowed 30 ms."""
    prediction = predict(
        memory_bytes=gib * GIB,
        dirty=sweep(dirty_mb * 1e6, 0.9 * gib * GIB),
        rate_bytes_per_second=gbps * 125e6,
        mode=Mode.PRECOPY,
        calibration=IDEAL,
        limits=Limits(downtime_s_max=0.03, rounds_max=100),
    )
    assert prediction.duration_s == pytest.approx(total_s, rel=0.02)


def test_a_guest_that_writes_faster_than_the_link_does_not_converge_and_auto_flips():
    dirty = sweep(150e6, 3.6 * GIB)
    stuck = predict(
        memory_bytes=4 * GIB, dirty=dirty, rate_bytes_per_second=125e6, mode=Mode.PRECOPY
    )
    flipped = predict(
        memory_bytes=4 * GIB, dirty=dirty, rate_bytes_per_second=125e6, mode=Mode.AUTO
    )
    assert not stuck.converged
    assert flipped.mode is Mode.HYBRID
    assert flipped.downtime_s < 0.02 < 1.0 < stuck.downtime_s


def test_post_copy_sends_every_page_once():
    prediction = predict(
        memory_bytes=GIB,
        dirty=sweep(1e9, GIB),
        rate_bytes_per_second=1e9,
        mode=Mode.POSTCOPY,
        calibration=IDEAL,
    )
    assert GIB == prediction.postcopy_bytes
    assert GIB / PAGE_BYTES / 8 == prediction.downtime_bytes


def test_uniform_writes_saturate_like_the_coupon_collector():
    """n = 1000 pages, k = 1000 writes: n(1 - (1 - 1/n)^k) = 632.3; the Poisson form gives 632.1."""
    model = DirtyModel(
        write_rate_bytes_per_second=1000 * PAGE_BYTES, working_set_bytes=1000 * PAGE_BYTES
    )
    assert float(distinct_pages(model, 1.0)) == pytest.approx(
        1000 * (1 - (1 - 1 / 1000) ** 1000), rel=1e-3
    )


@pytest.mark.parametrize("exponent", [0.5, 0.99, 1.5])
@pytest.mark.parametrize("seconds", [0.01, 1.0, 30.0])
def test_binned_zipf_is_within_half_a_percent_of_the_sum(exponent, seconds):
    pages, rate = 60_000, 20_000.0
    chance = np.arange(1, pages + 1, dtype=float) ** -exponent
    chance /= chance.sum()
    exact = float(-np.expm1(-rate * seconds * chance).sum())
    model = DirtyModel(
        pattern=DirtyPattern.ZIPF,
        write_rate_bytes_per_second=rate * PAGE_BYTES,
        working_set_bytes=pages * PAGE_BYTES,
        zipf_exponent=exponent,
    )
    assert float(distinct_pages(model, seconds)) == pytest.approx(exact, rel=0.005)


def test_a_small_zipf_working_set_is_the_exact_sum():
    """Two pages with chances 2/3 and 1/3, three writes: 1 - e^-2 and 1 - e^-1."""
    model = DirtyModel(
        pattern=DirtyPattern.ZIPF,
        write_rate_bytes_per_second=3 * PAGE_BYTES,
        working_set_bytes=2 * PAGE_BYTES,
    )
    expected = (1 - math.exp(-2)) + (1 - math.exp(-1))
    assert pytest.approx(expected) == float(distinct_pages(model, 1.0))


def test_without_a_working_set_nothing_is_dirty():
    assert 0.0 == float(distinct_pages(DirtyModel(write_rate_bytes_per_second=1e6), 9.0))


def test_expected_downtime_is_overhead_and_wire_time():
    """100 pages at 40.96 MB/s take 10 ms; with 5 ms of overhead 15 ms."""
    assert expected_downtime_s(100, 40.96e6, 0.005) == pytest.approx(0.015)
    assert expected_downtime_s(0, 0.0, 0.005) == 0.005
    assert expected_downtime_s(1, 0.0, 0.005) == math.inf


def test_the_array_form_equals_the_prediction():
    memory, rates = np.array([1.0, 4.0, 64.0]) * GIB, np.array([0.0, 50e6, 900e6])
    expected = [
        predict(memory_bytes=m, dirty=sweep(r, m), rate_bytes_per_second=1.25e9).duration_s
        for m, r in zip(memory, rates, strict=True)
    ]
    assert pytest.approx(expected, rel=1e-4) == durations_s(
        memory, rates, rate_bytes_per_second=1.25e9
    )


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="cannot be migrated"):
        predict(memory_bytes=GIB, dirty=DirtyModel(), rate_bytes_per_second=0.0)


def test_a_calibration_survives_its_file(tmp_path):
    path = tmp_path / "calibration.json"
    calibration = Calibration(commit_s=0.0123)
    calibration.save(path)
    assert calibration == Calibration.load(path)
    path.write_text('{"commit": 1, "round_s": "x"}')
    with pytest.raises(ValueError, match="commit, round_s"):
        Calibration.load(path)
