"""The figures that set several runs side by side: one line a run.

A figure for which no run has data is None.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from cluster.migration.spec import Result
from cluster.observe.figure import Figure, Json
from cluster.observe.host_figures import LINE_COLOURS, LINE_DASHES
from cluster.observe.record import MigrationRow, Summary, TimelineRow
from cluster.observe.summary import imbalance_by_time

_Points = tuple[Sequence[float], Sequence[float]]

_TIME: Json = {"title": {"text": "time in the run (s)"}}


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedRun:
    """One of the runs to compare, and what it is called."""

    name: str
    summary: Summary
    migrations: Sequence[MigrationRow]
    timeline: Sequence[TimelineRow]


def imbalances(runs: Sequence[ComparedRun]) -> Figure | None:
    """Draw each run's imbalance over time."""
    courses = [imbalance_by_time(run.timeline) for run in runs]
    points = [(list(course), list(course.values())) for course in courses]
    return _figure(runs, points, x=_TIME, y="imbalance", shown="%{y:.3f} at %{x} s")


def busiest_hosts(runs: Sequence[ComparedRun]) -> Figure | None:
    """Draw the CPU load of each run's busiest host over time; above 1 demand is not met."""
    points = []
    for run in runs:
        peaks: dict[float, float] = {}
        for row in run.timeline:
            peaks[row.time_s] = max(peaks.get(row.time_s, 0.0), row.cpu_load)
        ordered = dict(sorted(peaks.items()))
        points.append((list(ordered), list(ordered.values())))
    return _figure(
        runs, points, x=_TIME, y="CPU load of the busiest host", shown="%{y:.0%} at %{x} s"
    )


def migrations_so_far(runs: Sequence[ComparedRun]) -> Figure | None:
    """Draw how many migrations each run had completed."""
    points: list[_Points] = []
    for run in runs:
        ends = sorted(
            row.started_s + row.duration_s
            for row in run.migrations
            if row.result is Result.COMPLETED
        )
        if not ends:
            points.append(([], []))
            continue
        times = [0.0, *ends, max(run.summary.duration_s, ends[-1])]
        points.append((times, [*range(len(ends) + 1), len(ends)]))
    return _figure(
        runs,
        points,
        x=_TIME,
        y="completed migrations",
        shown="%{y} by %{x:.1f} s",
        shape="hv",
    )


def downtimes(runs: Sequence[ComparedRun]) -> Figure | None:
    """Draw the share of each run's switchovers whose downtime was at most so long."""
    points = []
    for run in runs:
        known = sorted(1e3 * row.downtime_s for row in run.migrations if row.downtime_s)
        shares = [(rank + 1) / len(known) for rank in range(len(known))]
        points.append((known, shares))
    ticks = [step * 10.0**power for power in range(-2, 6) for step in (1, 2, 5)]
    axis: Json = {
        "title": {"text": "downtime (ms)"},
        "type": "log",
        "tickvals": ticks,
        "ticktext": [f"{tick:g}" for tick in ticks],
    }
    return _figure(
        runs,
        points,
        x=axis,
        y="share of switchovers",
        shown="%{y:.0%} within %{x:.3g} ms",
        shape="hv",
        markers=True,
    )


def _figure(
    runs: Sequence[ComparedRun],
    points: Sequence[_Points],
    *,
    x: Json,
    y: str,
    shown: str,
    shape: str = "linear",
    markers: bool = False,
) -> Figure | None:
    """Draw a line a run in the colour that the run has in every figure."""
    traces: list[Json] = [
        {
            "type": "scatter",
            "mode": "lines+markers" if markers else "lines",
            "name": run.name,
            "x": list(across),
            "y": list(up),
            "line": {
                "color": LINE_COLOURS[index % len(LINE_COLOURS)],
                "dash": LINE_DASHES[index // len(LINE_COLOURS) % len(LINE_DASHES)],
                "shape": shape,
                "width": 2.5,
            },
            "hovertemplate": f"%{{fullData.name}}: {shown}<extra></extra>",
        }
        for index, (run, (across, up)) in enumerate(zip(runs, points, strict=True))
        if across
    ]
    if not traces:
        return None
    layout: Json = {
        "height": 340,
        "showlegend": True,
        "xaxis": x,
        "yaxis": {"title": {"text": y}, "rangemode": "tozero"},
    }
    return Figure(traces=traces, layout=layout)
