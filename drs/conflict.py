"""Why mandatory things cannot hold together: a smallest set of rules and capacities that conflict."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from drs.instance import vm_columns
from drs.model import IntArray, Snapshot
from drs.policy import Policy
from drs.problems import usable_rules
from drs.rules import Affinity, AntiAffinity, DomainSpread, Rule, Strength, VmHostAffinity

CELLS_MAX = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """These cannot hold together, and without any one of them the others can.

    `rules`: names; `capacities`: resources of which the hosts have too little; `allowed`: True when
    where preflight lets VMs run is part of it.
    """

    rules: tuple[str, ...]
    capacities: tuple[str, ...]
    allowed: bool

    def sentence(self) -> str:
        parts = [f"rule {r}" for r in self.rules] + [f"the hosts' {c}" for c in self.capacities]
        parts += ["where VMs are allowed"] if self.allowed else []
        return f"These cannot hold together: {', '.join(parts)}."


def explain_conflict(
    snapshot: Snapshot, policy: Policy, *, seconds_max: float = 5.0
) -> Conflict | None:
    """A minimal conflict among MUST rules, capacities and allowed hosts, on the connected hosts.

    None when everything can hold together, when the cluster is too large to ask (over 20 000 VM-host
    pairs), or when the time did not suffice. Judges the final placement of all placed VMs, not the way there.
    """
    from drs import solver  # CP-SAT's import takes a second, and every VM's process imports drs

    hosts = np.flatnonzero(snapshot.connected())
    vms = np.flatnonzero(snapshot.placement >= 0)
    if not vms.size or vms.size * max(hosts.size, 1) > CELLS_MAX:
        return None
    rules = tuple(r for r in usable_rules(snapshot)[0] if r.strength is Strength.MUST)
    core = solver.conflict_core(
        use=vm_columns(snapshot, policy)[vms][:, : len(snapshot.resources)],
        capacity=snapshot.capacity[hosts],
        allowed=snapshot.allowed[np.ix_(vms, hosts)],
        groups=[_compiled(rule, snapshot, vms, hosts) for rule in rules],
        seconds_max=seconds_max,
    )
    if core is None:
        return None
    return Conflict(
        rules=tuple(rules[k].name for kind, k in core if kind == "rule"),
        capacities=tuple(snapshot.resources[k] for kind, k in core if kind == "capacity"),
        allowed=any(kind == "allowed" for kind, _ in core),
    )


def _compiled(
    rule: Rule, snapshot: Snapshot, vms: IntArray, hosts: IntArray
) -> tuple[str, list[int], list[int], int]:
    """(kind, VM rows, a number for each host, at most): what the model of a rule needs."""
    row = {int(v): i for i, v in enumerate(vms.tolist())}
    names = {snapshot.vms[v]: i for v, i in row.items()}
    members = [names[vm] for vm in rule.vms if vm in names]
    host_names = [snapshot.hosts[h] for h in hosts.tolist()]
    match rule:
        case Affinity():
            return "together", members, list(range(len(host_names))), 0
        case AntiAffinity():
            return "apart", members, list(range(len(host_names))), 1
        case DomainSpread():
            domains = [rule.domains.get(h, h) for h in host_names]
            number = {d: i for i, d in enumerate(dict.fromkeys(domains))}
            return "apart", members, [number[d] for d in domains], rule.vms_per_domain_max
        case VmHostAffinity():
            return "on", members, [int(h in rule.hosts) for h in host_names], 0
        case _:
            return "on", members, [int(h not in rule.hosts) for h in host_names], 0
