"""THR-MMT, a baseline: hosts above a threshold give VMs away, the emptiest hosts are emptied.

Beloglazov and Buyya 2012, as CloudSim 3.0.3 carries it out. A host above the threshold loses the VMs with
the least memory (minimum migration time) until it is below; these VMs, the largest first, go to
the host whose power grows least (PABFD). Then every other host, the emptiest first, tries to give all
its VMs to hosts that are on. A host that is off costs no more to fill than one that idles:
that is CloudSim's reckoning, and one reason why it moves so much.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from drs.model import BoolArray, FloatArray, HostState, IntArray, Snapshot
from drs.packing import first_cpu, movable, sums
from drs.power import PowerPlan

_NOTHING_MHZ = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Threshold:
    """Above `high_ratio` of its CPU a host is relieved; `power_w` (H, 11) at 0, 10 … 100 %."""

    power_w: FloatArray
    high_ratio: float = 0.8


def thr_mmt(snapshot: Snapshot, threshold: Threshold) -> PowerPlan:
    """Where THR-MMT wants every VM, and the hosts in standby that it needs for that.

    The CPU alone counts. A VM of a rule, one in flight and one that may not be moved stay. Hosts that
    it empties are not named: whoever turns empty hosts off finds them.
    """
    site = _planned(snapshot, threshold)
    asleep = np.array([s is HostState.STANDBY for s in snapshot.host_states], np.bool_)
    used = np.zeros(len(snapshot.hosts), np.bool_)
    used[site.at[site.at >= 0]] = True
    woken = [snapshot.hosts[host] for host in np.flatnonzero(asleep & used).tolist()]
    return PowerPlan(
        power_on=tuple(woken),
        stand_by=(),
        after=site.at,
        reasons=tuple(f"Power on {name}: it takes a VM for the least power." for name in woken),
    )


def orders(snapshot: Snapshot, threshold: Threshold) -> list[tuple[int, int]]:
    """(VM, host) of every move that a pass decides on, one VM's twice where it changes its mind.

    CloudSim counts and carries out each of them: a VM that left a full host for one that is emptied
    in the same pass. `thr_mmt` has only where each VM ends.
    """
    return _planned(snapshot, threshold).orders


def _planned(snapshot: Snapshot, threshold: Threshold) -> _Site:
    site = _Site.of(snapshot, threshold)
    over = site.over()
    site.spread(site.surplus(over), but=over)
    site.empty_the_emptiest(over)
    return site


@dataclass(slots=True, kw_only=True, eq=False)
class _Site:
    """The cluster while it is planned.

    `began` is each host's load as it was met, `watts` its power then: what a host has been given
    since counts against it when the next VM looks for one, as in CloudSim.
    """

    threshold: Threshold
    usable: BoolArray
    allowed: BoolArray
    movable: BoolArray
    capacity: FloatArray
    mean: FloatArray
    memory: FloatArray
    at: IntArray
    load: FloatArray
    began: FloatArray
    watts: FloatArray = field(init=False)
    orders: list[tuple[int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.watts = self._power(self.began)

    @classmethod
    def of(cls, snapshot: Snapshot, threshold: Threshold) -> _Site:
        cpu, at = first_cpu(snapshot), snapshot.placement.copy()
        mean = np.minimum(snapshot.demand, snapshot.limit)[:, cpu]
        load = sums(at, mean, len(snapshot.hosts))
        for vm, destination in snapshot.in_flight:
            load[destination] += mean[vm]
        states = (HostState.CONNECTED, HostState.STANDBY)
        return cls(
            threshold=threshold,
            usable=np.array([state in states for state in snapshot.host_states], np.bool_),
            allowed=snapshot.allowed,
            movable=movable(snapshot),
            capacity=snapshot.capacity[:, cpu],
            mean=mean,
            memory=snapshot.memory_bytes,
            at=at,
            load=load,
            began=load.copy(),
        )

    def over(self) -> BoolArray:
        """(H,) hosts above the threshold."""
        return self.load > self.threshold.high_ratio * self.capacity

    def surplus(self, over: BoolArray) -> list[int]:
        """Take VMs off the hosts above the threshold, the least memory first, until they are below."""
        taken: list[int] = []
        for host in np.flatnonzero(over).tolist():
            vms = np.flatnonzero((self.at == host) & self.movable)
            for vm in vms[np.argsort(self.memory[vms], kind="stable")].tolist():
                if self.load[host] <= self.threshold.high_ratio * self.capacity[host]:
                    break
                self.load[host] -= self.mean[vm]
                taken.append(vm)
        return taken

    def spread(self, vms: list[int], *, but: BoolArray) -> None:
        """Place VMs that were taken off; one that nobody takes stays where it was."""
        for vm in sorted(vms, key=lambda vm: -self.mean[vm]):
            host = self._cheapest(vm, but)
            if host is None:
                self.load[self.at[vm]] += self.mean[vm]
            else:
                self._put(vm, host)

    def empty_the_emptiest(self, over: BoolArray) -> None:
        """Give all VMs of a host to others that are on, or none; each host is tried once."""
        idle = self.began <= _NOTHING_MHZ
        closed, tried = over | idle, over | idle
        for host in np.argsort(self.began / self.capacity, kind="stable").tolist():
            if tried[host]:
                continue
            closed[host] = True
            mine = np.flatnonzero(self.at == host)
            if mine.size and self.movable[mine].all():
                tried[self._all_to_others(host, mine, closed)] = True

    def _all_to_others(self, host: int, vms: IntArray, closed: BoolArray) -> list[int]:
        """Return the hosts that took them; none if one VM found no place."""
        took: list[int] = []
        done: list[int] = []
        for vm in vms[np.argsort(-self.mean[vms], kind="stable")].tolist():
            other = self._cheapest(vm, closed)
            if other is None:
                for back in done:
                    self.load[self.at[back]] -= self.mean[back]
                    self.at[back] = host
                del self.orders[len(self.orders) - len(done) :]
                return []
            self._put(vm, other)
            took.append(other)
            done.append(vm)
        self.load[host] = 0.0
        return took

    def _put(self, vm: int, host: int) -> None:
        self.load[host] += self.mean[vm]
        self.at[vm] = host
        self.orders.append((vm, host))

    def _cheapest(self, vm: int, closed: BoolArray) -> int | None:
        """The host whose power would have grown least since the pass began; the first of equals."""
        after = self.load + self.mean[vm]
        below = after <= self.threshold.high_ratio * self.capacity
        fits = (after <= self.capacity) & (below | (self.load <= _NOTHING_MHZ))
        hosts = np.flatnonzero(fits & self.usable & self.allowed[vm] & ~closed)
        if not hosts.size:
            return None
        return int(hosts[np.argmin((self._power(after) - self.watts)[hosts])])

    def _power(self, load: FloatArray) -> FloatArray:
        table = self.threshold.power_w
        tenths = np.clip(load / self.capacity, 0.0, 1.0) * 10.0
        low, rows = np.minimum(tenths.astype(np.int64), 9), np.arange(len(load))
        below, above = table[rows, low], table[rows, low + 1]
        watts: FloatArray = below + (above - below) * (tenths - low)
        return watts
