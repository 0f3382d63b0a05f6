"""What is mandatory: rules broken, hosts to be left, hosts overloaded; mended with the fewest moves."""

from __future__ import annotations

import numpy as np

from drs.layout import Layout
from drs.model import IntArray

CELLS_MAX = 20_000  # items × hosts in one CP-SAT model; above that the first fit stands alone
HOSTS_MAX = 24
ITEMS_MAX = 400


def concerned(layout: Layout) -> IntArray:
    """Movable items that have to do with what is broken: they must move, crowd or overload."""
    instance = layout.instance
    wrong = instance.must_move & (layout.at == instance.home)
    for g in range(len(instance.exclusions)):
        if instance.exclusions[g].hard:
            wrong[layout.crowded(g)] = True
    wrong |= np.isin(layout.at, layout.overloaded())
    return np.flatnonzero(wrong & instance.movable)


def first_fit(layout: Layout) -> bool:
    """Mends what it can, one item after another: leavers, then crowds, then overloads; big ones first.

    Each goes to the open host that ends up with the least load in its fullest resource. Never
    breaks a hard rule or overloads; what finds no host stays. Says whether it moved anything.
    """
    before = layout.at.copy()
    instance = layout.instance
    leavers = np.flatnonzero(instance.must_move & (layout.at == instance.home))
    for item in _big_first(layout, leavers):
        _settle(layout, item)
    for g in range(len(instance.exclusions)):
        if instance.exclusions[g].hard:
            for item in reversed(_big_first(layout, layout.crowded(g))):
                if item in layout.crowded(g) and instance.movable[item]:
                    _settle(layout, item)
    for host in layout.overloaded().tolist():
        _relieve(layout, host)
    return bool((layout.at != before).any())


def _big_first(layout: Layout, items: IntArray) -> list[int]:
    size = (layout.instance.use / np.maximum(layout.instance.capacity.max(axis=0), 1e-300)).max(
        axis=1
    )
    ordered: list[int] = items[np.argsort(-size[items], kind="stable")].tolist()
    return ordered


def _settle(layout: Layout, item: int) -> bool:
    instance = layout.instance
    for soft in (True, False):
        mask = layout.open_hosts(item, soft=soft)
        if mask.any():
            hosts = np.flatnonzero(mask)
            r = instance.resources
            after = (layout.used[hosts, :r] + instance.use[item, :r]) / instance.capacity[hosts, :r]
            layout.place(item, int(hosts[np.argmin(after.max(axis=1))]))
            return True
    return False


def _relieve(layout: Layout, host: int) -> None:
    """Moves the smallest item that ends the overload at once, or else the biggest, until it has ended."""
    instance = layout.instance
    for _ in range(int((layout.at == host).sum())):
        over = layout.used[host] - instance.capacity[host]
        excess = np.maximum(over, 0.0)
        if (layout.used[host] <= layout.full[host]).all():
            return
        here = np.flatnonzero((layout.at == host) & instance.movable)
        enough = here[(instance.use[here] >= excess).all(axis=1)]
        ordered = _big_first(layout, here[(instance.use[here][:, excess > 0.0] > 0.0).any(axis=1)])
        if enough.size:
            ordered = [*reversed(_big_first(layout, enough)), *ordered]
        if not any(_settle(layout, item) for item in ordered):
            return


def candidate_hosts(layout: Layout, items: IntArray) -> IntArray:
    """Hosts worth offering to these items: where they are, and the emptiest that any of them may use."""
    instance = layout.instance
    possible = np.flatnonzero(instance.permitted[items].any(axis=0))
    r = instance.resources
    load = (layout.used[possible, :r] / np.maximum(instance.room[possible, :r], 1e-300)).max(axis=1)
    emptiest = possible[np.argsort(load, kind="stable")[:HOSTS_MAX]]
    here = layout.at[items]
    mine: IntArray = np.union1d(emptiest, here[instance.usable[here]])
    return mine


def widened(layout: Layout, items: IntArray, hosts: IntArray) -> IntArray:
    """The items, and those on the candidate hosts that could make room for them; bounded."""
    instance = layout.instance
    more = np.flatnonzero(instance.movable & np.isin(layout.at, hosts))
    extra = np.setdiff1d(more, items)
    keep = np.union1d(
        items, extra[: max(min(ITEMS_MAX, CELLS_MAX // max(hosts.size, 1)) - items.size, 0)]
    )
    return keep.astype(np.int64)
