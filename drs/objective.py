"""The one function by which two plans are compared; smaller is better, field by field."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from drs.instance import Instance, compile_instance
from drs.layout import Layout
from drs.load import imbalance_target
from drs.model import FloatArray, IntArray, Snapshot
from drs.plan import Plan
from drs.policy import Policy

DIGITS = 9  # sums of floats in another order must not decide


class Objective(NamedTuple):
    """Compared from left to right.

    Hard rules broken and VMs left on hosts that they must leave; entitlement that the hosts cannot
    serve, in hosts; SHOULD rules broken; imbalance above the threshold's target; and cost less
    benefit in seconds of migration per host.
    """

    hard_violations: int
    unmet_hosts: float
    soft_violations: int
    imbalance_excess: float
    net_cost_s: float


def benefit_s(
    uneven_before: float, uneven_after: float, instance: Instance, policy: Policy
) -> float:
    """What a drop of unevenness is worth, in seconds: host-seconds of load above the even load.

    A VM on a host feels that host's load; weighting each host's excess over the even load by the
    load itself gives sum (load - even)^2, for every balanced resource, over the time the load is
    expected to last. An approximation: below saturation a real slowdown grows slower than that.
    """
    return (uneven_before - uneven_after) * instance.resources * policy.stable_s


def marginal_benefits_s(layout: Layout, items: IntArray, policy: Policy) -> FloatArray:
    """(k,) seconds that each of these items' being away from home is worth, the others where they are."""
    instance = layout.instance
    r = instance.resources
    rise = np.zeros(items.size)
    for hosts, sign in ((layout.at[items], -1.0), (instance.home[items], 1.0)):
        capacity = np.where(instance.usable[hosts, None], instance.capacity[hosts, :r], np.inf)
        before = layout.used[hosts, :r] / capacity - layout.even
        step = sign * instance.use[items, :r] / capacity
        rise += ((2.0 * before * step + step**2) * instance.weight).sum(axis=1)
    return rise * benefit_s(1.0, 0.0, instance, policy)


def worthless(layout: Layout, policy: Policy) -> int:
    """How many items moved for balance cost more than their own share of the benefit."""
    instance = layout.instance
    away = np.flatnonzero((layout.at != instance.home) & ~instance.must_move)
    return int((marginal_benefits_s(layout, away, policy) < instance.cost_s[away]).sum())


def target_of(instance: Instance, policy: Policy) -> float:
    return imbalance_target(policy.migration_threshold, int(instance.usable.sum()))


def judge(layout: Layout, start: Layout, policy: Policy) -> Objective:
    """The objective of a layout, against where the search started."""
    instance = layout.instance
    hosts = max(int(instance.usable.sum()), 1)
    target = target_of(instance, policy)
    excess = max(layout.imbalance() - target, 0.0) if math.isfinite(target) else 0.0
    # Balance beyond what the threshold asks for is worth nothing: among plans that reach the
    # target the cheapest is the best.
    enough = hosts * target**2 if math.isfinite(target) else math.inf
    gained = max(start.uneven(), enough), max(layout.uneven(), enough)
    net_s = layout.cost_s() - (
        benefit_s(*gained, instance, policy) if math.isfinite(enough) else 0.0
    )
    return Objective(
        layout.hard_violations(),
        round(layout.unmet(), DIGITS),
        layout.soft_violations(),
        round(excess, DIGITS),
        round(net_s / hosts, DIGITS),
    )


def objective(snapshot: Snapshot, plan: Plan, policy: Policy, *, now: float = 0.0) -> Objective:
    """The objective of any plan's final placement, by whoever made it."""
    instance = compile_instance(snapshot, policy, now=now)
    return judge_vms(Layout(instance), plan.placement(snapshot), policy)


def judge_vms(start: Layout, after: IntArray, policy: Policy) -> Objective:
    """The objective of a placement by VM, (V,): also of one that leaves apart what belongs together."""
    instance = start.instance
    at = instance.home.copy()
    live = instance.members >= 0
    at[instance.members[live]] = after[live]
    split = int((at[instance.members[live]] != after[live]).sum())
    judged = judge(Layout(instance, at), start, policy)
    return judged._replace(hard_violations=judged.hard_violations + split)
