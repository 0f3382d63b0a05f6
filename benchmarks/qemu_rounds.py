"""QEMU's side of the head to head: the ways in which it migrates, and each one done. Not a benchmark."""

import itertools
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from cases import LINKS
from qmp import Qemu, QemuFailed

from cluster.guests.clients import STALL_S_MIN
from cluster.page import PAGE_BYTES

GIVE_UP_S = 75.0
_UNLIMITED = 1 << 40
_LOOK_S = 0.02
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """One migration by either engine; without `total_s` it did not end.

    Attributes:
        total_s: From the destination being ready to the last page.
        asked_s: From the request, where that starts the destination as well.
    """

    sent_bytes: int
    total_s: float | None = None
    asked_s: float | None = None
    blackout_s: float | None = None
    stall_s_sum: float = 0.0
    stall_s_max: float = 0.0
    write_rate_ratio: float | None = None


def rounds(
    directory: Path, kernel: Path, kind: str, contest: Contest, way: Way, count: int
) -> list[Ended]:
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
    found: list[Ended] = []
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


def once(source: Qemu, there: Qemu, contest: Contest, way: Way) -> Ended:
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
        return Ended(sent_bytes=status.get("ram", {}).get("transferred", 0))
    time.sleep(_AFTER_S)  # the destination's beats until now have been read
    before = [at for at in source.heard.beats_s if at <= ended]
    after = there.heard.beats_s
    gaps = [b - a for a, b in itertools.pairwise(after) if b <= ended]
    stalls = [gap for gap in gaps if gap > STALL_S_MIN]
    writes = [one for one in source.heard.writes if one[0] >= began - 1.0]
    return Ended(
        total_s=status["total-time"] / 1e3,
        blackout_s=after[0] - before[-1],
        stall_s_sum=sum(stalls),
        stall_s_max=max(stalls, default=0.0),
        sent_bytes=status["ram"]["transferred"],
        write_rate_ratio=_kept(writes, contest.rate_mb_s),
    )


def follow(source: Qemu, way: Way) -> dict:
    """Look until the migration has ended, or has not within `GIVE_UP_S`; return what it said last."""
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
        if time.monotonic() - began > GIVE_UP_S:
            return {**status, "status": "unfinished"}
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
