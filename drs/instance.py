"""A snapshot compiled for the search: what has to stay together is one item, rules are index arrays.

The search knows nothing of names. Its columns are the resources, followed by what only has to fit:
reservations, and the number of VMs where the policy limits it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from drs.cost import durations_s
from drs.load import entitlement, resource_weights
from drs.model import Automation, BoolArray, FloatArray, HostState, IntArray, Snapshot
from drs.policy import Policy
from drs.problems import usable_rules
from drs.rules import (
    Affinity,
    AntiAffinity,
    DomainSpread,
    Rule,
    Strength,
    VmHostAffinity,
    VmHostAntiAffinity,
)

ROOM_RATIO_MIN = 1e-6  # of its capacity, on a host that VMs in flight still fill


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Exclusion:
    """At most `most` of these items in one domain; `domain` (H,) numbers the hosts' domains."""

    items: IntArray
    domain: IntArray
    most: int
    hard: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Instance:
    """I items on H hosts with C columns, of which the first R are balanced with `weight` (R,).

    use (I,C); capacity (H,C); room (H,C): how full arrivals may make a host, which is less where VMs in
    flight have not left yet; home (I,) where each item is (its first member's majority), permitted
    (I,H) by hard rules, preferred by soft ones too; must_move (I,): may not stay at home; movable:
    may be moved at all; resting: not for balance (cool-down); cost_s, moves (I,): what moving all
    members away costs; members (V,): the item of each VM or -1; extra_s, extra_moves (I,): what
    bringing the members together at home costs. usable (H,): takes VMs and counts in the imbalance.
    """

    use: FloatArray
    capacity: FloatArray
    room: FloatArray
    weight: FloatArray
    home: IntArray
    permitted: BoolArray
    preferred: BoolArray
    must_move: BoolArray
    movable: BoolArray
    resting: BoolArray
    cost_s: FloatArray
    moves: IntArray
    members: IntArray
    usable: BoolArray
    exclusions: tuple[Exclusion, ...]

    @property
    def resources(self) -> int:
        return self.weight.size

    def even_load(self) -> FloatArray:
        """(R,) the load of every usable host if all items were spread as water is."""
        r = self.resources
        there = self.usable[self.home] | self.must_move
        total: FloatArray = self.use[there, :r].sum(axis=0) / self.capacity[self.usable, :r].sum(
            axis=0
        )
        return total


def compile_instance(snapshot: Snapshot, policy: Policy, *, now: float) -> Instance:
    """The search's view of a snapshot without fatal problems."""
    rules, _ = usable_rules(snapshot)
    placed = snapshot.landed()
    flying = np.zeros(len(snapshot.vms), np.bool_)
    flying[[vm for vm, _ in snapshot.in_flight]] = True
    usable = snapshot.connected()
    members, count = _merge(snapshot, rules, placed, flying)
    of_item = [np.empty(0, np.int64)] * count
    order = np.argsort(members, kind="stable")
    order = order[members[order] >= 0]
    for chunk in np.split(order, np.flatnonzero(np.diff(members[order])) + 1):
        if chunk.size:
            of_item[int(members[chunk[0]])] = chunk

    leader = np.array([chunk[0] for chunk in of_item], np.int64)
    groups = [(i, chunk) for i, chunk in enumerate(of_item) if chunk.size > 1]
    home = placed[leader]
    for i, chunk in groups:
        home[i] = _majority(placed[chunk], snapshot.memory_bytes[chunk], usable)

    by_vm = vm_columns(snapshot, policy)
    use = by_vm[leader]
    cost_by_vm = durations_s(
        snapshot.memory_bytes,
        snapshot.dirty_rate_bytes_per_second,
        rate_bytes_per_second=policy.rate_bytes_per_second,
        calibration=policy.calibration,
    )
    cost_s = cost_by_vm[leader] + policy.move_overhead_s
    moves = np.ones(count, np.int64)
    fixed = flying | _disabled(snapshot, placed)
    resting = now - snapshot.moved_at_s < policy.cooldown_s
    movable, rests = ~fixed[leader], resting[leader]
    hard, soft = _host_rules(snapshot, rules)
    permitted = snapshot.allowed[leader] & usable
    for i, chunk in groups:
        use[i] = by_vm[chunk].sum(axis=0)
        cost_s[i] = float(cost_by_vm[chunk].sum()) + policy.move_overhead_s * chunk.size
        moves[i] = chunk.size
        movable[i], rests[i] = not fixed[chunk].any(), bool(resting[chunk].any())
        permitted[i] = snapshot.allowed[chunk].all(axis=0) & usable
    must_move = np.zeros(count, np.bool_)
    preferred = permitted.copy() if soft else permitted
    for ruled, target in ((hard, permitted), (soft, preferred)):
        for vm, where in ruled.items():
            if members[vm] >= 0:
                target[members[vm]] &= where
    if soft and hard:
        preferred &= permitted
    for vm, where in hard.items():
        if members[vm] >= 0 and not where[home[members[vm]]]:
            must_move[members[vm]] = True
    leaving = [
        s in (HostState.ENTERING_MAINTENANCE, HostState.MAINTENANCE) for s in snapshot.host_states
    ]
    must_move |= np.array(leaving, np.bool_)[home]
    capacity = host_columns(snapshot, policy)
    exclusions = tuple(exclusions_of(snapshot, rules, members))
    for e in exclusions:
        for vm, _ in snapshot.in_flight:
            source = int(snapshot.placement[vm])
            if (
                members[vm] in e.items and source >= 0
            ):  # it holds its source as well until it has arrived
                kin = e.items[e.items != members[vm]]
                permitted[np.ix_(kin, e.domain == e.domain[source])] = False
    return Instance(
        use=use,
        capacity=capacity,
        room=free_columns(snapshot, capacity, by_vm),
        weight=resource_weights(snapshot, policy),
        home=home,
        permitted=permitted,
        preferred=preferred,
        must_move=must_move & movable,
        movable=movable,
        resting=rests,
        cost_s=cost_s,
        moves=moves,
        members=members,
        usable=usable,
        exclusions=exclusions,
    )


def _merge(
    snapshot: Snapshot, rules: tuple[Rule, ...], placed: IntArray, fixed: BoolArray
) -> tuple[IntArray, int]:
    """Numbers the items: VMs that an affinity rule keeps together share one. -1: not placed."""
    at = {name: i for i, name in enumerate(snapshot.vms)}
    root = np.arange(len(snapshot.vms))
    capacity = snapshot.capacity[snapshot.connected()].max(axis=0, initial=0.0)
    for rule in rules:
        if not isinstance(rule, Affinity):
            continue
        named = [at[vm] for vm in rule.vms if placed[at[vm]] >= 0]
        if len(named) < 2:
            continue
        roots = {int(root[i]) for i in named}
        together = np.flatnonzero(np.isin(root, list(roots)))
        # What cannot come together is left as it is; what is together is never taken apart.
        pinned = {int(placed[i]) for i in together if fixed[i]}
        fits = (np.minimum(snapshot.demand, snapshot.limit)[together].sum(axis=0) <= capacity).all()
        possible = len(pinned) <= 1 and fits and snapshot.allowed[together].all(axis=0).any()
        if possible or np.unique(placed[together]).size == 1:
            root[together] = min(roots)
    members = np.full(len(snapshot.vms), -1, np.int64)
    live = placed >= 0
    unique, inverse = np.unique(root[live], return_inverse=True)
    members[live] = inverse
    return members, unique.size


def _majority(hosts: IntArray, memory_bytes: FloatArray, usable: BoolArray) -> int:
    """The usable host where most of the memory is already: gathering there moves the least."""
    held = np.bincount(hosts, weights=memory_bytes + 1.0, minlength=usable.size)
    return int(np.argmax(np.where(usable, held, held * 1e-30)))


def vm_columns(snapshot: Snapshot, policy: Policy) -> FloatArray:
    """(V,C) what each VM takes of each column: entitlement, and what only has to fit."""
    columns = [entitlement(snapshot)]
    if snapshot.reservation.any():
        columns.append(snapshot.reservation)
    if policy.vms_per_host_max is not None:
        columns.append(np.ones((len(snapshot.vms), 1)))
    return np.ascontiguousarray(np.hstack(columns))


def host_columns(snapshot: Snapshot, policy: Policy) -> FloatArray:
    """(H,C) what each host can hold."""
    columns = [snapshot.capacity]
    if snapshot.reservation.any():
        columns.append(snapshot.capacity)
    if policy.vms_per_host_max is not None:
        columns.append(np.full((len(snapshot.hosts), 1), float(policy.vms_per_host_max)))
    return np.ascontiguousarray(np.hstack(columns))


def free_columns(snapshot: Snapshot, capacity: FloatArray, by_vm: FloatArray) -> FloatArray:
    """(H,C) the hosts' columns less what migrations in flight still hold on their sources."""
    room = capacity.copy()
    for vm, destination in snapshot.in_flight:
        source = int(snapshot.placement[vm])
        if source not in (-1, destination):
            # Never quite nothing: overloads are told in parts of it. So little admits no VM.
            least = ROOM_RATIO_MIN * capacity[source]
            room[source] = np.maximum(room[source] - by_vm[vm], least)
    return room


def _disabled(snapshot: Snapshot, placed: IntArray) -> BoolArray:
    """VMs that DRS may not move, or that nobody can: their host does not answer."""
    stuck = [s in (HostState.NOT_RESPONDING, HostState.STANDBY) for s in snapshot.host_states]
    off = np.array([a is Automation.DISABLED for a in snapshot.automation], np.bool_)
    frozen: BoolArray = off | (np.array([*stuck, False], np.bool_)[placed] & (placed >= 0))
    return frozen


def _host_rules(
    snapshot: Snapshot, rules: tuple[Rule, ...]
) -> tuple[dict[int, NDArray[np.bool_]], dict[int, NDArray[np.bool_]]]:
    """For each VM that a VM-host rule names, the hosts left to it: (by MUST, by SHOULD)."""
    vm_at = {name: i for i, name in enumerate(snapshot.vms)}
    host_at = {name: i for i, name in enumerate(snapshot.hosts)}
    hard: dict[int, NDArray[np.bool_]] = {}
    soft: dict[int, NDArray[np.bool_]] = {}
    for rule in rules:
        if isinstance(rule, VmHostAffinity | VmHostAntiAffinity):
            inside = np.zeros(len(snapshot.hosts), np.bool_)
            inside[[host_at[h] for h in rule.hosts]] = True
            where = inside if isinstance(rule, VmHostAffinity) else ~inside
            table = hard if rule.strength is Strength.MUST else soft
            for vm in rule.vms:
                table[vm_at[vm]] = table.get(vm_at[vm], np.ones_like(where)) & where
    return hard, soft


def exclusions_of(
    snapshot: Snapshot, rules: tuple[Rule, ...], members: IntArray
) -> Iterable[Exclusion]:
    vm_at = {name: i for i, name in enumerate(snapshot.vms)}
    each_alone = np.arange(len(snapshot.hosts))
    for rule in rules:
        match rule:
            case AntiAffinity():
                domain, most = each_alone, 1
            case DomainSpread():
                names = [rule.domains.get(h, h) for h in snapshot.hosts]
                number = {name: i for i, name in enumerate(dict.fromkeys(names))}
                domain, most = (
                    np.array([number[n] for n in names], np.int64),
                    rule.vms_per_domain_max,
                )
            case _:
                continue
        items = members[[vm_at[vm] for vm in dict.fromkeys(rule.vms)]]
        # An item that holds two of the VMs counts twice: kept, so that the count is the VMs'.
        yield Exclusion(
            items=items[items >= 0], domain=domain, most=most, hard=rule.strength is Strength.MUST
        )


def load_scale(instance: Instance) -> FloatArray:
    """(H,R) what turns an amount into a load; 0 on hosts that do not count."""
    capacity = instance.capacity[:, : instance.resources]
    counts = instance.usable[:, None] & (capacity > 0.0)
    scale: FloatArray = np.where(counts, 1.0 / np.where(counts, capacity, 1.0), 0.0)
    return scale
