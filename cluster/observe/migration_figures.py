"""The report's figures of migrations: when and where, downtime, prediction.

A figure without data is None.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cluster.migration.spec import Result
from cluster.observe import words
from cluster.observe.figure import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    Figure,
    Json,
    busiest,
)
from cluster.observe.record import DOWNTIME_PARTS, MigrationRow, downtime_parts

RESULT_COLOURS = {
    Result.COMPLETED: BLUE,
    Result.ABORTED: ORANGE,
    Result.LOST: VERMILION,
    Result.REFUSED: GREY,
}
PART_COLOURS = dict(zip(DOWNTIME_PARTS, (SKY, PURPLE, BLUE, GREEN, ORANGE, VERMILION), strict=True))
GANTT_HOSTS_MAX = 30
BARS_MAX = 150


def gantt(migrations: Sequence[MigrationRow], *, duration_s: float) -> Figure | None:
    """Draw each migration as a bar on its source (solid) and its destination (hatched).

    The axis is that of the whole run, as in the other figures over time.
    """
    ran = [row for row in migrations if row.result is not Result.REFUSED]
    if not ran:
        return None
    hosts, left_out = busiest(_by_host(ran), GANTT_HOSTS_MAX)
    bars = [
        _Bar(host=host, row=row, incoming=incoming)
        for row in ran
        for host, incoming in ((row.source, False), (row.destination, True))
        if host in hosts
    ]
    lanes = _lanes(bars, hosts)
    traces = [
        _bar_trace(bars, lanes, result, incoming=incoming)
        for result in Result
        for incoming in (False, True)
        if any(bar.row.result is result for bar in bars)
    ]
    first = {host: min(lane for bar, lane in lanes.items() if bar.host == host) for host in hosts}
    last = {host: max(lane for bar, lane in lanes.items() if bar.host == host) for host in hosts}
    end_s = max(duration_s, *(row.started_s + row.duration_s for row in ran))
    layout: Json = {
        "barmode": "overlay",
        "height": 110 + 22 * (max(last.values()) + 1),
        "xaxis": {"title": {"text": "time in the run (s)"}, "range": [0, end_s]},
        "yaxis": {
            "tickvals": [(first[host] + last[host]) / 2 for host in hosts],
            "ticktext": hosts,
            "range": [max(last.values()) + 0.6, -0.6],
            "showgrid": False,
            "zeroline": False,
        },
        "shapes": [
            {
                "type": "line",
                "xref": "paper",
                "x0": 0,
                "x1": 1,
                "y0": first[host] - 0.5,
                "y1": first[host] - 0.5,
                "line": {"width": 1, "color": GREY},
                "opacity": 0.4,
            }
            for host in hosts[1:]
        ],
        "uniformtext": {"mode": "hide", "minsize": 9},
    }
    return Figure(traces=traces, layout=layout, note=left_out)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bar:
    host: str
    row: MigrationRow
    incoming: bool


def _lanes(bars: Sequence[_Bar], hosts: Sequence[str]) -> dict[_Bar, int]:
    """Give bars that overlap on a host lanes of their own; hosts one below the other."""
    lanes: dict[_Bar, int] = {}
    top = 0
    for host in hosts:
        ends: list[float] = []
        own = [bar for bar in bars if bar.host == host]
        for bar in sorted(own, key=lambda bar: bar.row.started_s):
            free = next((i for i, end in enumerate(ends) if end <= bar.row.started_s), len(ends))
            if free == len(ends):
                ends.append(0.0)
            ends[free] = bar.row.started_s + bar.row.duration_s
            lanes[bar] = top + free
        top += len(ends)
    return lanes


def _bar_trace(
    bars: Iterable[_Bar], lanes: Mapping[_Bar, int], result: Result, *, incoming: bool
) -> Json:
    own = [bar for bar in bars if bar.row.result is result and bar.incoming is incoming]
    side = "destination" if incoming else "source"
    return {
        "type": "bar",
        "orientation": "h",
        "name": f"{result.value}, on the {side}",
        "base": [bar.row.started_s for bar in own],
        "x": [bar.row.duration_s for bar in own],
        "y": [lanes[bar] for bar in own],
        "width": 0.82,
        "text": [bar.row.vm for bar in own],
        "textposition": "inside",
        "insidetextanchor": "start",
        "textangle": 0,
        "hovertext": [_hover(bar.row) for bar in own],
        "hoverinfo": "text",
        "textfont": {"color": "#000000" if incoming or result is Result.ABORTED else "#FFFFFF"},
        "marker": {
            "color": RESULT_COLOURS[result],
            "pattern": {"shape": "/", "fgopacity": 0.35, "size": 5, "bgcolor": "#FFFFFF"}
            if incoming
            else {"shape": ""},
            "line": {"width": 1, "color": RESULT_COLOURS[result]},
        },
    }


def _hover(row: MigrationRow) -> str:
    lines = [
        f"<b>{row.vm}</b>: {row.source} → {row.destination}",
        f"{row.mode.value}, {row.result.value}, {words.seconds(row.duration_s)}",
        f"{words.count(row.rounds, 'round')}, sent {words.size(row.sent_bytes)}",
    ]
    if row.downtime_s is not None:
        lines.append(f"downtime {words.seconds(row.downtime_s)}")
    if row.error:
        lines.append(row.error)
    return "<br>".join(lines)


def downtime(migrations: Sequence[MigrationRow]) -> Figure | None:
    """Stack the parts of each downtime, shortest first: the distribution and what it is made of."""
    known = sorted(
        ((row.downtime_s, row) for row in migrations if row.downtime_s is not None),
        key=lambda pair: pair[0],
    )
    if not known:
        return None
    picks = np.unique(np.linspace(0, len(known) - 1, BARS_MAX).round().astype(int)).tolist()
    rows = [known[pick][1] for pick in picks]
    ranks = [pick + 1 for pick in picks]
    parts = [downtime_parts(row) or {} for row in rows]
    traces: list[Json] = [
        {
            "type": "bar",
            "name": part,
            "x": ranks,
            "y": [1e3 * found[part] for found in parts],
            "width": 0.75 * len(known) / len(rows),
            "marker": {"color": PART_COLOURS[part]},
            "hovertext": [
                f"{_hover(row)}<br>{part}: {words.seconds(found[part])}"
                for row, found in zip(rows, parts, strict=True)
            ],
            "hoverinfo": "text",
        }
        for part in DOWNTIME_PARTS
    ]
    seen = [
        (rank, 1e3 * row.client_blackout_s, _hover(row))
        for rank, row in zip(ranks, rows, strict=True)
        if row.client_blackout_s is not None
    ]
    if seen:
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": "client blackout",
                "x": [rank for rank, _, _ in seen],
                "y": [blackout for _, blackout, _ in seen],
                "hovertext": [
                    f"{hover}<br>client blackout {blackout:.3g} ms" for _, blackout, hover in seen
                ],
                "hoverinfo": "text",
                "marker": {
                    "symbol": "diamond-open",
                    "size": 8,
                    "color": GREY,
                    "line": {"width": 2},
                },
            }
        )
    shown = "" if len(rows) == len(known) else f"{len(rows)} of {len(known):,}, evenly by rank."
    layout: Json = {
        "barmode": "stack",
        "height": 360,
        "xaxis": {"title": {"text": "switchovers, the shortest downtime first"}},
        "yaxis": {"title": {"text": "ms"}, "rangemode": "tozero"},
    }
    return Figure(traces=traces, layout=layout, note=shown)


def prediction(migrations: Sequence[MigrationRow]) -> Figure | None:
    """Set each measured downtime against the predicted one; on the line they are equal."""
    rows = [
        (1e3 * row.predicted_downtime_s, 1e3 * row.downtime_s, _hover(row))
        for row in migrations
        if row.predicted_downtime_s and row.downtime_s
    ]
    if not rows:
        return None
    values = [value for predicted, measured, _ in rows for value in (predicted, measured)]
    ends = [min(values) * 0.8, max(values) * 1.2]
    scale: Json = {"type": "linear"}
    if ends[1] > 20 * ends[0]:
        ticks = [step * 10.0**power for power in range(-3, 6) for step in (1, 2, 5)]
        scale = {"type": "log", "tickvals": ticks, "ticktext": [f"{tick:g}" for tick in ticks]}
    traces: list[Json] = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": "as predicted",
            "x": ends,
            "y": ends,
            "line": {"color": GREY, "dash": "dash", "width": 1.5},
            "hoverinfo": "skip",
        },
        {
            "type": "scatter",
            "mode": "markers",
            "name": "a switchover",
            "x": [predicted for predicted, _, _ in rows],
            "y": [measured for _, measured, _ in rows],
            "hovertext": [
                f"{hover}<br>predicted {predicted:.3g} ms" for predicted, _, hover in rows
            ],
            "hoverinfo": "text",
            "marker": {"color": BLUE, "size": 9, "opacity": 0.8},
        },
    ]
    layout: Json = {
        "height": 360,
        "xaxis": {"title": {"text": "predicted downtime (ms)"}, **scale},
        "yaxis": {"title": {"text": "measured downtime (ms)"}, **scale},
    }
    return Figure(traces=traces, layout=layout)


def _by_host(migrations: Iterable[MigrationRow]) -> dict[str, float]:
    """Migrations by host, at either end."""
    counts: dict[str, float] = {}
    for row in migrations:
        for host in (row.source, row.destination):
            counts[host] = counts.get(host, 0) + 1
    return counts
