"""Compiled search that looks at many destinations of an item at once and draws one of them.

Where hosts are nearly full, almost every single proposal of an annealing is refused. Here one item is
held against all hosts (shift), or against all items of one host (swap), and a candidate is drawn with
probability exp(-change / heat) / sum; staying counts as a change of 0. That is Gibbs sampling for shifts and
close to it for swaps, whose sums differ a little before and after. `drive` is an ejection chain: a host
that is full of the wrong guests is a barrier that neither of the two gets past.

Tried and worse on a2_2 of the machine reassignment challenge: driving large items first (18.0 instead of 10.0
after 10 CPU seconds), driving out any item that makes room (12.4) instead of one that relieves the host.
"""

from __future__ import annotations

from math import exp

import numpy as np

from drs.anneal import keep_best
from drs.kernel import (
    MOVES,
    NONE,
    PAID,
    TOTAL,
    Ground,
    Terrain,
    away_change,
    compiled,
    inner,
    may_go,
    moves_change,
    put,
    uneven_of,
    within_limits,
)
from drs.model import FloatArray, IntArray

UNLIKELY = 16.0  # a change above so many times the heat is not looked at: its chance is below 1e-7
EXPONENT_MAX = 300.0
DRIVEN_MAX = 5
WINDOW_HOSTS = 128  # a shift looks at so many hosts at most


@inner
def row_cost(
    t: Terrain, host: int, row: FloatArray, item: int, sign: float, enough: float
) -> float:
    """What the host would cost with `row` (C,) used and the item added (sign 1) or taken away (-1).

    Ends early with what it has when that is above `enough`.
    """
    cost: float = 0.0
    for c in range(t.slope.shape[0]):
        over = row[c] + sign * t.use[item, c] - t.knee[host, c]
        if over > 0.0:
            cost += t.slope[c] * over
            if cost > enough:
                return cost
    if t.square.shape[0] > 1:
        for c in range(t.use.shape[1]):
            d = row[c] + sign * t.use[item, c] - t.middle[host, c]
            cost += t.square[host, c] * d * d
    for k in range(t.pair_ratio.shape[0]):
        first, second = t.pair_columns[k, 0], t.pair_columns[k, 1]
        a = t.room[host, first] - row[first] - sign * t.use[item, first]
        b = t.room[host, second] - row[second] - sign * t.use[item, second]
        lacking = t.pair_ratio[k] * a - b
        if lacking > 0.0:
            cost += t.pair_weight[k] * lacking
    return cost


@inner
def allows(t: Terrain, g: Ground, item: int, to: int, other: int) -> bool:
    """Whether rules and limits let the item go where `other` (or nobody) leaves, and the other one come."""
    more = moves_change(t, g, item, to)
    source = g.at[item]
    if other >= 0:
        more += moves_change(t, g, other, source)
    if more > 0 and g.counts[MOVES] + more > t.moves_max:
        return False
    if not (may_go(t, g, item, to, other) and within_limits(t, g, item, to)):
        return False
    return other < 0 or (may_go(t, g, other, source, item) and within_limits(t, g, other, source))


@inner
def relocate(t: Terrain, g: Ground, item: int, to: int, scale: FloatArray) -> float:
    """Moves the item; costs and sums follow. Returns by how much the total changed."""
    source = g.at[item]
    tracked = g.uneven.shape[0] > 0
    if tracked:
        uneven_of(t, g, source, scale, -1.0)
        uneven_of(t, g, to, scale, -1.0)
    paid = away_change(t, g, item, to)
    put(t, g, item, to)
    change: float = paid - g.host_cost[source] - g.host_cost[to]
    if tracked:
        uneven_of(t, g, source, scale, 1.0)
        uneven_of(t, g, to, scale, 1.0)
    g.host_cost[source] = row_cost(t, source, g.used[source], item, 0.0, np.inf)
    g.host_cost[to] = row_cost(t, to, g.used[to], item, 0.0, np.inf)
    change += g.host_cost[source] + g.host_cost[to]
    g.sums[TOTAL] += change
    g.sums[PAID] += paid
    return change


@inner
def draw_host(t: Terrain, g: Ground, item: int, heat: float, already: float, stays: float) -> int:
    """Draws where the item goes, NONE for nowhere, when `already` is what was changed for it.

    `stays` is the weight of going nowhere: 1, or 0 to get the likeliest host whatever it costs. Looks at up
    to WINDOW_HOSTS hosts.
    """
    hosts, columns = t.capacity.shape
    source, home = g.at[item], t.home[item]
    leaves = already + row_cost(t, source, g.used[source], item, -1.0, np.inf) - g.host_cost[source]
    if stays == 0.0:
        leaves = 0.0  # the same for all
    likely = heat * UNLIKELY - leaves if stays > 0.0 else np.inf
    count = min(hosts, WINDOW_HOSTS)
    to = int(np.random.random() * hosts) if count < hosts else 0
    total, chosen = stays, NONE
    for _ in range(count):
        to += 1
        if to >= hosts:
            to = 0
        if to == source:
            continue
        fits = True
        for c in range(columns):
            x = t.use[item, c]
            if x > g.vacant[to, c] and x > 0.0 and not (t.transient[c] and to == home):
                fits = False
                break
        if not fits or (t.allowed.shape[1] > 1 and not t.allowed[item, to] and to != home):
            continue
        paid = away_change(t, g, item, to)
        enough = likely - paid + g.host_cost[to]
        cost = row_cost(t, to, g.used[to], item, 1.0, enough)
        if cost > enough:
            continue
        chance = exp(min(-(cost - g.host_cost[to] + leaves + paid) / heat, EXPONENT_MAX))
        if np.random.random() * (total + chance) < chance:
            # Rules are asked last and seldom; what they forbid but was not drawn only favours staying.
            if not allows(t, g, item, to, NONE):
                continue
            chosen = to
        total += chance
    return chosen


@inner
def shift(t: Terrain, g: Ground, item: int, heat: float, scale: FloatArray) -> bool:
    """Draws where the item goes, or that it stays; True when it moved."""
    to = draw_host(t, g, item, heat, 0.0, 1.0)
    if to < 0:
        return False
    relocate(t, g, item, to, scale)
    return True


@inner
def lacks(t: Terrain, g: Ground, host: int, item: int) -> float:
    """By how much too full the host is without the item, in parts of its capacity summed over columns; 0 fits.

    NONE: as it is.
    """
    short = 0.0
    for c in range(t.use.shape[1]):
        vacant = g.vacant[host, c]
        if vacant < 0.0:
            if item >= 0 and not (t.transient[c] and t.home[item] == host):
                vacant += t.use[item, c]
            if vacant < 0.0:
                short -= vacant / t.capacity[host, c]
    return short


@inner
def pick_driven(t: Terrain, g: Ground, host: int, keep: int, heat: float) -> int:
    """One of the host's items that should leave so that it fits again; NONE when none helps.

    If one alone is enough, such a one, the likelier the less the host then costs. Otherwise the best
    of a few at random.
    """
    begin = lacks(t, g, host, NONE)
    total, enough = 0.0, NONE
    least, partly = begin * (1.0 - 1e-9), NONE
    for k in range(g.listed_count[host]):
        other = g.listed[host, k]
        if other == keep:
            continue
        short = lacks(t, g, host, other)
        if short <= 0.0:
            cost = row_cost(t, host, g.used[host], other, -1.0, np.inf)
            chance = exp(max((g.host_cost[host] - cost) / heat - UNLIKELY, -EXPONENT_MAX))
            chance = min(chance, 1.0)
            total += chance
            if np.random.random() * total < chance:
                enough = other
        elif enough < 0 and short < least and np.random.random() < 0.3:
            least, partly = short, other
    return enough if enough >= 0 else partly


@inner
def drive(
    t: Terrain, g: Ground, item: int, to: int, heat: float, undo: IntArray, scale: FloatArray
) -> bool:
    """The item goes to `to` and drives out what is in its way, each to a host that is drawn; True when done.

    On nearly full hosts, and where what a moved item leaves at home counts as well, neither a shift
    nor a swap gets past a host that is full of the wrong guests. undo (DRIVEN_MAX+1,2) is scratch.
    """
    if not allows(t, g, item, to, NONE):
        return False
    count, already, done = 0, 0.0, False
    goes, where, last = item, to, False
    # Written as one loop: each place where `relocate` is called costs a first run a second of compiling.
    while count <= DRIVEN_MAX:
        undo[count, 0], undo[count, 1] = goes, g.at[goes]
        count += 1
        already += relocate(t, g, goes, where, scale)
        if last:
            done = True
            break
        goes = pick_driven(t, g, to, item, heat)
        if goes < 0 or already - g.host_cost[to] > heat * UNLIKELY:
            break  # the second: it would not pay even if the host cost nothing in the end
        last = lacks(t, g, to, goes) <= 0.0
        where = draw_host(t, g, goes, heat, already, 1.0 if last else 0.0)
        if where < 0:
            break
    if not done:
        for k in range(count - 1, -1, -1):
            relocate(t, g, undo[k, 0], undo[k, 1], scale)
    return done


@inner
def swap(
    t: Terrain, g: Ground, item: int, to: int, heat: float, rows: FloatArray, scale: FloatArray
) -> bool:
    """Draws with which item of host `to` this one trades places, or with none; True when it did.

    rows (4,C) is scratch: what the two hosts would use and have vacant after the item's own move.
    """
    columns = t.use.shape[1]
    source, home = g.at[item], t.home[item]
    here, there, here_vacant, there_vacant = rows[0], rows[1], rows[2], rows[3]
    for c in range(columns):
        x = t.use[item, c]
        here[c] = g.used[source, c] - x
        there[c] = g.used[to, c] + x
        here_vacant[c] = g.vacant[source, c] + (0.0 if t.transient[c] and source == home else x)
        there_vacant[c] = g.vacant[to, c] - (0.0 if t.transient[c] and to == home else x)
    before = g.host_cost[source] + g.host_cost[to]
    paid_item = away_change(t, g, item, to)
    likely = heat * UNLIKELY + before - paid_item
    total, chosen = 1.0, NONE
    for k in range(g.listed_count[to]):
        other = g.listed[to, k]
        other_home = t.home[other]
        fits = True
        for c in range(columns):
            x = t.use[other, c]
            if x > here_vacant[c] and x > 0.0 and not (t.transient[c] and other_home == source):
                fits = False
                break
            if there_vacant[c] < 0.0 and (
                x < -there_vacant[c] or (t.transient[c] and other_home == to)
            ):
                fits = False
                break
        if not fits or (
            t.allowed.shape[1] > 1 and not t.allowed[other, source] and source != other_home
        ):
            continue
        paid = paid_item + away_change(t, g, other, source)
        enough = likely - (paid - paid_item)
        cost = row_cost(t, to, there, other, -1.0, enough)
        if cost > enough:
            continue
        cost += row_cost(t, source, here, other, 1.0, enough - cost)
        if cost > enough:
            continue
        change = cost - before + paid
        chance = exp(min(-change / heat, EXPONENT_MAX))
        if np.random.random() * (total + chance) < chance:
            if not allows(t, g, item, to, other):
                continue
            chosen = other
        total += chance
    if chosen < 0:
        return False
    goes, where = item, to
    for _ in range(2):
        relocate(t, g, goes, where, scale)
        goes, where = chosen, source
    return True


@compiled
def heatbath(
    t: Terrain,
    g: Ground,
    seed: int,
    steps: int,
    heat: float,
    chances: FloatArray,
    scale: FloatArray,
    best_by: int,
    uneven_max: FloatArray,
    weight: FloatArray,
) -> int:
    """Draws for `steps` items at one temperature; returns how many moved.

    chances (4,): cumulative, of a shift, of a swap (else a chain); then of picking the item on the costlier
    of two hosts (else any item), and of going to the item's home (else to any host). Deterministic for a seed.
    """
    np.random.seed(seed)
    hosts, free = t.capacity.shape[0], t.free.shape[0]
    rows = np.zeros((4, t.use.shape[1]))
    undo = np.zeros((DRIVEN_MAX + 1, 2), np.int64)
    moved = 0
    keep_best(g, best_by, uneven_max, weight)
    for _ in range(steps):
        item = t.free[int(np.random.random() * free)]
        if np.random.random() < chances[2]:
            one, two = int(np.random.random() * hosts), int(np.random.random() * hosts)
            if g.host_cost[two] > g.host_cost[one]:
                one = two
            if g.listed_count[one] > 0:
                item = g.listed[one, int(np.random.random() * g.listed_count[one])]
        kind = np.random.random()
        if kind < chances[0]:
            done = shift(t, g, item, heat, scale)
        else:
            to = int(np.random.random() * hosts)
            if np.random.random() < chances[3]:
                to = t.home[item]
            if to == g.at[item] or (
                t.allowed.shape[1] > 1 and not t.allowed[item, to] and to != t.home[item]
            ):
                continue
            if kind < chances[1]:
                done = swap(t, g, item, to, heat, rows, scale)
            else:
                done = drive(t, g, item, to, heat, undo, scale)
        if done:
            moved += 1
            keep_best(g, best_by, uneven_max, weight)
    return moved
