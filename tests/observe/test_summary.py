"""Rows condensed: percentiles, counts, imbalance."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.migration.spec import Result
from cluster.observe.record import (
    Bandwidth,
    Counts,
    DrsPass,
    DrsSummary,
    Engine,
    Imbalance,
    Percentiles,
    SolveTime,
    TimelineRow,
    UnmetDemand,
)
from cluster.observe.summary import nearest_rank, percentiles, summarise


def summary_of(migrations=(), timeline=(), passes=(), unmet=(), **changes):
    return summarise(
        **{
            "scenario": "test",
            "engine": Engine.SIMULATED,
            "seed": 3,
            "hosts": 2,
            "vms": 4,
            "duration_s": 60.0,
            "migrations": migrations,
            "timeline": timeline,
            "drs_passes": passes,
            "unmet_demand_ratios": unmet,
            "rule_violations": 0,
            "integrity": None,
        }
        | changes
    )


def sample(time_s, imbalance, host="esx-1"):
    return TimelineRow(
        time_s=time_s,
        host=host,
        cpu_load=0.5,
        memory_load=0.5,
        vms=2,
        tx_bytes_per_second=0.0,
        rx_bytes_per_second=0.0,
        state="connected",
        imbalance=imbalance,
    )


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=300), st.integers(1, 100))
def test_a_percentile_is_the_smallest_value_that_so_many_are_at_or_below(values, percent):
    found = nearest_rank(values, percent)
    assert found in values
    assert sum(value <= found for value in values) >= percent / 100 * len(values)
    assert sum(value < found for value in values) < percent / 100 * len(values)


def test_percentiles_of_a_hundred_values():
    values = [float(value) for value in range(100, 0, -1)]
    assert Percentiles(p50=50.0, p99=99.0, max=100.0) == percentiles(values)


def test_a_run_without_anything_knows_nothing():
    summary = summary_of()
    assert Counts(started=0, completed=0, aborted=0, lost=0, refused=0) == summary.migrations
    assert DrsSummary(passes=0, recommended=0, applied=0, solve_s=None) == summary.drs
    assert [None] * 6 == [
        summary.downtime_s,
        summary.client_blackout_s,
        summary.bandwidth_bytes_per_second,
        summary.imbalance,
        summary.unmet_demand_ratio,
        summary.integrity,
    ]


def test_refused_migrations_never_started(make_migration):
    results = [Result.COMPLETED, Result.COMPLETED, Result.ABORTED, Result.LOST, Result.REFUSED]
    rows = [make_migration(result=result) for result in results]
    assert (
        Counts(started=4, completed=2, aborted=1, lost=1, refused=1) == summary_of(rows).migrations
    )


def test_only_known_downtimes_count(make_migration):
    rows = [make_migration(downtime_s=0.01), make_migration(downtime_s=None)]
    assert Percentiles(p50=0.01, p99=0.01, max=0.01) == summary_of(rows).downtime_s


def test_mean_bandwidth_weighs_migrations_by_their_time(make_migration):
    rows = [
        make_migration(sent_bytes=100, duration_s=1.0, bandwidth_bytes_per_second=120.0),
        make_migration(sent_bytes=100, duration_s=3.0, bandwidth_bytes_per_second=40.0),
        make_migration(sent_bytes=0, duration_s=9.0, bandwidth_bytes_per_second=0.0),
    ]
    assert Bandwidth(mean=50.0, max=120.0) == summary_of(rows).bandwidth_bytes_per_second


def test_imbalance_counts_a_sample_once_and_from_when_it_counts():
    timeline = [
        sample(time_s, imbalance, host)
        for time_s, imbalance in ((3.0, 0.1), (1.0, 0.0), (2.0, 0.4))
        for host in ("esx-1", "esx-2")
    ]
    assert (
        Imbalance(start=0.0, end=0.1, mean=pytest.approx(0.5 / 3), max=0.4)
        == summary_of(timeline=timeline).imbalance
    )
    assert (
        Imbalance(start=0.4, end=0.1, mean=0.25, max=0.4)
        == summary_of(timeline=timeline, imbalance_from_s=1.5).imbalance
    )


def test_passes_add_up():
    passes = [
        DrsPass(
            time_s=0.0,
            solve_s=solve_s,
            imbalance_before=0.2,
            imbalance_after=0.1,
            priorities=priorities,
            applied=len(priorities),
        )
        for solve_s, priorities in ((0.1, (1, 2)), (0.5, ()), (0.2, (5,)))
    ]
    assert (
        DrsSummary(passes=3, recommended=3, applied=3, solve_s=SolveTime(p50=0.2, max=0.5))
        == summary_of(passes=passes).drs
    )


def test_unmet_demand_is_a_mean_over_samples():
    assert UnmetDemand(mean=0.25, max=0.5) == summary_of(unmet=[0.0, 0.5]).unmet_demand_ratio
