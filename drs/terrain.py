"""From an instance to the arrays of the compiled search."""

from __future__ import annotations

import numpy as np

from drs import kernel
from drs.instance import Instance, load_scale
from drs.layout import ROOM_TOLERANCE, Layout
from drs.limits import MoveLimits
from drs.model import FloatArray, IntArray


def priced(terrain: kernel.Terrain, layout: Layout, price: FloatArray) -> kernel.Terrain:
    """The terrain with `price` (R,) on the squared deviation of each host's load."""
    instance = layout.instance
    square = np.zeros(instance.capacity.shape)
    square[:, : price.size] = price * load_scale(instance) ** 2
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
        capacity=instance.room * (1.0 + ROOM_TOLERANCE),
        home=instance.home,
        free=np.flatnonzero(free),
        allowed=np.ones((1, 1), np.bool_) if instance.preferred.all() else instance.preferred,
        transient=np.zeros(columns, np.bool_),
        square=np.zeros((hosts, columns)),
        middle=np.zeros((hosts, columns)),
        slope=np.zeros(0),
        knee=np.zeros((1, 1)),
        pair_columns=empty,
        pair_ratio=np.zeros(0),
        pair_weight=np.zeros(0),
        room=instance.room,
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
