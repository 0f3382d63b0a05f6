"""Google's machine reassignment problem (ROADEF/EURO challenge 2012) solved by this library's search.

A process is an item, a machine a host, a service a group; transient resources count twice while a
process moves. The problem statement: "Google ROADEF/EURO challenge 2011-2012: Machine reassignment".
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from drs import anneal, kernel
from drs.model import BoolArray, FloatArray, IntArray

# Cumulative chances of the kernel's proposals: shift, swap, away home or elsewhere, trade.
CHANCES = np.array([0.40, 0.90, 0.95, 1.0])
CHUNK_STEPS = 200_000
# Temperatures as multiples of the initial cost of a process. Above HOT the equilibrium is worse than
# the initial assignment (seen on a1_4, a2_2, a2_5 and b_1), below COLD hardly anything is accepted.
HOT, COLD, FROZEN = 6.0, 6e-3, 6e-6
FREEZING = 0.9  # part of the time after which it cools from COLD to FROZEN


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reassignment:
    """One instance: M machines, R resources, S services, P processes, B balance pairs."""

    transient: BoolArray
    load_weight: FloatArray
    near: IntArray
    site: IntArray
    capacity: FloatArray
    safety: FloatArray
    travel: FloatArray
    sites_min: IntArray
    needs: tuple[tuple[int, ...], ...]
    service: IntArray
    use: FloatArray
    move_cost: FloatArray
    pair_columns: IntArray
    pair_ratio: FloatArray
    pair_weight: FloatArray
    process_weight: float
    service_weight: float
    machine_weight: float
    initial: IntArray


def read(model: Path, assignment: Path) -> Reassignment:
    """Reads an instance in the official format; ValueError when the file ends early or goes on."""
    numbers = np.array(model.read_text(encoding="ascii").split(), np.int64)
    at = 0

    def take(count: int) -> IntArray:
        nonlocal at
        if at + count > numbers.size:
            raise ValueError(f"{model}: ends early")
        at += count
        return numbers[at - count : at]

    resources = int(take(1)[0])
    kinds = take(2 * resources).reshape(-1, 2)
    machines = int(take(1)[0])
    rows = take(machines * (2 + 2 * resources + machines)).reshape(machines, -1)
    services = int(take(1)[0])
    sites_min = np.zeros(services, np.int64)
    needs: list[tuple[int, ...]] = []
    for s in range(services):
        sites_min[s], count = take(2)
        needs.append(tuple(take(int(count)).tolist()))
    processes = int(take(1)[0])
    columns = take(processes * (2 + resources)).reshape(processes, -1)
    pairs = take(4 * int(take(1)[0])).reshape(-1, 4)
    weights = take(3)
    if at != numbers.size:
        raise ValueError(f"{model}: {numbers.size - at} numbers too many")
    initial = np.array(assignment.read_text(encoding="ascii").split(), np.int64)
    if initial.size != processes or ((initial < 0) | (initial >= machines)).any():
        raise ValueError(
            f"{assignment}: not an assignment of {processes} processes to {machines} machines"
        )
    return Reassignment(
        transient=kinds[:, 0] != 0,
        load_weight=kinds[:, 1].astype(np.float64),
        near=rows[:, 0].copy(),
        site=rows[:, 1].copy(),
        capacity=rows[:, 2 : 2 + resources].astype(np.float64),
        safety=rows[:, 2 + resources : 2 + 2 * resources].astype(np.float64),
        travel=rows[:, 2 + 2 * resources :].astype(np.float64),
        sites_min=sites_min,
        needs=tuple(needs),
        service=columns[:, 0].copy(),
        use=columns[:, 1 : 1 + resources].astype(np.float64),
        move_cost=columns[:, 1 + resources].astype(np.float64),
        pair_columns=pairs[:, :2].copy(),
        pair_ratio=pairs[:, 2].astype(np.float64),
        pair_weight=pairs[:, 3].astype(np.float64),
        process_weight=float(weights[0]),
        service_weight=float(weights[1]),
        machine_weight=float(weights[2]),
        initial=initial,
    )


def terrain_of(problem: Reassignment) -> kernel.Terrain:
    """The kernel's view of an instance. All numbers are whole and below 2^53, so sums are exact."""
    machines, resources = problem.capacity.shape
    services = problem.sites_min.size
    needed: list[list[int]] = [[] for _ in range(services)]
    for s, others in enumerate(problem.needs):
        for other in others:
            needed[other].append(s)
    depends = any(problem.needs)
    none = np.zeros(1, np.int64)
    return kernel.Terrain(
        use=problem.use,
        capacity=problem.capacity,
        home=problem.initial,
        free=np.arange(problem.initial.size),
        allowed=np.ones((1, 1), np.bool_),
        transient=problem.transient,
        square=np.zeros((machines, resources)),
        middle=np.zeros((machines, resources)),
        slope=problem.load_weight,
        knee=problem.safety,
        pair_columns=problem.pair_columns,
        pair_ratio=problem.pair_ratio,
        pair_weight=problem.pair_weight,
        room=problem.capacity,
        away_cost=problem.process_weight * problem.move_cost,
        travel=problem.machine_weight * problem.travel,
        moves=np.ones(problem.initial.size, np.int64),
        group_start=np.arange(problem.initial.size + 1),
        group_list=problem.service,
        domain=np.arange(machines).reshape(1, -1),
        domain_kind=np.zeros(services, np.int64),
        most=np.ones(services, np.int64),
        site=problem.site,
        sites_min=problem.sites_min,
        near=problem.near,
        needs_start=np.cumsum([0, *map(len, problem.needs)]) if depends else none,
        needs_list=np.array([s for others in problem.needs for s in others], np.int64),
        needed_start=np.cumsum([0, *map(len, needed)]) if depends else none,
        needed_list=np.array([s for others in needed for s in others], np.int64),
        service_weight=problem.service_weight,
        moves_max=2**62,
        moves_per_host_max=2**62,
    )


def solve(
    problem: Reassignment,
    *,
    seconds: float,
    seed: int,
    workers: int = 2,
    chances: FloatArray = CHANCES,
    progress: Callable[[float, float], None] | None = None,
) -> tuple[IntArray, float]:
    """The best assignment (P,) found in `seconds`, and its cost; feasible if the initial one is.

    Independent annealings in `workers` threads (the compiled search runs without the interpreter's
    lock); the best wins. What is found depends on the machine's speed.
    """
    begin_s = time.perf_counter()
    if not problem.initial.size:
        return problem.initial, 0.0
    terrain = terrain_of(problem)
    sites, nears = int(problem.site.max()) + 1, int(problem.near.max()) + 1
    no_scale, nothing = np.zeros((problem.capacity.shape[0], 0)), np.zeros(0)

    def run(worker: int) -> tuple[float, IntArray]:
        rng = np.random.default_rng((seed, worker))
        ground = kernel.ground(terrain, problem.initial, sites, nears, 0, no_scale)
        unit = float(ground.sums[kernel.TOTAL]) / problem.initial.size
        while True:
            part = (time.perf_counter() - begin_s) / seconds
            if part >= 1.0:
                return float(ground.sums[kernel.BEST]), ground.best_at
            heat = max(unit * _temperature(part), 1e-9)
            anneal.anneal(
                terrain, ground, int(rng.integers(2**31)), CHUNK_STEPS, heat, heat,
                chances, no_scale, anneal.BEST_TOTAL, nothing, nothing,
            )  # fmt: skip
            if progress is not None and worker == 0:
                progress(part, float(ground.sums[kernel.BEST]))

    with ThreadPoolExecutor(workers) as pool:
        cost, at = min(pool.map(run, range(workers)), key=lambda found: found[0])
    return at, cost


def _temperature(part: float) -> float:
    """From HOT to COLD geometrically, then quickly to FROZEN; part in 0 ... 1 of the time."""
    if part < FREEZING:
        return HOT * math.pow(COLD / HOT, part / FREEZING)
    return COLD * math.pow(FROZEN / COLD, (part - FREEZING) / (1.0 - FREEZING))
