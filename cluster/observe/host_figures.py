"""The report's figures of hosts over time: bandwidth, load, imbalance.

A figure without data is None.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

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
from cluster.observe.record import EventKind, EventRow, TimelineRow
from cluster.observe.summary import imbalance_by_time

LINE_COLOURS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, GREY)
LINE_DASHES = ("solid", "dash", "dot")
LINES_MAX = 12
HEAT_HOSTS_MAX = 100
HEAT_COLUMNS_MAX = 400


def bandwidth(timeline: Sequence[TimelineRow]) -> Figure | None:
    """Draw what each host sent (above) and received (below) over time."""
    volume: dict[str, float] = {}
    by_host: dict[str, list[TimelineRow]] = {}
    for row in timeline:
        both = row.tx_bytes_per_second + row.rx_bytes_per_second
        volume[row.host] = volume.get(row.host, 0.0) + both
        by_host.setdefault(row.host, []).append(row)
    active = {host: total for host, total in volume.items() if total > 0}
    if not active:
        return None
    hosts, left_out = busiest(active, LINES_MAX)
    traces: list[Json] = []
    for index, host in enumerate(hosts):
        rows = sorted(by_host[host], key=lambda row: row.time_s)
        line = {
            "color": LINE_COLOURS[index % len(LINE_COLOURS)],
            "dash": LINE_DASHES[index // len(LINE_COLOURS) % len(LINE_DASHES)],
            "width": 2,
        }
        for axis, rates in (
            ("y2", [row.tx_bytes_per_second / 1e6 for row in rows]),
            ("y", [row.rx_bytes_per_second / 1e6 for row in rows]),
        ):
            traces.append(
                {
                    "type": "scatter",
                    "mode": "lines",
                    "name": host,
                    "legendgroup": host,
                    "showlegend": axis == "y2",
                    "x": [row.time_s for row in rows],
                    "y": rates,
                    "yaxis": axis,
                    "line": line,
                    "hovertemplate": f"{host}: %{{y:.3g}} MB/s at %{{x}} s<extra></extra>",
                }
            )
    layout: Json = {
        "height": 420,
        "xaxis": {"title": {"text": "time in the run (s)"}, "anchor": "y"},
        "yaxis": {"title": {"text": "received MB/s"}, "domain": [0, 0.46], "rangemode": "tozero"},
        "yaxis2": {"title": {"text": "sent MB/s"}, "domain": [0.54, 1], "rangemode": "tozero"},
    }
    return Figure(traces=traces, layout=layout, note=left_out)


def load(timeline: Sequence[TimelineRow]) -> Figure | None:
    """Colour hosts × time by CPU load (left) and memory load (right); 1 is full."""
    if not timeline:
        return None
    peaks: dict[str, float] = {}
    for row in timeline:
        peaks[row.host] = max(peaks.get(row.host, 0.0), row.cpu_load)
    hosts, left_out = busiest(peaks, HEAT_HOSTS_MAX)
    times = sorted({row.time_s for row in timeline})
    cpu = _grid(timeline, hosts, times, [row.cpu_load for row in timeline])
    memory = _grid(timeline, hosts, times, [row.memory_load for row in timeline])
    centres = _binned(np.array([times]), len(times))[0]
    top = max(1.0, float(np.nanmax(cpu)), float(np.nanmax(memory)))
    traces: list[Json] = [
        {
            "type": "heatmap",
            "x": centres.tolist(),
            "y": hosts,
            "z": _rounded(grid),
            "xaxis": axis,
            "coloraxis": "coloraxis",
            "hovertemplate": f"%{{y}}: {name} load %{{z:.0%}} at %{{x:.0f}} s<extra></extra>",
        }
        for name, axis, grid in (("CPU", "x", cpu), ("memory", "x2", memory))
    ]
    layout: Json = {
        "height": 150 + max(18 * len(hosts), 90),
        "coloraxis": {
            "colorscale": "Cividis",
            "cmin": 0,
            "cmax": top,
            "colorbar": {"tickformat": ".0%", "thickness": 14},
        },
        "xaxis": {"title": {"text": "CPU load, time (s)"}, "domain": [0, 0.485]},
        "xaxis2": {"title": {"text": "memory load, time (s)"}, "domain": [0.515, 1]},
        "yaxis": {"autorange": "reversed", "type": "category"},
    }
    return Figure(traces=traces, layout=layout, note=left_out)


def imbalance(timeline: Sequence[TimelineRow], events: Sequence[EventRow]) -> Figure | None:
    """Draw the cluster's imbalance over time, with the passes of DRS on it."""
    samples = imbalance_by_time(timeline)
    if not samples:
        return None
    times, values = list(samples), list(samples.values())
    traces: list[Json] = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": "imbalance",
            "x": times,
            "y": values,
            "line": {"color": BLUE, "width": 2.5},
            "hovertemplate": "%{y:.3f} at %{x} s<extra></extra>",
        }
    ]
    passes = [event for event in events if event.kind is EventKind.DRS_PASSED]
    for name, symbol, colour, some in (
        ("DRS pass with migrations", "triangle-down", VERMILION, True),
        ("DRS pass without", "line-ns-open", GREY, False),
    ):
        own = [event for event in passes if bool(event.details.get("applied")) is some]
        if not own:
            continue
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": name,
                "x": [event.time_s for event in own],
                "y": np.interp([event.time_s for event in own], times, values).tolist(),
                "hovertext": [event.text for event in own],
                "hoverinfo": "text",
                "marker": {
                    "symbol": symbol,
                    "size": 11,
                    "color": colour,
                    "line": {"width": 2, "color": colour},
                },
            }
        )
    layout: Json = {
        "height": 320,
        "xaxis": {"title": {"text": "time in the run (s)"}},
        "yaxis": {"title": {"text": "imbalance"}, "rangemode": "tozero"},
    }
    return Figure(traces=traces, layout=layout)


def _grid(
    timeline: Sequence[TimelineRow],
    hosts: Sequence[str],
    times: Sequence[float],
    values: Sequence[float],
) -> npt.NDArray[np.float64]:
    """Put values into hosts × time, NaN where there is none, no wider than HEAT_COLUMNS_MAX."""
    row_of = {host: index for index, host in enumerate(hosts)}
    column_of = {time_s: index for index, time_s in enumerate(times)}
    grid = np.full((len(hosts), len(times)), np.nan)
    for row, value in zip(timeline, values, strict=True):
        if row.host in row_of:
            grid[row_of[row.host], column_of[row.time_s]] = value
    return _binned(grid, len(times))


def _binned(grid: npt.NDArray[np.float64], columns: int) -> npt.NDArray[np.float64]:
    """Take means over neighbouring columns until there are few enough to draw."""
    width = -(-columns // HEAT_COLUMNS_MAX)
    if width == 1:
        return grid
    padded = np.full((grid.shape[0], -(-columns // width) * width), np.nan)
    padded[:, :columns] = grid
    cells = padded.reshape(grid.shape[0], -1, width)
    known = ~np.isnan(cells)
    sums = np.where(known, cells, 0.0).sum(axis=2)
    means: npt.NDArray[np.float64] = np.divide(
        sums, known.sum(axis=2), out=np.full(sums.shape, np.nan), where=known.any(axis=2)
    )
    return means


def _rounded(grid: npt.NDArray[np.float64]) -> list[list[float | None]]:
    """JSON has no NaN."""
    return [[None if np.isnan(cell) else round(float(cell), 4) for cell in row] for row in grid]
