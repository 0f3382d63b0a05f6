"""Resource pools: a tree of shares, reservations and limits, and what each VM gets through it.

Source of the rules: VMware's resource management guide; the two passes are those of vSphere 6.7 and
later: a pool's children first get what they demand, bounded by their fair share, and what the pool
has beyond all demand is then divided in proportion, bounded by configured size.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from drs.entitlement import FloatArray, divvy, water_fill
from drs.model import Problem, ProblemKind, Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """A resource pool of one resource; `parent` None is the cluster itself.

    An expandable reservation may borrow what its parent has unreserved.
    """

    name: str
    parent: str | None = None
    shares: float = 4000.0
    reservation: float = 0.0
    limit: float = math.inf
    expandable: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A VM in a pool (None: directly in the cluster); `size` is what it is configured with."""

    name: str
    pool: str | None
    demand: float
    size: float
    shares: float = 1000.0
    reservation: float = 0.0
    limit: float = math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class _Node:
    """A pool or a VM while its parent divides."""

    name: str
    demand: float
    size: float
    shares: float
    reservation: float
    limit: float


def pool_problems(
    pools: Iterable[Pool], members: Iterable[Member], capacity: float
) -> tuple[Problem, ...]:
    """Everything wrong with a tree: names, cycles, numbers, reservations that do not fit."""
    tree, leaves = tuple(pools), tuple(members)
    names = {p.name for p in tree}
    twice = len(names) < len(tree)
    found = (
        [_problem(ProblemKind.DUPLICATE_NAME, "pools", "two pools have one name")] if twice else []
    )
    found += [
        _problem(ProblemKind.UNKNOWN_POOL, p.name, f"pool {p.name}: no parent {p.parent}")
        for p in tree
        if p.parent is not None and p.parent not in names
    ]
    found += [
        _problem(ProblemKind.UNKNOWN_POOL, m.name, f"VM {m.name}: no pool {m.pool}")
        for m in leaves
        if m.pool is not None and m.pool not in names
    ]
    nodes: tuple[Pool | Member, ...] = (*tree, *leaves)
    for node in nodes:
        numbers = (node.shares, node.reservation, node.limit)
        if any(math.isnan(n) or n < 0.0 for n in numbers) or math.isinf(node.reservation):
            text = f"{node.name}: shares, reservation and limit must be numbers from 0 on"
            found.append(_problem(ProblemKind.NEGATIVE, node.name, text))
        elif node.reservation > node.limit:
            text = f"{node.name}: reservation above limit"
            found.append(_problem(ProblemKind.RESERVATION_ABOVE_LIMIT, node.name, text))
    if not found:
        found += [
            _problem(ProblemKind.RULE_CONFLICT, p.name, f"pool {p.name} is its own ancestor")
            for p in tree
            if _loops(p, tree)
        ]
    return tuple(found) or tuple(_admission_problems(tree, leaves, capacity))


def pools_of(snapshot: Snapshot, r: int) -> tuple[tuple[Pool, ...], tuple[Member, ...]]:
    """The snapshot's pools and its placed VMs as one resource, column `r`, sees them.

    A VM's size is what it demands: a snapshot does not know what it is configured with.
    """
    name = snapshot.resources[r]
    pools = tuple(
        Pool(
            name=p.name,
            parent=p.parent,
            shares=p.shares.get(name, 4000.0),
            reservation=p.reservation.get(name, 0.0),
            limit=p.limit.get(name, math.inf),
            expandable=p.expandable,
        )
        for p in snapshot.pools
    )
    where = snapshot.pool or (None,) * len(snapshot.vms)
    members = tuple(
        Member(
            name=snapshot.vms[v],
            pool=where[v],
            demand=float(snapshot.demand[v, r]),
            size=float(snapshot.demand[v, r]),
            shares=float(snapshot.shares[v, r]),
            reservation=float(snapshot.reservation[v, r]),
            limit=float(snapshot.limit[v, r]),
        )
        for v in np.flatnonzero(snapshot.placement >= 0).tolist()
    )
    return pools, members


def demands_above_limit(
    pools: Sequence[Pool], members: Iterable[Member]
) -> Iterator[tuple[str, float, float]]:
    """(pool, what its VMs demand in sum, its limit) for each pool that asks for more than it may have."""
    free = _Tree.of([replace(p, limit=math.inf) for p in pools], members).nodes
    for pool in pools:
        if free[pool.name].demand > pool.limit * (1.0 + 1e-9):
            yield pool.name, free[pool.name].demand, pool.limit


def divide(capacity: float, pools: Iterable[Pool], members: Iterable[Member]) -> dict[str, float]:
    """What each VM is entitled to, by name: the capacity divided down the tree.

    Sums to the smaller of capacity and all bounded demand: within a pool a VM gets at least
    its reservation (while it demands it), at most its limit and demand, and the rest by shares.
    """
    return _divide(None, capacity, _Tree.of(pools, members), surplus=False)


def divide_size(
    capacity: float, pools: Iterable[Pool], members: Iterable[Member]
) -> dict[str, float]:
    """What each VM may use at most, by name: two passes, demand first, then what is left over.

    The second pass divides in proportion to shares, bounded by configured size and limit. A pool of
    10 with 4 VMs of 4 that demand 1 each: the first pass gives 1 each, the second 1.5 more.
    """
    return _divide(None, capacity, _Tree.of(pools, members), surplus=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tree:
    """Pools and VMs by the pool they are in (None: the cluster), read once: thousands of VMs come in few pools."""

    pools: dict[str | None, list[Pool]]
    members: dict[str | None, list[Member]]
    nodes: dict[str, _Node]

    @classmethod
    def of(cls, pools: Iterable[Pool], members: Iterable[Member]) -> _Tree:
        tree = cls(pools={}, members={}, nodes={})
        for pool in pools:
            tree.pools.setdefault(pool.parent, []).append(pool)
        for member in members:
            tree.members.setdefault(member.pool, []).append(member)
        for pool in tree.pools.get(None, ()):
            tree.node(pool)
        return tree

    def node(self, pool: Pool) -> _Node:
        """A pool asks for what its children can use, within its own limit, and holds its reservation."""
        if pool.name not in self.nodes:
            children = [self.node(p) for p in self.pools.get(pool.name, ())]
            children += [_vm_node(m) for m in self.members.get(pool.name, ())]
            held = sum(c.reservation for c in children) if pool.expandable else 0.0
            self.nodes[pool.name] = _Node(
                name=pool.name,
                demand=min(sum(min(c.demand, c.limit) for c in children), pool.limit),
                size=min(sum(min(c.size, c.limit) for c in children), pool.limit),
                shares=pool.shares,
                reservation=min(max(pool.reservation, held), pool.limit),
                limit=pool.limit,
            )
        return self.nodes[pool.name]


def _divide(pool: str | None, capacity: float, tree: _Tree, *, surplus: bool) -> dict[str, float]:
    inner, leaves = tree.pools.get(pool, []), tree.members.get(pool, [])
    nodes = [*(tree.nodes[p.name] for p in inner), *(_vm_node(m) for m in leaves)]
    if not nodes:
        return {}
    granted = _two_passes(capacity, nodes, surplus=surplus)
    result = {m.name: float(g) for m, g in zip(leaves, granted[len(inner) :], strict=True)}
    for p, share in zip(inner, granted[: len(inner)], strict=True):
        result.update(_divide(p.name, float(share), tree, surplus=surplus))
    return result


def _two_passes(capacity: float, nodes: list[_Node], *, surplus: bool) -> FloatArray:
    demand, size, shares, reservation, limit = (
        np.array([getattr(n, field) for n in nodes])
        for field in ("demand", "size", "shares", "reservation", "limit")
    )
    granted = divvy(capacity, demand, reservation, limit, shares)
    left = capacity - float(granted.sum())
    if not surplus or left <= 0.0:
        return granted
    most = np.maximum(np.minimum(size, limit), granted)
    weight = np.maximum(shares, 1e-9 * max(float(shares.max()), 1e-9))
    return granted + water_fill(left, np.zeros_like(granted), most - granted, weight)


def _vm_node(vm: Member) -> _Node:
    return _Node(
        name=vm.name,
        demand=min(vm.demand, vm.limit),
        size=vm.size,
        shares=vm.shares,
        reservation=vm.reservation,
        limit=vm.limit,
    )


def _loops(pool: Pool, pools: tuple[Pool, ...]) -> bool:
    parents = {p.name: p.parent for p in pools}
    at: str | None = pool.parent
    for _ in pools:
        if at is None:
            return False
        if at == pool.name:
            return True
        at = parents[at]
    return True


def _admission_problems(
    pools: tuple[Pool, ...], members: tuple[Member, ...], capacity: float
) -> list[Problem]:
    """Reservations that their pool does not cover: its own, and if expandable what its parents have left."""
    found = []
    for pool in (None, *pools):
        name = None if pool is None else pool.name
        wanted = sum(_held(p, pools, members) for p in pools if p.parent == name)
        wanted += sum(m.reservation for m in members if m.pool == name)
        if pool is None and wanted > capacity * (1.0 + 1e-9):
            text = f"reservations of {wanted:g} exceed the capacity of {capacity:g}"
            found.append(_problem(ProblemKind.NO_CAPACITY, "cluster", text))
        elif pool is not None and wanted > (pool.limit if pool.expandable else pool.reservation) * (
            1.0 + 1e-9
        ):
            text = f"pool {pool.name}: reservations of {wanted:g} exceed its own"
            found.append(_problem(ProblemKind.NO_CAPACITY, pool.name, text))
    return found


def _held(pool: Pool, pools: tuple[Pool, ...], members: tuple[Member, ...]) -> float:
    """What a pool takes of its parent's unreserved capacity."""
    if not pool.expandable:
        return pool.reservation
    inside = sum(_held(p, pools, members) for p in pools if p.parent == pool.name)
    return max(
        pool.reservation, inside + sum(m.reservation for m in members if m.pool == pool.name)
    )


def _problem(kind: ProblemKind, subject: str, message: str) -> Problem:
    return Problem(kind=kind, subject=subject, message=message, fatal=True)
