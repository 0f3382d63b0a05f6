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
import itertools
import socket
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from claims import Claim, arguments, finish
from lab import LINKS, Case, Row, Rows, integrity, measure
from qmp import Qemu, QemuFailed, accelerator, build_guest, missing, version

from cluster.guests.clients import STALL_S_MIN
from cluster.inventory.model import Mode
from cluster.page import MIB, PAGE_BYTES

_UNLIMITED = 1 << 40
_LOOK_S = 0.02
_GIVE_UP_S = 75.0
_AFTER_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way in which QEMU migrates."""

    name: str
    capabilities: tuple[str, ...] = ()
    downtime_limit_ms: int = 30
    post_copy: bool = False


PRECOPY = Way(name="pre-copy, limit 30 ms")
MULTIFD = Way(name="multifd x2, limit 300 ms", capabilities=("multifd",), downtime_limit_ms=300)
CONVERGE = Way(name="auto-converge, limit 30 ms", capabilities=("auto-converge",))
POSTCOPY = Way(
    name="post-copy, preempt", capabilities=("postcopy-ram", "postcopy-preempt"), post_copy=True
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """One line of the comparison: what the guest does, and the ways of QEMU that are tried."""

    link: str
    memory_mib: int
    rate_mb_s: float
    ways: tuple[Way, ...]

    @property
    def name(self) -> str:
        """For `--rows`."""
        return f"{self.link}/{self.memory_mib}/{self.rate_mb_s:g}"


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One migration by QEMU; None where it did not end."""

    total_s: float | None
    blackout_s: float | None
    stall_s_sum: float
    stall_s_max: float
    sent_bytes: int
    write_rate_ratio: float | None


def main() -> int:
    parser = arguments(__doc__ or "")
    parser.add_argument("--rows", default="*", metavar="PATTERN", help="only contests that match")
    parser.add_argument("--migrations", type=int, help="of each way, instead of the script's own")
    parser.add_argument("--list", action="store_true", help="print the contests' names, and end")
    options = parser.parse_args()
    if why := missing():
        print(f"skipped: {why}", file=sys.stderr)
        return finish([], as_json=options.json)
    contests = [one for one in CONTESTS if fnmatch.fnmatch(one.name, options.rows)]
    if options.quick:
        contests = [one for one in contests if one.name == "unlimited/1024/200"] or contests[:1]
    if options.list:
        print("\n".join(one.name for one in contests))
        return 0
    if not contests:
        parser.error(f"no contest matches {options.rows!r}; --list shows their names")
    claims: list[Claim] = []
    lines = [
        "case | by | n | total s | blackout ms | longest | stalls s | MB/s | bytes / memory | rate kept"
    ]
    everything: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="vmotion-qemu-") as made:
        directory = Path(made)
        kernel = build_guest(directory)
        kind = accelerator(directory, kernel)
        for contest in contests:
            count = options.migrations or (
                2 if options.quick else 3 if contest.link == "gbe" else 7
            )
            theirs = {
                way: rounds(directory, kernel, kind, contest, way, count) for way in contest.ways
            }
            ours = {mode: measure_ours(contest, mode, count) for mode in (Mode.HYBRID, Mode.AUTO)}
            everything += [row for rows in ours.values() for row in rows]
            lines += table(contest, theirs, ours)
            claims += claims_of(contest, theirs, ours, f"{version()} ({kind}), {contest.name}")
    if not options.json:
        print("\n".join(lines))
    return finish([*claims, *integrity(everything)], as_json=options.json)


def measure_ours(contest: Contest, mode: Mode, count: int) -> list[Row]:
    """The same with our engine."""
    case = Case(
        link=contest.link, mode=mode, rate_mb_s=contest.rate_mb_s, memory_mib=contest.memory_mib
    )
    return measure([case], lambda _: count, Rows(), warm_up=2 if contest.link == "unlimited" else 1)


def rounds(
    directory: Path, kernel: Path, kind: str, contest: Contest, way: Way, count: int
) -> list[Result]:
    """Migrate `count` times, each time on to a new QEMU; the source of the next is the last's
    destination."""
    setting = {
        "kernel": kernel,
        "memory_mib": contest.memory_mib,
        "writes_per_second": contest.rate_mb_s * 1e6 / PAGE_BYTES,
        "working_set_mib": 256,
        "accelerator": kind,
    }
    source = Qemu(directory, "qemu-0", incoming=False, **setting)
    found: list[Result] = []
    try:
        if not source.until_beating():
            raise QemuFailed("the guest does not start")
        for number in range(1, count + 1):
            there = Qemu(directory, f"qemu-{number}", incoming=True, **setting)
            try:
                result = once(source, there, contest, way)
            except BaseException:
                there.close()
                raise
            found.append(result)
            gap = (
                "never ended" if result.blackout_s is None else f"{result.blackout_s * 1e3:.1f} ms"
            )
            print(f"{contest.name} QEMU {way.name} {number}: {gap}", file=sys.stderr, flush=True)
            if result.total_s is None:
                there.close()
                break  # it will not end the next time
            source.close()
            source = there
    finally:
        source.close()
    return found


def once(source: Qemu, there: Qemu, contest: Contest, way: Way) -> Result:
    """Migrate once and listen to the guest at both ends."""
    capabilities = {name: True for name in way.capabilities if name in source.capabilities()}
    # What an earlier migration set must not be on in this one; both ends are fresh or equal.
    cap = int(LINKS[contest.link] or _UNLIMITED)
    parameters = {
        "max-bandwidth": cap,
        "max-postcopy-bandwidth": 0 if LINKS[contest.link] is None else cap,
        "downtime-limit": way.downtime_limit_ms,
    }
    if "multifd" in way.capabilities:
        parameters["multifd-channels"] = 2
    for end in (source, there):
        end.set_up(capabilities, parameters)
    address = f"tcp:127.0.0.1:{free_port()}"
    there.ask("migrate-incoming", uri=address)
    time.sleep(_AFTER_S)
    began = time.monotonic()
    source.ask("migrate", uri=address)
    status = follow(source, way)
    ended = time.monotonic()
    if status["status"] != "completed":
        return Result(
            total_s=None,
            blackout_s=None,
            stall_s_sum=0.0,
            stall_s_max=0.0,
            sent_bytes=status.get("ram", {}).get("transferred", 0),
            write_rate_ratio=None,
        )
    time.sleep(_AFTER_S)  # the destination's beats until now have been read
    before = [at for at in source.heard.beats_s if at <= ended]
    after = there.heard.beats_s
    gaps = [b - a for a, b in itertools.pairwise(after) if b <= ended]
    stalls = [gap for gap in gaps if gap > STALL_S_MIN]
    writes = [one for one in source.heard.writes if one[0] >= began - 1.0]
    return Result(
        total_s=status["total-time"] / 1e3,
        blackout_s=after[0] - before[-1],
        stall_s_sum=sum(stalls),
        stall_s_max=max(stalls, default=0.0),
        sent_bytes=status["ram"]["transferred"],
        write_rate_ratio=_kept(writes, contest.rate_mb_s),
    )


def follow(source: Qemu, way: Way) -> dict:
    """Look until the migration has ended; cancel one that does not in `_GIVE_UP_S`."""
    began = time.monotonic()
    switched = False
    while True:
        status = source.ask("query-migrate")
        if status.get("status") in ("completed", "failed", "cancelled"):
            return status
        # Like hybrid: one round, and then the guest moves.
        if way.post_copy and not switched and status.get("ram", {}).get("dirty-sync-count", 0) > 1:
            source.ask("migrate-start-postcopy")
            switched = True
        if time.monotonic() - began > _GIVE_UP_S:
            source.ask("migrate_cancel")
        time.sleep(_LOOK_S)


def free_port() -> int:
    """Return a port that nobody listens at now."""
    with socket.create_server(("127.0.0.1", 0)) as made:
        return made.getsockname()[1]


def _kept(writes: list[tuple[float, int]], rate_mb_s: float) -> float | None:
    if not rate_mb_s or len(writes) < 2:
        return None
    (first_s, first), (last_s, last) = writes[0], writes[-1]
    return (last - first) * PAGE_BYTES / (rate_mb_s * 1e6 * (last_s - first_s))


def rate_mb_s(contest: Contest, seconds: float) -> float:
    """Guest memory moved a second."""
    return contest.memory_mib * MIB / seconds / 1e6


def claims_of(
    contest: Contest, theirs: dict[Way, list[Result]], ours: dict[Mode, list[Row]], where: str
) -> list[Claim]:
    """Judge ours against the best of theirs in this run."""
    done = {way: [one for one in found if one.total_s is not None] for way, found in theirs.items()}
    ended = {way: found for way, found in done.items() if found}
    claims = []
    for mode, rows in ours.items():
        whole = [row for row in rows if row.completed and row.blackout_s is not None]
        if not whole or not ended:
            continue
        mine = statistics.median(row.blackout_s for row in whole)
        best = min(statistics.median(one.blackout_s for one in found) for found in ended.values())
        claims.append(
            Claim(
                claim=f"blackout of {mode.value} over the shortest of QEMU's",
                value=mine / best,
                unit="ratio of medians",
                bar="<= 1",
                holds=mine <= best,
                n=len(whole),
                conditions=where,
            )
        )
        if MULTIFD in ended and not contest.rate_mb_s:
            multifd = statistics.median(one.total_s for one in ended[MULTIFD])
            speed = multifd / statistics.median(row.transfer_s for row in whole)
            claims.append(
                Claim(
                    claim=f"throughput of {mode.value}, every page hashed, over QEMU's multifd",
                    value=speed,
                    unit="ratio of medians",
                    bar=">= 1" if mode is Mode.HYBRID else None,
                    holds=mode is not Mode.HYBRID or speed >= 1.0,
                    n=len(whole),
                    conditions=where,
                )
            )
        if mode is Mode.AUTO and contest.link == "gbe" and POSTCOPY in ended:
            stalls = statistics.median(row.stall_s_sum for row in whole)
            bar = statistics.median(one.stall_s_sum for one in ended[POSTCOPY])
            claims.append(
                Claim(
                    claim="stalls of auto after the switchover",
                    value=stalls,
                    unit="s",
                    bar=f"<= {bar:.2f}, QEMU's post-copy in this run",
                    holds=stalls <= bar,
                    n=len(whole),
                    conditions=where,
                )
            )
    return claims


def table(
    contest: Contest, theirs: dict[Way, list[Result]], ours: dict[Mode, list[Row]]
) -> list[str]:
    """Both engines' rows, medians."""
    lines = []
    for way, found in theirs.items():
        done = [one for one in found if one.total_s is not None]
        if not done:
            sent = found[0].sent_bytes / (contest.memory_mib * MIB)
            lines.append(
                f"{contest.name} | QEMU {way.name} | 1 | never within {_GIVE_UP_S:.0f} | – | – | – | – | {sent:.2f} | –"
            )
            continue
        total = statistics.median(one.total_s for one in done)
        lines.append(
            _line(
                contest,
                f"QEMU {way.name}",
                [one.blackout_s for one in done],
                f"{total:.3f}",
                statistics.median(one.stall_s_sum for one in done),
                rate_mb_s(contest, total),
                statistics.median(one.sent_bytes for one in done),
                [one.write_rate_ratio for one in done],
            )
        )
    for mode, rows in ours.items():
        done = [row for row in rows if row.completed and row.blackout_s is not None]
        if done:
            moving = statistics.median(row.transfer_s for row in done)
            asked = statistics.median(row.duration_s for row in done)
            lines.append(
                _line(
                    contest,
                    f"vmotion {mode.value}",
                    [row.blackout_s for row in done],
                    f"{moving:.3f} ({asked:.3f} from the request)",
                    statistics.median(row.stall_s_sum for row in done),
                    rate_mb_s(contest, moving),
                    statistics.median(row.sent_bytes for row in done),
                    [row.write_rate_ratio for row in done],
                )
            )
    return lines


def _line(
    contest: Contest,
    who: str,
    blackouts_s: list[float],
    total: str,
    stalls_s: float,
    speed: float,
    sent_bytes: float,
    kept: list[float | None],
) -> str:
    known = [one for one in kept if one is not None]
    return " | ".join(
        (
            contest.name,
            who,
            str(len(blackouts_s)),
            total,
            f"{statistics.median(blackouts_s) * 1e3:.1f}",
            f"{max(blackouts_s) * 1e3:.1f}",
            f"{stalls_s:.2f}",
            f"{speed:.0f}",
            f"{sent_bytes / (contest.memory_mib * MIB):.2f}",
            f"{statistics.median(known):.2f}" if known else "–",
        )
    )


if __name__ == "__main__":
    raise SystemExit(main())
