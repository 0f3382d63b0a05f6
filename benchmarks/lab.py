"""What the benchmarks of the migration engine share: two hosts, VMs, a prober, and measured rows.

Not a benchmark. A script names `Case`s, `measure` migrates a VM there and back on a live
cluster until each case has its rows, and the script makes claims of them. After every
migration all pages are compared with the source's frozen memory; a row says with what result.

Rows can be kept: `--out rows.jsonl` appends each one as it is measured, `--resume` measures only
what the file lacks, `--rows 'gbe/hybrid/*'` chooses cases by name. Claims are made of all rows,
those in the file included, so that a long grid can be measured in pieces.
"""

import argparse
import fnmatch
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import numpy as np
import ray
from claims import Claim, arguments
from prober import Prober, Probes
from stories import Steps, steps_of

from cluster.actors.cluster import Cluster, wait_until_up
from cluster.actors.session import ray_session
from cluster.guests.clients import GapMeter, Gaps
from cluster.guests.writer import Writer
from cluster.inventory.demand import Constant
from cluster.inventory.model import (
    DrsSettings,
    GuestSpec,
    HostSpec,
    MigrationSettings,
    Mode,
    Nic,
    Scenario,
    VmSpec,
)
from cluster.memory.tracker import TrackerKind
from cluster.migration.spec import Outcome, Result, Trigger
from cluster.page import MIB, PAGE_BYTES
from cluster.policy.messages import MigrationRequested

GBE = 125e6
TEN_GBE = 1250e6
LINKS = {"unlimited": None, "gbe": GBE, "10gbe": TEN_GBE}
WORKING_SET_MIB = 256
PROBE_INTERVAL_S = 0.002
PARTS = ("quiesce", "scan", "copy", "state", "commit", "resume")
_LOOK_S = 0.05
_STALL_S_MAX = 30.0
_SILENCE_S_MAX = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What one row of a table measures.

    Attributes:
        link: A key of `LINKS`.
        rate_mb_s: The write rate R: R / 4096 page writes a second, with replacement.
    """

    link: str
    mode: Mode
    rate_mb_s: float = 0.0
    memory_mib: int = 1024
    working_set_mib: int = WORKING_SET_MIB
    pattern: str = "uniform"

    @property
    def name(self) -> str:
        """Names the case on the command line and in files of rows."""
        small = "" if self.memory_mib == 1024 else f"/{self.memory_mib}MiB"
        other = "" if self.working_set_mib == WORKING_SET_MIB else f"/ws{self.working_set_mib}"
        shape = "" if self.pattern == "uniform" else f"/{self.pattern}"
        return f"{self.link}/{self.mode.value}/{self.rate_mb_s:g}{small}{other}{shape}"

    @property
    def words(self) -> str:
        """Says the case under a claim."""
        link = {"unlimited": "unlimited", "gbe": "1 GbE", "10gbe": "10 GbE"}[self.link]
        return f"{self.memory_mib} MiB, {link}, {self.mode.value}, R={self.rate_mb_s:g} MB/s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One migration, measured. Seconds, bytes, pages; None is what it did not have.

    Attributes:
        total_s: From the request until VirtualCenter shows that it has ended.
        transfer_s: From `Prepare` answered to the last page.
        written_pages: Distinct pages written between start and stun, computed from the
            guest's own count of writes: at most 20 ms of them are missing at the end.
        missing_pages: Still on the source when the VM ran at the destination.
        write_rate_ratio: Writes done of writes attempted, over the whole migration.
        latency_us: Demand faults by power of two of microseconds.
        last_pages: Pages that a stop-and-copy sent while the VM stood still.
        host_cpu_s: CPU time of both hosts' processes, and of pagers that have ended.
    """

    case: str
    link: str
    mode: str
    rate_mb_s: float
    memory_mib: int
    working_set_mib: int
    pattern: str
    number: int
    result: str
    error: str
    mismatched_pages: int
    total_s: float
    duration_s: float
    prepare_s: float | None
    transfer_s: float | None
    round_s: tuple[float, ...]
    blackout_s: float | None
    stall_s_max: float | None
    stall_s_sum: float | None
    downtime_s: float | None
    predicted_downtime_s: float | None
    parts_s: dict[str, float]
    sent_bytes: int
    downtime_bytes: int
    postcopy_bytes: int
    written_pages: int | None
    missing_pages: int | None
    write_rate_ratio: float | None
    throttle_max: float
    demand_faults: int | None
    minor_faults: int | None
    fetched_pages: int | None
    latency_us: tuple[int, ...]
    load: float
    round_bytes: tuple[int, ...] = ()
    last_pages: int | None = None
    host_cpu_s: float | None = None

    @property
    def completed(self) -> bool:
        """It arrived, and every page with it."""
        return self.result == Result.COMPLETED.value and self.mismatched_pages == 0

    @property
    def memory_bytes(self) -> int:
        """Size of the guest's memory."""
        return self.memory_mib * MIB


@dataclass(slots=True)
class Moved:
    """What VirtualCenter says of one migration that has ended and been compared."""

    outcome: Outcome
    epoch: int
    total_s: float
    steps: Steps
    host_cpu_s: float
    mismatched_pages: int = 0
    served: object = None


@contextmanager
def ray_lab(namespace: str = "lab") -> Iterator[None]:
    """Start a Ray of its own for all cases of a script."""
    with ray_session(None, namespace=namespace):
        yield


class Lab:
    """Two live hosts, esx-1 and esx-2, and VMs that go from one to the other and back."""

    def __init__(
        self,
        vms: Sequence[VmSpec],
        *,
        link_bytes_per_second: float | None,
        migrations_at_once_max: int = 8,
        tracker: TrackerKind | None = None,
    ) -> None:
        """Start the cluster, and return when every VM runs; all of them on esx-1."""
        memory_mib = 2 * sum(vm.memory_mib for vm in vms) + 1024
        hosts = tuple(
            HostSpec(
                name=f"esx-{i}",
                cpu_mhz=100_000.0,  # guests run at full speed: what slows them is the machine
                memory_mib=memory_mib,
                nic=Nic(rate_bytes_per_second=link_bytes_per_second),
            )
            for i in (1, 2)
        )
        self.scenario = Scenario(
            name="lab",
            duration_s=1.0,
            hosts=hosts,
            vms=tuple(vms),
            drs=DrsSettings(enabled=False),
            migration=MigrationSettings(
                probe_interval_s=PROBE_INTERVAL_S,
                per_host_max=migrations_at_once_max,
                # A VM's process starts in seconds when others keep the machine busy.
                stall_s_max=_STALL_S_MAX,
            ),
        )
        self.cluster = Cluster.launch(self.scenario, tracker=tracker)
        try:
            wait_until_up(self.cluster, _say_problems)
            # The scenario's clock alone: its clients stay silent, we probe ourselves.
            ray.get(self.cluster.center.begin.remote())
        except BaseException:
            self.cluster.stop()
            raise
        self.at = {vm.name: "esx-1" for vm in vms}
        self._pids = [host.facts.pid for host in self.cluster.view().hosts]

    def prober(self, vm: str) -> "ray.actor.ActorHandle":
        """Return a new prober of a VM, in a process of its own."""
        made = ray.remote(num_cpus=0, max_concurrency=100)(Prober)
        return made.remote(vm, self.cluster.center, interval_s=PROBE_INTERVAL_S)

    def move(self, names: Sequence[str], mode: Mode) -> dict[str, Moved]:
        """Migrate VMs at once to the other host; return when all have been compared.

        Raises:
            TimeoutError: If nothing moves for a minute; the message says what was seen last.
        """
        began, cpu_s = time.monotonic(), self._cpu_s()
        for name in names:
            there = "esx-2" if self.at[name] == "esx-1" else "esx-1"
            request = MigrationRequested(
                vm=name, destination=there, trigger=Trigger.USER, mode=mode
            )
            ray.get(self.cluster.center.request_migration.remote(request))
        found: dict[str, Moved] = {}
        compared: dict[str, object] = {}
        heard_s, before = time.monotonic(), None
        while set(found) != set(names) or any(
            one.outcome.result is Result.COMPLETED and name not in compared
            for name, one in found.items()
        ):
            time.sleep(_LOOK_S)
            view = self.cluster.view()
            now = time.monotonic()
            for one in view.ended:
                found[one.spec.vm] = Moved(
                    outcome=one.outcome,
                    epoch=one.spec.epoch,
                    total_s=now - began,
                    steps=steps_of(one.story, one.outcome.started_s),
                    host_cpu_s=self._cpu_s() - cpu_s,
                )
                if one.outcome.result is Result.COMPLETED:
                    self.at[one.spec.vm] = one.spec.destination
            compared |= {one.vm: one for one in view.verified}
            seen = [(m.spec.id, m.progress) for m in view.migrations], len(found), len(compared)
            if seen != before:
                heard_s, before = now, seen
            if now - heard_s > _SILENCE_S_MAX:
                raise TimeoutError(f"{names} to move: silent for a minute after {seen}")
            _say_problems(view)
        for name, moved in found.items():
            if (check := compared.get(name)) is not None:
                # A comparison that could not be made is not an equal memory.
                moved.mismatched_pages = -1 if check.error else check.mismatched_pages
                moved.served = check.served
        return found

    def _cpu_s(self) -> float:
        """CPU seconds of the hosts so far, their ended children included."""
        ticks = 0
        for pid in self._pids:
            # After the name, which may hold blanks; fields 14 to 17 of proc(5).
            known = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(map(int, known[11:15]))
        return ticks / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        """Take the cluster down."""
        self.cluster.stop()


def writer_vm(name: str, case: Case, *, seed: int = 1) -> VmSpec:
    """Return a VM of filled memory that writes as the case says."""
    params = {
        "rate_mb_s": float(case.rate_mb_s),
        "working_set_mib": float(case.working_set_mib),
        "pattern": case.pattern,
        "words_per_page": 8,
        "filled": True,
    }
    return VmSpec(
        name=name,
        memory_mib=case.memory_mib,
        cpu_mhz=1000.0,
        guest=GuestSpec(program="writer", params=tuple(sorted(params.items()))),
        demand=Constant(mhz=1000.0),
        host="esx-1",
        seed=seed,
    )


def measure(
    cases: Sequence[Case],
    wanted: Callable[[Case], int],
    keep: "Rows",
    *,
    warm_up: int = 1,
    tracker: TrackerKind | None = None,
) -> list[Row]:
    """Measure each case until `keep` holds the wanted number of rows; return the rows of all.

    Migrations that warm up (the object store, the hosts' code) are compared as well but
    are no rows. Prints a line a migration to stderr.
    """
    left = [(case, wanted(case) - keep.count(case)) for case in cases]
    left = [(case, count) for case, count in left if count > 0]
    if left:
        with ray_lab():
            for case, count in left:
                _measure_case(case, count, keep, warm_up, tracker)
    return [row for case in cases for row in keep.of(case)]


def _measure_case(
    case: Case, count: int, keep: "Rows", warm_up: int, tracker: TrackerKind | None
) -> None:
    lab = Lab([writer_vm("vm", case)], link_bytes_per_second=LINKS[case.link], tracker=tracker)
    try:
        prober = lab.prober("vm")
        for number in range(-warm_up, count):
            row = _measure_once(lab, prober, case, number)
            _say(row)
            if number >= 0 or not row.completed:
                keep.add(row)
    finally:
        lab.stop()


def _measure_once(lab: Lab, prober: "ray.actor.ActorHandle", case: Case, number: int) -> Row:
    ray.get(prober.begin.remote())
    # The prober has found the VM, and a gap before the migration is not the migration's.
    time.sleep(0.2)
    began = time.monotonic()
    moved = lab.move(["vm"], case.mode)["vm"]
    probes: Probes = ray.get(prober.end.remote())
    outcome, served = moved.outcome, moved.served
    gaps = _gaps(probes, moved.epoch)
    downtime = outcome.downtime
    return Row(
        case=case.name,
        link=case.link,
        mode=case.mode.value,
        rate_mb_s=case.rate_mb_s,
        memory_mib=case.memory_mib,
        working_set_mib=case.working_set_mib,
        pattern=case.pattern,
        number=number,
        result=outcome.result.value,
        error=outcome.error,
        mismatched_pages=moved.mismatched_pages,
        total_s=moved.total_s,
        duration_s=outcome.duration_s,
        prepare_s=moved.steps.prepare_s,
        transfer_s=moved.steps.transfer_s,
        round_s=tuple(one.duration_s for one in outcome.rounds),
        blackout_s=None if gaps is None else gaps.blackout_s,
        stall_s_max=None if gaps is None else gaps.stall_s_max,
        stall_s_sum=None if gaps is None else gaps.stall_s_sum,
        downtime_s=None if downtime is None else downtime.total_s,
        predicted_downtime_s=outcome.predicted_downtime_s,
        parts_s={}
        if downtime is None
        else {part: getattr(downtime, f"{part}_s") for part in PARTS},
        sent_bytes=outcome.precopy_bytes + outcome.downtime_bytes + outcome.postcopy_bytes,
        downtime_bytes=outcome.downtime_bytes,
        postcopy_bytes=outcome.postcopy_bytes,
        written_pages=_written_pages(case, probes, began, moved.epoch),
        missing_pages=moved.steps.missing_pages,
        write_rate_ratio=_write_rate_ratio(case, probes),
        throttle_max=outcome.throttle_max,
        demand_faults=getattr(served, "demand_faults", None),
        minor_faults=getattr(served, "minor_faults", None),
        fetched_pages=getattr(served, "fetched_pages", None),
        latency_us=tuple(getattr(served, "latency_us", ())),
        load=os.getloadavg()[0],
        round_bytes=tuple(one.sent_bytes for one in outcome.rounds),
        last_pages=moved.steps.last_pages,
        host_cpu_s=moved.host_cpu_s,
    )


def _gaps(probes: Probes, epoch: int) -> Gaps | None:
    meter = GapMeter()
    for at_s, seen in zip(probes.answered_s, probes.epochs, strict=True):
        meter.answered(at_s, epoch=seen)
    return meter.gaps(epoch)


def _written_pages(case: Case, probes: Probes, began_s: float, epoch: int) -> int | None:
    """Count the distinct pages that the source's guest wrote after the request."""
    before = [done for at, seen, done in probes.writes if at <= began_s]
    source = [done for at, seen, done in probes.writes if seen < epoch]
    if not before or not source:
        return None
    memory_bytes = (case.memory_mib * MIB) - PAGE_BYTES
    twin = Writer(
        memory_bytes=memory_bytes,
        seed=1,
        rate_mb_s=case.rate_mb_s,
        working_set_mib=case.working_set_mib,
        pattern=case.pattern,
    )
    first, last = before[-1], source[-1]
    seen_pages = np.zeros(twin.pages, dtype=bool)
    for at in range(first, last, 1 << 20):
        seen_pages[twin.pages_of(at, min(1 << 20, last - at))] = True
    return int(np.count_nonzero(seen_pages))


def _write_rate_ratio(case: Case, probes: Probes) -> float | None:
    if not case.rate_mb_s or len(probes.writes) < 2:
        return None
    (first_s, _, first), (last_s, _, last) = probes.writes[0], probes.writes[-1]
    return (last - first) * PAGE_BYTES / (case.rate_mb_s * 1e6 * (last_s - first_s))


@dataclass(slots=True)
class Rows:
    """The rows measured so far, by case, and the file that keeps them."""

    path: Path | None = None
    rows: list[Row] = field(default_factory=list)

    @classmethod
    def open(cls, path: Path | None, *, resume: bool) -> "Rows":
        """Read what a file holds already; without `resume` it must be new.

        Raises:
            SystemExit: If the file is there and is not to be gone on with.
        """
        made = cls(path=path)
        if path is not None and path.exists():
            if not resume:
                raise SystemExit(f"{path} is there already; go on with it by --resume")
            known = {one.name for one in fields(Row)}
            for line in path.read_text().splitlines():
                raw = {name: value for name, value in json.loads(line).items() if name in known}
                made.rows.append(Row(**raw))
        return made

    def add(self, row: Row) -> None:
        """Keep a row, on disk before the next one is measured."""
        self.rows.append(row)
        if self.path is not None:
            with self.path.open("a") as out:
                out.write(json.dumps(asdict(row)) + "\n")

    def of(self, case: Case) -> list[Row]:
        """Return the rows of one case, in order."""
        return [row for row in self.rows if row.case == case.name]

    def count(self, case: Case) -> int:
        """Return how many rows a case has, failures included."""
        return len(self.of(case))


def lab_arguments(description: str) -> argparse.ArgumentParser:
    """Return a parser with the options of every script whose rows can be kept."""
    parser = arguments(description)
    parser.add_argument("--out", type=Path, help="append each row to this file, as JSON lines")
    parser.add_argument("--resume", action="store_true", help="measure only what --out lacks")
    parser.add_argument(
        "--rows", default="*", metavar="PATTERN", help="only cases whose name matches"
    )
    parser.add_argument("--migrations", type=int, help="rows a case, instead of the script's own")
    parser.add_argument("--list", action="store_true", help="print the names of the cases, and end")
    return parser


def chosen(cases: Sequence[Case], options: argparse.Namespace) -> list[Case]:
    """Return the cases that `--rows` names; with `--list` print them and end.

    Raises:
        SystemExit: With `--list`, or when the pattern matches nothing.
    """
    found = [case for case in cases if fnmatch.fnmatch(case.name, options.rows)]
    if options.list:
        print("\n".join(case.name for case in found))
        raise SystemExit(0)
    if not found:
        raise SystemExit(f"no case matches {options.rows!r}; --list shows their names")
    return found


def integrity(rows: Sequence[Row]) -> list[Claim]:
    """Claim that every migration arrived, and with every page."""
    if not rows:
        return []
    failed = [row for row in rows if row.result != Result.COMPLETED.value]
    # -1 stands for a comparison that could not be made.
    differ = sum(abs(row.mismatched_pages) for row in rows)
    pages = sum(row.memory_bytes // PAGE_BYTES for row in rows)
    return [
        Claim(
            claim="migrations that did not complete",
            value=len(failed),
            unit="migrations",
            bar="0 but in precopy, which may give up",
            holds=all(row.mode == Mode.PRECOPY.value for row in failed),
            n=len(rows),
            conditions="; ".join(sorted({f"{row.case}: {row.error}" for row in failed})),
        ),
        Claim(
            claim="pages that differ after a migration",
            value=differ,
            unit="pages",
            bar="0",
            holds=differ == 0,
            n=pages,
            conditions="all pages of every migration",
        ),
    ]


def quantile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that is not below `share` of all: the nearest rank."""
    ordered = sorted(values)
    return ordered[max(0, int(np.ceil(share * len(ordered))) - 1)]


def _say(row: Row) -> None:
    """Tell of progress; a grid takes half an hour."""
    gap = "-" if row.blackout_s is None else f"{row.blackout_s * 1e3:.1f}"
    mark = "warm" if row.number < 0 else str(row.number + 1)
    print(
        f"{row.case} {mark}: {row.result} blackout {gap} ms, "
        f"total {row.total_s:.2f} s, differ {row.mismatched_pages} {row.error}",
        file=sys.stderr,
        flush=True,
    )


def _say_problems(view: object) -> None:
    for problem in view.problems:
        print(f"problem: {problem}", file=sys.stderr, flush=True)
