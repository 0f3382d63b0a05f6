"""The CP-SAT models: repair with the fewest moves, and exact re-optimisation of a neighbourhood.

The only importer of OR-Tools. Both answers are proposals: the caller judges them by the objective
and keeps what it had unless they are better, so a wrong answer here costs time and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from ortools.sat.python import cp_model

from drs.layout import Layout
from drs.model import FloatArray, IntArray

UNIT = 10_000  # of a host's capacity, for peaks
GRAIN = (
    1_000_000  # of a host's capacity, for squares: 1e12 a term leaves room for thousands of terms
)
HARD, OVERLOAD = 10**12, 10**9  # a broken rule; a whole host of overload
ALLOWANCE_MAX = 2**62  # a VM out of all proportion to its host makes any placement uneven
LOAD_MAX = 100.0  # squares of larger ones would not fit CP-SAT's whole numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How long one model may be worked on. Deterministic units are CP-SAT's, about a second each."""

    deterministic_units_max: float = 1.0
    seconds_max: float | None = None
    seed: int = 0


@dataclass(slots=True, kw_only=True)
class _Model:
    model: cp_model.CpModel
    placed: dict[tuple[int, int], cp_model.IntVar]
    items: IntArray
    hosts: IntArray


def repair(layout: Layout, items: IntArray, hosts: IntArray, effort: Effort) -> IntArray | None:
    """Hosts (k,) for `items` (k,) that break the fewest hard rules, then overload least, then cost least.

    The other items stay. Each item may stay where it is or go to one of `hosts`; among equals the
    fullest host is as empty as possible. Two solves, because one weighted sum of all that would
    leave 64 bits. None when CP-SAT found nothing in its time.
    """
    built = _variables(layout, items, hosts, balance=False)
    model, instance = built.model, layout.instance
    rest = _rest(layout, items)
    broken: list[tuple[cp_model.IntVar, int]] = []
    peak = model.new_int_var(0, 20 * UNIT, "peak")
    for column in range(instance.use.shape[1]):
        sizes, scale = _integers(instance.use[items, column], instance.capacity[:, column])
        for host in built.hosts.tolist():
            limit, room = (
                int(np.floor(whole[host, column] * scale * (1.0 + 1e-9)))
                for whole in (instance.capacity, instance.room)
            )
            held = int(np.ceil(rest[host, column] * scale * (1.0 - 1e-12)))
            terms = sum(
                int(size) * built.placed[i, host]
                for i, size in zip(items.tolist(), sizes.tolist(), strict=True)
                if (i, host) in built.placed
            )
            # An overload may remain or shrink; none may be made, whatever rule it would mend.
            now = held + int(sizes[layout.at[items] == host].sum())
            over = model.new_int_var(0, max(now - limit, 0), "")
            model.add(terms + held <= limit + over)
            if room < limit:
                model.add(terms + held <= max(room, now))
            # Relative to the host, so that a MiB too much does not count like a MHz.
            broken.append((over, max(OVERLOAD // max(limit, 1), 1)))
            if column < instance.resources and instance.weight[column] > 0.0 and limit > 0:
                model.add(UNIT * (terms + held) <= peak * limit + UNIT * over)
    broken += _groups(layout, built, soften=True)
    for item in items[instance.must_move[items]].tolist():
        stays = built.placed.get((item, int(instance.home[item])))
        if stays is not None:
            broken.append((stays, HARD))
    wrong = cp_model.LinearExpr.weighted_sum([v for v, _ in broken], [w for _, w in broken])
    model.minimize(wrong)
    solver = _solver(effort)
    if solver.solve(model) not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return None
    model.add(wrong <= round(solver.objective_value))
    model.clear_hints()
    for chosen in built.placed.values():
        model.add_hint(chosen, solver.boolean_value(chosen))
    # A millionth of all there is to pay: the grain of the cost. The peak only decides between equals.
    unit_s = max(float(instance.cost_s[items].sum()), 1e-9) / 1e6
    away = [
        (round(float(instance.cost_s[i]) / unit_s), x)
        for (i, h), x in built.placed.items()
        if h != instance.home[i]
    ]
    model.minimize(sum(40 * UNIT * price * x for price, x in away) + peak)
    return _solve(built, layout, effort)


def rebalance(
    layout: Layout, hosts: IntArray, uneven_max: float | None, moves_max: int, effort: Effort
) -> IntArray | None:
    """Hosts (items,) for the movable items on `hosts` (k,), among those hosts.

    The cheapest placement whose weighted sum of squared deviations over these hosts is within
    `uneven_max`; without one the placement with the smallest such sum. At most `moves_max` VMs
    away from home. Loads are rounded to 1e-6 of a host, so the caller must judge.
    """
    items = neighbourhood_items(layout, hosts)
    built = _variables(layout, items, hosts, balance=True)
    model, instance = built.model, layout.instance
    rest = _rest(layout, items)
    squares: list[cp_model.IntVar] = []
    weights: list[int] = []
    for column in range(instance.use.shape[1]):
        for host in built.hosts.tolist():
            capacity = float(instance.capacity[host, column])
            if capacity <= 0.0:
                continue
            largest = float(instance.use[items, column].max())
            if max(float(layout.used[host, column]), largest) > LOAD_MAX * capacity:
                # Out of all proportion to a VM here: nothing may come, and its load does not count.
                for item in items[layout.at[items] != host].tolist():
                    if (item, host) in built.placed:
                        model.add(built.placed[item, host] == 0)
                continue
            sizes = np.round(instance.use[items, column] / capacity * GRAIN).astype(np.int64)
            held = round(float(rest[host, column]) / capacity * GRAIN)
            terms = sum(
                int(size) * built.placed[i, host]
                for i, size in zip(items.tolist(), sizes.tolist(), strict=True)
                if (i, host) in built.placed
            )
            room = round(float(instance.room[host, column]) / capacity * GRAIN)
            now = held + int(sizes[layout.at[items] == host].sum())
            full = max(max(room, min(now, GRAIN)) + items.size, held)
            model.add(terms + held <= full)
            if column < instance.resources and instance.weight[column] > 0.0:
                even = round(float(layout.even[column]) * GRAIN)
                bound = max(even, full - even)
                deviation = model.new_int_var(-even, full - even, "")
                model.add(deviation == terms + held - even)
                square = model.new_int_var(0, bound * bound, "")
                model.add_multiplication_equality(square, [deviation, deviation])
                squares.append(square)
                weights.append(max(round(float(instance.weight[column]) * 1000), 1))
    uneven = cp_model.LinearExpr.weighted_sum(squares, weights)
    _groups(layout, built, soften=False)
    away = [(i, h, x) for (i, h), x in built.placed.items() if h != instance.home[i]]
    model.add(sum(int(instance.moves[i]) * x for i, _, x in away) <= moves_max)
    if uneven_max is None:
        model.minimize(uneven)
    else:
        # The slack is what rounding may cost: without it an equally even placement is lost.
        allowance = int((uneven_max + 1e-7) * 1000 * GRAIN * GRAIN)
        model.add(uneven <= min(allowance, ALLOWANCE_MAX))
        model.minimize(sum(max(round(float(instance.cost_s[i]) * 1e6), 1) * x for i, _, x in away))
    return _solve(built, layout, effort)


def neighbourhood_items(layout: Layout, hosts: IntArray) -> IntArray:
    """The items that `rebalance` decides: movable ones that are on these hosts."""
    instance = layout.instance
    free = (
        instance.movable & ~instance.resting & ~(instance.must_move & (layout.at == instance.home))
    )
    return np.flatnonzero(free & np.isin(layout.at, hosts))


def _variables(layout: Layout, items: IntArray, hosts: IntArray, *, balance: bool) -> _Model:
    instance = layout.instance
    allowed = instance.preferred if balance else instance.permitted
    model = cp_model.CpModel()
    placed: dict[tuple[int, int], cp_model.IntVar] = {}
    everywhere = np.union1d(hosts, layout.at[items])
    for item in items.tolist():
        here = int(layout.at[item])
        home = int(instance.home[item])
        options = {here, *(h for h in hosts.tolist() if allowed[item, h])}
        if home in hosts:
            options.add(home)
        for host in sorted(options):
            placed[item, host] = model.new_bool_var("")
            model.add_hint(placed[item, host], host == here)
        model.add_exactly_one(placed[item, h] for h in sorted(options))
    return _Model(model=model, placed=placed, items=items, hosts=everywhere)


def _rest(layout: Layout, items: IntArray) -> FloatArray:
    """(H,C) what the hosts hold without these items."""
    rest: FloatArray = layout.used.copy()
    np.subtract.at(rest, layout.at[items], layout.instance.use[items])
    return np.maximum(rest, 0.0)


def _integers(values: FloatArray, capacity: FloatArray) -> tuple[IntArray, float]:
    """Whole numbers for CP-SAT: exact where all are whole already, else millionths of the largest host."""
    top = max(float(capacity.max(initial=0.0)), 1e-300)
    if top < 2**40 and (values == np.round(values)).all():
        return values.astype(np.int64), 1.0
    scale = 1e6 / top
    return np.ceil(values * scale * (1.0 - 1e-12)).astype(np.int64), scale


def _groups(layout: Layout, built: _Model, *, soften: bool) -> list[tuple[cp_model.IntVar, int]]:
    """At most `most` of a group in a domain. Softened: MUST rules at a price, SHOULD rules not at all."""
    chosen = set(built.items.tolist())
    hosts_of: dict[int, list[int]] = {}
    for item, host in built.placed:
        hosts_of.setdefault(item, []).append(host)
    prices: list[tuple[cp_model.IntVar, int]] = []
    for g in sorted({g for item in chosen for g in layout.groups_of.get(item, ())}):
        e = layout.instance.exclusions[g]
        if not e.hard and soften:
            continue
        members = e.items.tolist()
        inside = [i for i in members if i in chosen]
        others = np.array([i for i in members if i not in chosen], np.int64)
        fixed = np.bincount(e.domain[layout.at[others]], minlength=e.domain.size)
        by_domain: dict[int, list[cp_model.IntVar]] = {}
        for item in inside:
            for host in hosts_of[item]:
                by_domain.setdefault(int(e.domain[host]), []).append(built.placed[item, host])
        for domain, variables in by_domain.items():
            free = e.most - int(fixed[domain])
            if soften:
                over = built.model.new_int_var(0, len(members), "")
                built.model.add(sum(variables) <= free + over)
                prices.append((over, HARD))
            else:
                # Where it is broken already it must not get worse.
                now = sum(1 for i in inside if e.domain[layout.at[i]] == domain)
                built.model.add(sum(variables) <= max(free, now))
    return prices


def _solver(effort: Effort) -> cp_model.CpSolver:
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = effort.seed
    # Ctrl-C is the caller's: the solver would take the signal and leave the default behind.
    solver.parameters.catch_sigint_signal = False
    solver.parameters.max_deterministic_time = effort.deterministic_units_max
    if effort.seconds_max is not None:
        solver.parameters.max_time_in_seconds = max(effort.seconds_max, 0.01)
    return solver


def _solve(built: _Model, layout: Layout, effort: Effort) -> IntArray | None:
    solver = _solver(effort)
    if solver.solve(built.model) not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return None
    at = layout.at[built.items].copy()
    position = {item: k for k, item in enumerate(built.items.tolist())}
    for (item, host), chosen in built.placed.items():
        if solver.boolean_value(chosen):
            at[position[item]] = host
    return at


def conflict_core(
    *,
    use: FloatArray,
    capacity: FloatArray,
    allowed: NDArray[np.bool_],
    groups: list[tuple[str, list[int], list[int], int]],
    seconds_max: float,
) -> list[tuple[str, int]] | None:
    """A minimal set of ("rule" | "capacity" | "allowed", index) that cannot hold together, or None.

    use (V,R), capacity (H,R), allowed (V,H). CP-SAT names a sufficient set of assumptions; each of
    its members is then left out in turn and stays out when the rest is still infeasible.
    """
    everything = [("rule", k) for k in range(len(groups))]
    everything += [("capacity", k) for k in range(use.shape[1])]
    everything.append(("allowed", 0))
    core = _infeasible_with(everything, use, capacity, allowed, groups, seconds_max)
    if core is None:
        return None
    for part in list(core):
        smaller = _infeasible_with(
            [p for p in core if p != part], use, capacity, allowed, groups, seconds_max
        )
        if smaller is not None:
            core = smaller
    return core


def _infeasible_with(
    wanted: list[tuple[str, int]],
    use: FloatArray,
    capacity: FloatArray,
    allowed: NDArray[np.bool_],
    groups: list[tuple[str, list[int], list[int], int]],
    seconds_max: float,
) -> list[tuple[str, int]] | None:
    """Those of `wanted` that suffice for infeasibility; None when they can hold or time ran out."""
    model = cp_model.CpModel()
    vms, hosts = allowed.shape
    x = [[model.new_bool_var("") for _ in range(hosts)] for _ in range(vms)]
    for row in x:
        model.add_exactly_one(row)
    literal = {part: model.new_bool_var("") for part in wanted}
    by_index = {chosen.index: part for part, chosen in literal.items()}
    for (kind, k), chosen in literal.items():
        match kind:
            case "capacity":
                sizes, scale = _integers(use[:, k], capacity[:, k])
                for h in range(hosts):
                    room = int(np.floor(capacity[h, k] * scale * (1.0 + 1e-9)))
                    model.add(
                        sum(int(sizes[v]) * x[v][h] for v in range(vms)) <= room
                    ).only_enforce_if(chosen)
            case "allowed":
                for v, h in zip(*np.nonzero(~allowed), strict=True):
                    model.add_implication(chosen, x[v][h].negated())
            case _:
                _add_rule(model, x, chosen, groups[k])
    model.add_assumptions(list(literal.values()))
    solver = _solver(Effort(deterministic_units_max=seconds_max, seconds_max=seconds_max))
    if solver.solve(model) != cp_model.INFEASIBLE:
        return None
    named = {by_index[i] for i in solver.sufficient_assumptions_for_infeasibility()}
    return [part for part in wanted if part in named]


def _add_rule(
    model: cp_model.CpModel,
    x: list[list[cp_model.IntVar]],
    chosen: cp_model.IntVar,
    group: tuple[str, list[int], list[int], int],
) -> None:
    kind, members, number, most = group
    match kind:
        case "together":
            for a, b in pairwise(members):
                for h in range(len(number)):
                    model.add(x[a][h] == x[b][h]).only_enforce_if(chosen)
        case "apart":
            for domain in sorted(set(number)):
                inside = [
                    x[v][h] for v in members for h in range(len(number)) if number[h] == domain
                ]
                model.add(sum(inside) <= most).only_enforce_if(chosen)
        case _:
            for v in members:
                for h, inside_group in enumerate(number):
                    if not inside_group:
                        model.add_implication(chosen, x[v][h].negated())
