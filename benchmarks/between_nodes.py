"""A VM between Ray nodes over a real Gigabit network: duration, blackout, bytes, share of the line.

Three nodes in namespaces of their own on this machine (tests/netlab), each card held to 1 Gbit/s by the
kernel; nothing is shaped by us. A writer of filled memory goes there and back between two of them.
The share is bytes on the wire over the time from `Prepare` answered to the last page, divided by
what one TCP connection carried between the same nodes when the cluster started. Needs root.

    sudo python benchmarks/between_nodes.py
    sudo python benchmarks/between_nodes.py --rows '*/hybrid/*'
    sudo python benchmarks/between_nodes.py --quick --json
"""

import argparse
import statistics
import sys
from pathlib import Path

from cases import Case, Row, Rows, chosen, integrity, lab_arguments
from claims import Claim, finish, markdown

from cluster.inventory.model import Mode

ROOT = Path(__file__).resolve().parent.parent
_BLACKOUT_S_MAX = 0.030
_SHARE_MIN = 0.95
_RATES_MB_S = (0.0, 50.0, 200.0)
_MODES = (Mode.HYBRID, Mode.POSTCOPY, Mode.AUTO, Mode.PRECOPY)


def cases(memory_mib: int) -> list[Case]:
    """Each mode at each write rate; the link's name says that we do not shape it."""
    return [
        Case(link="unlimited", mode=mode, rate_mb_s=rate, memory_mib=memory_mib, working_set_mib=64)
        for mode in _MODES
        for rate in _RATES_MB_S
    ]


def inside(options: argparse.Namespace, address: str) -> int:
    """Measure, on a node of the lab."""
    import ray
    from lab import Lab, writer_vm
    from measuring import measure_once, say

    class NodesLab(Lab):
        """Hosts on two nodes, whose processes cannot be seen from here."""

        def _cpu_s(self) -> float:
            return 0.0

    count = options.migrations or (2 if options.quick else 10)
    grid = cases(128 if options.quick else 512)
    if options.quick:
        grid = [case for case in grid if case.mode is Mode.HYBRID]
    grid = chosen(grid, options)
    keep = Rows.open(options.out, resume=options.resume)
    goodput: list[float] = []
    ray.init(
        address=address, namespace="between-nodes", log_to_driver=False, configure_logging=False
    )
    for case in grid:
        if count <= keep.count(case):
            continue
        lab = NodesLab([writer_vm("vm", case)], link_bytes_per_second=None)
        try:
            goodput += [rate for *_, rate in lab.cluster.lines]
            prober = lab.prober("vm")
            for number in range(-1, count - keep.count(case)):
                row = measure_once(lab, prober, case, number)
                say(row)
                if number >= 0 or not row.completed:
                    keep.add(row)
        finally:
            lab.stop()
    ray.shutdown()
    rows = [row for case in grid for row in keep.of(case)]
    line = statistics.median(goodput) if goodput else options.goodput
    if not options.json:
        print(table(grid, keep, line))
    return finish(judge(grid, keep, line, len(goodput)) + integrity(rows), as_json=options.json)


def judge(grid: list[Case], keep: Rows, line: float, lines: int) -> list[Claim]:
    """Compare what was measured with the bars."""
    claims = [
        Claim(
            claim="TCP goodput between two nodes",
            value=line / 1e6,
            unit="MB/s",
            n=lines,
            conditions="one connection, 0.4 s, both ways, before each case",
        )
    ]
    for case in grid:
        rows = [row for row in keep.of(case) if row.completed]
        if not rows:
            continue
        where = f"{case.memory_mib} MiB, {case.mode.value}, R={case.rate_mb_s:g} MB/s"
        blackouts = [row.blackout_s for row in rows if row.blackout_s is not None]
        if blackouts:
            median_s = statistics.median(blackouts)
            bar = _BLACKOUT_S_MAX if case.mode is Mode.HYBRID else None
            claims.append(
                Claim(
                    claim="client blackout between nodes, median",
                    value=median_s * 1e3,
                    unit="ms",
                    bar=None if bar is None else f"{bar * 1e3:g} in hybrid",
                    holds=bar is None or median_s <= bar,
                    n=len(blackouts),
                    conditions=where,
                )
            )
        share = statistics.median(share_of(row, line) for row in rows)
        claims.append(
            Claim(
                claim="share of the TCP goodput, median",
                value=share,
                unit="ratio",
                bar=_SHARE_MIN,
                holds=share >= _SHARE_MIN,
                n=len(rows),
                conditions=where,
            )
        )
    return claims


def share_of(row: Row, line: float) -> float:
    """Return what a migration had of the line."""
    return row.sent_bytes / row.transfer_s / line if row.transfer_s else 0.0


def table(grid: list[Case], keep: Rows, line: float) -> str:
    """Show medians of each case."""
    lines = []
    for case in grid:
        rows = [row for row in keep.of(case) if row.completed]
        if rows:
            blackouts = [row.blackout_s for row in rows if row.blackout_s is not None]
            lines.append(
                [
                    case.mode.value,
                    f"{case.rate_mb_s:g}",
                    len(rows),
                    f"{statistics.median(row.duration_s for row in rows):.2f}",
                    f"{statistics.median(blackouts) * 1e3:.1f}" if blackouts else "–",
                    f"{statistics.median(row.sent_bytes for row in rows) / 1e6:.0f}",
                    f"{statistics.median(share_of(row, line) for row in rows):.3f}",
                ]
            )
    head = ["mode", "R MB/s", "n", "duration s", "blackout ms", "sent MB", "share of the line"]
    return markdown(head, lines)


def main() -> int:
    parser = lab_arguments(__doc__ or "")
    parser.add_argument("--inside", metavar="ADDRESS", help=argparse.SUPPRESS)
    parser.add_argument(
        "--goodput", type=float, default=118e6, help="bytes a second, where --out has all rows"
    )
    options = parser.parse_args()
    if options.inside:
        return inside(options, options.inside)
    sys.path.insert(0, str(ROOT))
    from tests.netlab.lab import NoLab, netlab

    try:
        with netlab(3) as lab:
            again = [sys.executable, str(Path(__file__).resolve()), *sys.argv[1:]]
            process = lab.run([*again, "--inside", lab.ray_address], captured=False)
            return process.wait()
    except NoLab as error:
        print(f"no lab: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    raise SystemExit(main())
