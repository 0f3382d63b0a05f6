"""How a cluster stands before anything is moved: load, imbalance, happiness, broken rules, conflicts."""

from __future__ import annotations

from typing import Any

import numpy as np

from drs.blockers import blockers
from drs.conflict import explain_conflict
from drs.instance import compile_instance
from drs.load import (
    entitlement,
    happiness,
    host_usage,
    imbalance,
    imbalance_target,
    priority,
)
from drs.model import Snapshot
from drs.policy import Policy
from drs.problems import usable_rules


def situation_of(snapshot: Snapshot, policy: Policy) -> dict[str, Any]:
    """A snapshot without fatal problems, told by name and ready for JSON.

    `priority` is that of a balance move made now; `worth_balancing` whether the threshold asks for one.
    `conflict` is a smallest set that cannot hold together, null when there is none or none was found.
    """
    on = snapshot.connected()
    hosts = int(on.sum())
    usage = host_usage(entitlement(snapshot), snapshot.placement, len(snapshot.hosts))
    load = np.divide(
        usage, snapshot.capacity, out=np.zeros_like(usage), where=snapshot.capacity > 0
    )
    uneven = imbalance(snapshot, policy) if hosts else 0.0
    target = imbalance_target(policy.migration_threshold, hosts)
    score = happiness(snapshot)
    counts = np.bincount(snapshot.placement[snapshot.placement >= 0], minlength=len(snapshot.hosts))
    occupancy = snapshot.occupancy()
    conflict = explain_conflict(snapshot, policy)
    return {
        "hosts": [
            {
                "name": name,
                "state": snapshot.host_states[h].value,
                "vms": int(counts[h]),
                "load": dict(zip(snapshot.resources, load[h].tolist(), strict=True)),
                "happiness": _mean(score[snapshot.placement == h]),
            }
            for h, name in enumerate(snapshot.hosts)
        ],
        "imbalance": uneven,
        "target": target if target < 1e9 else None,
        "priority": priority(uneven, hosts),
        "worth_balancing": uneven > target,
        "happiness": _mean(score),
        "unhappy_vms": [
            {"vm": snapshot.vms[v], "happiness": float(score[v])}
            for v in np.argsort(score, kind="stable").tolist()
            if score[v] < 1.0 - 1e-9
        ],
        "broken_rules": [
            {"rule": v.rule, "strength": v.strength.value, "message": v.message}
            for rule in usable_rules(snapshot)[0]
            for v in rule.check(occupancy)
        ],
        "problems": [p.message for p in snapshot.problems()],
        "conflict": None
        if conflict is None
        else {
            "rules": list(conflict.rules),
            "capacities": list(conflict.capacities),
            "allowed": conflict.allowed,
            "sentence": conflict.sentence(),
        },
    }


def vm_situation(snapshot: Snapshot, policy: Policy, vm: str) -> dict[str, Any]:
    """What one VM gets, and for each other host whether it could go there now or what keeps it away."""
    index = snapshot.vms.index(vm)
    instance = compile_instance(snapshot, policy, now=snapshot.taken_at_s)
    at = int(snapshot.placement[index])
    found = blockers(snapshot, policy, instance, snapshot.placement, index)
    away = {b.host for b in found}
    return {
        "vm": vm,
        "host": snapshot.hosts[at] if at >= 0 else None,
        "demand": dict(zip(snapshot.resources, snapshot.demand[index].tolist(), strict=True)),
        "entitlement": dict(
            zip(snapshot.resources, entitlement(snapshot)[index].tolist(), strict=True)
        ),
        "happiness": _mean(happiness(snapshot)[[index]]),
        "rules": [r.name for r in usable_rules(snapshot)[0] if vm in r.vms],
        "can_go_to": [h for i, h in enumerate(snapshot.hosts) if i != at and h not in away],
        "blockers": [
            {"host": b.host, "obstacle": b.obstacle.value, "detail": b.detail} for b in found
        ],
    }


def _mean(score: np.ndarray[Any, np.dtype[np.float64]]) -> float | None:
    """Of the VMs that are placed; None where there are none (their score is nan)."""
    placed = score[~np.isnan(score)]
    return float(placed.mean()) if placed.size else None
