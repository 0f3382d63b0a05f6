"""Power management by headroom: as few hosts as leave each some standard deviations of room.

A host's load is the mean of its VMs' demand plus `deviations` standard deviations of their sum, over
its capacity. Above `high_ratio` the host is relieved, by the smallest VM whose leaving brings it to
`target_ratio`; where nobody has room, a host is powered on. While all that is on could carry the
cluster at `low_ratio` without the emptiest host, that one is stood by.

The band of `drs.power` (VMware's 63 % +- 18 %) keeps a constant reserve; this one keeps little where
demand is steady and much where it jumps. VMs are taken as independent, which traces of one site are
not quite: a common morning is seen only as it comes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from drs.model import BoolArray, FloatArray, HostState, IntArray, Snapshot
from drs.power import PowerPlan

STAND_BY_MAX = 3  # in one pass: each evacuation is a burst of migrations


@dataclass(frozen=True, slots=True, kw_only=True)
class Headroom:
    """When a host is too full, how full it may be made, and when one fewer would do."""

    deviations: float = 0.2
    high_ratio: float = 0.94
    target_ratio: float = 0.83
    low_ratio: float = 0.67
    hosts_on_min: int = 1


def pack(snapshot: Snapshot, headroom: Headroom, *, deviation: FloatArray) -> PowerPlan:
    """Where VMs should be with the fewest hosts on, and which hosts that powers on or stands by.

    `deviation` (V,) is the standard deviation of each VM's CPU demand, in MHz. The CPU is the first
    resource that is not incompressible; of the others a host takes what it has. Hosts in standby are
    powered on in the snapshot's order. A VM of a rule, one in flight and one that DRS may not move stay,
    and so do their hosts' lights.
    """
    site = _Site.of(snapshot, headroom, deviation)
    for host in np.flatnonzero(site.on).tolist():
        site.relieve(host)
    if not site.woken:
        for _ in range(STAND_BY_MAX):
            if not site.stand_by_one():
                break
    return PowerPlan(
        power_on=tuple(snapshot.hosts[host] for host in site.woken),
        stand_by=tuple(snapshot.hosts[host] for host in site.dark),
        after=site.at,
        reasons=(
            *(
                f"Power on {snapshot.hosts[host]}: no host that is on has room."
                for host in site.woken
            ),
            *(f"Stand {snapshot.hosts[host]} by: the others carry its VMs." for host in site.dark),
        ),
    )


@dataclass(slots=True, kw_only=True, eq=False)
class _Site:
    """The cluster while it is packed. `use` and `free` are of what cannot be overcommitted."""

    headroom: Headroom
    allowed: BoolArray
    movable: BoolArray
    capacity: FloatArray
    mean: FloatArray
    variance: FloatArray
    use: FloatArray
    at: IntArray
    on: BoolArray
    asleep: list[int]
    load: FloatArray
    spread: FloatArray
    free: FloatArray
    woken: list[int]
    dark: list[int]

    @classmethod
    def of(cls, snapshot: Snapshot, headroom: Headroom, deviation: FloatArray) -> _Site:
        solid = np.array([name in snapshot.incompressible for name in snapshot.resources], np.bool_)
        cpu = first_cpu(snapshot)
        hosts, at = len(snapshot.hosts), snapshot.placement.copy()
        mean = np.minimum(snapshot.demand, snapshot.limit)[:, cpu]
        variance, use = deviation**2, snapshot.demand[:, solid]
        free = snapshot.capacity[:, solid].copy()
        np.subtract.at(free, at[at >= 0], use[at >= 0])
        for vm, destination in snapshot.in_flight:
            free[destination] -= use[vm]
        return cls(
            headroom=headroom,
            allowed=snapshot.allowed,
            movable=movable(snapshot),
            capacity=snapshot.capacity[:, cpu],
            mean=mean,
            variance=variance,
            use=use,
            at=at,
            on=snapshot.connected(),
            asleep=[
                host
                for host, state in enumerate(snapshot.host_states)
                if state is HostState.STANDBY
            ],
            load=sums(at, mean, hosts),
            spread=sums(at, variance, hosts),
            free=free,
            woken=[],
            dark=[],
        )

    def relieve(self, host: int) -> None:
        """Send VMs away until the host has its headroom; at most each of its VMs once."""
        vms = np.flatnonzero((self.at == host) & self.movable)
        while vms.size and self._full(host) > self.headroom.high_ratio * self.capacity[host]:
            over = self._full(host) - self.headroom.target_ratio * self.capacity[host]
            calmer = np.sqrt(np.maximum(self.spread[host] - self.variance[vms], 0.0))
            relief = self.mean[vms] + self.headroom.deviations * (
                np.sqrt(self.spread[host]) - calmer
            )
            enough = relief >= over
            pick = np.argmin(np.where(enough, relief, np.inf)) if enough.any() else relief.argmax()
            vm = int(vms[pick])
            vms = np.delete(vms, pick)
            destination = self._roomiest(vm)
            if destination is None:
                destination = self._wake(vm)
            if destination is not None:
                self._move(vm, destination)

    def stand_by_one(self) -> bool:
        """Empty the least loaded host if the others can do without it; whether that was done."""
        lit = np.flatnonzero(self.on)
        if lit.size <= self.headroom.hosts_on_min:
            return False
        host = int(lit[np.argmin(self.load[lit] / self.capacity[lit])])
        need = self.load[lit].sum() + self.headroom.deviations * np.sqrt(self.spread[lit]).sum()
        left = self.capacity[lit].sum() - self.capacity[host]
        vms = np.flatnonzero(self.at == host)
        if need > self.headroom.low_ratio * left or not self.movable[vms].all():
            return False
        before = (self.at.copy(), self.load.copy(), self.spread.copy(), self.free.copy())
        self.on[host] = False
        for vm in vms[np.argsort(-self.mean[vms], kind="stable")].tolist():
            destination = self._roomiest(vm)
            if destination is None:
                self.at, self.load, self.spread, self.free = before
                self.on[host] = True
                return False
            self._move(vm, destination)
        self.dark.append(host)
        return True

    def _full(self, host: int) -> float:
        spread = math.sqrt(max(float(self.spread[host]), 0.0))
        return float(self.load[host]) + self.headroom.deviations * spread

    def _roomiest(self, vm: int) -> int | None:
        """The host with most room left below the target once the VM is there."""
        there = self.load + self.mean[vm]
        there += self.headroom.deviations * np.sqrt(
            np.maximum(self.spread + self.variance[vm], 0.0)
        )
        room = self.headroom.target_ratio * self.capacity - there
        fits = self.on & self.allowed[vm] & (self.free >= self.use[vm]).all(axis=1) & (room >= 0.0)
        fits[self.at[vm]] = False
        return int(np.argmax(np.where(fits, room, -np.inf))) if fits.any() else None

    def _wake(self, vm: int) -> int | None:
        """The first host in standby that may take the VM."""
        for host in self.asleep:
            if self.allowed[vm, host] and (self.free[host] >= self.use[vm]).all():
                self.asleep.remove(host)
                self.on[host] = True
                self.woken.append(host)
                return host
        return None

    def _move(self, vm: int, destination: int) -> None:
        for host, sign in ((int(self.at[vm]), -1.0), (destination, 1.0)):
            self.load[host] += sign * self.mean[vm]
            self.spread[host] += sign * self.variance[vm]
            self.free[host] -= sign * self.use[vm]
        self.at[vm] = destination


def first_cpu(snapshot: Snapshot) -> int:
    """The index of the first resource that can be overcommitted."""
    solid = [name in snapshot.incompressible for name in snapshot.resources]
    return solid.index(False)


def sums(at: IntArray, values: FloatArray, hosts: int) -> FloatArray:
    """(H,) the sum of `values` (V,) over the VMs that each host has."""
    return np.asarray(np.bincount(at[at >= 0], values[at >= 0], hosts), np.float64)


def movable(snapshot: Snapshot) -> BoolArray:
    """(V,) VMs that are placed, free of rules and of orders, and not on their way already."""
    movable = snapshot.placement >= 0
    bound = {vm for rule in snapshot.rules for vm in rule.vms}
    flying = {vm for vm, _ in snapshot.in_flight}
    for vm, name in enumerate(snapshot.vms):
        if name in bound or vm in flying or snapshot.automation[vm] is not None:
            movable[vm] = False
    return movable
