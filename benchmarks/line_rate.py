"""How much of a shaped link migrations use, alone and eight at once.

Idle guests of filled memory, alike. Alone: bytes on the wire over the time from `Prepare` answered
to the last page, as a share of the link's rate. Eight at once against one: memory moved over the time
from the request to the last page of all. Both begin with allocating the memory at the destination,
which one does before `Prepare` is answered and eight do while others send; from there on is
shown as well. As many VM processes stand by on each host as VMs move
(`migration.standby_processes`); with `--standby 0` each is started when it is needed.

    python benchmarks/line_rate.py
    python benchmarks/line_rate.py --rows 'unlimited*'
    python benchmarks/line_rate.py --quick --json
"""

import fnmatch
import statistics
import sys
from dataclasses import dataclass

from cases import LINKS, Case
from claims import Claim, arguments, finish
from lab import Lab, Moved, ray_lab, writer_vm

from cluster.inventory.model import Mode
from cluster.migration.spec import Result
from cluster.page import MIB

_LINE_MIN = 0.95
_EIGHT_MIN = {"gbe": 0.95, "10gbe": 0.95, "unlimited": 0.8}
_AT_ONCE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """One trip of one or of eight VMs.

    Attributes:
        busy_s: In which at least one was between `Prepare` answered and its last page.
        request_s: From the request to the last page of all.
    """

    memory_bytes: int
    sent_bytes: int
    busy_s: float
    request_s: float
    whole: bool


def main() -> int:
    parser = arguments(__doc__ or "")
    parser.add_argument("--rows", default="*", metavar="PATTERN", help="only links that match")
    parser.add_argument("--migrations", type=int, help="trips a link, instead of the script's own")
    parser.add_argument(
        "--standby",
        type=int,
        metavar="N",
        help="VM processes that stand by, instead of as many as move",
    )
    options = parser.parse_args()
    links = [link for link in LINKS if fnmatch.fnmatch(link, options.rows)]
    if options.quick:
        links = [link for link in links if link != "10gbe"]
    trips = options.migrations or (2 if options.quick else 5)
    mib = 128 if options.quick else 512
    claims: list[Claim] = []
    moved: list[Transfer] = []
    with ray_lab():
        for link in links:
            one = measure_trips(link, 1, mib, trips, options.standby)
            eight = measure_trips(link, _AT_ONCE, mib, trips, options.standby)
            claims += claims_of(link, one, eight, mib)
            moved += [*one, *eight]
    bad = sum(not trip.whole for trip in moved)
    claims.append(
        Claim(
            claim="trips on which a migration failed or a page differed",
            value=bad,
            unit="trips",
            bar="0",
            holds=bad == 0,
            n=len(moved),
        )
    )
    return finish(claims, as_json=options.json)


def measure_trips(
    link: str, vms: int, memory_mib: int, trips: int, standby: int | None
) -> list[Transfer]:
    """Move `vms` VMs of `memory_mib` each together, there and back; the first trip warms up."""
    case = Case(link=link, mode=Mode.HYBRID, memory_mib=memory_mib, working_set_mib=1)
    names = [f"vm-{i}" for i in range(vms)]
    lab = Lab(
        [writer_vm(name, case) for name in names],
        link_bytes_per_second=LINKS[link],
        standby_processes=vms if standby is None else standby,
    )
    try:
        found: list[dict[str, Moved]] = []
        for trip in range(trips + 1):
            lab.wait_for_standby()
            found.append(lab.move(names, Mode.HYBRID))
            said = f"trip {trip} of {trips}" if trip else "warm-up"
            print(f"{link}, {vms} at once, {said}", file=sys.stderr, flush=True)
    finally:
        lab.stop()
    return [transfer_of(list(moved.values()), case.memory_mib * MIB) for moved in found[1:]]


def transfer_of(moved: list[Moved], memory_bytes: int) -> Transfer:
    """Put the migrations of one trip together."""
    spans = []
    began = []
    for one in moved:
        start = one.outcome.started_s
        began.append(start)
        if one.steps.prepare_s is not None and one.steps.last_page_s is not None:
            spans.append((start + one.steps.prepare_s, start + one.steps.last_page_s))
    whole = len(spans) == len(moved) and all(
        one.outcome.result is Result.COMPLETED and one.mismatched_pages == 0 for one in moved
    )
    return Transfer(
        memory_bytes=memory_bytes * len(moved),
        sent_bytes=sum(
            one.outcome.precopy_bytes + one.outcome.downtime_bytes + one.outcome.postcopy_bytes
            for one in moved
        ),
        busy_s=union_s(spans),
        request_s=max((end for _, end in spans), default=0.0) - min(began),
        whole=whole,
    )


def union_s(spans: list[tuple[float, float]]) -> float:
    """Return how long at least one span lasted."""
    total, covered = 0.0, float("-inf")
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, covered))
        covered = max(covered, end)
    return total


def claims_of(link: str, one: list[Transfer], eight: list[Transfer], mib: int) -> list[Claim]:
    """Judge what a link was used for."""
    line = LINKS[link]
    words = f"{mib} MiB, {link}"
    alone = statistics.median(trip.memory_bytes / trip.busy_s for trip in one)
    together = statistics.median(trip.memory_bytes / trip.busy_s for trip in eight)
    claims = []
    if line is not None:
        used = statistics.median(trip.sent_bytes / trip.busy_s / line for trip in one)
        claims.append(
            Claim(
                claim="of the link's rate, one migration",
                value=used,
                unit="share",
                bar=f">= {_LINE_MIN:g}",
                holds=used >= _LINE_MIN,
                n=len(one),
                conditions=words,
            )
        )
    one_asked = statistics.median(trip.memory_bytes / trip.request_s for trip in one)
    eight_asked = statistics.median(trip.memory_bytes / trip.request_s for trip in eight)
    ratio = eight_asked / one_asked
    return [
        *claims,
        Claim(
            claim="memory moved from the request on, one migration",
            value=one_asked / 1e6,
            unit="MB/s",
            n=len(one),
            conditions=words,
        ),
        Claim(
            claim="eight at once over one",
            value=ratio,
            unit="ratio",
            bar=f">= {_EIGHT_MIN[link]:g}",
            holds=ratio >= _EIGHT_MIN[link],
            n=len(eight),
            conditions=f"{words} each; from `Prepare` on {together / alone:.2f} of"
            f" {alone / 1e6:,.0f} MB/s",
        ),
    ]


if __name__ == "__main__":
    raise SystemExit(main())
