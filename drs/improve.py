"""Large-neighbourhood annealing from the greedy's answer: the same balance with fewer, lighter moves.

Minimises what the moves cost under a price for unevenness, one price a resource; the prices follow
what is still too uneven (a Lagrangian relaxation with multiplicative updates). The best layout that
keeps the aim is remembered; if none is found the start remains.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from drs import kernel
from drs.instance import Instance
from drs.layout import ROOM_TOLERANCE, Layout
from drs.model import FloatArray, IntArray
from drs.refine import Aim, Patience
from drs.search import MoveLimits

CHANCES = np.array([0.15, 0.25, 0.65, 1.0])
STEPS_PER_ITEM = 400
STEPS_MIN = 40_000
CHUNKS = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Heat:
    """Temperatures in seconds of migration, from the first chunk to the last."""

    hot_s: float = 12.0
    cold_s: float = 0.6


def improve(
    layout: Layout,
    aim: Aim,
    limits: MoveLimits,
    *,
    rng: np.random.Generator,
    patience: Patience,
    heat: Heat | None = None,
) -> Layout:
    """A cheaper layout that keeps the aim, or the same one; MUST and SHOULD rules as they are now.

    Deterministic for a patience in steps. Uses steps in proportion to the items, bounded by what is
    left; a deadline ends it after the chunk that passes it.
    """
    instance = layout.instance
    r = instance.resources
    temperatures = heat or Heat()
    terrain = terrain_of(instance, limits)
    scale = np.where(
        instance.usable[:, None], 1.0 / np.maximum(instance.capacity[:, :r], 1e-300), 0.0
    )
    uneven_max = _uneven_max(layout, aim)
    # One second for a move's fair share of the unevenness that may remain: where prices begin.
    price = (
        np.full(r, max(float(instance.cost_s.mean()), 1e-9))
        / np.maximum(uneven_max[:r], 1e-9)
        * 4.0
    )
    ground = kernel.ground(
        _priced(terrain, instance, layout, price, scale), layout.at, 0, 0, r, scale
    )
    steps = min(max(STEPS_MIN, STEPS_PER_ITEM * layout.at.size), patience.steps_left)
    chunk = max(steps // CHUNKS, 1)
    for k in range(CHUNKS):
        if patience.spent():
            break
        part = k / CHUNKS
        hot = temperatures.hot_s * (temperatures.cold_s / temperatures.hot_s) ** part
        priced = _priced(terrain, instance, layout, price, scale)
        kernel.recost(priced, ground, scale)
        kernel.anneal(
            priced,
            ground,
            int(rng.integers(2**31)),
            chunk,
            hot,
            hot * (temperatures.cold_s / temperatures.hot_s) ** (1.0 / CHUNKS),
            CHANCES,
            scale,
            kernel.BEST_PAID,
            uneven_max,
            instance.weight,
        )
        patience.steps_left -= chunk
        over = ground.uneven / np.maximum(uneven_max[:r], 1e-12)
        price *= np.clip(over, 0.8, 1.25) ** 0.5
    return Layout(instance, ground.best_at) if np.isfinite(ground.sums[kernel.BEST]) else layout


def _uneven_max(layout: Layout, aim: Aim) -> FloatArray:
    """(R+1,) sums of squared deviations that keep the aim, by resource and combined."""
    hosts = float(layout.instance.usable.sum())
    r = layout.instance.resources
    combined = hosts * aim.imbalance_max**2
    each = np.where(np.isfinite(aim.spread_max), hosts * aim.spread_max**2, combined * r)
    return np.append(np.minimum(each, 1e300), combined) * (1.0 - 1e-9)


def _priced(
    terrain: kernel.Terrain,
    instance: Instance,
    layout: Layout,
    price: FloatArray,
    scale: FloatArray,
) -> kernel.Terrain:
    columns = instance.use.shape[1]
    square = np.zeros((scale.shape[0], columns))
    square[:, : price.size] = price * scale**2
    middle = np.zeros_like(square)
    middle[:, : price.size] = layout.even * instance.capacity[:, : price.size]
    return terrain._replace(square=square, middle=middle)


def terrain_of(instance: Instance, limits: MoveLimits) -> kernel.Terrain:
    """The kernel's view of an instance, without prices."""
    hosts, columns = instance.capacity.shape
    items = instance.home.size
    free = instance.movable & ~instance.resting & instance.usable[instance.home]
    groups: list[list[int]] = [[] for _ in range(items)]
    divisions: list[IntArray] = []
    kinds: list[int] = []
    for g, e in enumerate(instance.exclusions):
        for item in dict.fromkeys(e.items.tolist()):
            groups[item].append(g)
        known = [k for k, d in enumerate(divisions) if d is e.domain or np.array_equal(d, e.domain)]
        kinds.append(known[0] if known else len(divisions))
        if not known:
            divisions.append(e.domain)
    empty = np.zeros((0, 2), np.int64)
    return kernel.Terrain(
        use=instance.use,
        capacity=instance.capacity * (1.0 + ROOM_TOLERANCE),
        home=instance.home,
        free=np.flatnonzero(free),
        allowed=instance.preferred,
        transient=np.zeros(columns, np.bool_),
        square=np.zeros((hosts, columns)),
        middle=np.zeros((hosts, columns)),
        slope=np.zeros(columns),
        knee=np.zeros((hosts, columns)),
        pair_columns=empty,
        pair_ratio=np.zeros(0),
        pair_weight=np.zeros(0),
        room=instance.capacity,
        away_cost=instance.cost_s,
        travel=np.zeros((1, 1)),
        moves=instance.moves,
        group_start=np.cumsum([0, *(len(x) for x in groups)]).astype(np.int64),
        group_list=np.array([g for x in groups for g in x], np.int64),
        domain=np.array(divisions, np.int64).reshape(-1, hosts),
        domain_kind=np.array(kinds, np.int64),
        most=np.array([e.most for e in instance.exclusions], np.int64),
        site=np.zeros(hosts, np.int64),
        sites_min=np.zeros(0, np.int64),
        near=np.zeros(hosts, np.int64),
        needs_start=np.zeros(1, np.int64),
        needs_list=np.zeros(0, np.int64),
        needed_start=np.zeros(1, np.int64),
        needed_list=np.zeros(0, np.int64),
        service_weight=0.0,
        moves_max=limits.moves_max,
        moves_per_host_max=limits.moves_per_host_max,
    )
