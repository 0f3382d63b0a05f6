"""From a feasible layout to a cheaper one that is as even: fewer moves, less memory on the wire."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from drs.layout import Layout
from drs.limits import MoveLimits
from drs.model import FloatArray, IntArray
from drs.objective import worthless
from drs.policy import Budget, DeadlineBudget, Policy, Preference

NEIGHBOUR_ITEMS_MAX = 30
CPSAT_UNITS_MAX = 0.2
STEPS_PER_MODEL = 10_000
SEARCHING = 0.75  # of the time to a deadline; the rest is for the schedule and the reasons


@dataclass(slots=True, kw_only=True)
class Patience:
    """How much search is left. With a deadline it reads a clock; nothing else in the library does."""

    steps_left: int
    end_s: float | None

    @classmethod
    def of(cls, budget: Budget, now: float) -> Patience:
        if isinstance(budget, DeadlineBudget):
            seconds = SEARCHING * (budget.deadline_s - now)
            return cls(steps_left=2**62, end_s=time.perf_counter() + seconds)
        return cls(steps_left=budget.steps, end_s=None)

    def seconds_left(self) -> float | None:
        return None if self.end_s is None else self.end_s - time.perf_counter()

    def spent(self) -> bool:
        left = self.seconds_left()
        return self.steps_left <= 0 or (left is not None and left <= 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """What a refined layout must keep: the combined imbalance, and each resource's where given.

    `target` is what the threshold asks for; below it nothing is gained by being more even.
    """

    target: float
    imbalance_max: float
    spread_max: FloatArray

    def holds(self, layout: Layout) -> bool:
        slack = 1e-12
        return layout.imbalance() <= self.imbalance_max + slack and bool(
            (layout.spread() <= self.spread_max + slack).all()
        )


def send_home(layout: Layout, aim: Aim) -> int:
    """Takes back every move that is not needed for the aim, the most expensive first; returns how many."""
    instance = layout.instance
    taken_back = 0
    away = np.flatnonzero((layout.at != instance.home) & ~instance.must_move & instance.movable)
    violations = layout.hard_violations(), layout.soft_violations()
    for item in away[np.argsort(-instance.cost_s[away], kind="stable")].tolist():
        there, home = int(layout.at[item]), int(instance.home[item])
        if not layout.room(item)[home]:
            continue
        layout.place(item, home)
        if aim.holds(layout) and (layout.hard_violations(), layout.soft_violations()) <= violations:
            taken_back += 1
        else:
            layout.place(item, there)
    return taken_back


def reoptimise(
    layout: Layout,
    policy: Policy,
    aim: Aim,
    *,
    rng: np.random.Generator,
    patience: Patience,
    rounds_max: int,
) -> Layout:
    """A better layout found by exact re-optimisation of a few hosts at a time, or the same one.

    First as even as possible where the target is not reached, then as cheap as possible.
    """
    best = layout
    for _ in range(rounds_max):
        hosts = _neighbourhood(best, rng)
        if hosts.size < 2 or patience.spent():
            break
        # A target of 0 is never reached: there only a model of the whole cluster goes on, if asked to.
        whole = hosts.size == int(best.instance.usable.sum())
        wanted = aim.target > 0.0 or (policy.preference is Preference.EVENER and whole)
        for evener in (True, False) if wanted and best.imbalance() > aim.target else (False,):
            best = _solve_once(best, hosts, policy, aim, evener=evener, rng=rng, patience=patience)
        if whole:
            break  # solved as a whole: another round would find the same
    return best


def _solve_once(
    best: Layout,
    hosts: IntArray,
    policy: Policy,
    aim: Aim,
    *,
    evener: bool,
    rng: np.random.Generator,
    patience: Patience,
) -> Layout:
    from drs import solver  # CP-SAT's import takes a second, and every VM's process imports drs

    instance = best.instance
    items = solver.neighbourhood_items(best, hosts)
    if not items.size:
        return best
    effort = solver.Effort(
        deterministic_units_max=CPSAT_UNITS_MAX,
        seconds_max=patience.seconds_left(),
        seed=int(rng.integers(2**31)),
    )
    patience.steps_left -= STEPS_PER_MODEL
    others = best.moves_total - _moved_of(best, items)
    at = solver.rebalance(
        best,
        hosts,
        None if evener else _allowance(best, hosts, aim),
        min(MoveLimits.of(policy).moves_max - others, 2**31),
        effort,
    )
    if at is None:
        return best
    trial = Layout(instance, best.at)
    for item, host in zip(items.tolist(), at.tolist(), strict=True):
        trial.place(item, host)
    return trial if better(trial, best, aim, policy) else best


def _allowance(layout: Layout, hosts: IntArray, aim: Aim) -> float:
    """How uneven these hosts may be for the whole to keep the aim."""
    instance = layout.instance
    local = (
        layout.used[hosts, : instance.resources] / instance.capacity[hosts, : instance.resources]
    )
    uneven = float((((local - layout.even) ** 2) @ instance.weight).sum())
    imbalance_max = max(aim.target, min(layout.imbalance(), aim.imbalance_max))
    return uneven + max(float(instance.usable.sum()) * imbalance_max**2 - layout.uneven(), 0.0)


def better(trial: Layout, best: Layout, aim: Aim, policy: Policy) -> bool:
    """Whether `trial` is within the limits, no worse in what is mandatory, and evener or cheaper."""
    if (trial.hard_violations(), trial.unmet(), trial.soft_violations()) > (
        best.hard_violations(),
        best.unmet(),
        best.soft_violations(),
    ):
        return False
    if not MoveLimits.of(policy).hold(trial):
        return False
    excess = max(trial.imbalance() - aim.target, 0.0) - max(best.imbalance() - aim.target, 0.0)
    # As even as the aim in every resource, unless a better mean is what is wanted.
    kept = policy.preference is Preference.EVENER or aim.holds(trial) or not aim.holds(best)
    if not kept:
        return False
    if excess < -1e-12:
        # What goes further than the greedy went must pay as the greedy's moves did.
        return not policy.cost_benefit or worthless(trial, policy) <= worthless(best, policy)
    return excess <= 1e-12 and trial.cost_s() < best.cost_s() - 1e-9


def _moved_of(layout: Layout, items: IntArray) -> int:
    away = layout.at[items] != layout.instance.home[items]
    return int(layout.instance.moves[items][away].sum())


def _neighbourhood(layout: Layout, rng: np.random.Generator) -> IntArray:
    """A host that sends or receives, its partners, and others until there are enough items."""
    instance = layout.instance
    usable = np.flatnonzero(instance.usable)
    count = np.bincount(layout.at, minlength=instance.usable.size)
    if int(count[usable].sum()) <= NEIGHBOUR_ITEMS_MAX:
        return usable
    busy = usable[layout.moved[usable] > 0]
    first = int(rng.choice(busy if busy.size else usable))
    partners = np.concatenate(
        (
            layout.at[(instance.home == first) & (layout.at != first)],
            instance.home[(layout.at == first)],
        )
    )
    order = [first, *rng.permutation(np.unique(partners[instance.usable[partners]])).tolist()]
    order += rng.permutation(usable).tolist()
    chosen: list[int] = []
    total = 0
    for host in dict.fromkeys(order):
        total += int(count[host])
        if chosen and (total > NEIGHBOUR_ITEMS_MAX or len(chosen) == 6):
            break
        chosen.append(int(host))
    return np.array(chosen, np.int64)
