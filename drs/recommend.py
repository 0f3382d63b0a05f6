"""`recommend`: from a snapshot and a policy to a plan. First what is mandatory, then balance."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from drs.blockers import blockers, summary
from drs.instance import Instance, compile_instance
from drs.layout import Layout
from drs.limits import MoveLimits
from drs.model import IntArray, Problem, ProblemKind, Snapshot
from drs.objective import Objective, judge, judge_vms, target_of
from drs.plan import Plan, PlanStatus
from drs.policy import Budget, Policy, Preference, StepBudget
from drs.reasons import explain
from drs.refine import NEIGHBOUR_ITEMS_MAX, Aim, Patience, better, reoptimise, send_home
from drs.repair import CELLS_MAX, candidate_hosts, concerned, first_fit, widened
from drs.schedule import Schedule, schedule
from drs.search import PLAIN_CELLS_MAX, greedy

REPAIRS_MAX = 3
RESCHEDULES_MAX = 20
NEIGHBOURHOODS_MAX = 8
SMALL_ROUNDS_MAX = 12
ANNEALINGS_MAX = 2


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Found:
    """What a search found before it is put in order: where it began, and its layouts, best first."""

    start: Layout
    layouts: tuple[Layout, ...]


def recommend(
    snapshot: Snapshot,
    policy: Policy,
    *,
    now: float,
    rng: np.random.Generator,
    budget: Budget | None = None,
) -> Plan:
    """A plan whose objective is never worse than doing nothing, nor than the published greedy's.

    `now` in seconds on the clock of `moved_at_s` and of a `DeadlineBudget`. With a `StepBudget` (the
    default) the plan depends on nothing but the arguments. Bad input comes back as
    `Plan.problems` with status INVALID, never as an exception.
    """
    problems = (*snapshot.problems(), *policy.problems())
    if any(p.fatal for p in problems):
        return Plan(status=PlanStatus.INVALID, problems=problems)
    instance = compile_instance(snapshot, policy, now=now)
    if not instance.usable.any() or not instance.home.size:
        stuck = bool(instance.must_move.any())
        return Plan(
            status=PlanStatus.INCOMPLETE if stuck else PlanStatus.NOTHING_WORTH_DOING,
            problems=problems,
        )
    patience = Patience.of(budget or StepBudget(), now)
    found = search(instance, policy, rng=rng, patience=patience)
    layout, order = _first_that_works(snapshot, policy, found)
    return _plan(snapshot, policy, found.start, layout, order, problems)


def greedy_plan(snapshot: Snapshot, policy: Policy, *, now: float) -> Plan:
    """The plan of the published DRS: mandatory moves by first fit, then the greedy; the baseline."""
    problems = (*snapshot.problems(), *policy.problems())
    if any(p.fatal for p in problems):
        return Plan(status=PlanStatus.INVALID, problems=problems)
    instance = compile_instance(snapshot, policy, now=now)
    if not instance.usable.any() or not instance.home.size:
        return Plan(status=PlanStatus.NOTHING_WORTH_DOING, problems=problems)
    start = Layout(instance)
    layout = start.copy()
    first_fit(layout)
    greedy(layout, policy, target=target_of(instance, policy))
    order, whole = _order(snapshot, policy, layout)
    if not whole:
        layout = _reached(
            layout, Plan(status=PlanStatus.OK, actions=order.actions).placement(snapshot)
        )
    return _plan(snapshot, policy, start, layout, order, problems)


def search(
    instance: Instance, policy: Policy, *, rng: np.random.Generator, patience: Patience
) -> Found:
    """Layouts to choose from, best first; the last is staying put."""
    start = Layout(instance)
    target = target_of(instance, policy)
    published = start.copy()
    fitted = first_fit(published)
    mended = mend(start, published, policy, rng, patience)
    greedy(published, policy, target=target)
    if mended.imbalance() <= target or not math.isfinite(target):
        layouts = sorted((mended, published, start), key=lambda at: judge(at, start, policy))
        return Found(start=start, layouts=tuple(layouts))
    if fitted:
        baseline = mended.copy()
        greedy(baseline, policy, target=target)
    else:
        baseline = published.copy()
    aim = aim_of(baseline, target)
    refined = _refine(baseline, policy, aim, rng=rng, patience=patience)
    layouts = sorted(
        (refined, baseline, published, mended, start), key=lambda at: judge(at, start, policy)
    )
    return Found(start=start, layouts=tuple(layouts))


def _refine(
    baseline: Layout, policy: Policy, aim: Aim, *, rng: np.random.Generator, patience: Patience
) -> Layout:
    limits = MoveLimits.of(policy)
    best = baseline.copy()
    send_home(best, aim)
    # One exact model answers for a tiny cluster; for small ones some of its hosts at a time do, and
    # spare a first pass the seconds in which the annealing is compiled. They make it cheaper, not
    # more even: a few hosts alone cannot be evener than all are.
    small = best.at.size * best.instance.usable.size <= PLAIN_CELLS_MAX
    if best.at.size <= NEIGHBOUR_ITEMS_MAX or (
        small and policy.preference is Preference.FEWER_MOVES
    ):
        return reoptimise(
            best, policy, aim, rng=rng, patience=patience, rounds_max=SMALL_ROUNDS_MAX
        )
    from drs.improve import improve  # numba's import takes most of a second

    if policy.preference is Preference.EVENER:
        # A better balance with as many moves as the greedy: no later step may add one either.
        policy = replace(policy, moves_max=int(min(limits.moves_max, baseline.moves_total)))
        limits = MoveLimits.of(policy)
        trial = improve(best, aim, limits, rng=rng, patience=patience, evener=True)
        if better(trial, best, aim, policy):
            aim, best = aim_of(trial, aim.target), trial
    for _ in range(ANNEALINGS_MAX):
        trial = improve(best, aim, limits, rng=rng, patience=patience)
        gain = best.cost_s() - trial.cost_s()
        if not better(trial, best, aim, policy):
            break
        best = trial
        if patience.spent() or gain < 0.01 * best.cost_s():
            break
    return reoptimise(best, policy, aim, rng=rng, patience=patience, rounds_max=NEIGHBOURHOODS_MAX)


def aim_of(baseline: Layout, target: float) -> Aim:
    """As even as the threshold asks; where the baseline missed that, as even as it is in every resource."""
    reached = baseline.imbalance()
    if reached <= target:
        return Aim(
            target=target,
            imbalance_max=target,
            spread_max=np.full(baseline.instance.resources, np.inf),
        )
    return Aim(target=target, imbalance_max=reached, spread_max=baseline.spread())


def mend(
    start: Layout, fitted: Layout, policy: Policy, rng: np.random.Generator, patience: Patience
) -> Layout:
    """Everything mandatory, with the fewest moves that CP-SAT finds; first fit where it finds none."""
    items = concerned(start)
    if not items.size:
        return start
    limits = MoveLimits.of(policy)
    best = fitted.copy() if limits.hold(fitted) else start.copy()
    from drs import solver  # CP-SAT's import takes a second, and every VM's process imports drs

    hosts = candidate_hosts(best, items)
    chosen = np.union1d(items, np.flatnonzero(best.at != start.at))
    for _ in range(REPAIRS_MAX):
        if chosen.size * hosts.size > CELLS_MAX or patience.spent():
            break
        effort = solver.Effort(
            deterministic_units_max=1.0,
            seconds_max=patience.seconds_left(),
            seed=int(rng.integers(2**31)),
        )
        patience.steps_left -= 20_000
        at = solver.repair(best, chosen, hosts, effort)
        if at is not None:
            trial = best.copy()
            for item, host in zip(chosen.tolist(), at.tolist(), strict=True):
                trial.place(item, host)
            if limits.hold(trial) and _mandatory_key(trial) < _mandatory_key(best):
                best = trial
        if best.hard_violations() == 0 and best.unmet() == 0.0:
            break
        wider = widened(best, chosen, hosts)
        if wider.size == chosen.size:
            break
        chosen = wider
    return best


def _mandatory_key(layout: Layout) -> tuple[int, float, int, float]:
    return (
        layout.hard_violations(),
        round(layout.unmet(), 9),
        layout.soft_violations(),
        layout.cost_s(),
    )


def _first_that_works(snapshot: Snapshot, policy: Policy, found: Found) -> tuple[Layout, Schedule]:
    """The best layout after scheduling: moves that no order can carry out are not made."""
    tried: list[tuple[Objective, int, Layout, Schedule]] = []
    for rank, layout in enumerate(found.layouts):
        order, whole = _order(snapshot, policy, layout)
        after = Plan(status=PlanStatus.OK, actions=order.actions).placement(snapshot)
        reached = layout if whole else _reached(layout, after)
        tried.append((judge_vms(found.start, after, policy), rank, reached, order))
        if whole:
            break
    _, _, layout, order = min(tried, key=lambda t: t[:2])
    return layout, order


def _order(snapshot: Snapshot, policy: Policy, layout: Layout) -> tuple[Schedule, bool]:
    """A schedule without blocked moves, and whether it is the whole layout.

    What is blocked stays, and with it what it is to be kept together with; the rest is tried again.
    """
    after, urgent = vm_targets(snapshot, layout)
    members = layout.instance.members
    order = schedule(snapshot, policy, layout.instance, after, urgent=urgent)
    whole = not order.blocked
    for _ in range(RESCHEDULES_MAX):
        if not order.blocked:
            return order, whole
        stay = np.isin(members, members[list(order.blocked)])
        after[stay] = snapshot.placement[stay]
        order = schedule(snapshot, policy, layout.instance, after, urgent=urgent)
    return (
        (order, whole)
        if not order.blocked
        else (Schedule(actions=(), blocked=(), makespan_s_min=0.0), False)
    )


def vm_targets(snapshot: Snapshot, layout: Layout) -> tuple[IntArray, frozenset[int]]:
    """(V,) host of each VM in this layout, -1 where not placed, and the VMs whose move is mandatory."""
    members = layout.instance.members
    after = np.where(members >= 0, layout.at[members], -1)
    must = np.flatnonzero((members >= 0) & layout.instance.must_move[members])
    return after, frozenset(must.tolist())


def _reached(layout: Layout, after: IntArray) -> Layout:
    """The layout that VMs at `after` make; a group that is not together is where its home is."""
    instance = layout.instance
    at = instance.home.copy()
    live = instance.members >= 0
    at[instance.members[live]] = after[live]
    split = np.unique(instance.members[live][at[instance.members[live]] != after[live]])
    at[split] = instance.home[split]
    return Layout(instance, at)


def _plan(
    snapshot: Snapshot,
    policy: Policy,
    start: Layout,
    layout: Layout,
    order: Schedule,
    problems: tuple[Problem, ...],
) -> Plan:
    recommendations = explain(snapshot, policy, start, layout, order.actions)
    stuck = layout.hard_violations() > 0
    left = tuple(_left_behind(snapshot, policy, layout)) if stuck else ()
    status = PlanStatus.OK if recommendations else PlanStatus.NOTHING_WORTH_DOING
    if stuck:
        status = PlanStatus.INCOMPLETE
    return Plan(
        status=status,
        recommendations=recommendations,
        actions=order.actions,
        imbalance_before=start.imbalance(),
        imbalance_after=layout.imbalance(),
        problems=(*problems, *left),
    )


def _left_behind(snapshot: Snapshot, policy: Policy, layout: Layout) -> list[Problem]:
    """One problem for each VM that must move and could not, with what keeps it from every host."""
    instance = layout.instance
    stays = instance.must_move & (layout.at == instance.home)
    members = instance.members
    after, _ = vm_targets(snapshot, layout)
    found = []
    for vm in np.flatnonzero((members >= 0) & stays[members]):
        name, host = snapshot.vms[vm], snapshot.hosts[snapshot.placement[vm]]
        why = summary(blockers(snapshot, policy, instance, after, int(vm)))
        text = f"{name} must leave {host} and no host can take it: {why}"
        found.append(
            Problem(kind=ProblemKind.NOTHING_FITS, subject=name, message=text, fatal=False)
        )
    return found
