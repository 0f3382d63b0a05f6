"""How long a VM does not answer while it moves: blackout, its parts, stalls, and bytes.

A guest of filled memory writes R / 4096 pages a second, with replacement, uniform over
256 MiB, 8 words a page. The guest itself answers a probe every 2 ms. Blackout is the gap between
the last answer from the source and the first from the destination; stalls are gaps over 10 ms
after that, until the remainder has drained. The table shows where the downtime goes by part.

    python benchmarks/blackout.py                                    # the whole grid: more than an hour
    python benchmarks/blackout.py --quick --json
    python benchmarks/blackout.py --rows 'unlimited/auto/*' --out grid.jsonl --resume
"""

import statistics

from cases import PARTS, Case, Row, Rows, chosen, integrity, lab_arguments, quantile
from claims import Claim, finish, markdown
from measuring import measure

from cluster.inventory.model import Mode
from cluster.page import PAGE_BYTES

RATES = (0.0, 50.0, 200.0, 1000.0)
MODES = (Mode.HYBRID, Mode.AUTO, Mode.PRECOPY, Mode.POSTCOPY)
_SHORT = (Mode.HYBRID, Mode.AUTO)
_MEDIAN_MS, _TAIL_MS = 20.0, 60.0
_STALL_S = 1.4  # QEMU's post-copy at 1 GbE and 200 MB/s, see the head to head
_RATE_MIN = 0.95
_COUNTS = {"unlimited": 100, "gbe": 20}
# Pre-copy and post-copy are shown beside, with no bar: fewer are enough for their medians.
_COUNT_OTHERS = 10


def grid() -> list[Case]:
    """Every mode at every rate, on both links."""
    return [
        Case(link=link, mode=mode, rate_mb_s=rate)
        for link in _COUNTS
        for mode in MODES
        for rate in RATES
    ]


def quick_grid() -> list[Case]:
    """A case of each kind; on the shaped link with less memory, the same working set."""
    return [
        Case(link="unlimited", mode=Mode.HYBRID, rate_mb_s=200.0),
        Case(link="unlimited", mode=Mode.AUTO, rate_mb_s=1000.0),
        Case(link="gbe", mode=Mode.HYBRID, rate_mb_s=200.0, memory_mib=320),
    ]


def main() -> int:
    options = lab_arguments(__doc__ or "").parse_args()
    cases = chosen(quick_grid() if options.quick else grid(), options)
    keep = Rows.open(options.out, resume=options.resume)

    def wanted(case: Case) -> int:
        if options.migrations or options.quick:
            return options.migrations or 3
        return _COUNTS[case.link] if case.mode in _SHORT else _COUNT_OTHERS

    rows = measure(cases, wanted, keep)
    claims = [claim for case in cases for claim in claims_of(case, keep.of(case))]
    if not options.json:
        print(table(cases, keep))
    return finish([*claims, *integrity(rows)], as_json=options.json)


def claims_of(case: Case, rows: list[Row]) -> list[Claim]:
    """Judge one case by its bars."""
    done = [row for row in rows if row.completed and row.blackout_s is not None]
    if not done:
        return []
    blackouts = [row.blackout_s * 1e3 for row in done]
    judged = case.mode in _SHORT
    where = {"n": len(done), "unit": "ms", "conditions": case.words}
    median = statistics.median(blackouts)
    claims = [
        Claim(
            claim="blackout, median",
            value=median,
            bar=f"<= {_MEDIAN_MS:g}" if judged else None,
            holds=not judged or median <= _MEDIAN_MS,
            **where,
        )
    ]
    tail, words = max(blackouts), "longest"
    if case.link == "unlimited":
        tail, words = quantile(blackouts, 0.99), "p99"
    claims.append(
        Claim(
            claim=f"blackout, {words}",
            value=tail,
            bar=f"<= {_TAIL_MS:g}" if judged else None,
            holds=not judged or tail <= _TAIL_MS,
            **where,
        )
    )
    kept = [row.rest_rate_ratio for row in done if row.rest_rate_ratio is not None]
    if kept:
        # Guests that cannot write at R make every other figure of the row too good.
        claims.append(
            Claim(
                claim="writes done at rest, of R, median",
                value=statistics.median(kept),
                unit="ratio",
                bar=f">= {_RATE_MIN:g}",
                holds=statistics.median(kept) >= _RATE_MIN,
                n=len(kept),
                conditions=case.words,
            )
        )
    stall = max(row.stall_s_max for row in done)
    judged = case.mode is Mode.AUTO and case.link == "gbe" and case.rate_mb_s == 200.0
    claims.append(
        Claim(
            claim="stalls after the switchover, longest sum of one migration",
            value=max(row.stall_s_sum for row in done),
            unit="s",
            bar=f"< {_STALL_S:g}" if judged else None,
            holds=not judged or max(row.stall_s_sum for row in done) < _STALL_S,
            n=len(done),
            conditions=f"{case.words}; longest stall {stall * 1e3:.0f} ms",
        )
    )
    if case.link == "gbe":
        ratio = max(row.sent_bytes / bytes_bar(row) for row in done)
        judged = case.mode in _SHORT
        claims.append(
            Claim(
                claim="bytes sent over (1.15 memory + pages written between start and stun), highest",
                value=ratio,
                unit="ratio",
                bar="<= 1" if judged else None,
                holds=not judged or ratio <= 1.0,
                n=len(done),
                conditions=case.words,
            )
        )
    return claims


def bytes_bar(row: Row) -> float:
    """What a migration may send."""
    return 1.15 * row.memory_bytes + PAGE_BYTES * (row.written_pages or 0)


def table(cases: list[Case], keep: Rows) -> str:
    """Show each case's medians, the downtime by part, in ms."""
    head = [
        "case",
        "n",
        "blackout p50",
        "p99",
        "longest",
        "stalls, sum",
        "downtime",
        *PARTS,
        "total s",
        "bytes / memory",
        "rate kept",
    ]
    lines = []
    for case in cases:
        done = [row for row in keep.of(case) if row.completed and row.blackout_s is not None]
        if not done:
            lines.append([case.name, 0, *["–"] * (len(head) - 2)])
            continue
        gaps = [row.blackout_s * 1e3 for row in done]
        kept = [row.write_rate_ratio for row in done if row.write_rate_ratio is not None]
        figures = [
            statistics.median(gaps),
            quantile(gaps, 0.99),
            max(gaps),
            statistics.median(row.stall_s_sum * 1e3 for row in done),
            statistics.median(row.downtime_s * 1e3 for row in done),
            *(statistics.median(row.parts_s[part] * 1e3 for row in done) for part in PARTS),
        ]
        lines.append(
            [
                case.name,
                len(done),
                *(f"{figure:.1f}" for figure in figures),
                f"{statistics.median(row.duration_s for row in done):.2f}",
                f"{statistics.median(row.sent_bytes / row.memory_bytes for row in done):.2f}",
                f"{statistics.median(kept):.2f}" if kept else "–",
            ]
        )
    return markdown(head, lines)


if __name__ == "__main__":
    raise SystemExit(main())
