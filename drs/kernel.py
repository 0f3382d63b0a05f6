"""What the compiled search stands on: the arrays of a placement and the cost of changing it.

One kernel serves DRS and the machine reassignment problem. It knows hosts, items and columns; what
an item's host costs is a sum over columns of square * (used - middle)^2, of hinges above a knee and
of hinges between pairs of columns, plus what being away from home costs. Everything is a number in
an array, so that no Python runs inside the loops.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

from drs.model import BoolArray, FloatArray, IntArray

Function = TypeVar("Function", bound=Callable[..., object])


def compiled(function: Function) -> Function:
    """numba's decorator, typed: machine code cached beside the source, without the interpreter's lock."""
    return cast(
        "Function",
        numba.njit(cache=True, nogil=True, error_model="numpy", no_cfunc_wrapper=True)(function),
    )


def inner(function: Function) -> Function:
    """As `compiled`, for what only compiled code calls.

    Without the wrapper that takes arguments from Python: unpacking two tuples of forty arrays is
    longer than most of these functions, and took half of a first pass's time to compile.
    """
    return cast(
        "Function",
        numba.njit(
            cache=True,
            nogil=True,
            error_model="numpy",
            no_cpython_wrapper=True,
            no_cfunc_wrapper=True,
        )(function),
    )


# No item, where one may be given. A plain -1 would be a type of its own and compile everything twice.
NONE = cast("int", np.int64(-1))


class Terrain(NamedTuple):
    """What does not change during a search. I items, H hosts, C columns, G groups, K pairs of columns.

    allowed (I,H) or (1,1) when everything is; square, middle (H,C) or (1,1) and slope (C,) or (0,)
    when there are none; transient (C,): a moved item keeps it at home as well;
    group_start (I+1,), group_list: groups of each item; domain (kinds,H), domain_kind, most (G,); site and near (H,)
    number locations and neighbourhoods, sites_min (G,); needs/needed: service dependencies by group.
    """

    use: FloatArray
    capacity: FloatArray
    home: IntArray
    free: IntArray
    allowed: BoolArray
    transient: BoolArray
    square: FloatArray
    middle: FloatArray
    slope: FloatArray
    knee: FloatArray
    pair_columns: IntArray
    pair_ratio: FloatArray
    pair_weight: FloatArray
    room: FloatArray
    away_cost: FloatArray
    travel: FloatArray
    moves: IntArray
    group_start: IntArray
    group_list: IntArray
    domain: IntArray
    domain_kind: IntArray
    most: IntArray
    site: IntArray
    sites_min: IntArray
    near: IntArray
    needs_start: IntArray
    needs_list: IntArray
    needed_start: IntArray
    needed_list: IntArray
    service_weight: float
    moves_max: int
    moves_per_host_max: int


class Ground(NamedTuple):
    """What a search changes; one owner, the kernel that holds it.

    used, left, vacant (H,C): what items use, what those away keep at home of transient columns, and
    what is free; host_cost (H,); inside (G,D), at_site (G,S), sites (G,), at_near (G,N);
    moved (H,); service_moves (G,), service_count (n,): how many groups have moved n items;
    order, slot: items listed by host; away, away_slot: items away from home; total, totals.
    """

    at: IntArray
    used: FloatArray
    left: FloatArray
    vacant: FloatArray
    host_cost: FloatArray
    inside: NDArray[np.int16]
    at_site: IntArray
    sites: IntArray
    at_near: IntArray
    moved: IntArray
    service_moves: IntArray
    service_count: IntArray
    listed: IntArray
    listed_count: IntArray
    slot: IntArray
    away: IntArray
    away_slot: IntArray
    counts: IntArray
    sums: FloatArray
    uneven: FloatArray
    best_at: IntArray
    dirty: IntArray
    is_dirty: BoolArray


# Places in Ground.counts and Ground.sums.
AWAY, MOVES, SERVICE_MAX, DIRTY = 0, 1, 2, 3
TOTAL, PAID, BEST = 0, 1, 2


@inner
def cost_of(t: Terrain, used: FloatArray, host: int, plus: int, minus: int) -> float:
    """What a host would cost with item `plus` and without item `minus` (-1: none)."""
    cost = 0.0
    for c in range(t.slope.shape[0]):
        u = used[host, c]
        if plus >= 0:
            u += t.use[plus, c]
        if minus >= 0:
            u -= t.use[minus, c]
        if u > t.knee[host, c]:
            cost += t.slope[c] * (u - t.knee[host, c])
    if t.square.shape[0] > 1:
        for c in range(t.use.shape[1]):
            u = used[host, c]
            if plus >= 0:
                u += t.use[plus, c]
            if minus >= 0:
                u -= t.use[minus, c]
            d = u - t.middle[host, c]
            cost += t.square[host, c] * d * d
    for k in range(t.pair_ratio.shape[0]):
        first, second = t.pair_columns[k, 0], t.pair_columns[k, 1]
        a = t.room[host, first] - used[host, first]
        b = t.room[host, second] - used[host, second]
        if plus >= 0:
            a -= t.use[plus, first]
            b -= t.use[plus, second]
        if minus >= 0:
            a += t.use[minus, first]
            b += t.use[minus, second]
        lacking = t.pair_ratio[k] * a - b
        if lacking > 0.0:
            cost += t.pair_weight[k] * lacking
    return cost


@inner
def fits(t: Terrain, g: Ground, host: int, plus: int, minus: int) -> bool:
    """Whether the host has room, with what is left behind on it in transient columns."""
    for c in range(t.use.shape[1]):
        step = 0.0
        if not (t.transient[c] and t.home[plus] == host):
            step += t.use[plus, c]
        if minus >= 0 and not (t.transient[c] and t.home[minus] == host):
            step -= t.use[minus, c]
        if step > 0.0 and g.used[host, c] + g.left[host, c] + step > t.capacity[host, c]:
            return False
    return True


@inner
def may_go(t: Terrain, g: Ground, item: int, to: int, other: int) -> bool:
    """Whether groups, sites, dependencies and the allowed hosts let `item` go where `other` leaves."""
    if t.allowed.shape[1] > 1 and not t.allowed[item, to] and to != t.home[item]:
        return False
    source = g.at[item]
    for k in range(t.group_start[item], t.group_start[item + 1]):
        group = t.group_list[k]
        division = t.domain_kind[group]
        here, there = t.domain[division, source], t.domain[division, to]
        if here != there:
            others = g.inside[group, there]
            if other >= 0:
                for j in range(t.group_start[other], t.group_start[other + 1]):
                    if t.group_list[j] == group:
                        others -= 1
            if others >= t.most[group]:
                return False
        if t.sites_min.shape[0] > 0:
            site_here, site_there = t.site[source], t.site[to]
            if site_here != site_there:
                sites = g.sites[group]
                if g.at_site[group, site_here] == 1:
                    sites -= 1
                if g.at_site[group, site_there] == 0:
                    sites += 1
                if sites < t.sites_min[group] and sites < g.sites[group]:
                    return False
        if t.needs_start.shape[0] > 1:
            near_here, near_there = t.near[source], t.near[to]
            if near_here != near_there:
                for j in range(t.needs_start[group], t.needs_start[group + 1]):
                    if g.at_near[t.needs_list[j], near_there] == 0:
                        return False
                    if other >= 0 and t.group_list[t.group_start[other]] == t.needs_list[j]:
                        return False  # what is needed leaves at the same time
                if g.at_near[group, near_here] == 1:
                    for j in range(t.needed_start[group], t.needed_start[group + 1]):
                        if g.at_near[t.needed_list[j], near_here] > 0:
                            return False
    return True


@inner
def away_change(t: Terrain, g: Ground, item: int, to: int) -> float:
    """How much more is paid for this item being away from home when it goes to `to`."""
    home, source = t.home[item], g.at[item]
    change = 0.0
    if source != home and to == home:
        change -= t.away_cost[item]
    if source == home and to != home:
        change += t.away_cost[item]
    if t.travel.shape[0] > 1:
        change += t.travel[home, to] - t.travel[home, source]
    return change


@inner
def within_limits(t: Terrain, g: Ground, item: int, to: int) -> bool:
    """Whether the limit on moves of each host allows the shift."""
    home, n = t.home[item], t.moves[item]
    if to == home:
        return True
    if g.moved[to] + n > t.moves_per_host_max:
        return False
    return not (g.at[item] == home and g.moved[home] + n > t.moves_per_host_max)


@inner
def moves_change(t: Terrain, g: Ground, item: int, to: int) -> int:
    """How many more VMs are away from home when the item goes to `to`."""
    home = t.home[item]
    return int(t.moves[item]) * (int(to != home) - int(g.at[item] != home))


@inner
def put(t: Terrain, g: Ground, item: int, to: int) -> None:
    """Moves the item; sums, lists and counts follow. Costs of the two hosts are the caller's."""
    source, home = g.at[item], t.home[item]
    for c in range(t.use.shape[1]):
        size = t.use[item, c]
        g.used[source, c] -= size
        g.used[to, c] += size
        if t.transient[c] and source == home:
            g.left[home, c] += size
        else:
            g.vacant[source, c] += size
        if t.transient[c] and to == home:
            g.left[home, c] -= size
        else:
            g.vacant[to, c] -= size
    for k in range(t.group_start[item], t.group_start[item + 1]):
        group = t.group_list[k]
        division = t.domain_kind[group]
        g.inside[group, t.domain[division, source]] -= 1
        g.inside[group, t.domain[division, to]] += 1
        if t.sites_min.shape[0] > 0:
            g.at_site[group, t.site[source]] -= 1
            if g.at_site[group, t.site[source]] == 0:
                g.sites[group] -= 1
            if g.at_site[group, t.site[to]] == 0:
                g.sites[group] += 1
            g.at_site[group, t.site[to]] += 1
        if t.needs_start.shape[0] > 1:
            g.at_near[group, t.near[source]] -= 1
            g.at_near[group, t.near[to]] += 1
        if t.service_weight > 0.0 and (source == home) != (to == home):
            _count_service(t, g, group, 1 if source == home else -1)
    n = t.moves[item]
    if source != home:
        g.moved[source] -= n
        g.moved[home] -= n
        g.counts[MOVES] -= n
    if to != home:
        g.moved[to] += n
        g.moved[home] += n
        g.counts[MOVES] += n
    _list_away(g, item, source == home, to == home)
    _relist(g, item, source, to)
    g.at[item] = to
    if not g.is_dirty[item]:
        g.is_dirty[item] = True
        g.dirty[g.counts[DIRTY]] = item
        g.counts[DIRTY] += 1


@inner
def _count_service(t: Terrain, g: Ground, group: int, step: int) -> None:
    before = g.service_moves[group]
    g.service_count[before] -= 1
    g.service_moves[group] = before + step
    g.service_count[before + step] += 1
    top = g.counts[SERVICE_MAX]
    if before + step > top:
        g.counts[SERVICE_MAX] = before + step
    elif before == top and step < 0 and g.service_count[top] == 0:
        g.counts[SERVICE_MAX] = top - 1
    change = t.service_weight * (g.counts[SERVICE_MAX] - top)
    g.sums[TOTAL] += change
    g.sums[PAID] += change


@inner
def _list_away(g: Ground, item: int, was_home: bool, is_home: bool) -> None:
    if was_home and not is_home:
        g.away_slot[item] = g.counts[AWAY]
        g.away[g.counts[AWAY]] = item
        g.counts[AWAY] += 1
    elif is_home and not was_home:
        g.counts[AWAY] -= 1
        last = g.away[g.counts[AWAY]]
        g.away[g.away_slot[item]] = last
        g.away_slot[last] = g.away_slot[item]


@inner
def _relist(g: Ground, item: int, source: int, to: int) -> None:
    """Items by host; a host's row is full at `listed`'s width, then the item is simply not listed."""
    place = g.slot[item]
    if place >= 0:
        g.listed_count[source] -= 1
        last = g.listed[source, g.listed_count[source]]
        g.listed[source, place] = last
        g.slot[last] = place
    if g.listed_count[to] < g.listed.shape[1]:
        g.slot[item] = g.listed_count[to]
        g.listed[to, g.listed_count[to]] = item
        g.listed_count[to] += 1
    else:
        g.slot[item] = -1


@inner
def uneven_of(t: Terrain, g: Ground, host: int, scale: FloatArray, sign: float) -> None:
    """Adds (or takes away) what a host contributes to the sums of squared deviations."""
    for c in range(g.uneven.shape[0]):
        d = (g.used[host, c] - t.middle[host, c]) * scale[host, c]
        g.uneven[c] += sign * d * d


def ground(
    terrain: Terrain, at: IntArray, sites: int, nears: int, tracked: int, scale: FloatArray
) -> Ground:
    """The state of a search that begins with items at `at` (I,); the best so far is that layout."""
    t = terrain
    items, columns = t.use.shape
    hosts = t.capacity.shape[0]
    groups = t.most.size
    widest = int(np.bincount(t.home, minlength=hosts).max(initial=0))
    g = Ground(
        at=t.home.copy(),
        used=np.zeros((hosts, columns)),
        left=np.zeros((hosts, columns)),
        vacant=np.zeros((hosts, columns)),
        host_cost=np.zeros(hosts),
        inside=np.zeros((groups, int(t.domain.max(initial=0)) + 1), np.int16),
        at_site=np.zeros((groups, max(sites, 1)), np.int64),
        sites=np.zeros(groups, np.int64),
        at_near=np.zeros((groups, max(nears, 1)), np.int64),
        moved=np.zeros(hosts, np.int64),
        service_moves=np.zeros(groups, np.int64),
        service_count=np.zeros(items + 2, np.int64),
        listed=np.zeros((hosts, 4 * widest + 64), np.int64),
        listed_count=np.zeros(hosts, np.int64),
        slot=np.full(items, -1, np.int64),
        away=np.zeros(items, np.int64),
        away_slot=np.zeros(items, np.int64),
        counts=np.zeros(4, np.int64),
        sums=np.zeros(3),
        uneven=np.zeros(tracked),
        best_at=at.copy(),
        dirty=np.zeros(items, np.int64),
        is_dirty=np.zeros(items, np.bool_),
    )
    g.service_count[0] = groups
    for c in range(columns):
        g.used[:, c] = np.bincount(t.home, weights=t.use[:, c], minlength=hosts)
    g.vacant[:] = t.capacity - g.used
    start(t, g, at)
    recost(t, g, scale)
    g.sums[BEST] = np.inf
    g.counts[DIRTY] = 0
    g.is_dirty[:] = False
    return g


@compiled
def start(t: Terrain, g: Ground, at: IntArray) -> None:
    """Fills the counts for everybody at home, then moves each item to where it begins."""
    frozen = np.ones(t.home.shape[0], np.bool_)
    for k in range(t.free.shape[0]):
        frozen[t.free[k]] = False
    for item in range(t.home.shape[0]):
        home = t.home[item]
        for k in range(t.group_start[item], t.group_start[item + 1]):
            group = t.group_list[k]
            g.inside[group, t.domain[t.domain_kind[group], home]] += 1
            if t.sites_min.shape[0] > 0:
                if g.at_site[group, t.site[home]] == 0:
                    g.sites[group] += 1
                g.at_site[group, t.site[home]] += 1
            if t.needs_start.shape[0] > 1:
                g.at_near[group, t.near[home]] += 1
        if not frozen[item] and g.listed_count[home] < g.listed.shape[1]:
            g.slot[item] = g.listed_count[home]
            g.listed[home, g.listed_count[home]] = item
            g.listed_count[home] += 1
    for item in range(t.home.shape[0]):
        if at[item] != t.home[item]:
            put(t, g, item, at[item])
            if frozen[item]:
                # It stays where it is put: not among those that may trade places or go home.
                g.counts[AWAY] -= 1
                if g.slot[item] >= 0:
                    g.listed_count[at[item]] -= 1
                    g.slot[item] = -1


@compiled
def recost(t: Terrain, g: Ground, scale: FloatArray) -> None:
    """Computes all sums afresh: after the weights have changed, and against rounding that adds up."""
    g.sums[TOTAL] = t.service_weight * g.counts[SERVICE_MAX]
    g.sums[PAID] = t.service_weight * g.counts[SERVICE_MAX]
    g.uneven[:] = 0.0
    for host in range(t.capacity.shape[0]):
        g.host_cost[host] = cost_of(t, g.used, host, NONE, NONE)
        g.sums[TOTAL] += g.host_cost[host]
        if g.uneven.shape[0] > 0:
            uneven_of(t, g, host, scale, 1.0)
    for item in range(t.home.shape[0]):
        if g.at[item] != t.home[item]:
            paid = t.away_cost[item]
            if t.travel.shape[0] > 1:
                paid += t.travel[t.home[item], g.at[item]]
            g.sums[TOTAL] += paid
            g.sums[PAID] += paid
