"""What a user is told before and while waiting: hosts to choose from, and the queue's order.

Durations are those of guests that write nothing, because VirtualCenter knows no dirty
rates: real migrations last longer, by as much as their guests write.
"""

import heapq
from dataclasses import dataclass

from cluster.migration.spec import MigrationSpec
from cluster.policy.admission import Slots
from cluster.policy.preflight import admissible
from cluster.policy.problems import Problem
from cluster.policy.state import ClusterState, MigrationRecord
from cluster.policy.usage import Usage
from drs.cost import Calibration, durations_s

_FASTEST_BYTES_PER_SECOND = 1.25e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A host that a VM could go to, or why it could not.

    Attributes:
        duration_s: If the guest wrote nothing, on a network without other migrations.
        downtime_s: What past switchovers cost, without copying.
        cpu_load, memory_load: Of the host afterwards, 1 is full.
    """

    host: str
    problems: tuple[Problem, ...]
    duration_s: float
    downtime_s: float
    cpu_load: float
    memory_load: float


def candidates(
    state: ClusterState, vm: str, *, calibration: Calibration | None = None
) -> tuple[Candidate, ...]:
    """Return every other host, those that can take the VM first, of those the emptiest first."""
    record = state.vms[vm]
    usage = Usage(state)
    found: list[Candidate] = []
    for host in usage.emptiest(record):
        if host == record.host:
            continue
        cpu_load, memory_load = usage.load_with(host, record)
        found.append(
            Candidate(
                host=host,
                problems=tuple(admissible(state, record, host, usage, on_the_way=True)),
                duration_s=_duration_s(state, vm, (record.host or host, host), calibration),
                downtime_s=state.overhead_s,
                cpu_load=cpu_load,
                memory_load=memory_load,
            )
        )
    return tuple(sorted(found, key=lambda candidate: bool(candidate.problems)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Queued:
    """A migration that waits.

    Attributes:
        position: 1 is the first.
        starts_in_s: Predicted; None if nothing under way makes way for it.
    """

    position: int
    spec: MigrationSpec
    waiting_for: str
    starts_in_s: float | None


def queue(
    state: ClusterState, *, now: float, calibration: Calibration | None = None
) -> tuple[Queued, ...]:
    """Return who waits, in order, and when each may start if nobody is cancelled or refused."""
    waiting = [record for record in state.migrations.values() if record.started_s is None]
    starts = _starts(state, waiting, now, calibration)
    return tuple(
        Queued(
            position=at,
            spec=record.spec,
            waiting_for=record.waiting_for,
            starts_in_s=starts.get(record.spec.id),
        )
        for at, record in enumerate(waiting, start=1)
    )


def _starts(
    state: ClusterState,
    waiting: list[MigrationRecord],
    now: float,
    calibration: Calibration | None,
) -> dict[str, float]:
    """Play the queue forward, from one end of a migration to the next.

    Slots are counted exactly. One that lacks memory starts when the first migration leaves
    its destination, which is early if that makes too little room.
    """
    usage = Usage(state)
    under_way: dict[str, MigrationSpec] = {}
    ends: list[tuple[float, str]] = []
    for spec in state.running():
        started_s = state.migrations[spec.id].started_s
        ran_s = now - (now if started_s is None else started_s)
        lasts_s = _duration_s(state, spec.vm, (spec.source, spec.destination), calibration)
        under_way[spec.id] = spec
        heapq.heappush(ends, (max(0.0, lasts_s - ran_s), spec.id))
    starts: dict[str, float] = {}
    left: set[str] = set()
    time_s = 0.0
    for _ in range(len(under_way) + len(waiting) + 1):
        slots = Slots({n: h.spec for n, h in state.hosts.items()}, state.scenario.migration)
        for spec in under_way.values():
            slots.take(spec, state.vms[spec.vm].spec.datastore)
        for record in waiting:
            spec, vm = record.spec, state.vms[record.spec.vm].spec
            room = usage.free_mib(spec.destination) >= vm.memory_mib or spec.destination in left
            if spec.id in starts or not room or slots.full(spec, vm.datastore):
                continue
            starts[spec.id] = time_s
            slots.take(spec, vm.datastore)
            under_way[spec.id] = spec
            lasts_s = _duration_s(state, spec.vm, (spec.source, spec.destination), calibration)
            heapq.heappush(ends, (time_s + lasts_s, spec.id))
        if not ends:
            break
        time_s, ended = heapq.heappop(ends)
        left.add(under_way.pop(ended).source)
    return starts


def _duration_s(
    state: ClusterState, vm: str, ends: tuple[str, str], calibration: Calibration | None
) -> float:
    rate = min(state.line_rate(*ends) or _FASTEST_BYTES_PER_SECOND, _FASTEST_BYTES_PER_SECOND)
    memory_bytes = float(state.vms[vm].spec.memory_bytes)
    return float(
        durations_s([memory_bytes], [0.0], rate_bytes_per_second=rate, calibration=calibration)[0]
    )
