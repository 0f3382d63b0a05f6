"""From where each VM should be to timed migrations that are feasible at every instant.

A migrating VM counts on both hosts. Each host sends one VM and receives one at a time, each at the
full rate of its link: with a link as the bottleneck this finishes no later than sharing it would
and leaves less time to dirty pages (Kherbache et al., "Scheduling live-migrations for fast,
adaptable and energy-efficient relocation operations", 2015). The order is that of list scheduling
for an open shop: the host with the most work left comes first.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

import numpy as np

from drs.cost import durations_s
from drs.instance import Exclusion, Instance, exclusions_of, vm_columns
from drs.layout import ROOM_TOLERANCE
from drs.load import host_usage
from drs.model import FloatArray, IntArray, Snapshot
from drs.plan import Action, Move
from drs.policy import Policy
from drs.problems import usable_rules

ATTEMPTS_MAX = 60
ATTEMPT_MOVES = 4000  # attempts × moves: the time that trying again may take
GOOD_ENOUGH = 1.03
UNBLOCK = (1.0, 0.5, 2.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Timed actions, the VMs that no order could get to their destination, and a bound.

    `makespan_s_min`: no schedule with one migration a direction and host can end sooner.
    """

    actions: tuple[Action, ...]
    blocked: tuple[int, ...]
    makespan_s_min: float

    def makespan_s(self) -> float:
        return max((a.end_s for a in self.actions), default=0.0)


@dataclass(slots=True, eq=False)
class _Site:
    """The cluster while a schedule is being made; one owner, changed by `start` and `end`."""

    snapshot: Snapshot
    policy: Policy
    instance: Instance
    after: IntArray
    at: IntArray
    use: FloatArray
    used: FloatArray
    room_max: FloatArray
    groups_of: dict[int, list[tuple[Exclusion, IntArray]]]
    duration_s: FloatArray
    out_left_s: FloatArray
    in_left_s: FloatArray
    sending: IntArray
    receiving: IntArray
    urgent: frozenset[int]
    unblock: float
    noise: FloatArray
    running: list[tuple[float, int, Move]] = field(default_factory=list)
    actions: list[Action] = field(default_factory=list)

    def can_start(self, vm: int, destination: int) -> bool:
        source = int(self.at[vm])
        joint_max = self.policy.concurrent_per_host_max
        if self.sending[source] or self.receiving[destination]:
            return False
        if self.sending[source] + self.receiving[source] >= joint_max:
            return False
        if self.sending[destination] + self.receiving[destination] >= joint_max:
            return False
        if (
            self.policy.concurrent_max is not None
            and len(self.running) >= self.policy.concurrent_max
        ):
            return False
        return self.fits(vm, destination)

    def fits(self, vm: int, destination: int) -> bool:
        need = self.use[vm]
        if ((self.used[destination] + need > self.room_max[destination]) & (need > 0.0)).any():
            return False
        return all(
            inside[e.domain[destination]] < e.most for e, inside in self.groups_of.get(vm, ())
        )

    def start(self, vm: int, destination: int, now_s: float) -> None:
        move = Move(vm=vm, source=int(self.at[vm]), destination=destination)
        action = Action(
            move=move,
            order=len(self.actions),
            start_s=now_s,
            end_s=now_s + float(self.duration_s[vm]),
        )
        self.actions.append(action)
        heapq.heappush(self.running, (action.end_s, action.order, move))
        self.used[destination] += self.use[vm]
        for e, inside in self.groups_of.get(vm, ()):
            inside[e.domain[destination]] += e.domain[destination] != e.domain[move.source]
        self.sending[move.source] += 1
        self.receiving[destination] += 1
        self.out_left_s[move.source] -= self.duration_s[vm]
        self.in_left_s[destination] -= self.duration_s[vm]

    def end(self, move: Move) -> None:
        self.used[move.source] -= self.use[move.vm]
        for e, inside in self.groups_of.get(move.vm, ()):
            inside[e.domain[move.source]] -= e.domain[move.destination] != e.domain[move.source]
        self.sending[move.source] -= 1
        self.receiving[move.destination] -= 1
        self.at[move.vm] = move.destination

    def key(self, vm: int) -> tuple[bool, float, float, int]:
        """Mandatory first, then the host with the most work left, then the longest.

        `unblock` counts the work that waits for the room which the VM would free; `noise` is what
        makes one attempt differ from another.
        """
        source = int(self.at[vm])
        work = max(float(self.out_left_s[source]), float(self.in_left_s[self.after[vm]]))
        work += self.unblock * float(self.in_left_s[source])
        return vm not in self.urgent, -work * float(self.noise[vm]), -float(self.duration_s[vm]), vm


def schedule(
    snapshot: Snapshot,
    policy: Policy,
    instance: Instance,
    after: IntArray,
    *,
    urgent: frozenset[int] = frozenset(),
) -> Schedule:
    """Gets every VM to `after` (V,), or says which cannot; legal at every instant in any case.

    Deterministic. At most two actions a VM: a stop on a third host breaks a cycle. Small plans are
    tried in several orders and the shortest is kept.
    """
    rng = np.random.default_rng(0)  # only varies the attempts; every plan meets the same numbers
    site = _site(snapshot, policy, instance, after, urgent)
    moves = int(((after != site.at) & (after >= 0)).sum())
    best, unblock, noise = _attempt(site), 0.0, np.ones(after.size)
    for k in range(min(ATTEMPTS_MAX, ATTEMPT_MOVES // max(moves, 1))):
        if not best.blocked and best.makespan_s() <= GOOD_ENOUGH * best.makespan_s_min:
            break
        site = _site(snapshot, policy, instance, after, urgent)
        if k < len(UNBLOCK):
            site.unblock = UNBLOCK[k]
        else:  # climb from the best order: change the urgency of a third of the moves
            factor = np.where(
                rng.random(after.size) < 0.3, np.exp(rng.normal(0.0, 0.7, after.size)), 1.0
            )
            site.unblock, site.noise = unblock, noise * factor
        made = _attempt(site)
        if (len(made.blocked), made.makespan_s()) <= (len(best.blocked), best.makespan_s()):
            best, unblock, noise = made, site.unblock, site.noise
    return best


def _attempt(site: _Site) -> Schedule:
    """One pass of list scheduling."""
    after = site.after
    pending = {int(v) for v in np.flatnonzero((after != site.at) & (after >= 0))}
    bound_s = max(float(site.out_left_s.max(initial=0.0)), float(site.in_left_s.max(initial=0.0)))
    waiting: dict[int, set[int]] = {}
    for vm in pending:
        _await(waiting, vm, int(site.at[vm]), int(after[vm]))
    stopped_over: set[int] = set()
    now_s = 0.0
    hosts = set(waiting)
    for _ in range(4 * len(pending) + 1):
        look = (
            pending
            if site.policy.concurrent_max is not None
            else {v for h in hosts for v in waiting.get(h, ())}
        )
        for vm in sorted(look & pending, key=site.key):
            if site.can_start(vm, int(after[vm])):
                _forget(waiting, vm, int(site.at[vm]), int(after[vm]))
                site.start(vm, int(after[vm]), now_s)
                pending.discard(vm)
        if not site.running:
            over = _bypass(site, pending - stopped_over)
            if over is None:
                break
            vm, host = over
            stopped_over.add(vm)
            _forget(waiting, vm, int(site.at[vm]), int(after[vm]))
            pending.discard(vm)
            site.out_left_s[host] += site.duration_s[vm]
            site.in_left_s[host] += site.duration_s[vm]
            site.start(vm, host, now_s)
        hosts = set()
        now_s = site.running[0][0]
        while site.running and site.running[0][0] <= now_s:
            move = heapq.heappop(site.running)[2]
            site.end(move)
            hosts |= {move.source, move.destination, *_relatives(site, move.vm)}
            if after[move.vm] != move.destination:
                pending.add(move.vm)
                _await(waiting, move.vm, move.destination, int(after[move.vm]))
    return Schedule(
        actions=tuple(site.actions), blocked=tuple(sorted(pending)), makespan_s_min=bound_s
    )


def _await(waiting: dict[int, set[int]], vm: int, *hosts: int) -> None:
    for host in hosts:
        waiting.setdefault(host, set()).add(vm)


def _forget(waiting: dict[int, set[int]], vm: int, *hosts: int) -> None:
    for host in hosts:
        waiting[host].discard(vm)


def _relatives(site: _Site, vm: int) -> set[int]:
    """Hosts that wait for VMs which may not be where this one was."""
    return {
        int(site.after[i])
        for e, _ in site.groups_of.get(vm, ())
        for i in e.items.tolist()
        if site.after[i] >= 0
    }


def _bypass(site: _Site, candidates: set[int]) -> tuple[int, int] | None:
    """The cheapest (VM, third host) whose leaving lets another VM arrive where it was."""
    wanted = {int(site.after[vm]) for vm in candidates}
    instance = site.instance
    for only_helpful in (True, False):
        for vm in sorted(candidates, key=lambda v: (float(site.duration_s[v]), v)):
            if only_helpful and int(site.at[vm]) not in wanted:
                continue
            item = int(instance.members[vm])
            possible = instance.preferred[item].copy()
            possible[[site.at[vm], site.after[vm]]] = False
            load = (
                site.used[:, : instance.resources]
                / np.maximum(site.room_max[:, : instance.resources], 1e-300)
            ).max(axis=1)
            for host in np.flatnonzero(possible)[
                np.argsort(load[possible], kind="stable")
            ].tolist():
                if site.can_start(vm, host):
                    return vm, host
    return None


def _site(
    snapshot: Snapshot, policy: Policy, instance: Instance, after: IntArray, urgent: frozenset[int]
) -> _Site:
    use = vm_columns(snapshot, policy)
    at = snapshot.landed()  # what those in flight hold on their sources is taken off the room
    hosts = len(snapshot.hosts)
    moving = (after != at) & (after >= 0)
    duration_s = durations_s(
        snapshot.memory_bytes,
        snapshot.dirty_rate_bytes_per_second,
        rate_bytes_per_second=policy.rate_bytes_per_second,
        calibration=policy.calibration,
    )
    return _Site(
        snapshot=snapshot,
        policy=policy,
        instance=instance,
        after=after,
        at=at,
        use=use,
        used=host_usage(use, at, hosts),
        room_max=instance.room * (1.0 + ROOM_TOLERANCE),
        groups_of=_vm_groups(snapshot, at, after),
        duration_s=duration_s,
        out_left_s=_sums(at[moving], duration_s[moving], hosts),
        in_left_s=_sums(after[moving], duration_s[moving], hosts),
        # Migrations in flight hold room, not a slot: nobody knows when they end.
        sending=np.zeros(hosts, np.int64),
        receiving=np.zeros(hosts, np.int64),
        urgent=urgent,
        unblock=0.0,
        noise=np.ones(at.size),
    )


def _sums(hosts: IntArray, values: FloatArray, count: int) -> FloatArray:
    return np.bincount(hosts, weights=values, minlength=count).astype(np.float64)


def _vm_groups(
    snapshot: Snapshot, at: IntArray, after: IntArray
) -> dict[int, list[tuple[Exclusion, IntArray]]]:
    """For each VM that moves or is beside one that does, its keep-apart groups with their counts.

    A SHOULD that the final placement breaks is not enforced on the way there.
    """
    rules, _ = usable_rules(snapshot)
    groups: dict[int, list[tuple[Exclusion, IntArray]]] = {}
    for e in exclusions_of(snapshot, rules, np.arange(len(snapshot.vms))):
        running = e.items[at[e.items] >= 0]
        if (at[running] == after[running]).all():
            continue
        final = np.bincount(e.domain[after[running]], minlength=len(snapshot.hosts))
        if not e.hard and (final > e.most).any():
            continue
        inside = np.bincount(e.domain[at[running]], minlength=len(snapshot.hosts))
        for vm, destination in snapshot.in_flight:
            if vm in e.items and e.domain[snapshot.placement[vm]] != e.domain[destination]:
                inside[e.domain[snapshot.placement[vm]]] += 1
        placed = Exclusion(items=running, domain=e.domain, most=e.most, hard=e.hard)
        for vm in running.tolist():
            groups.setdefault(vm, []).append((placed, inside))
    return groups
