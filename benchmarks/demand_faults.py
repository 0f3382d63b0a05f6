"""Touches of pages that had not arrived yet: how many, and how long each kept the guest waiting.

A guest of filled memory writes R / 4096 pages a second over 256 MiB, uniformly, by Zipf's law or in
a sweep, while its memory follows it. Shown are the demand faults as a share of the working set, and
their latency from the fault being read to the page being mapped, from the pager's own histogram
of powers of two: a quantile is the upper end of its bucket, at most twice the true value.

The bar of 21 % is the best published for post-copy with adaptive pre-paging (Hines and Gopalan,
VEE 2009: 21 %; OSR 2009: 17 %).

    python benchmarks/demand_faults.py
    python benchmarks/demand_faults.py --quick --json
"""

import statistics
from collections.abc import Sequence

from cases import Case, Row, Rows, chosen, integrity, lab_arguments
from claims import Claim, finish
from measuring import measure

from cluster.inventory.model import Mode
from cluster.page import MIB, PAGE_BYTES

_SHARE_MAX = 0.21
_PATTERNS = ("uniform", "zipf", "sweep")
_RATE_MB_S = 200.0
_JUDGED = ("uniform", "zipf")


def main() -> int:
    options = lab_arguments(__doc__ or "").parse_args()
    if options.quick:
        grid = [
            Case(
                link="gbe", mode=Mode.HYBRID, rate_mb_s=_RATE_MB_S, memory_mib=320, pattern=pattern
            )
            for pattern in _JUDGED
        ]
    else:
        grid = [
            Case(link=link, mode=mode, rate_mb_s=_RATE_MB_S, pattern=pattern)
            for mode in (Mode.HYBRID, Mode.POSTCOPY)
            for link in ("unlimited", "gbe")
            for pattern in _PATTERNS
        ]
    cases = chosen(grid, options)
    keep = Rows.open(options.out, resume=options.resume)
    count = options.migrations or (3 if options.quick else 10)
    rows = measure(cases, lambda _: count, keep)
    claims = [claim for case in cases for claim in claims_of(case, keep.of(case))]
    return finish([*claims, *integrity(rows)], as_json=options.json)


def bucket_us(counts: Sequence[int], share: float) -> float:
    """Return the upper end, in microseconds, of the bucket in which a share of all lies."""
    wanted, seen = share * sum(counts), 0
    for power, count in enumerate(counts):
        seen += count
        if seen >= wanted:
            return float(2**power)
    return float(2 ** (len(counts) - 1))


def claims_of(case: Case, rows: list[Row]) -> list[Claim]:
    """Judge the share of one case; show its latency."""
    done = [row for row in rows if row.completed and row.demand_faults is not None]
    if not done:
        return []
    pages = case.working_set_mib * MIB // PAGE_BYTES
    share = statistics.median(row.demand_faults / pages for row in done)
    missing = statistics.median(row.missing_pages or 0 for row in done)
    counts = [sum(each) for each in zip(*(row.latency_us for row in done), strict=True)]
    where = f"{case.words}, {case.pattern}"
    judged = case.pattern in _JUDGED
    claims = [
        Claim(
            claim="working set that faulted on a missing page, median of migrations",
            value=share,
            unit="share",
            bar=f"<= {_SHARE_MAX:g}" if judged else None,
            holds=not judged or share <= _SHARE_MAX,
            n=len(done),
            conditions=f"{where}; {missing:.0f} of {pages} pages were missing, "
            f"{statistics.median(row.fetched_pages for row in done):.0f} came on the urgent socket",
        )
    ]
    if faults := sum(counts):
        claims += [
            Claim(
                claim=f"demand fault, p{share * 100:g} at most",
                value=bucket_us(counts, share),
                unit="us",
                n=faults,
                conditions=where,
            )
            for share in (0.5, 0.99)
        ]
    return claims


if __name__ == "__main__":
    raise SystemExit(main())
