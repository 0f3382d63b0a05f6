"""Initial placement: hosts for VMs that are not placed yet, one or a batch."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from drs.blockers import blockers, summary
from drs.instance import compile_instance
from drs.layout import Layout
from drs.model import BoolArray, HostState, Problem, ProblemKind, Snapshot
from drs.policy import Budget, Policy, StepBudget
from drs.recommend import mend
from drs.refine import Patience
from drs.repair import first_fit

WAITING_ROOM = "(not placed)"


@dataclass(frozen=True, slots=True, kw_only=True)
class InitialPlacement:
    """Where each VM that could be placed should be powered on, and why each other one cannot."""

    hosts: dict[str, str]
    problems: tuple[Problem, ...]


def place(
    snapshot: Snapshot,
    policy: Policy,
    *,
    now: float,
    rng: np.random.Generator,
    budget: Budget | None = None,
) -> InitialPlacement:
    """Hosts for all VMs of the snapshot that have none; running VMs stay where they are.

    As many as possible, with every MUST rule and room kept, then as even as first fit makes it. The
    VMs wait on an imaginary host that must be left: placing a batch is evacuating it.
    """
    problems = (*snapshot.problems(), *policy.problems())
    if any(p.fatal for p in problems):
        return InitialPlacement(hosts={}, problems=problems)
    waiting = snapshot.placement < 0
    if not waiting.any() or not snapshot.connected().any():
        left = [_no_host(snapshot.vms[v], "no host is connected") for v in np.flatnonzero(waiting)]
        return InitialPlacement(hosts={}, problems=(*problems, *left))
    extended = _with_waiting_room(snapshot, waiting)
    instance = compile_instance(extended, policy, now=now)
    start = Layout(instance)
    start.instance.movable[instance.members[~waiting & (instance.members >= 0)]] = False
    fitted = start.copy()
    first_fit(fitted)
    layout = mend(start, fitted, policy, rng, Patience.of(budget or StepBudget(), now))
    after = np.where(instance.members >= 0, layout.at[instance.members], -1)
    nowhere = len(snapshot.hosts)
    hosts: dict[str, str] = {}
    unplaced: list[Problem] = []
    for vm in np.flatnonzero(waiting).tolist():
        if after[vm] != nowhere:
            hosts[snapshot.vms[vm]] = snapshot.hosts[after[vm]]
        else:
            why = summary(blockers(extended, policy, instance, after, vm))
            unplaced.append(_no_host(snapshot.vms[vm], why))
    return InitialPlacement(hosts=hosts, problems=(*problems, *unplaced))


def _with_waiting_room(snapshot: Snapshot, waiting: BoolArray) -> Snapshot:
    room = snapshot.demand[waiting].sum(axis=0) + snapshot.reservation[waiting].sum(axis=0) + 1.0
    return replace(
        snapshot,
        hosts=(*snapshot.hosts, WAITING_ROOM),
        capacity=np.vstack((snapshot.capacity, room)),
        placement=np.where(waiting, len(snapshot.hosts), snapshot.placement),
        allowed=np.hstack((snapshot.allowed, np.zeros((len(snapshot.vms), 1), np.bool_))),
        host_states=(*snapshot.host_states, HostState.ENTERING_MAINTENANCE),
    )


def _no_host(vm: str, why: str) -> Problem:
    return Problem(
        kind=ProblemKind.NOTHING_FITS,
        subject=vm,
        message=f"{vm} can be placed on no host: {why}",
        fatal=False,
    )
