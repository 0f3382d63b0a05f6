"""One undisturbed migration: what it takes in each mode, against the cost model and SimGrid."""

import pytest

from cluster.inventory.model import MIB, PAGE_BYTES, Mode
from cluster.migration.convergence import Convergence
from cluster.migration.spec import MigrationSpec, Result
from cluster.simulation.trial import migrate_once
from drs.cost import Calibration, DirtyModel, DirtyPattern, Limits, effective_rate, predict
from drs.cost import Mode as CostMode

LINE = 1.25e8  # 1 GbE
CALIBRATION = Calibration()
# A network and hosts without any overhead.
IDEAL = Calibration(
    rate_efficiency_ratio=1.0,
    copy_rate_bytes_per_second_max=1e12,
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
UNTHROTTLED = Convergence(throttle_ratio_max=0.0, progress_ratio_max=1.0)


def spec(mode, memory_bytes, **fields):
    return MigrationSpec(
        id="m",
        vm="vm",
        source="esx-1",
        destination="esx-2",
        epoch=2,
        memory_bytes=memory_bytes,
        mode=mode,
        **fields,
    )


def uniform(rate, working_set_mib):
    return DirtyModel(
        write_rate_bytes_per_second=rate, working_set_bytes=float(working_set_mib * MIB)
    )


@pytest.mark.parametrize(("rate", "working_set_mib"), [(0.0, 0), (1e7, 64), (5e7, 256)])
def test_a_precopy_takes_what_the_cost_model_predicts(rate, working_set_mib):
    """Both are one model: rounds, bytes, duration and downtime agree within rounding."""
    guest = uniform(rate, working_set_mib)
    memory = 1024 * MIB
    outcome = migrate_once(
        spec(Mode.PRECOPY, memory, overhead_s=0.006), guest, rate_bytes_per_second=LINE
    ).outcome
    predicted = predict(
        memory_bytes=float(memory),
        dirty=guest,
        rate_bytes_per_second=LINE,
        mode=CostMode.PRECOPY,
        limits=Limits(),
    )
    assert Result.COMPLETED is outcome.result
    assert len(predicted.rounds) == len(outcome.rounds)
    assert pytest.approx(predicted.precopy_bytes, rel=1e-3) == outcome.precopy_bytes
    assert pytest.approx(predicted.duration_s, rel=1e-3) == outcome.duration_s
    assert pytest.approx(predicted.downtime_s, rel=0.02) == outcome.downtime.total_s


@pytest.mark.parametrize("rate", [0.0, 5e7, 2e8, 1e9])
def test_the_downtime_of_a_hybrid_does_not_depend_on_the_write_rate(rate):
    outcome = migrate_once(
        spec(Mode.HYBRID, 1024 * MIB, overhead_s=0.006),
        uniform(rate, 256),
        rate_bytes_per_second=LINE,
    ).outcome
    assert Result.COMPLETED is outcome.result
    assert outcome.downtime.total_s < 0.009


@pytest.mark.parametrize("mode", [Mode.HYBRID, Mode.AUTO])
@pytest.mark.parametrize("rate", [0.0, 5e7, 2e8, 1e9])
def test_no_flip_sends_more_than_it_must(mode, rate):
    """At most 1.15 × memory and each page once more that was written before the stun: 256 MiB."""
    memory = 1024 * MIB
    outcome = migrate_once(
        spec(mode, memory, overhead_s=0.006), uniform(rate, 256), rate_bytes_per_second=LINE
    ).outcome
    sent = outcome.precopy_bytes + outcome.downtime_bytes + outcome.postcopy_bytes
    assert sent <= 1.15 * memory + (256 * MIB if rate else 0)


def test_post_copy_sends_every_page_once():
    trial = migrate_once(
        spec(Mode.POSTCOPY, 64 * MIB), uniform(5e7, 16), rate_bytes_per_second=LINE
    )
    assert 64 * MIB == trial.outcome.postcopy_bytes
    assert 0 == trial.outcome.precopy_bytes
    assert 0 < trial.demand_faults <= 0.21 * 16 * 256


def test_a_guest_that_dirties_faster_than_the_line_is_throttled_until_it_fits():
    outcome = migrate_once(
        spec(Mode.PRECOPY, 1024 * MIB), uniform(2e8, 256), rate_bytes_per_second=LINE
    ).outcome
    assert Result.COMPLETED is outcome.result
    assert outcome.throttle_max > 0.5
    assert outcome.downtime.total_s <= 0.3 * 1.05
    assert outcome.duration_s < 20.0


def test_the_prediction_is_near_what_came():
    calibrated_s = CALIBRATION.switchover_s() + CALIBRATION.scan_s_per_gib
    for mode in (Mode.PRECOPY, Mode.HYBRID, Mode.AUTO, Mode.POSTCOPY):
        for rate in (0.0, 2e7, 1e8):
            outcome = migrate_once(
                spec(mode, 512 * MIB, overhead_s=calibrated_s),
                uniform(rate, 128),
                rate_bytes_per_second=LINE,
            ).outcome
            assert pytest.approx(outcome.downtime.total_s, rel=0.2) == outcome.predicted_downtime_s


def test_the_bandwidth_is_the_lines_payload_rate():
    outcome = migrate_once(
        spec(Mode.PRECOPY, 1024 * MIB), uniform(0.0, 0), rate_bytes_per_second=LINE
    ).outcome
    assert pytest.approx(effective_rate(LINE, CALIBRATION), rel=0.01) == (
        outcome.bandwidth_bytes_per_second
    )


# (memory GiB, link Gbit/s, dirty MB/s, seconds, downtime seconds) of SimGrid 3.32's
# live-migration model: one busy vCPU, linear dirtying up to 90 % of memory, 30 ms allowed.
SIMGRID = [
    (1, 1, 0, 8.590, 0.0001),
    (1, 1, 10, 9.337, 0.0045),
    (1, 1, 25, 10.735, 0.0139),
    (1, 1, 50, 14.308, 0.0142),
    (1, 1, 100, 42.857, 0.0265),
    (4, 1, 25, 42.948, 0.0111),
    (4, 1, 50, 57.253, 0.0227),
    (4, 1, 100, 171.704, 0.0277),
    (4, 1, 110, 286.177, 0.0276),
    (16, 1, 100, 687.098, 0.0290),
    (16, 10, 125, 15.270, 0.0139),
    (16, 10, 625, 27.463, 0.0270),
    (16, 10, 1000, 68.626, 0.0271),
    (16, 25, 1562, 10.972, 0.0216),
    (64, 10, 625, 109.927, 0.0270),
    (64, 10, 1000, 274.782, 0.0284),
]


@pytest.mark.parametrize(("memory_gib", "gbit_s", "mb_s", "duration_s", "downtime_s"), SIMGRID)
def test_without_overheads_a_precopy_agrees_with_simgrid(
    memory_gib, gbit_s, mb_s, duration_s, downtime_s
):
    memory = memory_gib << 30
    sweep = DirtyModel(
        pattern=DirtyPattern.SWEEP,
        write_rate_bytes_per_second=mb_s * 1e6,
        working_set_bytes=0.9 * memory,
    )
    outcome = migrate_once(
        spec(Mode.PRECOPY, memory, downtime_s_max=0.03, rounds_max=1000, overhead_s=0.0),
        sweep,
        rate_bytes_per_second=gbit_s * 1.25e8,
        calibration=IDEAL,
        convergence=UNTHROTTLED,
    ).outcome
    assert pytest.approx(duration_s, rel=0.001) == outcome.duration_s
    assert pytest.approx(downtime_s, abs=0.001) == outcome.downtime.total_s
    # The textbook's closed form, while each round dirties less than the working set.
    line = gbit_s * 1.25e8
    assert pytest.approx(memory / line / (1 - mb_s * 1e6 / line), rel=0.02) == outcome.duration_s


def test_pages_are_whole():
    outcome = migrate_once(
        spec(Mode.PRECOPY, 64 * MIB), uniform(3.3e7, 7), rate_bytes_per_second=LINE
    ).outcome
    assert 0 == outcome.precopy_bytes % PAGE_BYTES
