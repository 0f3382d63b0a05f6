"""Compiled simulated annealing over placements, with shifts and swaps: 1 to 5 million proposals a second."""

from __future__ import annotations

import numpy as np

from drs.kernel import (
    AWAY,
    BEST,
    DIRTY,
    MOVES,
    NONE,
    PAID,
    TOTAL,
    Ground,
    Terrain,
    away_change,
    compiled,
    cost_of,
    fits,
    inner,
    may_go,
    moves_change,
    put,
    uneven_of,
    within_limits,
)
from drs.model import FloatArray

# What makes a layout the best one.
BEST_TOTAL, BEST_PAID, BEST_UNEVEN = 0, 1, 2
DRAWS = 4


@inner
def keep_best(g: Ground, best_by: int, uneven_max: FloatArray, weight: FloatArray) -> None:
    key = g.sums[TOTAL]
    if best_by == BEST_PAID:
        key = g.sums[PAID]
        combined = 0.0
        for c in range(weight.shape[0]):
            if g.uneven[c] > uneven_max[c]:
                return
            combined += weight[c] * g.uneven[c]
        if combined > uneven_max[weight.shape[0]]:
            return
    elif best_by == BEST_UNEVEN:
        key = 0.0
        for c in range(weight.shape[0]):
            key += weight[c] * g.uneven[c]
    if key < g.sums[BEST] * (1.0 - 1e-12) - 1e-12:
        g.sums[BEST] = key
        for k in range(g.counts[DIRTY]):
            item = g.dirty[k]
            g.best_at[item] = g.at[item]
            g.is_dirty[item] = False
        g.counts[DIRTY] = 0


@inner
def _draw_host(t: Terrain, g: Ground, item: int, hosts: int, tournament: bool) -> int:
    """A host at random; with a tournament the one of DRAWS where the item costs least at the margin."""
    best = int(np.random.random() * hosts)
    if not tournament:
        return best
    least = np.inf
    host = best
    for _ in range(DRAWS):
        slope = 0.0
        for c in range(g.uneven.shape[0]):
            slope += t.square[host, c] * (g.used[host, c] - t.middle[host, c]) * t.use[item, c]
        if slope < least:
            least, best = slope, host
        host = int(np.random.random() * hosts)
    return best


@compiled
def anneal(
    t: Terrain,
    g: Ground,
    seed: int,
    steps: int,
    hot: float,
    cold: float,
    chances: FloatArray,
    scale: FloatArray,
    best_by: int,
    uneven_max: FloatArray,
    weight: FloatArray,
) -> int:
    """Makes `steps` proposals while the temperature falls from `hot` to `cold`; returns the accepted.

    chances (4,): cumulative chances of a shift of any item, of a swap of any two, of an item that is
    away going home or elsewhere, and of one that is away trading places with one at its home.
    """
    np.random.seed(seed)
    hosts, free = t.capacity.shape[0], t.free.shape[0]
    accepted = 0
    tracked = weight.shape[0] > 0
    keep_best(g, best_by, uneven_max, weight)
    ratio = (cold / hot) ** (1.0 / max(steps / 256, 1.0))
    heat = hot
    for step in range(steps):
        if step & 255 == 255:
            heat *= ratio
        kind = np.random.random()
        other = NONE
        if kind < chances[0] or g.counts[AWAY] == 0:
            item = t.free[int(np.random.random() * free)]
            to = _draw_host(t, g, item, hosts, tracked)
        elif kind < chances[1]:
            item = t.free[int(np.random.random() * free)]
            other = t.free[int(np.random.random() * free)]
            to = g.at[other]
        elif kind < chances[2]:
            item = g.away[int(np.random.random() * g.counts[AWAY])]
            if np.random.random() < 0.3:
                to = t.home[item]
            else:
                to = _draw_host(t, g, item, hosts, tracked)
        else:
            item = g.away[int(np.random.random() * g.counts[AWAY])]
            to = t.home[item]
            count = g.listed_count[to]
            if count > 0:
                other = g.listed[to, int(np.random.random() * count)]
        source = g.at[item]
        if to == source or item == other:
            continue
        if (
            other >= 0
            and t.allowed.shape[1] > 1
            and not t.allowed[other, source]
            and source != t.home[other]
        ):
            continue
        if not fits(t, g, to, item, other) or (other >= 0 and not fits(t, g, source, other, item)):
            continue
        new_to = cost_of(t, g.used, to, item, other)
        new_source = cost_of(t, g.used, source, other, item)
        paid = away_change(t, g, item, to)
        if other >= 0:
            paid += away_change(t, g, other, source)
        change = new_to + new_source - g.host_cost[to] - g.host_cost[source] + paid
        if change > 0.0 and np.random.random() >= np.exp(-change / heat):
            continue
        more = moves_change(t, g, item, to)
        if other >= 0:
            more += moves_change(t, g, other, source)
        if more > 0 and g.counts[MOVES] + more > t.moves_max:
            continue
        if not may_go(t, g, item, to, other) or not within_limits(t, g, item, to):
            continue
        if other >= 0 and not (
            may_go(t, g, other, source, item) and within_limits(t, g, other, source)
        ):
            continue
        if tracked:
            uneven_of(t, g, source, scale, -1.0)
            uneven_of(t, g, to, scale, -1.0)
        put(t, g, item, to)
        if other >= 0:
            put(t, g, other, source)
        if tracked:
            uneven_of(t, g, source, scale, 1.0)
            uneven_of(t, g, to, scale, 1.0)
        g.host_cost[to] = new_to
        g.host_cost[source] = new_source
        g.sums[TOTAL] += change
        g.sums[PAID] += paid
        accepted += 1
        keep_best(g, best_by, uneven_max, weight)
    return accepted
