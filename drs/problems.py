"""What is wrong with a snapshot, all of it at once: fatal input, and rules that cannot be kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from drs.model import NOT_PLACED, HostState, Problem, ProblemKind, Snapshot
from drs.pools import demands_above_limit, pool_problems, pools_of
from drs.rules import (
    Affinity,
    AntiAffinity,
    DomainSpread,
    Rule,
    Strength,
    VmHostAffinity,
    VmHostAntiAffinity,
)

NAMED_MAX = 5  # a message names this many culprits and counts the rest


def snapshot_problems(snapshot: Snapshot) -> tuple[Problem, ...]:
    """Shape problems alone if there are any (nothing else can be read then), or all the others."""
    shapes = tuple(_shape_problems(snapshot))
    if shapes:
        return shapes
    found = [*_name_problems(snapshot), *_number_problems(snapshot), *_placement_problems(snapshot)]
    found += _pool_problems(snapshot)
    _, disabled = usable_rules(snapshot)
    return (*found, *disabled, *_room_problems(snapshot))


def usable_rules(snapshot: Snapshot) -> tuple[tuple[Rule, ...], tuple[Problem, ...]]:
    """The rules that can be applied, and why each other one is disabled.

    A rule with unknown names is disabled. Of two VM-host MUST rules that leave a VM no host, the
    older one wins (VMware's rule); likewise a keep-together against a keep-apart pair.
    """
    kept: list[Rule] = []
    problems: list[Problem] = []
    hosts, vms = frozenset(snapshot.hosts), frozenset(snapshot.vms)
    possible: dict[str, frozenset[str]] = {}
    together: dict[str, str] = {}
    apart: dict[str, list[frozenset[str]]] = {}
    names: set[str] = set()
    for rule in snapshot.rules:
        problem = _rule_problem(rule, hosts, vms, names)
        if problem is None and isinstance(rule, Affinity):
            problem = _too_big(snapshot, rule)
        if problem is None and rule.strength is Strength.MUST:
            problem = _conflict(rule, hosts, possible, together, apart)
        if problem is None:
            kept.append(rule)
            names.add(rule.name)
        else:
            problems.append(problem)
    return tuple(kept), tuple(problems)


def _rule_problem(
    rule: Rule, hosts: frozenset[str], vms: frozenset[str], names: set[str]
) -> Problem | None:
    unknown_vms = [vm for vm in rule.vms if vm not in vms]
    if unknown_vms:
        return _disabled(ProblemKind.UNKNOWN_VM, rule, f"names unknown VMs: {_some(unknown_vms)}")
    match rule:
        case VmHostAffinity() | VmHostAntiAffinity():
            unknown_hosts = [h for h in rule.hosts if h not in hosts]
            if unknown_hosts:
                return _disabled(
                    ProblemKind.UNKNOWN_HOST, rule, f"names unknown hosts: {_some(unknown_hosts)}"
                )
        case DomainSpread() if rule.vms_per_domain_max < 1:
            return _disabled(ProblemKind.RULE_EMPTY, rule, "allows no VM in any domain")
        case _:
            pass
    if not rule.vms:
        return _disabled(ProblemKind.RULE_EMPTY, rule, "names no VM")
    if rule.name in names:
        return _disabled(ProblemKind.DUPLICATE_NAME, rule, "has the name of an older rule")
    return None


def _too_big(snapshot: Snapshot, rule: Affinity) -> Problem | None:
    """VMs that are apart and together fit on no host cannot be brought together."""
    at = [snapshot.vms.index(vm) for vm in rule.vms]
    if len({int(h) for h in snapshot.placement[at] if h >= 0}) < 2:
        return None
    needed = np.minimum(snapshot.demand, snapshot.limit)[at].sum(axis=0)
    if (needed <= snapshot.capacity[snapshot.connected()].max(axis=0, initial=0.0)).all():
        return None
    return _disabled(
        ProblemKind.RULE_CONFLICT, rule, "keeps VMs together that fit together on no host"
    )


def _conflict(
    rule: Rule,
    hosts: frozenset[str],
    possible: dict[str, frozenset[str]],
    together: dict[str, str],
    apart: dict[str, list[frozenset[str]]],
) -> Problem | None:
    """Why this MUST rule contradicts older ones; updates the three tables when it does not."""
    match rule:
        case VmHostAffinity() | VmHostAntiAffinity():
            group = (
                frozenset(rule.hosts)
                if isinstance(rule, VmHostAffinity)
                else hosts - frozenset(rule.hosts)
            )
            left = {vm: possible.get(vm, hosts) & group for vm in rule.vms}
            stuck = [vm for vm, where in left.items() if not where]
            if stuck:
                return _disabled(
                    ProblemKind.RULE_CONFLICT,
                    rule,
                    f"with older rules leaves no host for {_some(stuck)}",
                )
            possible.update(left)
        case Affinity():
            merged = {together.get(vm, vm) for vm in rule.vms}
            members = frozenset(
                vm for vm in {*together, *rule.vms} if together.get(vm, vm) in merged
            )
            for group in {g for vm in members for g in apart.get(vm, ())}:
                if len(group & members) > 1:
                    text = f"keeps {_some(sorted(group & members))} together, which an older rule keeps apart"
                    return _disabled(ProblemKind.RULE_CONFLICT, rule, text)
            together.update(dict.fromkeys(members, min(merged)))
        case AntiAffinity():
            group = frozenset(rule.vms)
            roots = sorted(together.get(vm, vm) for vm in group)
            if any(a == b for a, b in pairwise(roots)):
                return _disabled(
                    ProblemKind.RULE_CONFLICT,
                    rule,
                    "keeps VMs apart that an older rule keeps together",
                )
            for vm in group:
                apart.setdefault(vm, []).append(group)
        case DomainSpread():
            pass
    return None


def _disabled(kind: ProblemKind, rule: Rule, why: str) -> Problem:
    return Problem(
        kind=kind, subject=rule.name, message=f"rule {rule.name} {why}; it is disabled", fatal=False
    )


def _shape_problems(s: Snapshot) -> Iterator[Problem]:
    h, v, r = len(s.hosts), len(s.vms), len(s.resources)
    wanted: tuple[tuple[str, NDArray[np.generic], tuple[int, ...]], ...] = (
        ("capacity", s.capacity, (h, r)),
        ("demand", s.demand, (v, r)),
        ("reservation", s.reservation, (v, r)),
        ("limit", s.limit, (v, r)),
        ("shares", s.shares, (v, r)),
        ("placement", s.placement, (v,)),
        ("allowed", s.allowed, (v, h)),
        ("memory_bytes", s.memory_bytes, (v,)),
        ("dirty_rate_bytes_per_second", s.dirty_rate_bytes_per_second, (v,)),
        ("moved_at_s", s.moved_at_s, (v,)),
        ("host_states", np.empty(len(s.host_states)), (h,)),
        ("automation", np.empty(len(s.automation)), (v,)),
        ("pool", np.empty(len(s.pool)), (v if s.pool else 0,)),
    )
    for name, array, shape in wanted:
        if array.shape != shape:
            yield _fatal(
                ProblemKind.SHAPE, name, f"{name} has shape {array.shape}, expected {shape}"
            )


def _name_problems(s: Snapshot) -> Iterator[Problem]:
    for what, names in (("host", s.hosts), ("VM", s.vms), ("resource", s.resources)):
        twice = (
            sorted({n for n in names if names.count(n) > 1}) if len(set(names)) < len(names) else []
        )
        if twice:
            yield _fatal(
                ProblemKind.DUPLICATE_NAME, twice[0], f"{what} names used twice: {_some(twice)}"
            )
    if not s.hosts:
        yield Problem(
            kind=ProblemKind.NO_HOST,
            subject="hosts",
            message="the cluster has no host",
            fatal=False,
        )


def _number_problems(s: Snapshot) -> Iterator[Problem]:
    tables = (
        ("capacity", s.capacity, s.hosts),
        ("demand", s.demand, s.vms),
        ("reservation", s.reservation, s.vms),
        ("limit", s.limit, s.vms),
        ("shares", s.shares, s.vms),
        ("memory_bytes", s.memory_bytes[:, None], s.vms),
        ("dirty_rate_bytes_per_second", s.dirty_rate_bytes_per_second[:, None], s.vms),
    )
    for name, table, owners in tables:
        bad = np.isnan(table) if name == "limit" else ~np.isfinite(table)
        if bad.any():
            culprits = [owners[i] for i in np.flatnonzero(bad.any(axis=1))]
            yield _fatal(
                ProblemKind.NOT_A_NUMBER,
                culprits[0],
                f"{name} is not a finite number for {_some(culprits)}",
            )
        below = table < 0
        if below.any():
            culprits = [owners[i] for i in np.flatnonzero(below.any(axis=1))]
            yield _fatal(
                ProblemKind.NEGATIVE, culprits[0], f"{name} is negative for {_some(culprits)}"
            )
    above = s.reservation > s.limit
    if above.any():
        culprits = [s.vms[i] for i in np.flatnonzero(above.any(axis=1))]
        text = f"reservation above limit for {_some(culprits)}"
        yield _fatal(ProblemKind.RESERVATION_ABOVE_LIMIT, culprits[0], text)
    empty = [
        host
        for host, row, state in zip(s.hosts, s.capacity, s.host_states, strict=True)
        if state is HostState.CONNECTED and not (row > 0).all()
    ]
    if empty:
        yield _fatal(
            ProblemKind.NO_CAPACITY, empty[0], f"connected hosts without capacity: {_some(empty)}"
        )


def _placement_problems(s: Snapshot) -> Iterator[Problem]:
    wrong = (s.placement < NOT_PLACED) | (s.placement >= len(s.hosts))
    if wrong.any():
        culprits = [s.vms[i] for i in np.flatnonzero(wrong)]
        yield _fatal(
            ProblemKind.UNKNOWN_HOST, culprits[0], f"placed on an unknown host: {_some(culprits)}"
        )
    for vm, destination in s.in_flight:
        if not 0 <= vm < len(s.vms):
            yield _fatal(
                ProblemKind.UNKNOWN_VM, "in_flight", "a migration in flight names an unknown VM"
            )
        elif not 0 <= destination < len(s.hosts):
            yield _fatal(
                ProblemKind.UNKNOWN_HOST, s.vms[vm], f"{s.vms[vm]} is in flight to an unknown host"
            )


def _pool_problems(s: Snapshot) -> Iterator[Problem]:
    """The tree's own mistakes are fatal; reservations that no longer fit (a host is gone) are not.

    Memory that is demanded is not taken away by a pool's limit, so that is said.
    """
    if not s.pools and not s.pool:
        return
    told: set[str] = set()
    capacity = s.capacity[s.connected()].sum(axis=0)
    broken = False
    for r, name in enumerate(s.resources):
        pools, members = pools_of(s, r)
        for problem in pool_problems(pools, members, float(capacity[r])):
            fits = problem.kind is not ProblemKind.NO_CAPACITY
            text = problem.message if fits else f"{problem.message} ({name})"
            if text not in told:
                told.add(text)
                yield replace(problem, message=text, fatal=fits)
            broken |= fits
    if broken:
        return
    for r, name in enumerate(s.resources):
        if name in s.incompressible:
            for pool, demand, limit in demands_above_limit(*pools_of(s, r)):
                text = (
                    f"pool {pool}: its VMs demand {demand:g} of {name}, its limit is {limit:g}; "
                    "what a VM demands of it is not taken away"
                )
                yield Problem(kind=ProblemKind.NO_CAPACITY, subject=pool, message=text, fatal=False)


def _room_problems(s: Snapshot) -> Iterator[Problem]:
    """VMs that no connected, allowed host could hold even if it were empty."""
    if not s.hosts or not s.vms:
        return
    least = np.minimum(s.demand, s.limit)
    # Against the largest capacity of each resource first: with many alike hosts that answers it.
    roomy = s.capacity[s.connected()]
    suspects = ~(least <= roomy.max(axis=0, initial=0.0)).all(axis=1) | ~s.allowed.all(axis=1)
    if roomy.size and not (roomy == roomy[0]).all():
        suspects[:] = True
    stuck = []
    for i in np.flatnonzero(suspects):
        possible = s.allowed[i] & s.connected() & (least[i] <= s.capacity).all(axis=1)
        if not possible.any():
            stuck.append(s.vms[i])
    if stuck:
        text = f"fits on no connected host it is allowed on: {_some(stuck)}"
        yield Problem(kind=ProblemKind.NOTHING_FITS, subject=stuck[0], message=text, fatal=False)


def _fatal(kind: ProblemKind, subject: str, message: str) -> Problem:
    return Problem(kind=kind, subject=subject, message=message, fatal=True)


def _some(names: list[str]) -> str:
    more = len(names) - NAMED_MAX
    return ", ".join(names[:NAMED_MAX]) + (f" and {more} more" if more > 0 else "")
