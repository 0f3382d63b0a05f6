"""The compiled loop of the published greedy, with a table of best moves that is kept up to date lazily.

For each item the table has the best single move: its gain is exact or an upper bound. After a move
from a to b only a became more attractive, so a bound stays a bound unless the item sits on a or b;
bounds that turn out to be on top are made exact (Minoux's accelerated greedy). Keeping the runner-up
as a tighter bound was tried and is slower: it saves scans and costs more in each.
"""

from __future__ import annotations

from math import sqrt

import numpy as np

from drs.kernel import (
    MOVES,
    NONE,
    Ground,
    Terrain,
    compiled,
    inner,
    may_go,
    moves_change,
    put,
    within_limits,
)
from drs.model import BoolArray, FloatArray, IntArray

BLOCK = 128


@inner
def gain_at(t: Terrain, g: Ground, item: int, host: int) -> float:
    """By how much unevenness rises when the item arrives; squares are weights over capacity squared."""
    rise = 0.0
    for c in range(t.use.shape[1]):
        x = t.use[item, c]
        rise += t.square[host, c] * x * (2.0 * (g.used[host, c] - t.middle[host, c]) + x)
    return rise


@inner
def relief_of(t: Terrain, g: Ground, item: int) -> float:
    """By how much unevenness falls when the item leaves its host."""
    host = g.at[item]
    fall = 0.0
    for c in range(t.use.shape[1]):
        x = t.use[item, c]
        fall += t.square[host, c] * x * (2.0 * (g.used[host, c] - t.middle[host, c]) - x)
    return fall


@inner
def open_to(t: Terrain, g: Ground, item: int, host: int) -> bool:
    """Whether the host has room, and rules and limits let the item go there."""
    for c in range(t.use.shape[1]):
        x = t.use[item, c]
        if x > 0.0 and g.used[host, c] + x > t.capacity[host, c]:
            return False
    more = moves_change(t, g, item, host)
    if more > 0 and g.counts[MOVES] + more > t.moves_max:
        return False
    return may_go(t, g, item, host, NONE) and within_limits(t, g, item, host)


@inner
def look(
    t: Terrain, g: Ground, item: int, relief: FloatArray, gain: FloatArray, best: IntArray
) -> None:
    """Makes the item's entry exact: against every host."""
    relief[item] = relief_of(t, g, item)
    gain[item] = -np.inf
    least = np.inf
    source = g.at[item]
    for host in range(t.capacity.shape[0]):
        if host == source or (t.allowed.shape[1] > 1 and not t.allowed[item, host]):
            continue
        rise = gain_at(t, g, item, host)
        if rise < least and open_to(t, g, item, host):
            least = rise
            best[item] = host
            gain[item] = relief[item] - rise


@inner
def related(t: Terrain, item: int, moved: int) -> bool:
    """Whether the two are in one group."""
    for a in range(t.group_start[item], t.group_start[item + 1]):
        for b in range(t.group_start[moved], t.group_start[moved + 1]):
            if t.group_list[a] == t.group_list[b]:
                return True
    return False


@inner
def imbalance_of(g: Ground, scale: FloatArray, weight: FloatArray) -> float:
    """Weighted root mean square over resources of the standard deviation of load over counted hosts."""
    combined = 0.0
    for c in range(weight.shape[0]):
        n, mean, square = 0, 0.0, 0.0
        for host in range(scale.shape[0]):
            if scale[host, c] > 0.0:
                n += 1
                step = g.used[host, c] * scale[host, c] - mean
                mean += step / n
                square += step * (g.used[host, c] * scale[host, c] - mean)
        combined += weight[c] * square / max(n, 1)
    return sqrt(combined)


@compiled
def greedy_steps(
    t: Terrain,
    g: Ground,
    active: BoolArray,
    pays: FloatArray,
    scale: FloatArray,
    weight: FloatArray,
    target: float,
    goodness_min: float,
    steps_max: int,
) -> int:
    """Makes the best single moves until the target, or none is left; returns how many."""
    items = t.home.shape[0]
    hosts = 0
    for host in range(scale.shape[0]):
        hosts += scale[host].max() > 0.0
    relief, gain = np.zeros(items), np.full(items, -np.inf)
    best, stale = np.zeros(items, np.int64), np.zeros(items, np.bool_)
    for item in range(items):
        if active[item]:
            look(t, g, item, relief, gain, best)
    tops = np.full((items + BLOCK - 1) // BLOCK, -1, np.int64)
    steps = 0
    now = imbalance_of(g, scale, weight)
    good = _least_gain(now, hosts, goodness_min)
    for block in range(tops.shape[0]):
        _crown(tops, block, gain, pays, good)
    # Each turn makes a step, makes a bound exact, or retires an item.
    for _ in range(steps_max * 1000):
        if now <= target or steps >= steps_max:
            break
        item = NONE
        for block in range(tops.shape[0]):
            if tops[block] >= 0 and (item < 0 or gain[tops[block]] > gain[item]):
                item = tops[block]
        if item < 0:
            break
        if stale[item] or not open_to(t, g, item, best[item]):
            stale[item] = False
            look(t, g, item, relief, gain, best)
            _crown(tops, item // BLOCK, gain, pays, good)
            continue
        source, to = g.at[item], best[item]
        put(t, g, item, to)
        after = imbalance_of(g, scale, weight)
        if after >= now:
            put(t, g, item, source)
            gain[item] = -np.inf
            active[item] = False
            _crown(tops, item // BLOCK, gain, pays, good)
            continue
        now = after
        steps += 1
        good = _least_gain(now, hosts, goodness_min)
        for i in range(items):
            if not active[i]:
                continue
            if g.at[i] == source or g.at[i] == to or related(t, i, item):
                stale[i] = False
                look(t, g, i, relief, gain, best)
                continue
            if best[i] == to:
                stale[i] = True
            if t.allowed.shape[1] > 1 and not t.allowed[i, source]:
                continue
            offered = relief[i] - gain_at(t, g, i, source)
            if offered > gain[i] and open_to(t, g, i, source):
                gain[i], best[i], stale[i] = offered, source, False
        for block in range(tops.shape[0]):
            _crown(tops, block, gain, pays, good)
    return steps


@inner
def _least_gain(imbalance: float, hosts: int, goodness_min: float) -> float:
    """I - sqrt(I^2 - gain/H) >= goodness  <=>  gain >= H (2 I goodness - goodness^2)."""
    return hosts * goodness_min * max(2.0 * imbalance - goodness_min, 0.0)


@inner
def _crown(tops: IntArray, block: int, gain: FloatArray, pays: FloatArray, good: float) -> None:
    """The best eligible item of a block of items, -1 when it has none: finding the best is then two short scans."""
    top, item = 0.0, -1
    for i in range(block * BLOCK, min((block + 1) * BLOCK, gain.shape[0])):
        if gain[i] > top and gain[i] >= good and gain[i] >= pays[i]:
            top, item = gain[i], i
    tops[block] = item
