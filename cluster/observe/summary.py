"""A run's rows condensed into its summary."""

import math
from collections import Counter
from collections.abc import Sequence

from cluster.migration.spec import Result
from cluster.observe.record import (
    Bandwidth,
    Counts,
    DrsPass,
    DrsSummary,
    Engine,
    Imbalance,
    Integrity,
    MigrationRow,
    Percentiles,
    PowerUse,
    SolveTime,
    Summary,
    TimelineRow,
    UnmetDemand,
)


def summarise(
    *,
    scenario: str,
    engine: Engine,
    seed: int,
    hosts: int,
    vms: int,
    duration_s: float,
    migrations: Sequence[MigrationRow],
    timeline: Sequence[TimelineRow],
    drs_passes: Sequence[DrsPass],
    unmet_demand_ratios: Sequence[float],
    rule_violations: int,
    integrity: Integrity | None,
    imbalance_from_s: float = 0.0,
    power: PowerUse | None = None,
) -> Summary:
    """Condense a run; pure.

    `unmet_demand_ratios` has a value a sample. `imbalance_from_s` is where the imbalance's
    start is read: a scenario that shifts load on purpose begins to count when it has.
    """
    return Summary(
        scenario=scenario,
        engine=engine,
        seed=seed,
        hosts=hosts,
        vms=vms,
        duration_s=duration_s,
        migrations=_counts(migrations),
        downtime_s=percentiles(
            [row.downtime_s for row in migrations if row.downtime_s is not None]
        ),
        client_blackout_s=percentiles(
            [row.client_blackout_s for row in migrations if row.client_blackout_s is not None]
        ),
        sent_bytes=sum(row.sent_bytes for row in migrations),
        bandwidth_bytes_per_second=_bandwidth(migrations),
        imbalance=_imbalance(timeline, imbalance_from_s),
        drs=_drs(drs_passes),
        unmet_demand_ratio=_unmet(unmet_demand_ratios),
        rule_violations=rule_violations,
        integrity=integrity,
        power=power,
    )


def nearest_rank(values: Sequence[float], percent: float) -> float:
    """The smallest value that `percent` % of the values are at or below; a measured one."""
    ordered = sorted(values)
    return ordered[max(math.ceil(percent / 100 * len(ordered)), 1) - 1]


def percentiles(values: Sequence[float]) -> Percentiles | None:
    """p50, p99 and maximum by nearest rank; None without values."""
    if not values:
        return None
    return Percentiles(p50=nearest_rank(values, 50), p99=nearest_rank(values, 99), max=max(values))


def _counts(migrations: Sequence[MigrationRow]) -> Counts:
    by_result = Counter(row.result for row in migrations)
    return Counts(
        started=len(migrations) - by_result[Result.REFUSED],
        completed=by_result[Result.COMPLETED],
        aborted=by_result[Result.ABORTED],
        lost=by_result[Result.LOST],
        refused=by_result[Result.REFUSED],
    )


def _bandwidth(migrations: Sequence[MigrationRow]) -> Bandwidth | None:
    busy_s = sum(row.duration_s for row in migrations if row.sent_bytes)
    if busy_s <= 0.0:
        return None
    return Bandwidth(
        mean=sum(row.sent_bytes for row in migrations) / busy_s,
        max=max(row.bandwidth_bytes_per_second for row in migrations),
    )


def imbalance_by_time(timeline: Sequence[TimelineRow]) -> dict[float, float]:
    """The cluster's imbalance by sample time, ascending."""
    return dict(sorted((row.time_s, row.imbalance) for row in timeline))


def _imbalance(timeline: Sequence[TimelineRow], from_s: float) -> Imbalance | None:
    samples = imbalance_by_time(timeline)
    values = [value for time_s, value in samples.items() if time_s >= from_s]
    if not values:
        return None
    return Imbalance(
        start=values[0], end=values[-1], mean=sum(values) / len(values), max=max(values)
    )


def _drs(passes: Sequence[DrsPass]) -> DrsSummary:
    solves = [one.solve_s for one in passes]
    return DrsSummary(
        passes=len(passes),
        recommended=sum(one.recommended for one in passes),
        applied=sum(one.applied for one in passes),
        solve_s=SolveTime(p50=nearest_rank(solves, 50), max=max(solves)) if solves else None,
    )


def _unmet(ratios: Sequence[float]) -> UnmetDemand | None:
    if not ratios:
        return None
    return UnmetDemand(mean=sum(ratios) / len(ratios), max=max(ratios))
