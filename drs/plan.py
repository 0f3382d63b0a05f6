"""What DRS answers: recommendations with their reasons, timed actions, and the judge of a plan."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

import numpy as np

from drs.load import entitlement, host_usage
from drs.model import HostState, IntArray, Problem, Snapshot
from drs.problems import usable_rules
from drs.rules import Instant, Violation

ROOM_TOLERANCE = 1e-9  # of the capacity: sums of floats in another order


class Reason(Enum):
    """What a recommendation is for."""

    RULE = "rule"
    MAINTENANCE = "maintenance"
    OVERLOAD = "overload"
    BALANCE = "balance"
    BYPASS = "bypass"
    POWER = "power"


class PlanStatus(Enum):
    """OK, with or without something to do; what is mandatory cannot all be done; or bad input."""

    OK = "ok"
    NOTHING_WORTH_DOING = "nothing_worth_doing"
    INCOMPLETE = "incomplete"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A VM from one host to another, by index in the snapshot."""

    vm: int
    source: int
    destination: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """One proposed move, its priority (1 mandatory … 5 marginal) and why.

    Imbalance before and after: with the recommendations before it carried out. `benefit_s` and
    `cost_s` are seconds of migration; `automatic` says that nobody need be asked.
    """

    move: Move
    priority: int
    reason: Reason
    sentence: str
    imbalance_before: float
    imbalance_after: float
    benefit_s: float
    cost_s: float
    automatic: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One migration of a plan: its place in the order and when it should begin and end."""

    move: Move
    order: int
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to do, why, in which order and when; seconds count from the plan's beginning.

    Imbalance before and after count a VM in flight on its destination, as if it had arrived. A VM that
    has to stop on a third host has one recommendation and two actions. `solve_s` is for
    the caller, who has a clock. `power_on` and `stand_by` name hosts: the first before the actions,
    the others once they are empty.
    """

    status: PlanStatus
    recommendations: tuple[Recommendation, ...] = ()
    actions: tuple[Action, ...] = ()
    imbalance_before: float = 0.0
    imbalance_after: float = 0.0
    problems: tuple[Problem, ...] = ()
    power_on: tuple[str, ...] = ()
    stand_by: tuple[str, ...] = ()
    solve_s: float | None = None

    def moves(self) -> tuple[Move, ...]:
        return tuple(r.move for r in self.recommendations)

    def placement(self, snapshot: Snapshot) -> IntArray:
        """(V,) where every VM is when all actions have ended."""
        after = snapshot.landed()
        for action in sorted(self.actions, key=lambda a: a.end_s):
            after[action.move.vm] = action.move.destination
        return after

    def instants(self, snapshot: Snapshot) -> Iterator[Instant]:
        """The start, then each moment at which an action begins or ends, ends before beginnings.

        Migrations in flight at the start hold both hosts throughout: nobody knows when they end.
        """
        held = snapshot.occupancy()
        yield Instant(
            time_s=None, occupancy=held, changed=frozenset(snapshot.vms), last=not self.actions
        )
        steps = sorted(
            (
                (time_s, begins, action)
                for action in self.actions
                for time_s, begins in ((action.start_s, True), (action.end_s, False))
            ),
            key=lambda step: (step[0], step[1], step[2].order),
        )
        for at, (time_s, begins, action) in enumerate(steps):
            name = snapshot.vms[action.move.vm]
            source, destination = (
                snapshot.hosts[action.move.source],
                snapshot.hosts[action.move.destination],
            )
            if begins:
                held[name] = (*held[name], destination)
            else:
                held[name] = tuple(h for h in held[name] if h != source)
            yield Instant(
                time_s=time_s, occupancy=held, changed=frozenset((name,)), last=at == len(steps) - 1
            )

    def check(
        self,
        snapshot: Snapshot,
        *,
        concurrent_per_host_max: int | None = None,
        concurrent_max: int | None = None,
    ) -> tuple[Violation, ...]:
        """Everything that is wrong with this plan, whoever made it; knows nothing of the solver.

        Each action must fit the one before it, begin on the VM's host and end on a connected host
        that the VM is allowed on; at every instant each destination has room for every resource and
        reservation with a migrating VM on both hosts; no rule is newly broken; limits, if given, hold.
        """
        broken = _chain_violations(self, snapshot)
        if broken:
            return broken  # the rest would be judged on a placement that never exists
        rules, _ = usable_rules(snapshot)
        touched = {snapshot.vms[a.move.vm] for a in self.actions}
        found: list[Violation] = []
        for rule in rules:
            if touched.intersection(rule.vms):
                found += rule.check_plan(self.instants(snapshot))
        found += _room_violations(self, snapshot)
        found += _limit_violations(self, snapshot, concurrent_per_host_max, concurrent_max)
        return tuple(found)


def _violation(rule: str, snapshot: Snapshot, action: Action, host: int, text: str) -> Violation:
    return Violation(
        rule=rule,
        vms=(snapshot.vms[action.move.vm],),
        hosts=(snapshot.hosts[host],),
        message=f"{snapshot.vms[action.move.vm]}: {text} ({snapshot.hosts[host]})",
        at_s=action.start_s,
    )


def _chain_violations(plan: Plan, snapshot: Snapshot) -> tuple[Violation, ...]:
    found: list[Violation] = []
    where: dict[int, int] = {}
    free_s: dict[int, float] = {}
    moving = {vm for vm, _ in snapshot.in_flight}
    for action in sorted(plan.actions, key=lambda a: (a.start_s, a.order)):
        move = action.move
        hosts = range(len(snapshot.hosts))
        if not (
            0 <= move.vm < len(snapshot.vms) and move.source in hosts and move.destination in hosts
        ):
            text = f"action {action.order} names an unknown VM or host"
            found.append(
                Violation(rule="action", vms=(), hosts=(), message=text, at_s=action.start_s)
            )
            continue
        at = where.get(move.vm, int(snapshot.placement[move.vm]))
        if move.source != at:
            found.append(
                _violation("action", snapshot, action, move.source, "is not on its source")
            )
        if move.destination == move.source:
            found.append(
                _violation("action", snapshot, action, move.source, "moves to where it is")
            )
        if move.vm in moving:
            found.append(
                _violation("action", snapshot, action, move.source, "is already migrating")
            )
        if not 0.0 <= action.start_s <= action.end_s or action.start_s < free_s.get(move.vm, 0.0):
            found.append(
                _violation("action", snapshot, action, move.source, "begins before it can")
            )
        if snapshot.host_states[move.destination] is not HostState.CONNECTED:
            found.append(
                _violation(
                    "host", snapshot, action, move.destination, "goes to a host that takes no VMs"
                )
            )
        if snapshot.host_states[move.source] in (HostState.NOT_RESPONDING, HostState.STANDBY):
            found.append(
                _violation(
                    "host", snapshot, action, move.source, "leaves a host that does not answer"
                )
            )
        if not snapshot.allowed[move.vm, move.destination]:
            found.append(
                _violation("allowed", snapshot, action, move.destination, "is not allowed there")
            )
        where[move.vm], free_s[move.vm] = move.destination, action.end_s
    return tuple(found)


def _room_violations(plan: Plan, snapshot: Snapshot) -> list[Violation]:
    """A destination must have room when an action begins; room only shrinks at those moments."""
    found: list[Violation] = []
    use = np.hstack((entitlement(snapshot), snapshot.reservation))
    capacity = np.hstack((snapshot.capacity, snapshot.capacity))
    usage = host_usage(use, snapshot.placement, len(snapshot.hosts))
    for vm, destination in snapshot.in_flight:
        if destination != snapshot.placement[vm]:
            usage[destination] += use[vm]
    ends: list[tuple[float, int, Action]] = []
    for action in sorted(plan.actions, key=lambda a: (a.start_s, a.order)):
        while ends and ends[0][0] <= action.start_s:
            ended = heapq.heappop(ends)[2].move
            usage[ended.source] -= use[ended.vm]
        host = action.move.destination
        usage[host] += use[action.move.vm]
        heapq.heappush(ends, (action.end_s, action.order, action))
        over = (usage[host] > capacity[host] * (1.0 + ROOM_TOLERANCE)) & (use[action.move.vm] > 0.0)
        for r in np.flatnonzero(over):
            what = (*snapshot.resources, *(f"reserved {name}" for name in snapshot.resources))[r]
            found.append(_violation("capacity", snapshot, action, host, f"no room for its {what}"))
    return found


def _limit_violations(
    plan: Plan, snapshot: Snapshot, per_host_max: int | None, cluster_max: int | None
) -> list[Violation]:
    found: list[Violation] = []
    running: list[tuple[float, int, Action]] = []
    for action in sorted(plan.actions, key=lambda a: (a.start_s, a.order)):
        while running and running[0][0] <= action.start_s:
            heapq.heappop(running)
        heapq.heappush(running, (action.end_s, action.order, action))
        if cluster_max is not None and len(running) > cluster_max:
            found.append(
                _violation(
                    "limit",
                    snapshot,
                    action,
                    action.move.source,
                    "too many migrations in the cluster",
                )
            )
        for host in (action.move.source, action.move.destination):
            here = sum(host in (a.move.source, a.move.destination) for _, _, a in running)
            if per_host_max is not None and here > per_host_max:
                found.append(
                    _violation("limit", snapshot, action, host, "too many migrations on a host")
                )
    return found
