"""The greedy of the published DRS, incremental: the baseline by name, and where our search starts.

Source: Gulati et al., "VMware Distributed Resource Management", VMware Technical Journal 2012:
while the imbalance is above the target, take the single move that lowers it most and is feasible,
good enough and worth its cost.
"""

from __future__ import annotations

import math

import numpy as np

from drs.layout import Layout
from drs.limits import MoveLimits
from drs.objective import benefit_s
from drs.policy import Policy


def greedy(layout: Layout, policy: Policy, *, target: float, steps_max: int | None = None) -> int:
    """Moves items until the imbalance is at the target or no move is left; returns the steps made.

    Deterministic. Changes `layout`. Every step lowers the imbalance by at least `goodness_min`, has
    room when it is made and breaks no rule, so the steps in this order are a feasible plan. Among
    moves the best lowers the sum of squared deviations from the even load most, which on hosts
    alike is the standard deviation; on unequal hosts it may differ, and a step is then only kept if
    the standard deviation falls too.
    """
    from drs import greedy_kernel, kernel  # numba's import takes most of a second
    from drs.terrain import load_scale, priced, terrain_of

    instance = layout.instance
    hosts = int(instance.usable.sum())
    if hosts < 2 or not layout.at.size or not math.isfinite(target):
        return 0
    terrain = priced(terrain_of(instance, MoveLimits.of(policy)), layout, instance.weight)
    ground = kernel.ground(terrain, layout.at, 0, 0, 0, load_scale(instance))
    unit_s = benefit_s(1.0, 0.0, instance, policy)
    pays = (
        instance.cost_s / unit_s
        if policy.cost_benefit and unit_s > 0.0
        else np.zeros(layout.at.size)
    )
    steps = greedy_kernel.greedy_steps(
        terrain,
        ground,
        instance.movable & ~instance.resting & instance.usable[layout.at],
        pays,
        load_scale(instance),
        instance.weight,
        target,
        policy.goodness_min,
        4 * layout.at.size if steps_max is None else steps_max,
    )
    for item in np.flatnonzero(ground.at != layout.at).tolist():
        layout.place(item, int(ground.at[item]))
    return steps
