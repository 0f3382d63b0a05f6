"""A run's rows as OpenMetrics text with a timestamp a sample, for Prometheus to load afterwards.

`promtool tsdb create-blocks-from openmetrics FILE DATA` loads it, and simulated policies
stand beside live runs in the same dashboards, told apart by the label `run`.

The rows are replayed through the exporter, so that a metric means the same in both.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import inf
from pathlib import Path

from cluster.inventory.model import MIB, Scenario
from cluster.migration.spec import Result
from cluster.observe.exporter import ActiveMigration, Exporter
from cluster.observe.metrics import BY_NAME, METRICS, Kind, Metric
from cluster.observe.record import DrsPass, Engine, MigrationRow, TimelineRow
from drs.load import imbalance_target

# What rows do not tell; the exporter would say 0.
UNTOLD = frozenset(
    {
        "vmotion_queued_migrations",
        "vmotion_queue_wait_seconds",
        "vmotion_client_stall_seconds",
        "vmotion_verified_pages_total",
        "vmotion_integrity_failures_total",
        "drs_refused_recommendations_total",
        "drs_rule_violations",
    }
)

# By the label values of a metric, `le` apart: (time_s, name, labels as text, value). Within
# such a group time must not go backwards, and a histogram's parts follow each other.
_Groups = dict[str, list[tuple[float, str, str, float]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRows:
    """What a run of either engine leaves behind."""

    scenario: Scenario
    engine: Engine
    migrations: Sequence[MigrationRow]
    timeline: Sequence[TimelineRow]
    passes: Sequence[DrsPass]


def write_openmetrics(
    path: Path, rows: RunRows, *, run: str, start_s: float, cluster: str = "simulated"
) -> int:
    """Write the run's samples to `path`, and return how many there are.

    `run` and `cluster` become labels; `start_s` is the Unix time at which the run begins on
    a dashboard. Give several runs the same one, and they lie over each other. Prometheus
    takes a series to have ended 5 minutes after a sample: a coarser timeline shows as dots.

    Raises:
        OSError: If it cannot be written to.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    count = 0
    with partial.open("w", encoding="utf-8") as file:
        for line in openmetrics_lines(rows, run=run, start_s=start_s, cluster=cluster):
            count += not line.startswith("#")
            file.write(line)
    partial.replace(path)
    return count


def openmetrics_lines(
    rows: RunRows, *, run: str, start_s: float, cluster: str = "simulated"
) -> Iterator[str]:
    """Yield the text in lines: families in the table's order, times of a series ascending."""
    series = _replayed(rows)
    for metric in METRICS:
        found = series.get(metric.name)
        if found is None or metric.name in UNTOLD:
            continue
        family = metric.name.removesuffix("_total")
        yield f"# TYPE {family} {metric.kind.value}\n"
        yield f"# HELP {family} {_escaped(metric.help)}\n"
        below_zero = bool(metric.buckets) and metric.buckets[0] < 0
        own = f'cluster="{_escaped(cluster)}",run="{_escaped(run)}"'
        for group in found.values():
            for time_s, name, labels, value in group:
                # The standard allows no sum, and without it no count, beside buckets below 0.
                if not below_zero or name.endswith("_bucket"):
                    yield f"{name}{{{labels}{own}}} {_number(value)} {start_s + time_s:.3f}\n"
    yield "# EOF\n"


def _replayed(rows: RunRows) -> dict[str, _Groups]:
    """Return every sample by metric, in order."""
    exporter = Exporter(per_vm=False)
    exporter.run_started(scenario=rows.scenario.name, engine=rows.engine, tracker="")
    exporter.hosts_known({host.name: host.memory_mib * MIB for host in rows.scenario.hosts})
    kept: dict[str, _Groups] = {}
    _take(exporter, 0.0, kept, counted_only=True)
    replay = _Replay(exporter, rows)
    # A sort that keeps hosts in their order within a sample.
    ordered = sorted(rows.timeline, key=lambda row: row.time_s)
    for time_s, sample in groupby(ordered, key=lambda row: row.time_s):
        if time_s > 0.0:
            replay.until(time_s, list(sample))
            _take(exporter, time_s, kept)
    return {name: _observed(groups, BY_NAME[name]) for name, groups in kept.items()}


class _Replay:
    """Tells an exporter what had happened by each sample."""

    def __init__(self, exporter: Exporter, rows: RunRows) -> None:
        self._exporter = exporter
        self._scenario = rows.scenario
        self._cpu_mhz = {host.name: host.cpu_mhz for host in rows.scenario.hosts}
        self._ended = sorted(rows.migrations, key=_end_s)
        self._end_times = [_end_s(row) for row in self._ended]
        self._passes = sorted(rows.passes, key=lambda one: one.time_s)
        self._pass_times = [one.time_s for one in self._passes]
        self._before_s = 0.0

    def until(self, time_s: float, sample: Sequence[TimelineRow]) -> None:
        """Take in everything up to this sample."""
        done = bisect_right(self._end_times, time_s)
        for row in self._ended[bisect_right(self._end_times, self._before_s) : done]:
            self._exporter.migration_ended(row)
        first = bisect_right(self._pass_times, self._before_s)
        for one in self._passes[first : bisect_right(self._pass_times, time_s)]:
            self._exporter.drs_passed(one)
        under_way = [_active(row) for row in self._ended[done:] if _runs_at(row, time_s)]
        self._exporter.migrations_under_way(under_way, queued=0)
        self._exporter.sampled(
            sample,
            interval_s=time_s - self._before_s,
            resource_imbalance={},
            unmet_demand_ratio=unmet_demand_ratio(sample, self._cpu_mhz),
            rule_violations=0,
            imbalance_target=imbalance_target(self._scenario.drs.threshold, len(sample)),
            happiness={row.host: 1.0 / max(row.cpu_load, 1.0) for row in sample},
        )
        self._before_s = time_s


def unmet_demand_ratio(sample: Sequence[TimelineRow], cpu_mhz: Mapping[str, float]) -> float:
    """Share of the CPU demand above its host's capacity, 0 to 1.

    A run measures what VMs were granted; this knows only each host's sum, and so takes a VM's
    own limit for no limit: what limits hold back counts as served.
    """
    demand = sum(row.cpu_load * cpu_mhz[row.host] for row in sample)
    unmet = sum(max(row.cpu_load - 1.0, 0.0) * cpu_mhz[row.host] for row in sample)
    return unmet / demand if demand > 0 else 0.0


def _end_s(row: MigrationRow) -> float:
    return row.started_s + row.duration_s


def _runs_at(row: MigrationRow, time_s: float) -> bool:
    return row.result is not Result.REFUSED and row.started_s <= time_s


def _active(row: MigrationRow) -> ActiveMigration:
    return ActiveMigration(
        vm=row.vm,
        source=row.source,
        destination=row.destination,
        round=0,
        dirty_bytes=0,
        rate_bytes_per_second=row.bandwidth_bytes_per_second,
    )


def _take(
    exporter: Exporter, time_s: float, kept: dict[str, _Groups], *, counted_only: bool = False
) -> None:
    """Append what the exporter says now; before the first sample, 0 is no gauge's value."""
    for family in exporter.registry.collect():
        if counted_only and family.type == "gauge":
            continue
        name = f"{family.name}_total" if family.type == "counter" else family.name
        groups = kept.setdefault(name, {})
        for sample in family.samples:
            parts = {key: f'{key}="{_escaped(text)}",' for key, text in sample.labels.items()}
            group = "".join(text for key, text in parts.items() if key != "le")
            point = (time_s, sample.name, "".join(parts.values()), sample.value)
            groups.setdefault(group, []).append(point)


def _observed(groups: _Groups, metric: Metric) -> _Groups:
    """Leave out a histogram's label values that never occurred: they are most of the text."""
    if metric.kind is not Kind.HISTOGRAM:
        return groups
    total = f"{metric.name}_count"
    return {
        labels: group
        for labels, group in groups.items()
        if any(name == total and value > 0 for _, name, _, value in group)
    }


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _number(value: float) -> str:
    return "+Inf" if value == inf else repr(value)
