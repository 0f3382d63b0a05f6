"""Why a VM cannot go to a host: for evacuations that stay incomplete and placements that fail."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import Enum

import numpy as np

from drs.instance import Instance, vm_columns
from drs.load import host_usage
from drs.model import HostState, IntArray, Snapshot
from drs.policy import Policy
from drs.problems import usable_rules
from drs.rules import Affinity, Strength


class Obstacle(Enum):
    """What keeps a VM from a host."""

    HOST_STATE = "host_state"
    NOT_ALLOWED = "not_allowed"
    RULE = "rule"
    NO_ROOM = "no_room"
    VM_FIXED = "vm_fixed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocker:
    """One host and the first thing that keeps the VM from it; `detail` names the rule or resource."""

    host: str
    obstacle: Obstacle
    detail: str


def blockers(
    snapshot: Snapshot, policy: Policy, instance: Instance, placement: IntArray, vm: int
) -> tuple[Blocker, ...]:
    """For every host but its own what keeps `vm` away when all others are at `placement` (V,)."""
    name = snapshot.vms[vm]
    use = vm_columns(snapshot, policy)
    used = host_usage(use, placement, len(snapshot.hosts))
    item = int(instance.members[vm])
    together = np.flatnonzero(instance.members == item) if item >= 0 else np.array([vm])
    need = use[together].sum(axis=0)
    columns = (*snapshot.resources, *(f"reserved {r}" for r in snapshot.resources), "VMs per host")
    rules = [r for r in usable_rules(snapshot)[0] if name in r.vms and r.strength is Strength.MUST]
    occupancy = {
        v: (snapshot.hosts[h],) if h >= 0 else ()
        for v, h in zip(snapshot.vms, placement.tolist(), strict=True)
    }
    fixed = item >= 0 and not instance.movable[item]
    found: list[Blocker] = []
    for host, host_name in enumerate(snapshot.hosts):
        if host == placement[vm]:
            continue
        if fixed:
            found.append(Blocker(host=host_name, obstacle=Obstacle.VM_FIXED, detail=name))
            continue
        if snapshot.host_states[host] is not HostState.CONNECTED:
            state = snapshot.host_states[host].value
            found.append(Blocker(host=host_name, obstacle=Obstacle.HOST_STATE, detail=state))
            continue
        if not snapshot.allowed[together, host].all():
            found.append(Blocker(host=host_name, obstacle=Obstacle.NOT_ALLOWED, detail="preflight"))
            continue
        occupancy[name] = (host_name,)
        broken = [
            r.name
            for r in rules
            if not isinstance(r, Affinity) and any(name in v.vms for v in r.check(occupancy))
        ]
        if broken:
            found.append(Blocker(host=host_name, obstacle=Obstacle.RULE, detail=broken[0]))
            continue
        over = np.flatnonzero(
            (used[host] + need > instance.room[host] * (1.0 + 1e-9)) & (need > 0.0)
        )
        if over.size:
            found.append(
                Blocker(host=host_name, obstacle=Obstacle.NO_ROOM, detail=columns[over[0]])
            )
    return tuple(found)


def summary(found: tuple[Blocker, ...]) -> str:
    """The blockers counted by what they are, most frequent first: "3 hosts no_room (memory_mib)"."""
    counts = Counter((b.obstacle.value, b.detail) for b in found)
    return "; ".join(
        f"{n} host{'s' if n > 1 else ''} {obstacle} ({detail})"
        for (obstacle, detail), n in counts.most_common()
    )
