"""What a key-value guest's clients get before, during and after a migration, and what tracking costs.

Clients in closed loop put and get for as long as the lab runs; each answer's time is noted. "During"
is from the request to the end of the migration, less the blackout, which has a script of its own; the
seconds right after it are shown apart. With the portable tracker, a shadow copy, no write of the
guest is trapped: its rate at rest is the one without tracking, and it can only do pre-copy.

Rates are compared within the same run. The clients are processes too: on two cores they, the guest, and
whoever moves pages share what there is, so this measures a machine with no core to spare.

    python benchmarks/brownout.py
    python benchmarks/brownout.py --quick --json
"""

import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import ray
from cases import LINKS
from claims import Claim, arguments, finish
from hammer import Hammer
from lab import Lab, ray_lab

from cluster.inventory.demand import Constant
from cluster.inventory.model import GuestSpec, Mode, VmSpec
from cluster.memory.tracker import TrackerKind, probe
from cluster.migration.spec import Result
from cluster.page import PAGE_BYTES

_CLIENTS = 4
_KEYS_PER_MIB = 200  # of 4 KiB each: the table fills four fifths of the memory
_REST_S = 3.0
_AFTER_S = 2.0
# A guest whose clients get less than this while it moves is out of service in all but name.
_DURING_MIN = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Brownout:
    """Requests answered a second, around one migration."""

    before: float
    during: float
    after: float
    whole: bool


def main() -> int:
    parser = arguments(__doc__ or "")
    parser.add_argument("--migrations", type=int, help="instead of the script's own number")
    options = parser.parse_args()
    count = options.migrations or (3 if options.quick else 20)
    memory_mib = 128 if options.quick else 1024
    kinds = [kind for kind in TrackerKind if kind in (probe()[0], TrackerKind.SHADOW)]
    found: dict[tuple[TrackerKind, str, Mode], list[Brownout]] = {}
    with ray_lab():
        for kind in kinds:
            tracked = kind is TrackerKind.WRITE_PROTECT
            for link in ("gbe",) if options.quick else ("unlimited", "gbe"):
                mode = Mode.HYBRID if tracked else Mode.PRECOPY
                found[kind, link, mode] = measure(kind, link, mode, memory_mib, count)
    return finish(claims_of(found, memory_mib), as_json=options.json)


def keyvalue_vm(memory_mib: int) -> VmSpec:
    """Return a VM whose guest serves a table that fills its memory."""
    return VmSpec(
        name="vm",
        memory_mib=memory_mib,
        cpu_mhz=1000.0,
        guest=GuestSpec(
            program="filled_keyvalue:FilledKeyValue",
            params=(("keys", memory_mib * _KEYS_PER_MIB), ("value_bytes", PAGE_BYTES)),
            file=str(Path(__file__).parent / "filled_keyvalue.py"),
        ),
        demand=Constant(mhz=1000.0),
        host="esx-1",
        seed=1,
    )


def measure(
    kind: TrackerKind, link: str, mode: Mode, memory_mib: int, count: int
) -> list[Brownout]:
    """Migrate under load, there and back; the first one warms up."""
    lab = Lab([keyvalue_vm(memory_mib)], link_bytes_per_second=LINKS[link], tracker=kind)
    try:
        hammer = ray.remote(num_cpus=0, max_concurrency=10)(Hammer).remote(
            "vm", lab.cluster.center, clients=_CLIENTS, keys=memory_mib * _KEYS_PER_MIB
        )
        return [_once(lab, hammer, mode) for _ in range(count + 1)][1:]
    finally:
        lab.stop()


def _once(lab: Lab, hammer: "ray.actor.ActorHandle", mode: Mode) -> Brownout:
    ray.get(hammer.begin.remote())
    time.sleep(_REST_S)
    began = time.monotonic()
    moved = lab.move(["vm"], mode)["vm"]
    time.sleep(_AFTER_S)
    answered = np.array(ray.get(hammer.end.remote()))
    ended = began + moved.total_s
    first_of_rest = began - _REST_S + 0.5  # the clients have started
    return Brownout(
        before=_rate(answered, first_of_rest, began),
        during=_rate(answered, began, ended, without_longest_gap=True),
        after=_rate(answered, ended, ended + _AFTER_S - 0.1),
        whole=moved.outcome.result is Result.COMPLETED and moved.mismatched_pages == 0,
    )


def _rate(
    answered: np.ndarray, start: float, stop: float, *, without_longest_gap: bool = False
) -> float:
    """Answers a second between two moments."""
    inside = answered[(answered >= start) & (answered < stop)]
    gap = float(np.diff(inside).max()) if without_longest_gap and len(inside) > 1 else 0.0
    return len(inside) / (stop - start - gap)


def claims_of(
    found: dict[tuple[TrackerKind, str, Mode], list[Brownout]], memory_mib: int
) -> list[Claim]:
    """Show the rates, and judge that the guest goes on serving."""
    claims = []
    at_rest: dict[TrackerKind, float] = {}
    for (kind, link, mode), seen in found.items():
        where = f"{memory_mib} MiB, {link}, {mode.value}, tracker {kind.value}, {_CLIENTS} clients"
        before = statistics.median(one.before for one in seen)
        at_rest[kind] = max(before, at_rest.get(kind, 0.0))
        during = statistics.median(one.during / one.before for one in seen)
        after = statistics.median(one.after / one.before for one in seen)
        judged = kind is TrackerKind.WRITE_PROTECT
        n = len(seen)
        claims += [
            Claim(claim="requests before", value=before, unit="1/s", n=n, conditions=where),
            Claim(
                claim="during the migration, of before",
                value=during,
                unit="ratio",
                bar=f">= {_DURING_MIN:g}" if judged else None,
                holds=not judged or during >= _DURING_MIN,
                n=n,
                conditions=where,
            ),
            Claim(claim="after it, of before", value=after, unit="ratio", n=n, conditions=where),
        ]
    if len(at_rest) > 1:
        tracked, untracked = at_rest[TrackerKind.WRITE_PROTECT], at_rest[TrackerKind.SHADOW]
        claims.append(
            Claim(
                claim="at rest with writes tracked, of without",
                value=tracked / untracked,
                unit="ratio",
                n=sum(map(len, found.values())),
            )
        )
    bad = sum(not one.whole for seen in found.values() for one in seen)
    claims.append(
        Claim(
            claim="migrations that failed or had a page that differs",
            value=bad,
            unit="migrations",
            bar="0",
            holds=bad == 0,
            n=sum(map(len, found.values())),
        )
    )
    return claims


if __name__ == "__main__":
    raise SystemExit(main())
