"""One pass of a managed cluster: power management where it is on, then `recommend`."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from drs.instance import compile_instance
from drs.load import imbalance
from drs.model import Automation, FloatArray, HostState, IntArray, Snapshot
from drs.packing import Headroom, pack
from drs.plan import Action, Move, Plan, PlanStatus, Reason, Recommendation
from drs.policy import Budget, Policy
from drs.power import PowerPlan
from drs.recommend import recommend
from drs.schedule import schedule
from drs.thr_mmt import Threshold, thr_mmt

_PRIORITY = 2


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PowerRequest:
    """Power management as a part of one pass.

    `deviation_mhz` (V,) is of each VM's demand. With `baseline` THR-MMT plans, and nothing else is done.
    """

    headroom: Headroom = field(default_factory=Headroom)
    deviation_mhz: FloatArray
    baseline: Threshold | None = None


def manage(
    snapshot: Snapshot,
    policy: Policy,
    power: PowerRequest | None,
    *,
    now: float,
    rng: np.random.Generator,
    budget: Budget | None = None,
) -> Plan:
    """`recommend`, and before it power management's moves if there is a request and there are any.

    A pass either packs or balances: what one of them moves the other sees in the next pass. A host that
    is to be empty comes first.
    """
    if power is None or any(p.fatal for p in (*snapshot.problems(), *policy.problems())):
        return recommend(snapshot, policy, now=now, rng=rng, budget=budget)
    if not _leaving(snapshot):
        if power.baseline is not None:
            return _scheduled(snapshot, policy, thr_mmt(snapshot, power.baseline), now=now)
        wanted = pack(snapshot, power.headroom, deviation=power.deviation_mhz)
        if wanted.power_on or wanted.stand_by or (wanted.after != snapshot.placement).any():
            return _scheduled(snapshot, policy, wanted, now=now)
    return recommend(snapshot, policy, now=now, rng=rng, budget=budget)


def _leaving(snapshot: Snapshot) -> bool:
    """Whether a host that is to be empty still has a VM that nobody is moving."""
    out = np.array(
        [state is HostState.ENTERING_MAINTENANCE for state in snapshot.host_states], np.bool_
    )
    stays = snapshot.placement >= 0
    stays[[vm for vm, _ in snapshot.in_flight]] = False
    return bool(out[snapshot.placement[stays]].any())


def _scheduled(snapshot: Snapshot, policy: Policy, wanted: PowerPlan, *, now: float) -> Plan:
    """The moves in an order that is feasible at every instant; what no order can do is not done."""
    states = tuple(
        HostState.CONNECTED if name in wanted.power_on else state
        for name, state in zip(snapshot.hosts, snapshot.host_states, strict=True)
    )
    lit = replace(snapshot, host_states=states)
    instance = compile_instance(lit, policy, now=now)
    order = schedule(lit, policy, instance, wanted.after, urgent=frozenset())
    return _plan(snapshot, policy, wanted, order.actions)


def _move(before: IntArray, after: IntArray, vm: int) -> Move:
    return Move(vm=vm, source=int(before[vm]), destination=int(after[vm]))


def _plan(
    snapshot: Snapshot, policy: Policy, wanted: PowerPlan, actions: tuple[Action, ...]
) -> Plan:
    dark = {snapshot.hosts.index(name) for name in wanted.stand_by}
    first = {action.move.vm: action.move for action in reversed(actions)}
    automatic = policy.automation is Automation.FULLY_AUTOMATED
    even = imbalance(snapshot, policy, snapshot.landed())
    recommendations = tuple(
        Recommendation(
            move=_move(snapshot.placement, wanted.after, vm),
            priority=_PRIORITY,
            reason=Reason.POWER,
            sentence=_sentence(snapshot, move.source, int(wanted.after[vm]), vm, dark),
            imbalance_before=even,
            imbalance_after=even,
            benefit_s=0.0,
            cost_s=0.0,
            automatic=automatic,
        )
        for vm, move in first.items()
    )
    busy = recommendations or wanted.power_on or wanted.stand_by
    return Plan(
        status=PlanStatus.OK if busy else PlanStatus.NOTHING_WORTH_DOING,
        recommendations=recommendations,
        actions=actions,
        imbalance_before=even,
        imbalance_after=even,
        power_on=wanted.power_on,
        stand_by=wanted.stand_by,
    )


def _sentence(snapshot: Snapshot, source: int, destination: int, vm: int, dark: set[int]) -> str:
    why = "is to stand by" if source in dark else "has too little headroom"
    name, here, there = snapshot.vms[vm], snapshot.hosts[source], snapshot.hosts[destination]
    return f"Move {name} from {here} to {there}: {here} {why}."
