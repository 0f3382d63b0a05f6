"""Models of two other balancers, written anew from their published descriptions, to measure ours against.

Not their code, and not a benchmark. Their own pre-processing, filters and fallbacks are not here, so a
figure made with this says what the model does when it is solved as a whole, not how the product behaves.
"""

from __future__ import annotations

import numpy as np
from ortools.linear_solver import pywraplp
from ortools.sat.python import cp_model

from drs import Action, AntiAffinity, Move, Plan, PlanStatus, Snapshot

GRANULES = 100_000  # CP-SAT counts in whole numbers: parts of a host's capacity


def _apart(snapshot: Snapshot) -> list[list[int]]:
    at = {name: i for i, name in enumerate(snapshot.vms)}
    return [[at[vm] for vm in r.vms] for r in snapshot.rules if isinstance(r, AntiAffinity)]


def proxlb_solver(snapshot: Snapshot, *, seconds: float, workers: int) -> tuple[Plan, str]:
    """credativ/proxlb-solver with its defaults: CP-SAT over the whole cluster, memory, balanciness 3.

    min 10 * 1e4 * (max_h L_h - min_h L_h) + 10 * sum of max(1, RAM / 256 MiB) over moved VMs, L_h =
    sum of 2 * memory / capacity (priority 2); keep-apart and memory hard. Begins with a hint of staying.
    """
    memory = snapshot.resources.index("memory_mib")
    hosts, vms = len(snapshot.hosts), len(snapshot.vms)
    model = cp_model.CpModel()
    x = [[model.new_bool_var("") for _ in range(hosts)] for _ in range(vms)]
    part = np.round(snapshot.demand[:, [memory]] / snapshot.capacity[:, memory] * GRANULES).astype(
        int
    )
    high, low = model.new_int_var(0, GRANULES, ""), model.new_int_var(0, GRANULES, "")
    for v in range(vms):
        model.add_exactly_one(x[v])
    for h in range(hosts):
        load = sum(int(part[v, h]) * x[v][h] for v in range(vms))
        model.add(load <= high)
        model.add(load >= low)
    for group in _apart(snapshot):
        for h in range(hosts):
            model.add_at_most_one(x[v][h] for v in group)
    cost = []
    for v, home in enumerate(snapshot.placement.tolist()):
        blocks = max(1, round(float(snapshot.memory_bytes[v]) / 2**28))
        cost.append(10 * blocks * (1 - x[v][home]))
        for h in range(hosts):
            model.add_hint(x[v][h], h == home)
    now = np.bincount(
        snapshot.placement, weights=part[np.arange(vms), snapshot.placement], minlength=hosts
    )
    model.add_hint(high, int(now.max()))
    model.add_hint(low, int(now.min()))
    # 10 * 1e4 * 2 * gap / GRANULES, in whole numbers.
    model.minimize(200_000 // GRANULES * (high - low) + sum(cost))
    solver = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds = seconds
    solver.parameters.num_workers = workers
    status = solver.solve(model)
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return _plan(snapshot, snapshot.placement), solver.status_name(status)
    after = [next(h for h in range(hosts) if solver.boolean_value(x[v][h])) for v in range(vms)]
    return _plan(snapshot, np.array(after)), solver.status_name(status)


def onedrs(snapshot: Snapshot, *, seconds: float) -> tuple[Plan, str]:
    """OpenNebula's OneDRS with memory and CPU balanced alike: one ILP, solved with CBC.

    min sum over resources of 1/2 * the largest load + 0.01 * moves / (2 * VMs + 1); keep-apart and room hard.
    """
    hosts, vms = len(snapshot.hosts), len(snapshot.vms)
    solver = pywraplp.Solver.CreateSolver("CBC")
    x = [[solver.BoolVar("") for _ in range(hosts)] for _ in range(vms)]
    for v in range(vms):
        solver.Add(sum(x[v]) == 1)
    peaks = [solver.NumVar(0.0, 1.0, "") for _ in snapshot.resources]
    for r, peak in enumerate(peaks):
        for h in range(hosts):
            part = snapshot.demand[:, r] / snapshot.capacity[h, r]
            solver.Add(sum(float(part[v]) * x[v][h] for v in range(vms)) <= peak)
    for group in _apart(snapshot):
        for h in range(hosts):
            solver.Add(sum(x[v][h] for v in group) <= 1)
    moves = sum(1 - x[v][home] for v, home in enumerate(snapshot.placement.tolist()))
    solver.Minimize(sum(peaks) * (1.0 / len(peaks)) + moves * (0.01 / (2 * vms + 1)))
    solver.SetTimeLimit(round(seconds * 1000))
    status = solver.Solve()
    names = {pywraplp.Solver.OPTIMAL: "OPTIMAL", pywraplp.Solver.FEASIBLE: "FEASIBLE"}
    if status not in names:
        return _plan(snapshot, snapshot.placement), "NOTHING"
    after = [int(np.argmax([x[v][h].solution_value() for h in range(hosts)])) for v in range(vms)]
    return _plan(snapshot, np.array(after)), names[status]


def _plan(snapshot: Snapshot, after: np.ndarray) -> Plan:
    """The peers' answer is a placement: its moves one after another, in no particular order."""
    moved = np.flatnonzero(after != snapshot.placement).tolist()
    return Plan(
        status=PlanStatus.OK,
        actions=tuple(
            Action(
                move=Move(vm=v, source=int(snapshot.placement[v]), destination=int(after[v])),
                order=k,
                start_s=float(k),
                end_s=float(k + 1),
            )
            for k, v in enumerate(moved)
        ),
    )
