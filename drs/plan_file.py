"""A plan as JSON with names instead of indices: to read, to carry out elsewhere, to check again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from drs.load import happiness, imbalance_target
from drs.model import Snapshot
from drs.objective import objective
from drs.plan import Action, Move, Plan, PlanStatus
from drs.policy import Policy

FORMAT = "drs-plan-1"
NAMELESS = -1


def plan_document(plan: Plan, snapshot: Snapshot, policy: Policy) -> dict[str, Any]:
    """Everything that a plan says, by name, with its figures; ready for JSON.

    Figures are null where the snapshot is too broken to judge (status invalid).
    """
    valid = plan.status is not PlanStatus.INVALID
    connected = int(snapshot.connected().sum()) if valid else 0
    judged = objective(snapshot, plan, policy, now=snapshot.taken_at_s) if connected else None
    moved = {r.move.vm for r in plan.recommendations}
    target = imbalance_target(policy.migration_threshold, connected)
    return {
        "format": FORMAT,
        "status": plan.status.value,
        "imbalance": {
            "before": plan.imbalance_before,
            "after": plan.imbalance_after,
            "target": target if target < 1e9 else None,
        },
        "happiness": {
            "before": _mean_happiness(snapshot, None),
            "after": _mean_happiness(snapshot, plan),
        }
        if valid
        else None,
        "moves": len(plan.recommendations),
        "moved_bytes": float(sum(snapshot.memory_bytes[v] for v in moved)),
        "makespan_s": max((a.end_s for a in plan.actions), default=0.0),
        "objective": None if judged is None else judged._asdict(),
        "recommendations": [
            {
                "vm": snapshot.vms[r.move.vm],
                "source": snapshot.hosts[r.move.source],
                "destination": snapshot.hosts[r.move.destination],
                "priority": r.priority,
                "reason": r.reason.value,
                "sentence": r.sentence,
                "imbalance_before": r.imbalance_before,
                "imbalance_after": r.imbalance_after,
                "benefit_s": r.benefit_s,
                "cost_s": r.cost_s,
                "automatic": r.automatic,
            }
            for r in plan.recommendations
        ],
        "actions": [
            {
                "vm": snapshot.vms[a.move.vm],
                "source": snapshot.hosts[a.move.source],
                "destination": snapshot.hosts[a.move.destination],
                "order": a.order,
                "start_s": a.start_s,
                "end_s": a.end_s,
            }
            for a in plan.actions
        ],
        "problems": [
            {"kind": p.kind.value, "subject": p.subject, "message": p.message, "fatal": p.fatal}
            for p in plan.problems
        ],
    }


def load_plan(path: Path, snapshot: Snapshot) -> Plan:
    """The actions of a plan file, whoever wrote it; ValueError says what is missing or malformed.

    A name that the snapshot does not know becomes an index that `Plan.check` reports. A file with
    `actions` alone, each with vm, source, destination, start_s and end_s, is enough.
    """
    vm_at = {name: i for i, name in enumerate(snapshot.vms)}
    host_at = {name: i for i, name in enumerate(snapshot.hosts)}
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        actions = tuple(
            _action(entry, order, vm_at, host_at) for order, entry in enumerate(raw["actions"])
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{path}: not a plan: {error!r}") from error
    return Plan(status=PlanStatus.OK, actions=actions)


def _action(
    raw: Mapping[str, Any], order: int, vm_at: Mapping[str, int], host_at: Mapping[str, int]
) -> Action:
    move = Move(
        vm=vm_at.get(raw["vm"], NAMELESS),
        source=host_at.get(raw["source"], NAMELESS),
        destination=host_at.get(raw["destination"], NAMELESS),
    )
    return Action(
        move=move,
        order=int(raw.get("order", order)),
        start_s=float(raw["start_s"]),
        end_s=float(raw["end_s"]),
    )


def _mean_happiness(snapshot: Snapshot, plan: Plan | None) -> float | None:
    """Mean over the VMs that are placed; None where there are none (their score is nan)."""
    score = happiness(snapshot, None if plan is None else plan.placement(snapshot))
    placed = score[~np.isnan(score)]
    return float(placed.mean()) if placed.size else None
