"""Whether the blackout grows with what is dirty at the stun: it should not, in hybrid.

A guest sweeps through a working set of 1 to 512 MiB faster than the link carries it, so that all
of it is dirty when the VM is stunned, whatever the rounds before have sent. A line is fitted through
(MiB that the destination lacked, blackout) of all migrations; what it rises from 1 to 512 MiB is
the claim. The rise of the downtime alone is shown beside, because a long remainder also keeps the
machine busy while the first probe waits.

    python benchmarks/dirty_bytes.py
    python benchmarks/dirty_bytes.py --quick --json
"""

import statistics

import numpy as np
from cases import Case, Row, Rows, chosen, integrity, lab_arguments
from claims import Claim, finish, markdown
from measuring import measure

from cluster.inventory.model import Mode
from cluster.page import MIB, PAGE_BYTES

_SIZES_MIB = (1, 8, 32, 64, 128, 256, 512)
_QUICK_MIB = (1, 96)
_RATE_MB_S = 500.0
_RISE_MS_MAX = 5.0
_FROM_MIB, _TO_MIB = 1, 512


def main() -> int:
    options = lab_arguments(__doc__ or "").parse_args()
    sizes = _QUICK_MIB if options.quick else _SIZES_MIB
    cases = [
        Case(
            link="gbe",
            mode=Mode.HYBRID,
            rate_mb_s=_RATE_MB_S,
            memory_mib=160 if options.quick else 1024,
            working_set_mib=size,
            pattern="sweep",
        )
        for size in sizes
    ]
    cases = chosen(cases, options)
    keep = Rows.open(options.out, resume=options.resume)
    count = options.migrations or (3 if options.quick else 10)
    rows = measure(cases, lambda _: count, keep)
    done = [row for row in rows if row.completed and row.blackout_s is not None]
    if not options.json:
        print(table(cases, keep))
    claims = claims_of(done) if len({row.case for row in done}) > 1 else []
    return finish([*claims, *integrity(rows)], as_json=options.json)


def missing_mib(row: Row) -> float:
    """What the destination lacked when the VM ran there."""
    return row.missing_pages * PAGE_BYTES / MIB


def rise_ms(rows: list[Row], values_s: list[float]) -> float:
    """What a least-squares line rises between 1 and 512 MiB."""
    slope, _ = np.polyfit([missing_mib(row) for row in rows], values_s, 1)
    return float(slope) * (_TO_MIB - _FROM_MIB) * 1e3


def claims_of(done: list[Row]) -> list[Claim]:
    """Judge the rise of the blackout."""
    seen = [missing_mib(row) for row in done]
    where = f"{min(seen):.0f} to {max(seen):.0f} MiB dirty at the stun, 1 GbE, hybrid"
    rise = rise_ms(done, [row.blackout_s for row in done])
    return [
        Claim(
            claim="blackout, rise from 1 to 512 MiB dirty at the stun",
            value=rise,
            unit="ms",
            bar=f"< {_RISE_MS_MAX:g}",
            holds=rise < _RISE_MS_MAX,
            n=len(done),
            conditions=where,
        ),
        Claim(
            claim="downtime, rise from 1 to 512 MiB dirty at the stun",
            value=rise_ms(done, [row.downtime_s for row in done]),
            unit="ms",
            n=len(done),
            conditions=where,
        ),
    ]


def table(cases: list[Case], keep: Rows) -> str:
    """Show the medians by size."""
    head = [
        "working set MiB",
        "n",
        "dirty at the stun MiB",
        "blackout ms",
        "longest",
        "downtime ms",
    ]
    lines = []
    for case in cases:
        done = [row for row in keep.of(case) if row.completed and row.blackout_s is not None]
        if done:
            gaps = [row.blackout_s * 1e3 for row in done]
            figures = [
                statistics.median(map(missing_mib, done)),
                statistics.median(gaps),
                max(gaps),
                statistics.median(row.downtime_s for row in done) * 1e3,
            ]
            lines.append([case.working_set_mib, len(done), *(f"{one:.1f}" for one in figures)])
    return markdown(head, lines)


if __name__ == "__main__":
    raise SystemExit(main())
