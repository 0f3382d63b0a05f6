"""What each VM should get of a contended resource: reservation, limit, shares and demand.

Source of the rules: VMware's resource management guide (an entitlement lies between the reservation
and the smaller of limit and demand; what is left over goes by shares). The fill itself is the
weighted max-min fair allocation, found exactly by sorting its breakpoints.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]


def water_fill(
    capacity: float, floor: FloatArray, ceiling: FloatArray, weight: FloatArray
) -> FloatArray:
    """Weighted max-min fair shares of `capacity`, each between its floor and its ceiling.

    Arrays are (n,) float64, 0 <= floor <= ceiling < inf, weight > 0. Finds the level L at which
    sum(clip(L * weight, floor, ceiling)) equals the capacity; exact, O(n log n). With too little
    for the floors everybody gets the same fraction of the floor.
    """
    floor_sum = float(floor.sum())
    if floor_sum >= capacity:
        return floor * (max(capacity, 0.0) / floor_sum) if floor_sum > 0.0 else floor.copy()
    if float(ceiling.sum()) <= capacity:
        return ceiling.copy()
    # The total is piecewise linear in L with these breakpoints. Bisection over them with the total
    # computed afresh keeps its digits where a running sum over very unequal weights would not.
    levels = np.sort(np.concatenate((floor / weight, ceiling / weight)))
    low, high = 0, levels.size - 1
    low_sum, high_sum = floor_sum, float(ceiling.sum())
    while high - low > 1:
        middle = (low + high) // 2
        total = float(np.clip(levels[middle] * weight, floor, ceiling).sum())
        if total <= capacity:
            low, low_sum = middle, total
        else:
            high, high_sum = middle, total
    # capacity lies in [low_sum, high_sum), so the segment is not flat.
    part = (capacity - low_sum) / (high_sum - low_sum)
    level = levels[low] + part * (levels[high] - levels[low])
    filled: FloatArray = np.clip(level * weight, floor, ceiling)
    return filled


def divvy(
    capacity: float,
    demand: ArrayLike,
    reservation: ArrayLike,
    limit: ArrayLike,
    shares: ArrayLike,
) -> FloatArray:
    """Divides one host's capacity of one resource among its VMs; never more than asked for.

    All arguments in the resource's own unit (MHz, MiB …), arrays (n,), `limit` may be inf.
    Returns granted (n,) float64 with granted <= min(demand, limit) and sum <= capacity, and with
    granted >= min(reservation, demand, limit) whenever those fit together. A reservation that is
    not demanded is lent to the others. VMs without shares get what the others leave.
    """
    want = np.minimum(np.asarray(demand, np.float64), np.asarray(limit, np.float64))
    if float(want.sum()) <= capacity:
        return want
    held = np.minimum(np.asarray(reservation, np.float64), want)
    weight = np.asarray(shares, np.float64)
    # Shares are relative; a billionth of the largest is none (and would overflow the quotients).
    weight = weight / max(float(weight.max()), np.finfo(np.float64).tiny)
    sharing = weight > 1e-9
    if sharing.all():
        return water_fill(capacity, held, want, weight)
    granted = held.copy()
    left = capacity - float(held[~sharing].sum())
    granted[sharing] = water_fill(left, held[sharing], want[sharing], weight[sharing])
    idle = capacity - float(granted.sum())
    if idle > 0.0:
        rest = ~sharing
        granted[rest] = water_fill(
            float(held[rest].sum()) + idle, held[rest], want[rest], np.ones(int(rest.sum()))
        )
    elif idle < 0.0:
        granted *= capacity / float(granted.sum())
    return granted
