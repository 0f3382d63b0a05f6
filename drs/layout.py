"""Where each item is during a search, with everything that a single move changes kept up to date."""

from __future__ import annotations

import numpy as np

from drs.instance import Instance
from drs.load import combine, deviations
from drs.model import BoolArray, FloatArray, IntArray

ROOM_TOLERANCE = 1e-9


class Layout:
    """A placement of an instance's items that is changed one move at a time; the only mutable thing.

    at (I,) host of each item; used (H,C); moved (H,) VMs that leave or reach each host; room_max (H,C)
    bounds what arrives, full (H,C) what stays: a host that VMs in flight relieve need send no more away.
    """

    def __init__(self, instance: Instance, at: IntArray | None = None) -> None:
        self.instance = instance
        self.at = instance.home.copy()
        hosts, columns = instance.capacity.shape
        self.used = np.zeros((hosts, columns))
        for c in range(columns):
            self.used[:, c] = np.bincount(self.at, weights=instance.use[:, c], minlength=hosts)
        self.full = instance.capacity * (1.0 + ROOM_TOLERANCE)
        self.room_max = instance.room * (1.0 + ROOM_TOLERANCE)
        self.moved = np.zeros(hosts, np.int64)
        self.moves_total = 0
        self.even = instance.even_load()
        self.inside = [
            np.bincount(e.domain[self.at[e.items]], minlength=hosts) for e in instance.exclusions
        ]
        self.groups_of: dict[int, list[int]] = {}
        for g, exclusion in enumerate(instance.exclusions):
            for item in exclusion.items.tolist():
                self.groups_of.setdefault(item, []).append(g)
        if at is not None:
            for item in np.flatnonzero(at != instance.home).tolist():
                self.place(item, int(at[item]))

    def place(self, item: int, host: int) -> None:
        """Moves one item; nothing is checked."""
        source = int(self.at[item])
        if source == host:
            return
        instance = self.instance
        home, count = int(instance.home[item]), int(instance.moves[item])
        for there, step in ((source, -count), (host, count)):
            if (
                there != home
            ):  # away from home: one VM more (or less) has to leave home and arrive there
                self.moved[there] += step
                self.moved[home] += step
                self.moves_total += step
        self.used[source] -= instance.use[item]
        self.used[host] += instance.use[item]
        for g in self.groups_of.get(item, ()):
            domain = instance.exclusions[g].domain
            self.inside[g][domain[source]] -= 1
            self.inside[g][domain[host]] += 1
        self.at[item] = host

    def load(self) -> FloatArray:
        """(usable hosts, R) normalised load."""
        on, r = self.instance.usable, self.instance.resources
        result: FloatArray = self.used[on, :r] / self.instance.capacity[on, :r]
        return result

    def spread(self) -> FloatArray:
        """(R,) standard deviation of the load over usable hosts."""
        return deviations(self.load())

    def imbalance(self) -> float:
        return combine(self.spread(), self.instance.weight)

    def uneven(self) -> float:
        """Weighted sum over usable hosts and resources of (load - even load) squared."""
        return float((((self.load() - self.even) ** 2) @ self.instance.weight).sum())

    def cost_s(self) -> float:
        away = self.at != self.instance.home
        return float(self.instance.cost_s[away].sum())

    def room(self, item: int) -> BoolArray:
        """(H,) hosts that have room for the item in every column it uses, beside what they hold."""
        use = self.instance.use[item]
        free: BoolArray = ((self.used + use <= self.room_max) | (use == 0.0)).all(axis=1)
        return free

    def separated(self, item: int, *, soft: bool) -> BoolArray | None:
        """(H,) hosts where no group would be too crowded with the item; None when it is in none."""
        mask: BoolArray | None = None
        source = int(self.at[item])
        for g in self.groups_of.get(item, ()):
            exclusion = self.instance.exclusions[g]
            if not (exclusion.hard or soft):
                continue
            others = self.inside[g][exclusion.domain] - (
                exclusion.domain == exclusion.domain[source]
            )
            free = others < exclusion.most
            mask = free if mask is None else mask & free
        return mask

    def open_hosts(self, item: int, *, soft: bool = True) -> BoolArray:
        """(H,) where the item may go now; `soft` respects the SHOULD rules as well. Never its own host."""
        allowed = self.instance.preferred if soft else self.instance.permitted
        mask: BoolArray = allowed[item] & self.room(item)
        apart = self.separated(item, soft=soft)
        if apart is not None:
            mask &= apart
        mask[self.at[item]] = False
        return mask

    def crowded(self, exclusion: int) -> IntArray:
        """Items of the group that are in a domain which holds too many of them."""
        e = self.instance.exclusions[exclusion]
        crowd: IntArray = e.items[self.inside[exclusion][e.domain[self.at[e.items]]] > e.most]
        return crowd

    def overloaded(self) -> IntArray:
        """Usable hosts that hold more than their capacity of some column."""
        over = (self.used > self.full).any(axis=1) & self.instance.usable
        return np.flatnonzero(over)

    def hard_violations(self) -> int:
        """Items that must not be where they are, and hard groups' items too many."""
        at_home = self.at == self.instance.home
        misplaced = int((self.instance.must_move & at_home).sum())
        for exclusion, inside in zip(self.instance.exclusions, self.inside, strict=True):
            if exclusion.hard:
                misplaced += int(np.maximum(inside - exclusion.most, 0).sum())
        return misplaced

    def soft_violations(self) -> int:
        item = np.arange(self.at.size)
        broken = int(
            (~self.instance.preferred[item, self.at] & self.instance.permitted[item, self.at]).sum()
        )
        for exclusion, inside in zip(self.instance.exclusions, self.inside, strict=True):
            if not exclusion.hard:
                broken += int(np.maximum(inside - exclusion.most, 0).sum())
        return broken

    def unmet(self) -> float:
        """Load above capacity, summed over usable hosts and columns, in hosts."""
        on = self.instance.usable
        capacity = self.instance.capacity[on]
        over = np.where(self.used[on] > self.full[on], self.used[on] - capacity, 0.0)
        return float(
            np.divide(over, capacity, out=np.where(over > 0, 1.0, 0.0), where=capacity > 0).sum()
        )

    def copy(self) -> Layout:
        return Layout(self.instance, self.at)
