"""A run's rows as OpenMetrics text with a timestamp a sample, for Prometheus to load afterwards.

`promtool tsdb create-blocks-from openmetrics FILE DATA` loads it, and simulated policies
stand beside live runs in the same dashboards, told apart by the label `run`.

The rows are replayed through the exporter, so that a metric means the same in both.
"""

from array import array
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
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
        "vmotion_client_stalled_seconds",
        "vmotion_demand_fault_seconds",
        "vmotion_survivable_seconds",
        "vmotion_ha_restarts_total",
        "vmotion_ha_waiting_vms",
        "vmotion_hosts_lost_total",
        "vmotion_virtualcenter_restarts_total",
        "vmotion_virtualcenter_up",
        "vmotion_vm_failures_total",
        "vmotion_verified_pages_total",
        "vmotion_integrity_failures_total",
        "drs_refused_recommendations_total",
        "drs_rule_violations",
    }
)


@dataclass(slots=True, kw_only=True)
class _Series:
    """One series: its values from the sample numbered `first` on; the last one never goes."""

    name: str
    labels: str
    first: int
    values: "array[float]" = field(default_factory=lambda: array("d"))


# Series by the label values of a metric, `le` apart. Within such a group time must not go
# backwards, and a histogram's parts follow each other.
_Groups = dict[tuple[str, ...], list[_Series]]


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
    times, told = _replayed(rows)
    own = f'cluster="{_escaped(cluster)}",run="{_escaped(run)}"'
    stamps = [f"{start_s + time_s:.3f}" for time_s in times]
    for metric in METRICS:
        if metric.name in UNTOLD or not any(told.get(metric.name, ())):
            continue
        family = metric.name.removesuffix("_total")
        yield f"# TYPE {family} {metric.kind.value}\n"
        yield f"# HELP {family} {_escaped(metric.help)}\n"
        for group in told[metric.name]:
            for at, stamp in enumerate(stamps):
                for one in group:
                    if at >= one.first:
                        value = _number(one.values[at - one.first])
                        yield f"{one.name}{{{one.labels}{own}}} {value} {stamp}\n"
    yield "# EOF\n"


def _replayed(rows: RunRows) -> tuple[list[float], dict[str, list[list[_Series]]]]:
    """Return the samples' times, the run's begin first, and every group of series by metric."""
    exporter = Exporter(per_vm=False)
    exporter.run_started(scenario=rows.scenario.name, engine=rows.engine, tracker="")
    exporter.hosts_known({host.name: host.memory_mib * MIB for host in rows.scenario.hosts})
    taking = _Taking(exporter)
    taking.take(0.0, counted_only=True)
    replayed = _Replay(exporter, rows)
    for time_s, sample in _samples(rows.timeline):
        replayed.until(time_s, sample)
        taking.take(time_s)
    return taking.times, taking.told()


def replay(exporter: Exporter, rows: RunRows) -> None:
    """Tell an exporter all that a run's rows tell, up to their last sample."""
    exporter.run_started(scenario=rows.scenario.name, engine=rows.engine, tracker="")
    exporter.hosts_known({host.name: host.memory_mib * MIB for host in rows.scenario.hosts})
    replayed = _Replay(exporter, rows)
    for time_s, sample in _samples(rows.timeline):
        replayed.until(time_s, sample)


def _samples(timeline: Sequence[TimelineRow]) -> Iterator[tuple[float, list[TimelineRow]]]:
    """Yield each sample after the begin, its time ahead."""
    # A sort that keeps hosts in their order within a sample.
    ordered = sorted(timeline, key=lambda row: row.time_s)
    for time_s, sample in groupby(ordered, key=lambda row: row.time_s):
        if time_s > 0.0:
            yield time_s, list(sample)


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


class _Taking:
    """Collects what an exporter says, sample by sample; 8 bytes a value."""

    def __init__(self, exporter: Exporter) -> None:
        self._exporter = exporter
        self._series: dict[tuple[str, tuple[str, ...]], _Series] = {}
        self._groups: dict[str, _Groups] = {}
        self.times: list[float] = []

    def take(self, time_s: float, *, counted_only: bool = False) -> None:
        """Take a sample; before the first one of the run 0 is no gauge's value."""
        self.times.append(time_s)
        for family in self._exporter.registry.collect():
            if counted_only and family.type == "gauge":
                continue
            name = f"{family.name}_total" if family.type == "counter" else family.name
            for sample in family.samples:
                key = sample.name, tuple(sample.labels.values())
                series = self._series.get(key) or self._added(name, key, sample.labels)
                series.values.append(sample.value)

    def told(self) -> dict[str, list[list[_Series]]]:
        """Return the groups of series of each metric that are worth telling."""
        return {
            name: [_worth_telling(group, BY_NAME[name]) for group in groups.values()]
            for name, groups in self._groups.items()
        }

    def _added(
        self, metric: str, key: tuple[str, tuple[str, ...]], labels: Mapping[str, str]
    ) -> _Series:
        text = "".join(f'{label}="{_escaped(value)}",' for label, value in labels.items())
        series = _Series(name=key[0], labels=text, first=len(self.times) - 1)
        self._series[key] = series
        group = tuple(value for label, value in labels.items() if label != "le")
        self._groups.setdefault(metric, {}).setdefault(group, []).append(series)
        return series


def _worth_telling(group: list[_Series], metric: Metric) -> list[_Series]:
    """Leave out a histogram's label values that never occurred: they are most of the text.

    The standard allows no sum, and without it no count, beside buckets below 0.
    """
    if metric.kind is not Kind.HISTOGRAM:
        return group
    if not any(one.name.endswith("_count") and one.values[-1] > 0 for one in group):
        return []
    if metric.buckets[0] >= 0:
        return group
    return [one for one in group if one.name.endswith("_bucket")]


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _number(value: float) -> str:
    return "+Inf" if value == inf else repr(value)
