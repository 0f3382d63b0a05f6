"""How well the downtime is predicted, over the blackout grid and not one repeated case.

Each migration's machine predicts its downtime when it decides to stun; this compares it with what
came. Rows of blackout.py are taken from `--out`, so that the grid need not be measured twice.

    python benchmarks/blackout.py --out grid.jsonl; python benchmarks/prediction.py --out grid.jsonl --resume
    python benchmarks/prediction.py                  # measures 7 of each case of the grid
    python benchmarks/prediction.py --quick --json
"""

import statistics

from blackout import grid
from cases import Case, Row, Rows, chosen, integrity, lab_arguments
from claims import Claim, finish, markdown
from measuring import measure

from cluster.inventory.model import Mode

_ERROR_MAX = 0.2
_MIGRATIONS_MIN = 100
_PREDICTED = (Mode.HYBRID, Mode.AUTO)


def main() -> int:
    options = lab_arguments(__doc__ or "").parse_args()
    if options.quick:
        every = [
            Case(link="unlimited", mode=mode, rate_mb_s=rate)
            for mode, rate in ((Mode.HYBRID, 50.0), (Mode.AUTO, 200.0))
        ]
    else:
        every = [case for case in grid() if case.mode in _PREDICTED]
    cases = chosen(every, options)
    keep = Rows.open(options.out, resume=options.resume)
    count = options.migrations or (4 if options.quick else 7)
    rows = measure(cases, lambda _: count, keep)
    if not options.json:
        print(table(cases, keep))
    return finish([*claims_of(rows, quick=options.quick), *integrity(rows)], as_json=options.json)


def errors(rows: list[Row]) -> list[float]:
    """Return |predicted − measured| ÷ measured of every migration that has both."""
    return [
        abs(row.predicted_downtime_s - row.downtime_s) / row.downtime_s
        for row in rows
        if row.completed and row.predicted_downtime_s and row.downtime_s
    ]


def claims_of(rows: list[Row], *, quick: bool) -> list[Claim]:
    """Judge the median error over all rows; too few of them is no claim but with --quick."""
    found = errors(rows)
    if not found:
        return []
    enough = quick or len(found) >= _MIGRATIONS_MIN
    median = statistics.median(found)
    return [
        Claim(
            claim="predicted downtime, median absolute error",
            value=median,
            unit="share of the downtime",
            bar=f"<= {_ERROR_MAX:g} over at least {_MIGRATIONS_MIN} migrations of the grid",
            holds=median <= _ERROR_MAX and enough,
            n=len(found),
            conditions=f"{len({row.case for row in rows})} cases",
        )
    ]


def table(cases: list[Case], keep: Rows) -> str:
    """Show predicted beside measured by case: medians in ms, and the median error."""
    lines = []
    for case in cases:
        rows = keep.of(case)
        if found := errors(rows):
            predicted = [row.predicted_downtime_s for row in rows if row.predicted_downtime_s]
            measured = [row.downtime_s for row in rows if row.downtime_s]
            lines.append(
                [
                    case.name,
                    len(found),
                    f"{statistics.median(predicted) * 1e3:.1f}",
                    f"{statistics.median(measured) * 1e3:.1f}",
                    f"{statistics.median(found):.2f}",
                ]
            )
    return markdown(["case", "n", "predicted ms", "downtime ms", "error"], lines)


if __name__ == "__main__":
    raise SystemExit(main())
