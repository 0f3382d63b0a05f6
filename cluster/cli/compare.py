"""`vmotion compare`: policies side by side on one scenario, the scenario's own as the baseline."""

import json
import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean

import numpy as np
from rich.console import Console
from rich.table import Table

from cluster.cli.exit_status import BAD_INPUT, DONE, FAILED, INTERRUPTED
from cluster.cli.run import complain, load_scenario
from cluster.inventory.model import Scenario
from cluster.simulation.policies import (
    BadPolicy,
    Objective,
    Policy,
    objective_value,
    read_policy,
    with_policy,
)
from cluster.simulation.run import simulate
from cluster.simulation.seat import WorldBroken

BASELINE = "as in the scenario"
Figures = dict[Objective, list[float]]


def compare_command(
    policies: Sequence[str], path: str, *, seeds: int, as_json: bool, duration_s: float | None
) -> int:
    """Simulate a scenario under each policy and print the figures; return the exit status."""
    scenario = load_scenario(path, seed=None, duration_s=duration_s)
    wanted: dict[str, Scenario] = {}
    try:
        # Policies are judged also where the scenario cannot be: all problems at once.
        wanted = _wanted(scenario or Scenario(name="none", duration_s=1.0), policies)
    except BadPolicy as bad:
        for problem in bad.problems:
            print(f"vmotion: {problem}", file=sys.stderr)
    if scenario is None or not wanted:
        return BAD_INPUT
    console = Console(file=sys.stderr if as_json else sys.stdout, highlight=False)
    found: dict[str, Figures] = {}
    try:
        for name, changed in wanted.items():
            console.print(f"simulating {name}, {seeds} seeds", highlight=False)
            found[name] = figures(changed, seeds)
    except (WorldBroken, RunFailed) as error:
        return complain(str(error), FAILED)
    except KeyboardInterrupt:
        console.print("interrupted; this is what there is")
    if as_json:
        print(json.dumps({n: _as_json(f) for n, f in found.items()}, indent=2))
    elif found:
        console.print(_table(found))
    return DONE if len(found) == len(wanted) else INTERRUPTED


class RunFailed(Exception):
    """A simulation has failed; the message says why."""


def figures(scenario: Scenario, seeds: int) -> Figures:
    """Return every objective's value for each of so many seeds, from the scenario's on.

    Raises:
        RunFailed: If a simulation failed: its figures would be another experiment's.
    """
    found: Figures = {objective: [] for objective in Objective}
    for seed in range(scenario.seed, scenario.seed + seeds):
        run = simulate(replace(scenario, seed=seed))
        if run.interrupted:
            raise KeyboardInterrupt
        if run.failures:
            raise RunFailed("; ".join(run.failures))
        for objective, values in found.items():
            values.append(objective_value(run.summary, objective))
    return found


def spread(values: Sequence[float]) -> float:
    """Return the standard deviation over the seeds; nan if a value is not known."""
    return float(np.std(values))


def _wanted(scenario: Scenario, policies: Sequence[str]) -> dict[str, Scenario]:
    problems: list[str] = []
    wanted = {BASELINE: scenario}
    for name in policies:
        try:
            policy: Policy = read_policy(Path(name))
            wanted[name] = with_policy(scenario, policy)
        except BadPolicy as bad:
            problems += bad.problems
    if problems:
        raise BadPolicy(problems)
    return wanted


def _as_json(found: Figures) -> dict[str, dict[str, float | None]]:
    return {
        objective.value: {"mean": _number(mean(values)), "spread": _number(spread(values))}
        for objective, values in found.items()
    }


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


def _table(found: dict[str, Figures]) -> Table:
    table = Table(title="mean ± standard deviation over seeds; less is better")
    table.add_column("policy")
    known = [o for o in Objective if not any(math.isnan(v) for f in found.values() for v in f[o])]
    for objective in known:
        table.add_column(objective.value, justify="right")
    for name, values in found.items():
        table.add_row(name, *(f"{mean(values[o]):.4g} ± {spread(values[o]):.2g}" for o in known))
    return table
