"""Cases that the benchmarks of the migration engine measure, and their rows. Not a benchmark.

Rows can be kept: `--out rows.jsonl` appends each one as it is measured, `--resume` measures only
what the file lacks, `--rows 'gbe/hybrid/*'` chooses cases by name. Claims are made of all rows,
those in the file included, so that a long grid can be measured in pieces.
"""

import argparse
import fnmatch
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import numpy as np
from claims import Claim, arguments

from cluster.inventory.model import Mode
from cluster.migration.spec import Result
from cluster.page import MIB, PAGE_BYTES

GBE = 125e6
TEN_GBE = 1250e6
LINKS = {"unlimited": None, "gbe": GBE, "10gbe": TEN_GBE}
WORKING_SET_MIB = 256
# The parts of the downtime, in their order; see cluster.migration.spec.Downtime.
PARTS = ("quiesce", "scan", "copy", "state", "commit", "resume")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What one row of a table measures.

    Attributes:
        link: A key of `LINKS`.
        rate_mb_s: The write rate R: R / 4096 page writes a second, with replacement.
        hashed: Each migration compares all pages by hash; without, the guest's writes are replayed
            once after the last one, and all of its memory is compared with that.
    """

    link: str
    mode: Mode
    rate_mb_s: float = 0.0
    memory_mib: int = 1024
    working_set_mib: int = WORKING_SET_MIB
    pattern: str = "uniform"
    hashed: bool = True

    @property
    def name(self) -> str:
        """Names the case on the command line and in files of rows."""
        small = "" if self.memory_mib == 1024 else f"/{self.memory_mib}MiB"
        other = "" if self.working_set_mib == WORKING_SET_MIB else f"/ws{self.working_set_mib}"
        shape = "" if self.pattern == "uniform" else f"/{self.pattern}"
        plain = "" if self.hashed else "/unhashed"
        return f"{self.link}/{self.mode.value}/{self.rate_mb_s:g}{small}{other}{shape}{plain}"

    @property
    def words(self) -> str:
        """Says the case under a claim."""
        link = {"unlimited": "unlimited", "gbe": "1 GbE", "10gbe": "10 GbE"}[self.link]
        plain = "" if self.hashed else ", compared by replay"
        return f"{self.memory_mib} MiB, {link}, {self.mode.value}, R={self.rate_mb_s:g} MB/s{plain}"


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
        rest_rate_ratio: The same in the half second before the request.
        memcpy_bytes_per_second: What one thread copied just before the request, where that counts.
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
    rest_rate_ratio: float | None = None
    memcpy_bytes_per_second: float | None = None

    @property
    def completed(self) -> bool:
        """It arrived, and every page with it."""
        return self.result == Result.COMPLETED.value and self.mismatched_pages == 0

    @property
    def memory_bytes(self) -> int:
        """Size of the guest's memory."""
        return self.memory_mib * MIB


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
