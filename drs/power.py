"""Distributed power management: which hosts to stand by and which to power on.

Source of the band: VMware KB 310527, demand over capacity kept within 63 % +- 18 % on every host: power
on above 81 % (mean of 5 minutes), power off below 45 % (mean of 40 minutes). The means are the
caller's: this module has no clock. Works on whole hosts in one sweep, so that 800 hosts take
milliseconds; the moves are a first fit by falling size into the fullest host that stays in the band.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from drs.instance import compile_instance
from drs.layout import Layout
from drs.model import BoolArray, FloatArray, HostState, IntArray, Snapshot
from drs.policy import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerPolicy:
    """The band, and what must stay free: capacity for `host_failures_tolerated` of the largest hosts."""

    target_ratio: float = 0.63
    tolerance_ratio: float = 0.18
    host_failures_tolerated: int = 1
    hosts_on_min: int = 1
    off_max: int | None = None  # hosts stood by in one pass

    @property
    def high_ratio(self) -> float:
        return self.target_ratio + self.tolerance_ratio

    @property
    def low_ratio(self) -> float:
        return self.target_ratio - self.tolerance_ratio


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PowerPlan:
    """Hosts to power on; hosts to stand by, each once its VMs have gone where `after` (V,) says."""

    power_on: tuple[str, ...]
    stand_by: tuple[str, ...]
    after: IntArray
    reasons: tuple[str, ...]


def recommend_power(
    snapshot: Snapshot,
    policy: Policy,
    power: PowerPolicy,
    *,
    now: float,
    recent_demand: FloatArray | None = None,
) -> PowerPlan:
    """Powers on while a host is above the band, or else stands hosts by while all stay within it.

    `snapshot.demand` decides on power-on (mean of 5 minutes), `recent_demand` (V,R) with it on
    power-off (mean of 40 minutes). Never both in one answer. Hosts with VMs that cannot leave, and
    what HA needs after that, stay on. The moves are for `recommend` to order: mark the hosts
    ENTERING_MAINTENANCE.
    """
    stay = PowerPlan(power_on=(), stand_by=(), after=snapshot.placement.copy(), reasons=())
    usable = snapshot.connected()
    if not usable.any() or any(p.fatal for p in snapshot.problems()):
        return stay
    instance = compile_instance(snapshot, policy, now=now)
    r = instance.resources
    load = _load(Layout(instance), usable, r)
    standby = np.array([s is HostState.STANDBY for s in snapshot.host_states], np.bool_)
    over = load.max(axis=1, initial=0.0) > power.high_ratio
    if (over & usable).any() or not _failover_kept(snapshot, usable, power):
        return _power_on(snapshot, usable, standby, over, power)
    calm = replace(
        snapshot,
        demand=np.maximum(
            snapshot.demand, snapshot.demand if recent_demand is None else recent_demand
        ),
    )
    return _stand_by(calm, policy, power, now=now)


def _load(layout: Layout, usable: BoolArray, r: int) -> FloatArray:
    capacity = np.where(usable[:, None], layout.instance.capacity[:, :r], np.inf)
    load: FloatArray = layout.used[:, :r] / capacity
    return load


def _failover_kept(snapshot: Snapshot, on: BoolArray, power: PowerPolicy) -> bool:
    """Whether demand still fits, in sum, when the largest hosts that are on have failed."""
    need = np.minimum(snapshot.demand, snapshot.limit)[snapshot.placement >= 0].sum(axis=0)
    room = np.sort(snapshot.capacity[on], axis=0)
    kept = room[: max(room.shape[0] - power.host_failures_tolerated, 0)].sum(axis=0)
    return bool((need <= kept * (1.0 + 1e-9)).all())


def _power_on(
    snapshot: Snapshot, usable: BoolArray, standby: BoolArray, over: BoolArray, power: PowerPolicy
) -> PowerPlan:
    """The largest hosts in standby until the excess over the target fits on them and HA is kept."""
    need = np.minimum(snapshot.demand, snapshot.limit)[snapshot.placement >= 0].sum(axis=0)
    on = usable.copy()
    chosen: list[int] = []
    size = (snapshot.capacity / np.maximum(snapshot.capacity.max(axis=0), 1e-300)).min(axis=1)
    for host in np.flatnonzero(standby)[np.argsort(-size[standby], kind="stable")].tolist():
        in_band = (need <= snapshot.capacity[on].sum(axis=0) * power.target_ratio).all()
        if in_band and _failover_kept(snapshot, on, power) and (chosen or not over.any()):
            break
        on[host] = True
        chosen.append(host)
    reason = (
        f"a host is above {power.high_ratio:.0%}"
        if over.any()
        else "too little would be left if a host failed"
    )
    return PowerPlan(
        power_on=tuple(snapshot.hosts[h] for h in chosen),
        stand_by=(),
        after=snapshot.placement.copy(),
        reasons=tuple(f"Power on {snapshot.hosts[h]}: {reason}." for h in chosen),
    )


def _stand_by(snapshot: Snapshot, policy: Policy, power: PowerPolicy, *, now: float) -> PowerPlan:
    instance = compile_instance(snapshot, policy, now=now)
    r = instance.resources
    layout = Layout(instance)
    layout.room_max[:, :r] = instance.room[:, :r] * power.high_ratio
    on = snapshot.connected()
    off: list[int] = []
    reasons: list[str] = []
    begin = _load(layout, on, r).max(axis=1, initial=0.0)
    for host in np.flatnonzero(on)[np.argsort(begin[on], kind="stable")].tolist():
        if begin[host] >= power.low_ratio or int(on.sum()) <= power.hosts_on_min:
            break
        if power.off_max is not None and len(off) >= power.off_max:
            break
        on[host] = False
        if _failover_kept(snapshot, on, power) and _empty(layout, host, on):
            off.append(host)
            reasons.append(
                f"Stand {snapshot.hosts[host]} by: at {begin[host]:.0%} it is below {power.low_ratio:.0%}."
            )
        else:
            on[host] = True
    members = instance.members
    return PowerPlan(
        power_on=(),
        stand_by=tuple(snapshot.hosts[h] for h in off),
        after=np.where(members >= 0, layout.at[members], -1),
        reasons=tuple(reasons),
    )


def _empty(layout: Layout, host: int, on: BoolArray) -> bool:
    """Moves everything off the host into the fullest hosts with room in the band, or nothing at all."""
    instance = layout.instance
    r = instance.resources
    items = np.flatnonzero(layout.at == host)
    if not instance.movable[items].all():
        return False
    size = (instance.use[items, :r] / np.maximum(instance.capacity[:, :r].max(axis=0), 1e-300)).max(
        axis=1
    )
    done: list[int] = []
    for item in items[np.argsort(-size, kind="stable")].tolist():
        hosts = np.flatnonzero(layout.open_hosts(item) & on)
        if not hosts.size:
            for back in done:
                layout.place(back, host)
            return False
        # Hosts that hold something before empty ones: filling an empty one saves nothing.
        load = (layout.used[hosts, :r] / np.maximum(instance.capacity[hosts, :r], 1e-300)).max(
            axis=1
        )
        layout.place(item, int(hosts[np.argmax(load)]))
        done.append(item)
    return True
