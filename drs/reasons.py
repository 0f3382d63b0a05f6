"""Why each move is recommended: as data, and as a sentence that an administrator can read."""

from __future__ import annotations

import numpy as np

from drs.layout import Layout
from drs.load import priority
from drs.model import Automation, Snapshot
from drs.objective import marginal_benefits_s
from drs.plan import Action, Move, Reason, Recommendation
from drs.policy import Policy
from drs.problems import usable_rules
from drs.rules import Strength


def explain(
    snapshot: Snapshot, policy: Policy, start: Layout, end: Layout, actions: tuple[Action, ...]
) -> tuple[Recommendation, ...]:
    """One recommendation a VM, in the order in which the actions begin.

    Imbalance before and after are those of the cluster with the earlier recommendations carried
    out. The benefit is a move's share in the final layout, `end`: what its absence would cost.
    A VM that stops on a third host is told as one move.
    """
    broken = _broken_rules(snapshot)
    overloaded = frozenset(start.overloaded().tolist())
    last = {a.move.vm: a.move.destination for a in actions}
    stops = {a.move.vm for a in actions if a.move.destination != last[a.move.vm]}
    instance, layout = start.instance, start.copy()
    hosts = int(instance.usable.sum())
    unit_s = instance.cost_s / instance.moves
    told: set[int] = set()
    result: list[Recommendation] = []
    before = layout.imbalance()
    for action in actions:
        vm = action.move.vm
        if vm in told:
            continue
        told.add(vm)
        item = int(instance.members[vm])
        move = Move(vm=vm, source=int(snapshot.placement[vm]), destination=last[vm])
        layout.place(item, move.destination)
        after = layout.imbalance()
        reason, why = _reason(snapshot, instance.must_move[item], move, broken, overloaded)
        level = 1
        if reason is Reason.BALANCE:
            # All balance moves of a plan belong together: none is below the threshold that asked for it.
            level = min(priority(before, hosts), max(policy.migration_threshold, 2))
            why = f"to lower the imbalance from {before:.4f} to {after:.4f}"
        by_way = " (with a stop on a third host, which breaks a cycle)" if vm in stops else ""
        sentence = (
            f"Move {snapshot.vms[vm]} from {snapshot.hosts[move.source]} to "
            f"{snapshot.hosts[move.destination]} {why}{by_way}."
        )
        result.append(
            Recommendation(
                move=move,
                priority=level,
                reason=reason,
                sentence=sentence,
                imbalance_before=before,
                imbalance_after=after,
                benefit_s=float(marginal_benefits_s(end, np.array([item]), policy)[0]),
                cost_s=float(unit_s[item]),
                automatic=_automatic(snapshot.automation[vm] or policy.automation),
            )
        )
        before = after
    return tuple(result)


def _broken_rules(snapshot: Snapshot) -> dict[int, str]:
    """The MUST rule (its name) that each VM was breaking at the start."""
    rules, _ = usable_rules(snapshot)
    at = {name: i for i, name in enumerate(snapshot.vms)}
    occupancy = snapshot.occupancy()
    broken: dict[int, str] = {}
    for rule in rules:
        if rule.strength is Strength.MUST:
            for violation in rule.check(occupancy):
                for vm in violation.vms:
                    broken.setdefault(at[vm], rule.name)
    return broken


def _reason(
    snapshot: Snapshot,
    must_move: bool,
    move: Move,
    broken: dict[int, str],
    overloaded: frozenset[int],
) -> tuple[Reason, str]:
    source = snapshot.hosts[move.source]
    if move.vm in broken:
        return Reason.RULE, f"to keep rule {broken[move.vm]}"
    if must_move:
        return Reason.MAINTENANCE, f"so that {source} can enter maintenance mode"
    if move.source in overloaded:
        return Reason.OVERLOAD, f"because {source} cannot give its VMs what they are entitled to"
    return Reason.BALANCE, ""


def _automatic(automation: Automation) -> bool:
    """Partial automation applies to initial placement alone: its migrations are asked for."""
    return automation is Automation.FULLY_AUTOMATED
