"""The greedy of the published DRS, incremental: the baseline by name, and where our search starts.

Source: Gulati et al., "VMware Distributed Resource Management", VMware Technical Journal 2012:
while the imbalance is above the target, take the single move that lowers it most and is feasible,
good enough and worth its cost.
"""

from __future__ import annotations

import math

import numpy as np

from drs.instance import load_scale
from drs.layout import Layout
from drs.limits import MoveLimits
from drs.model import FloatArray
from drs.objective import benefit_s
from drs.policy import Policy

PLAIN_CELLS_MAX = 1024  # items × hosts up to which compiled code is not worth loading


def greedy(layout: Layout, policy: Policy, *, target: float, steps_max: int | None = None) -> int:
    """Moves items until the imbalance is at the target or no move is left; returns the steps made.

    Deterministic. Changes `layout`. Every step lowers the imbalance by at least `goodness_min`, has
    room when it is made and breaks no rule, so the steps in this order are a feasible plan. Among
    moves the best lowers the sum of squared deviations from the even load most, which on hosts
    alike is the standard deviation; on unequal hosts it may differ, and a step is then only kept if
    the standard deviation falls too.
    """
    instance = layout.instance
    if int(instance.usable.sum()) < 2 or not layout.at.size or not math.isfinite(target):
        return 0
    limit = 4 * layout.at.size if steps_max is None else steps_max
    if layout.at.size * instance.usable.size <= PLAIN_CELLS_MAX:
        return plain_greedy(layout, policy, target=target, steps_max=limit)
    return compiled_greedy(layout, policy, target=target, steps_max=limit)


def gains_worth_taking(layout: Layout, policy: Policy) -> FloatArray:
    """(I,) the drop of unevenness at which a move of each item pays; 0 when it need not."""
    unit_s = benefit_s(1.0, 0.0, layout.instance, policy)
    if policy.cost_benefit and unit_s > 0.0:
        worth: FloatArray = layout.instance.cost_s / unit_s
        return worth
    return np.zeros(layout.at.size)


def plain_greedy(layout: Layout, policy: Policy, *, target: float, steps_max: int) -> int:
    """The loop as it is published: every item against every host at every step, as matrices.

    For small clusters: the first use of compiled code on a machine costs seconds of compiling.
    """
    instance, limits = layout.instance, MoveLimits.of(policy)
    r, hosts = instance.resources, int(instance.usable.sum())
    square, use = instance.weight * load_scale(instance) ** 2, instance.use[:, :r]
    active = instance.movable & ~instance.resting & instance.usable[layout.at]
    pays = gains_worth_taking(layout, policy)
    retired = np.zeros(layout.at.size, np.bool_)
    steps = 0
    for _ in range(steps_max + layout.at.size):
        now = layout.imbalance()
        if now <= target or steps >= steps_max:
            break
        slope = 2.0 * square * (layout.used[:, :r] - layout.even * instance.capacity[:, :r])
        relief = (use * slope[layout.at] - use * use * square[layout.at]).sum(axis=1)
        gains = relief[:, None] - use @ slope.T - (use * use) @ square.T
        for item in np.flatnonzero(active & ~retired).tolist():
            gains[item, ~layout.open_hosts(item)] = -np.inf
        gains[~active | retired] = -np.inf
        gains[:, layout.moved >= limits.moves_per_host_max] = -np.inf
        good = hosts * policy.goodness_min * max(2.0 * now - policy.goodness_min, 0.0)
        gains[gains < np.maximum(pays, good)[:, None]] = -np.inf
        item, host = (int(x) for x in np.unravel_index(int(np.argmax(gains)), gains.shape))
        if not gains[item, host] > 0.0:
            break
        source = int(layout.at[item])
        layout.place(item, host)
        if layout.imbalance() >= now or not limits.hold(layout):
            layout.place(item, source)
            retired[item] = True
            continue
        steps += 1
    return steps


def compiled_greedy(layout: Layout, policy: Policy, *, target: float, steps_max: int) -> int:
    """The same steps as `plain_greedy` from a lazily updated table, in machine code."""
    from drs import greedy_kernel, kernel  # numba's import takes most of a second
    from drs.terrain import priced, terrain_of

    instance = layout.instance
    terrain = priced(terrain_of(instance, MoveLimits.of(policy)), layout, instance.weight)
    ground = kernel.ground(terrain, layout.at, 0, 0, 0, load_scale(instance))
    steps = greedy_kernel.greedy_steps(
        terrain,
        ground,
        instance.movable & ~instance.resting & instance.usable[layout.at],
        gains_worth_taking(layout, policy),
        load_scale(instance),
        instance.weight,
        target,
        policy.goodness_min,
        steps_max,
    )
    for item in np.flatnonzero(ground.at != layout.at).tolist():
        layout.place(item, int(ground.at[item]))
    return steps
