"""Measures what a migration costs here and writes the calibration of the one cost model (drs.cost).

Live migrations over memory sizes, links and modes give the constants: the line through (bytes, seconds)
of first rounds has the copy rate as its slope and a round's overhead as its start; shaped links give
the share of a line that pages get; the parts of the downtime are medians. Convergence, admission
and the simulator read the file: `vmotion simulate --calibration FILE`, `Calibration.load`.

As a check each completed migration's duration and downtime, as the model predicts them with
the half of the rows that it was not fitted to, are compared with what was measured.

    python benchmarks/calibrate.py --save examples/calibration.json
    python benchmarks/calibrate.py --quick --json
"""

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from cases import LINKS, Case, Row, Rows, chosen, integrity, lab_arguments
from claims import Claim, finish
from measuring import measure

import drs.cost
from cluster.inventory.model import Mode
from cluster.page import PAGE_BYTES
from drs.cost import Calibration, DirtyModel, DirtyPattern

# A row of this many seconds says nothing about the rate of a shaped link.
_UNLIMITED_RATE = 1e12


def grid() -> list[Case]:
    """Sizes for the lines, write rates for scans and faults, shaped links for their efficiency."""
    unlimited = [
        Case(
            link="unlimited",
            mode=mode,
            rate_mb_s=rate,
            memory_mib=mib,
            working_set_mib=min(256, mib // 4),
        )
        for mib in (64, 256, 1024)
        for mode in (Mode.HYBRID, Mode.PRECOPY)
        for rate in (0.0, 200.0)
    ]
    shaped = [
        Case(link=link, mode=Mode.HYBRID, rate_mb_s=rate, memory_mib=mib, working_set_mib=64)
        for link, mib in (("10gbe", 1024), ("gbe", 256))
        for rate in (0.0, 200.0)
    ]
    return [*unlimited, *shaped]


def quick_grid() -> list[Case]:
    """Two sizes and one shaped link."""
    small = {"working_set_mib": 16, "rate_mb_s": 100.0}
    return [
        Case(link="unlimited", mode=Mode.HYBRID, memory_mib=64, **small),
        Case(link="unlimited", mode=Mode.PRECOPY, memory_mib=256, **small),
        Case(link="gbe", mode=Mode.HYBRID, memory_mib=64, **small),
    ]


def main() -> int:
    parser = lab_arguments(__doc__ or "")
    parser.add_argument("--save", type=Path, metavar="FILE", help="write the calibration here")
    options = parser.parse_args()
    cases = chosen(quick_grid() if options.quick else grid(), options)
    keep = Rows.open(options.out, resume=options.resume)
    count = options.migrations or (3 if options.quick else 6)
    rows = measure(cases, lambda _: count, keep)
    done = [row for row in rows if row.completed]
    found = fit(done)
    if options.save is not None:
        found.save(options.save)
    fields = [
        Claim(claim=name, value=getattr(found, name), unit="as named", n=len(done))
        for name in Calibration.__dataclass_fields__
    ]
    held_out = fit([row for row in done if row.number % 2 == 0])
    others = [row for row in done if row.number % 2]
    return finish([*fields, *compared(held_out, others), *integrity(rows)], as_json=options.json)


def fit(rows: Sequence[Row]) -> Calibration:
    """Find each constant that the rows say something about; the others keep their defaults."""
    default = Calibration()
    free = [row for row in rows if LINKS[row.link] is None]
    flips = [row for row in free if row.mode != Mode.PRECOPY.value]
    stops = [row for row in free if row.last_pages]
    first = [(row.round_bytes[0], row.round_s[0]) for row in free if row.round_s]
    slope, round_s = line(
        first, default=(1 / default.copy_rate_bytes_per_second_max, default.round_s)
    )
    bitmap, state_bytes = line(
        [(row.memory_bytes / PAGE_BYTES, row.downtime_bytes) for row in flips],
        default=(default.bitmap_bytes_per_page, default.state_bytes),
    )
    per_gib = _median(
        (row.parts_s["scan"] / (row.memory_bytes / 2**30) for row in flips), default.scan_s_per_gib
    )
    return Calibration(
        rate_efficiency_ratio=min(
            1.0, _median(_efficiencies(rows, round_s), default.rate_efficiency_ratio)
        ),
        copy_rate_bytes_per_second_max=1 / slope,
        prepare_s=_median((row.prepare_s for row in rows), default.prepare_s),
        round_s=round_s,
        scan_s_per_gib=per_gib,
        scan_s_per_dirty_page=_median(
            (
                max(0.0, row.parts_s["scan"] - per_gib * row.memory_bytes / 2**30) / row.last_pages
                for row in stops
            ),
            default.scan_s_per_dirty_page,
        ),
        quiesce_s=_part(rows, "quiesce", default.quiesce_s),
        state_bytes=state_bytes,
        state_s=_part(rows, "state", default.state_s),
        commit_s=_part(rows, "commit", default.commit_s),
        resume_s=_part(rows, "resume", default.resume_s),
        bitmap_bytes_per_page=bitmap,
        demand_fault_s=_fault_s(rows, default.demand_fault_s),
        cpu_cores=_median(
            (row.host_cpu_s / 2 / row.duration_s for row in rows if row.host_cpu_s),
            default.cpu_cores,
        ),
    )


def line(
    points: Sequence[tuple[float, float]], *, default: tuple[float, float]
) -> tuple[float, float]:
    """Return slope and start of the line through points; both positive, or the default's.

    Theil and Sen's: the median of the slopes between all pairs, which a few late
    migrations on a busy machine do not bend.
    """
    slopes = [
        (later[1] - one[1]) / (later[0] - one[0])
        for i, one in enumerate(points)
        for later in points[i + 1 :]
        if abs(later[0] - one[0]) > 0.2 * max(later[0], one[0])
    ]
    if not slopes or (slope := statistics.median(slopes)) <= 0:
        return default
    start = statistics.median(y - slope * x for x, y in points)
    return slope, start if start > 0 else default[1]


def _efficiencies(rows: Sequence[Row], round_s: float) -> list[float]:
    """What first rounds on shaped links made of the line's rate, their overhead taken off."""
    return [
        row.round_bytes[0] / max(row.round_s[0] - round_s, 1e-9) / LINKS[row.link]
        for row in rows
        if LINKS[row.link] is not None and row.round_s
    ]


def _part(rows: Sequence[Row], part: str, default: float) -> float:
    return _median((row.parts_s[part] for row in rows if row.parts_s), default)


def _fault_s(rows: Sequence[Row], default: float) -> float:
    """The mean latency of demand faults, each taken at the geometric middle of its bucket."""
    counts = np.sum([row.latency_us for row in rows if row.latency_us] or [[0]], axis=0)
    if not counts.sum():
        return default
    middles = 2.0 ** (np.arange(len(counts)) - 0.5) * 1e-6
    return float(counts @ middles / counts.sum())


def _median(values: Sequence[float], default: float) -> float:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else default


def compared(calibration: Calibration, rows: Sequence[Row]) -> list[Claim]:
    """Show the model's error on rows that it was not fitted to."""
    measures: dict[str, Callable[[Row], float]] = {
        "duration_s": lambda row: row.duration_s,
        "downtime_s": lambda row: row.downtime_s,
        "sent_bytes": lambda row: float(row.sent_bytes),
    }
    if not rows:
        return []
    claims = []
    for name, measured in measures.items():
        errors = [
            abs(getattr(predicted(calibration, row), name) - measured(row)) / measured(row)
            for row in rows
        ]
        claims.append(
            Claim(
                claim=f"{name} as the model predicts it for other runs, median absolute error",
                value=statistics.median(errors),
                unit="share",
                n=len(errors),
                conditions="fidelity.py judges the simulator",
            )
        )
    return claims


def predicted(calibration: Calibration, row: Row) -> drs.cost.Prediction:
    """What the model says of a row's migration."""
    return drs.cost.predict(
        memory_bytes=row.memory_bytes,
        dirty=DirtyModel(
            pattern=DirtyPattern(row.pattern),
            write_rate_bytes_per_second=row.rate_mb_s * 1e6,
            working_set_bytes=row.working_set_mib * 2.0**20,
        ),
        rate_bytes_per_second=LINKS[row.link] or _UNLIMITED_RATE,
        mode=drs.cost.Mode(row.mode),
        calibration=calibration,
    )


if __name__ == "__main__":
    raise SystemExit(main())
