"""The greedy of the published DRS, incremental: the baseline by name, and where our search starts.

Source: Gulati et al., "VMware Distributed Resource Management", VMware Technical Journal 2012:
while the imbalance is above the target, take the single move that lowers it most and is feasible,
good enough and worth its cost.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from drs.layout import Layout
from drs.model import FloatArray, IntArray
from drs.objective import benefit_s
from drs.policy import Policy

BLOCK_CELLS = 2_000_000  # items × hosts that one matrix step looks at: bounds the memory


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveLimits:
    """How many VMs may be away from home, in all and by host."""

    moves_max: int
    moves_per_host_max: int

    @classmethod
    def of(cls, policy: Policy) -> MoveLimits:
        none = np.iinfo(np.int64).max // 2
        return cls(
            moves_max=none if policy.moves_max is None else policy.moves_max,
            moves_per_host_max=none
            if policy.moves_per_host_max is None
            else policy.moves_per_host_max,
        )

    def hold(self, layout: Layout) -> bool:
        return (
            layout.moves_total <= self.moves_max
            and int(layout.moved.max(initial=0)) <= self.moves_per_host_max
        )


class GreedyTable:
    """For each item the best single move, kept up to date lazily.

    `gain` (I,) is exact or an upper bound, -inf where no move is possible; `best` (I,) the host.
    After a move from a to b only a became more attractive, so a bound stays a bound unless the item
    sits on a or b; bounds that turn out to be on top are made exact. This is Minoux's lazy greedy.
    """

    def __init__(self, layout: Layout, limits: MoveLimits) -> None:
        self.layout = layout
        self.limits = limits
        instance = layout.instance
        r = instance.resources
        self.scale = np.where(
            instance.usable[:, None], 1.0 / np.maximum(instance.capacity[:, :r], 1e-300), 0.0
        )
        self.square = instance.weight * self.scale**2
        self.use = instance.use[:, :r]
        self.gain = np.full(layout.at.size, -np.inf)
        self.best = np.zeros(layout.at.size, np.int64)
        self.stale = np.zeros(layout.at.size, np.bool_)
        self.active = instance.movable & ~instance.resting & instance.usable[layout.at]
        self.scan(np.flatnonzero(self.active))

    def slope(self) -> FloatArray:
        """(H,R) derivative of the unevenness by what a host holds."""
        r = self.layout.instance.resources
        deviation = self.layout.used[:, :r] * self.scale - self.layout.even
        slope: FloatArray = 2.0 * self.layout.instance.weight * deviation * self.scale
        return slope

    def relief(self, items: IntArray) -> FloatArray:
        """(k,) drop of the unevenness when each item leaves its host."""
        at, use = self.layout.at[items], self.use[items]
        freed: FloatArray = (use * self.slope()[at] - use * use * self.square[at]).sum(axis=1)
        return freed

    def scan(self, items: IntArray) -> None:
        """Makes the entries of these items exact: every item against every host."""
        layout, instance = self.layout, self.layout.instance
        slope = self.slope().T
        for chunk in np.array_split(
            items, max(1, items.size * layout.used.shape[0] // BLOCK_CELLS)
        ):
            if not chunk.size:
                continue
            use = self.use[chunk]
            gains = self.relief(chunk)[:, None] - use @ slope - (use * use) @ self.square.T
            closed = ~instance.preferred[chunk]
            for c in range(instance.use.shape[1]):
                need = instance.use[chunk, c]
                closed |= (need[:, None] > (layout.room_max - layout.used)[:, c]) & (
                    need[:, None] > 0.0
                )
            closed[:, layout.moved >= self.limits.moves_per_host_max] = True
            closed[np.arange(chunk.size), layout.at[chunk]] = True
            for row, item in enumerate(chunk.tolist()):
                apart = layout.separated(item, soft=True)
                if apart is not None:
                    closed[row] |= ~apart
            gains[closed] = -np.inf
            best = gains.argmax(axis=1)
            self.best[chunk] = best
            self.gain[chunk] = gains[np.arange(chunk.size), best]
            self.stale[chunk] = False
        if self.limits.moves_per_host_max < np.iinfo(np.int64).max // 2:
            shut = layout.moved[layout.at[items]] >= self.limits.moves_per_host_max
            self.gain[items[shut]] = -np.inf

    def moved(self, item: int, source: int, destination: int) -> None:
        """Brings the table up to date after the layout has carried out this move."""
        layout, instance = self.layout, self.layout.instance
        self.stale |= self.best == destination
        self._offer(source)
        again = np.flatnonzero(self.active & ((layout.at == source) | (layout.at == destination)))
        kin = [instance.exclusions[g].items for g in layout.groups_of.get(item, ())]
        if kin:
            family = np.concatenate(kin)
            again = np.union1d(again, family[self.active[family]])
        self.scan(again)

    def _offer(self, host: int) -> None:
        """Lets every item consider the one host that has become more attractive."""
        layout, instance = self.layout, self.layout.instance
        if layout.moved[host] >= self.limits.moves_per_host_max:
            return
        slope = self.slope()
        use = self.use
        mine = slope[layout.at]
        gains = (use * mine - use * use * self.square[layout.at]).sum(axis=1)
        gains -= use @ slope[host] + (use * use) @ self.square[host]
        better = (
            (gains > self.gain) & instance.preferred[:, host] & self.active & (layout.at != host)
        )
        better &= np.isfinite(self.gain) | (
            layout.moved[layout.at] < self.limits.moves_per_host_max
        )
        candidates = np.flatnonzero(better)
        if not candidates.size:
            return
        free = layout.room_max[host] - layout.used[host]
        need = instance.use[candidates]
        candidates = candidates[((need <= free) | (need == 0.0)).all(axis=1)]
        for item in [i for i in candidates.tolist() if i in layout.groups_of]:
            apart = layout.separated(item, soft=True)
            if apart is not None and not apart[host]:
                candidates = candidates[candidates != item]
        self.best[candidates] = host
        self.gain[candidates] = gains[candidates]
        self.stale[candidates] = False

    def top(self, worth: FloatArray) -> int:
        """The item with the best gain among those that gain at least `worth` (I,); -1 for none."""
        for _ in range(self.gain.size + 1):
            key = np.where(self.gain >= worth, self.gain, -np.inf)
            item = int(np.argmax(key))
            if not key[item] > 0.0:
                return -1
            if not self.stale[item]:
                return item
            self.scan(np.array([item]))
        return -1


def greedy(layout: Layout, policy: Policy, *, target: float, steps_max: int | None = None) -> int:
    """Moves items until the imbalance is at the target or no move is left; returns the steps made.

    Deterministic. Changes `layout`. Every step lowers the imbalance by at least `goodness_min`, has
    room when it is made and breaks no rule, so the steps in this order are a feasible plan.
    """
    instance = layout.instance
    hosts = int(instance.usable.sum())
    if hosts < 2 or not layout.at.size or not math.isfinite(target):
        return 0
    limits = MoveLimits.of(policy)
    table = GreedyTable(layout, limits)
    unit_s = benefit_s(1.0, 0.0, instance, policy)
    pays = (
        instance.cost_s / unit_s
        if policy.cost_benefit and unit_s > 0.0
        else np.zeros(layout.at.size)
    )
    steps = 0
    for _ in range(steps_max if steps_max is not None else 4 * layout.at.size):
        now = layout.imbalance()
        if now <= target:
            break
        # I - sqrt(I² - g/H) >= goodness  <=>  g >= H (2 I goodness - goodness²)
        good = hosts * policy.goodness_min * max(2.0 * now - policy.goodness_min, 0.0)
        item = table.top(np.maximum(pays, good))
        if item < 0:
            break
        source, destination = int(layout.at[item]), int(table.best[item])
        layout.place(item, destination)
        if not limits.hold(layout) or layout.imbalance() >= now:
            layout.place(item, source)
            # Hosts of unequal capacity: the surrogate liked it, the standard deviation does not.
            table.gain[item] = -np.inf
            table.active[item] = False
            continue
        steps += 1
        table.moved(item, source, destination)
    return steps
