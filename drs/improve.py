"""Large-neighbourhood annealing from the greedy's answer: the same balance with fewer, lighter moves.

Minimises what the moves cost under a price for unevenness, one price a resource; the prices follow
what is still too uneven (a Lagrangian relaxation with multiplicative updates). The best layout that
keeps the aim is remembered; if none is found the start remains.
"""

from __future__ import annotations

import numpy as np

from drs import anneal, kernel
from drs.instance import load_scale
from drs.layout import Layout
from drs.limits import MoveLimits
from drs.model import FloatArray
from drs.refine import Aim, Patience
from drs.terrain import priced, terrain_of

# Cumulative: any shift, any swap, one away goes home or elsewhere, one away trades with a home-mate.
CHANCES = np.array([0.05, 0.20, 0.70, 1.0])
STEPS_PER_ITEM = 200
STEPS_MIN = 40_000
CHUNKS = 80
EVENER_PRICE = 4.0
HOT_S, COLD_S = (
    4.0,
    0.6,
)  # temperatures in seconds of migration; tuned on 256 x 5000 and 1000 x 10000


def improve(
    layout: Layout,
    aim: Aim,
    limits: MoveLimits,
    *,
    rng: np.random.Generator,
    patience: Patience,
    evener: bool = False,
) -> Layout:
    """A cheaper layout that keeps the aim, or the same one; MUST and SHOULD rules as they are now.

    With `evener` instead the most even layout that the limits on moves allow. Deterministic for a
    patience in steps. Uses steps in proportion to the items, bounded by what is left; a deadline
    cools it faster and ends it after the chunk that passes it.
    """
    instance = layout.instance
    r = instance.resources
    scale = load_scale(instance)
    terrain = terrain_of(instance, limits)
    if not terrain.free.size or int(instance.usable.sum()) < 2:
        return layout  # the compiled loop draws from both without asking
    uneven_max = _uneven_max(layout, aim)
    price = _first_price(layout, uneven_max)
    if evener:
        # Moves are limited, not priced; unevenness is priced so that the same temperatures serve.
        terrain = terrain._replace(away_cost=np.full(instance.home.size, 1e-6))
        price = instance.weight * float(price.max()) * EVENER_PRICE
    ground = kernel.ground(priced(terrain, layout, price), layout.at, 0, 0, r, scale)
    steps = min(max(STEPS_MIN, STEPS_PER_ITEM * layout.at.size), patience.steps_left)
    chunk = max(steps // CHUNKS, 1)
    cooling = (COLD_S / HOT_S) ** (1.0 / CHUNKS)
    whole_s = patience.seconds_left()
    for k in range(CHUNKS):
        if patience.spent():
            break
        left_s = patience.seconds_left()
        late = 1.0 - left_s / whole_s if whole_s and left_s else 0.0
        hot_s = HOT_S * (COLD_S / HOT_S) ** max(k / CHUNKS, late)
        costed = priced(terrain, layout, price)
        kernel.recost(costed, ground, scale)
        anneal.anneal(
            costed,
            ground,
            int(rng.integers(2**31)),
            chunk,
            hot_s,
            hot_s * cooling,
            CHANCES,
            scale,
            anneal.BEST_UNEVEN if evener else anneal.BEST_PAID,
            uneven_max,
            instance.weight,
        )
        patience.steps_left -= chunk
        if not evener:
            over = ground.uneven / np.maximum(uneven_max[:r], 1e-12)
            price *= np.clip(over, 0.8, 1.25) ** 0.5
    return Layout(instance, ground.best_at) if np.isfinite(ground.sums[kernel.BEST]) else layout


def _first_price(layout: Layout, uneven_max: FloatArray) -> FloatArray:
    """(R,) seconds for a unit of squared deviation, where the prices begin.

    A mean move must pay from one standard deviation above the even load to one below, which is
    4 n sd for a move of load n. Too low, and everything goes home before the prices have risen.
    """
    instance = layout.instance
    r = instance.resources
    spread = np.sqrt(uneven_max[:r] / max(float(instance.usable.sum()), 1.0))
    moved_load = np.maximum(
        (instance.use[:, :r] * load_scale(instance).max(axis=0)).mean(axis=0), 1e-9
    )
    price: FloatArray = float(instance.cost_s.mean()) / (
        4.0 * moved_load * np.maximum(spread, 1e-6)
    )
    return price


def _uneven_max(layout: Layout, aim: Aim) -> FloatArray:
    """(R+1,) sums of squared deviations that keep the aim, by resource and combined."""
    hosts = float(layout.instance.usable.sum())
    r = layout.instance.resources
    combined = hosts * aim.imbalance_max**2
    each = np.where(np.isfinite(aim.spread_max), hosts * aim.spread_max**2, combined * r)
    return np.append(np.minimum(each, 1e300), combined) * (1.0 + 1e-10)
