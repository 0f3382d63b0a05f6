"""Head to head with QEMU in one run: same memory, same write rate, same cap, same kind of heartbeat.

QEMU's guest is a program of ours without an operating system (benchmarks/qemu/guest.c): filled memory,
R / 4096 page writes a second uniform over 256 MiB, 8 words a page, a heartbeat every 2 ms on a port
that is read outside. Both its ends have touched their memory before, and its migration goes over
loopback TCP. KVM is tried first, then TCG, which changes little for the copying.
Blackout is the gap from the source's last heartbeat to the destination's first; stalls are gaps over 10 ms
after that until the migration has completed. QEMU compares no memory; we hash every page on both
sides, and our time is shown from the request (a VM process is started) and from the
destination being ready, which is what QEMU's own total time counts from.

    python benchmarks/against_qemu.py
    python benchmarks/against_qemu.py --rows 'unlimited/*' --migrations 3
    python benchmarks/against_qemu.py --quick --json

Needs qemu-system-x86_64, gcc and objcopy; without them it says so and is skipped with exit status 0.
"""

import fnmatch
import statistics
import sys
import tempfile
from pathlib import Path

from cases import Case, Row, Rows, integrity
from claims import Claim, arguments, finish, markdown
from measuring import measure
from qemu_rounds import (
    CONVERGE,
    GIVE_UP_S,
    MULTIFD,
    POSTCOPY,
    PRECOPY,
    Contest,
    Ended,
    Way,
    rounds,
)
from qmp import accelerator, build_guest, missing, version

from cluster.inventory.model import Mode
from cluster.page import MIB

_HEAD = (
    "case",
    "by",
    "n",
    "total s",
    "from the request",
    "blackout ms",
    "longest",
    "stalls s",
    "MB/s",
    "bytes / memory",
    "rate kept",
)
_MODES = (Mode.HYBRID, Mode.AUTO)
_ALL = (PRECOPY, MULTIFD, POSTCOPY)
CONTESTS = (
    Contest(link="unlimited", memory_mib=1024, rate_mb_s=0.0, ways=_ALL),
    Contest(link="unlimited", memory_mib=1024, rate_mb_s=50.0, ways=_ALL),
    Contest(link="unlimited", memory_mib=1024, rate_mb_s=200.0, ways=_ALL),
    Contest(link="unlimited", memory_mib=1024, rate_mb_s=1000.0, ways=_ALL),
    Contest(link="unlimited", memory_mib=4096, rate_mb_s=0.0, ways=(MULTIFD,)),
    Contest(link="unlimited", memory_mib=4096, rate_mb_s=1000.0, ways=(MULTIFD,)),
    Contest(link="gbe", memory_mib=1024, rate_mb_s=50.0, ways=(PRECOPY, POSTCOPY)),
    Contest(link="gbe", memory_mib=1024, rate_mb_s=200.0, ways=(PRECOPY, CONVERGE, POSTCOPY)),
)


def main() -> int:
    parser = arguments(__doc__ or "")
    parser.add_argument("--rows", default="*", metavar="PATTERN", help="only contests that match")
    parser.add_argument("--migrations", type=int, help="of each way, instead of the script's own")
    parser.add_argument("--list", action="store_true", help="print the contests' names, and end")
    options = parser.parse_args()
    contests = [one for one in CONTESTS if fnmatch.fnmatch(one.name, options.rows)]
    if options.quick:
        contests = [one for one in contests if one.name == "unlimited/1024/200"] or contests[:1]
    if options.list:
        print("\n".join(one.name for one in contests))
        return 0
    if not contests:
        parser.error(f"no contest matches {options.rows!r}; --list shows their names")
    if why := missing():
        print(f"skipped: {why}", file=sys.stderr)
        return finish([], as_json=options.json)
    claims: list[Claim] = []
    lines: list[list[object]] = []
    everything: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="vmotion-qemu-") as made:
        directory = Path(made)
        kernel = build_guest(directory)
        kind = accelerator(directory, kernel)
        for contest in contests:
            count = options.migrations or (2 if options.quick else _count(contest))
            theirs = {
                way: rounds(directory, kernel, kind, contest, way, count) for way in contest.ways
            }
            rows = {mode: measure_ours(contest, mode, count) for mode in _MODES}
            everything += [row for some in rows.values() for row in some]
            ours = {mode: ended(some) for mode, some in rows.items()}
            lines += table(contest, theirs, ours)
            claims += claims_of(contest, theirs, ours, f"{version()} ({kind}), {contest.name}")
    if not options.json:
        print(markdown(_HEAD, lines))
    return finish([*claims, *integrity(everything)], as_json=options.json)


def _count(contest: Contest) -> int:
    return 3 if contest.link == "gbe" else 7


def measure_ours(contest: Contest, mode: Mode, count: int) -> list[Row]:
    """The same with our engine."""
    case = Case(
        link=contest.link, mode=mode, rate_mb_s=contest.rate_mb_s, memory_mib=contest.memory_mib
    )
    return measure([case], lambda _: count, Rows(), warm_up=2 if contest.link == "unlimited" else 1)


def ended(rows: list[Row]) -> list[Ended]:
    """Show our rows as QEMU's are shown."""
    return [
        Ended(
            sent_bytes=row.sent_bytes,
            total_s=row.transfer_s,
            asked_s=row.duration_s,
            blackout_s=row.blackout_s,
            stall_s_sum=row.stall_s_sum,
            stall_s_max=row.stall_s_max,
            write_rate_ratio=row.write_rate_ratio,
        )
        for row in rows
        if row.completed and row.blackout_s is not None
    ]


def median(found: list[Ended], name: str) -> float | None:
    """Of one attribute, over the migrations that have it; None if none has."""
    known = [value for one in found if (value := getattr(one, name)) is not None]
    return statistics.median(known) if known else None


def claims_of(
    contest: Contest,
    theirs: dict[Way, list[Ended]],
    ours: dict[Mode, list[Ended]],
    where: str,
) -> list[Claim]:
    """Judge ours against the best of theirs in this run."""
    whole = {way: found for way, found in theirs.items() if median(found, "total_s") is not None}
    claims = []
    for mode, found in ours.items():
        if not found or not whole:
            continue
        mine = median(found, "blackout_s")
        best = min(median(each, "blackout_s") for each in whole.values())
        claims.append(
            Claim(
                claim=f"blackout of {mode.value} over the shortest of QEMU's",
                value=mine / best,
                unit="ratio of medians",
                bar="<= 1",
                holds=mine <= best,
                n=len(found),
                conditions=where,
            )
        )
        if MULTIFD in whole and not contest.rate_mb_s:
            speed = median(whole[MULTIFD], "total_s") / median(found, "total_s")
            judged = mode is Mode.HYBRID
            claims.append(
                Claim(
                    claim=f"throughput of {mode.value}, every page hashed, over QEMU's multifd",
                    value=speed,
                    unit="ratio of medians",
                    bar=">= 1" if judged else None,
                    holds=not judged or speed >= 1.0,
                    n=len(found),
                    conditions=where,
                )
            )
        if mode is Mode.AUTO and contest.link == "gbe" and POSTCOPY in whole:
            stalls, bar = median(found, "stall_s_sum"), median(whole[POSTCOPY], "stall_s_sum")
            claims.append(
                Claim(
                    claim="stalls of auto after the switchover",
                    value=stalls,
                    unit="s",
                    bar=f"<= {bar:.2f}, QEMU's post-copy in this run",
                    holds=stalls <= bar,
                    n=len(found),
                    conditions=where,
                )
            )
    return claims


def table(
    contest: Contest, theirs: dict[Way, list[Ended]], ours: dict[Mode, list[Ended]]
) -> list[list[object]]:
    """Both engines' rows, medians."""
    named = {f"QEMU {way.name}": found for way, found in theirs.items()}
    named |= {f"vmotion {mode.value}": found for mode, found in ours.items()}
    return [_line(contest, who, found) for who, found in named.items() if found]


def _line(contest: Contest, who: str, found: list[Ended]) -> list[object]:
    memory_bytes = contest.memory_mib * MIB
    sent = f"{median(found, 'sent_bytes') / memory_bytes:.2f}"
    total = median(found, "total_s")
    if total is None:
        never = f"never within {GIVE_UP_S:.0f} s"
        return [contest.name, who, len(found), never, *["–"] * 5, sent, "–"]
    asked, kept = median(found, "asked_s"), median(found, "write_rate_ratio")
    return [
        contest.name,
        who,
        len(found),
        f"{total:.3f}",
        "–" if asked is None else f"{asked:.3f}",
        f"{median(found, 'blackout_s') * 1e3:.1f}",
        f"{max(one.blackout_s for one in found if one.blackout_s is not None) * 1e3:.1f}",
        f"{median(found, 'stall_s_sum'):.2f}",
        f"{memory_bytes / total / 1e6:.0f}",
        sent,
        "–" if kept is None else f"{kept:.2f}",
    ]


if __name__ == "__main__":
    raise SystemExit(main())
