"""Google's machine reassignment problem (ROADEF/EURO challenge 2012) solved by this library's search.

A process is an item, a machine a host, a service a group; transient resources count twice while a
process moves. The problem statement: "Google ROADEF/EURO challenge 2011-2012: Machine reassignment".
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from drs import anneal, heatbath, kernel
from drs.model import BoolArray, FloatArray, IntArray

# Cumulative chances of the kernel's proposals: shift, swap, away home or elsewhere, trade.
ANNEAL_CHANCES = np.array([0.40, 0.90, 0.95, 1.0])
ANNEAL_STEPS = 20_000
# Cumulative: shift, swap (else drive); of an item on the costlier of two hosts; of going home.
HEATBATH_CHANCES = np.array([0.1, 0.2, 0.5, 0.05])
HEATBATH_STEPS = 1_000
RACE = 0.1  # part of the time in which the searches race


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """A way to search, and the temperatures that it cools between: multiples of a process's initial cost.

    Seen on a1_4, a2_2 and b_1: hotter, the equilibrium is worse than the initial assignment; colder, hardly
    anything is accepted. `draw` (terrain, ground, seed, heat, scale, nothing) is one chunk of it.
    """

    hot: float
    cold: float
    draw: Callable[[kernel.Terrain, kernel.Ground, int, float, FloatArray, FloatArray], int]


def _anneal(
    t: kernel.Terrain,
    g: kernel.Ground,
    seed: int,
    heat: float,
    scale: FloatArray,
    nothing: FloatArray,
) -> int:
    return anneal.anneal(
        t, g, seed, ANNEAL_STEPS, heat, heat, ANNEAL_CHANCES, scale, anneal.BEST_TOTAL, nothing, nothing
    )  # fmt: skip


def _heatbath(
    t: kernel.Terrain,
    g: kernel.Ground,
    seed: int,
    heat: float,
    scale: FloatArray,
    nothing: FloatArray,
) -> int:
    return heatbath.heatbath(
        t, g, seed, HEATBATH_STEPS, heat, HEATBATH_CHANCES, scale, anneal.BEST_TOTAL, nothing, nothing
    )  # fmt: skip


# Random proposals win where there is room (a1_4), ejection chains where all hosts are nearly full (a2_2, b_1).
SEARCHES = (
    Search(hot=1.0, cold=0.002, draw=_anneal),
    Search(hot=0.7, cold=0.01, draw=_heatbath),
)


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
    columns = take(processes * (2 + resources)).reshape(processes, 2 + resources)
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
    machines = problem.capacity.shape[0]
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
        square=np.zeros((1, 1)),
        middle=np.zeros((1, 1)),
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
    progress: Callable[[float, float], None] | None = None,
) -> tuple[IntArray, float]:
    """The best assignment (P,) found in `seconds`, and its cost; feasible if the initial one is.

    The two searches race for RACE of the time, each with a short cooling of its own; the one that
    is ahead has the rest, in `workers` threads with seeds of their own (compiled code runs without the
    interpreter's lock). What is found depends on the machine's speed.
    """
    begin_s = time.perf_counter()
    if not problem.initial.size:
        return problem.initial, 0.0
    terrain = terrain_of(problem)
    for search in SEARCHES:  # compiled before the clock of a race decides anything
        _cool(problem, terrain, search, seed=(seed,), begin_s=begin_s, end_s=begin_s)
    end_s = begin_s + seconds
    now_s = time.perf_counter()
    race_s = now_s + RACE * max(end_s - now_s, 0.0)

    def report(part: float, cost: float) -> None:
        if progress is not None:
            progress(part, cost)

    with ThreadPoolExecutor(workers) as pool:
        # One thread has the searches one after another; two or more have them side by side.
        turns = (
            [now_s + (race_s - now_s) * k / len(SEARCHES) for k in (1, 2)]
            if workers == 1
            else [race_s] * 2
        )
        first = [
            pool.submit(
                _cool, problem, terrain, search, seed=(seed, k),
                begin_s=turns[0] if workers == 1 and k else now_s, end_s=turns[k],
            )
            for k, search in enumerate(SEARCHES)
        ]  # fmt: skip
        raced = [run.result() for run in first]
        ahead = min(range(len(SEARCHES)), key=lambda k: raced[k][0])
        now_s = time.perf_counter()
        rest = [
            pool.submit(
                _cool, problem, terrain, SEARCHES[ahead], seed=(seed, len(SEARCHES) + k),
                begin_s=now_s, end_s=end_s, progress=report if k == 0 else None,
            )
            for k in range(workers)
        ]  # fmt: skip
        cost, at = min([*raced, *(run.result() for run in rest)], key=lambda found: found[0])
    return at, cost


def _cool(
    problem: Reassignment,
    terrain: kernel.Terrain,
    search: Search,
    *,
    seed: tuple[int, ...],
    begin_s: float,
    end_s: float,
    progress: Callable[[float, float], None] | None = None,
) -> tuple[float, IntArray]:
    """One search from the initial assignment, cooled geometrically from `begin_s` to `end_s`; at least a chunk."""
    rng = np.random.default_rng(seed)
    sites, nears = int(problem.site.max()) + 1, int(problem.near.max()) + 1
    no_scale, nothing = np.zeros((problem.capacity.shape[0], 0)), np.zeros(0)
    ground = kernel.ground(terrain, problem.initial, sites, nears, 0, no_scale)
    unit = float(ground.sums[kernel.TOTAL]) / problem.initial.size
    part = 0.0
    while True:
        heat = max(unit * search.hot * (search.cold / search.hot) ** part, 1e-9)
        search.draw(terrain, ground, int(rng.integers(2**31)), heat, no_scale, nothing)
        if progress is not None:
            progress(part, float(ground.sums[kernel.BEST]))
        now_s = time.perf_counter()
        if now_s >= end_s:
            return float(ground.sums[kernel.BEST]), ground.best_at
        part = min(max((now_s - begin_s) / (end_s - begin_s), 0.0), 1.0)
