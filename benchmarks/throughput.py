"""How fast memory moves on one machine with no network limit, against what the machine can do.

An idle guest of filled memory, from `Prepare` answered to the last page; guest memory and object
store touched before, by the engine and by a migration that does not count. The
single-thread memcpy is measured just before each migration, loopback TCP before and after; QEMU's
multifd with the same memory is in against_qemu.py, whose figure `--qemu-mb-s` takes.

By default a migration hashes each page as it is installed, which no hypervisor does. Rows that end in
`/unhashed` go without; there the guest's memory is compared with its replayed writes in the end.

    python benchmarks/throughput.py
    python benchmarks/throughput.py --quick --json
"""

import statistics

from cases import PARTS, Case, Row, Rows, chosen, integrity, lab_arguments
from claims import Claim, finish, markdown
from limits import memcpy_bytes_per_second, tcp_bytes_per_second
from measuring import measure

from cluster.inventory.model import Mode

_MEMCPY_SHARE = 0.2
# A probe every 2 ms, as for blackouts, takes a third of a core from what is measured here.
_PROBE_INTERVAL_S = 0.1
_MODES = (Mode.HYBRID, Mode.AUTO, Mode.PRECOPY, Mode.POSTCOPY)


def main() -> int:
    parser = lab_arguments(__doc__ or "")
    parser.add_argument("--qemu-mb-s", type=float, help="QEMU multifd's rate here, to compare with")
    options = parser.parse_args()
    if options.quick:
        grid = [Case(link="unlimited", mode=Mode.HYBRID, hashed=hashed) for hashed in (False, True)]
    else:
        grid = [
            Case(link="unlimited", mode=mode, memory_mib=mib, hashed=hashed)
            for mib in (1024, 4096)
            for mode in _MODES
            for hashed in (False, True)
            if hashed or mode is Mode.HYBRID
        ]
    cases = chosen(grid, options)
    keep = Rows.open(options.out, resume=options.resume)
    count = options.migrations or (5 if options.quick else 15)
    before = tcp_limits()
    # Two to warm up: memory of both hosts is touched then.
    rows = measure(
        cases,
        lambda _: count,
        keep,
        warm_up=2,
        probe_interval_s=_PROBE_INTERVAL_S,
        yardstick=memcpy_bytes_per_second,
    )
    stream, pair = (statistics.mean(both) for both in zip(before, tcp_limits(), strict=True))
    copies = [row.memcpy_bytes_per_second / 1e6 for row in rows if row.memcpy_bytes_per_second]
    claims = [
        Claim(
            claim="memcpy, one thread", value=statistics.median(copies), unit="MB/s", n=len(copies)
        ),
        Claim(claim="loopback TCP, one stream", value=stream / 1e6, unit="MB/s", n=2),
        Claim(claim="loopback TCP, two streams together", value=pair / 1e6, unit="MB/s", n=2),
    ]
    for case in cases:
        claims += claims_of(case, keep.of(case), pair, options.qemu_mb_s)
    if not options.json:
        print(table(cases, keep))
    return finish([*claims, *integrity(rows)], as_json=options.json)


def tcp_limits() -> tuple[float, float]:
    """Return bytes a second of one TCP stream, of two."""
    return tcp_bytes_per_second(1), tcp_bytes_per_second(2)


def rate(row: Row) -> float:
    """Guest memory over the time from the destination being ready to the last page."""
    return row.memory_bytes / row.transfer_s


def claims_of(case: Case, rows: list[Row], pair: float, qemu_mb_s: float | None) -> list[Claim]:
    """Judge one case against memcpy at the time, and QEMU where it is known."""
    done = [row for row in rows if row.completed and row.transfer_s and row.memcpy_bytes_per_second]
    if not done:
        return []
    median = statistics.median(rate(row) for row in done)
    share = statistics.median(rate(row) / row.memcpy_bytes_per_second for row in done)
    # Hashing is ours: neither the memcpy nor QEMU does it.
    judged = case.mode is Mode.HYBRID and not case.hashed
    where = {"n": len(done), "conditions": case.words}
    claims = [
        Claim(claim="memory moved, median", value=median / 1e6, unit="MB/s", **where),
        Claim(
            claim="of a single-thread memcpy",
            value=share,
            unit="ratio",
            bar=f">= {_MEMCPY_SHARE:g}" if judged else None,
            holds=not judged or share >= _MEMCPY_SHARE,
            **where,
        ),
        Claim(claim="of two loopback TCP streams", value=median / pair, unit="ratio", **where),
    ]
    if qemu_mb_s:
        ratio = median / 1e6 / qemu_mb_s
        claims.append(
            Claim(
                claim="of QEMU's multifd",
                value=ratio,
                unit="ratio",
                bar=">= 1" if judged else None,
                holds=not judged or ratio >= 1.0,
                **where,
            )
        )
    return claims


def table(cases: list[Case], keep: Rows) -> str:
    """Show where the time goes, medians in ms: preparing, rounds, the switchover by part, the rest."""
    head = [
        "case",
        "n",
        "MB/s",
        "prepare",
        "transfer",
        "rounds",
        "downtime",
        *PARTS,
        "rest",
        "total",
    ]
    lines = []
    for case in cases:
        done = [row for row in keep.of(case) if row.completed and row.transfer_s]
        if not done:
            lines.append([case.name, 0, *["–"] * (len(head) - 2)])
            continue
        seconds = [
            [row.prepare_s for row in done],
            [row.transfer_s for row in done],
            [sum(row.round_s) for row in done],
            [row.downtime_s for row in done],
            *([row.parts_s[part] for row in done] for part in PARTS),
            [
                row.duration_s - row.prepare_s - sum(row.round_s) - (row.downtime_s or 0.0)
                for row in done
            ],
            [row.duration_s for row in done],
        ]
        lines.append(
            [
                case.name,
                len(done),
                f"{statistics.median(rate(row) / 1e6 for row in done):.0f}",
                *(f"{statistics.median(values) * 1e3:.1f}" for values in seconds),
            ]
        )
    return markdown(head, lines)


if __name__ == "__main__":
    raise SystemExit(main())
