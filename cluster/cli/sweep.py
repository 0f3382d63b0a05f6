"""`vmotion sweep`: a scenario under every combination of its parameters, side by side on Ray."""

import os
import secrets
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console

from cluster.actors.fanout import FanOut
from cluster.actors.session import NoRay, ray_session
from cluster.cli.exit_status import BAD_INPUT, DONE, FAILED, INTERRUPTED
from cluster.cli.run import complain
from cluster.inventory.model import Scenario
from cluster.inventory.problems import ScenarioProblems
from cluster.inventory.scenario import load
from cluster.inventory.settings import Setting
from cluster.observe.rows import to_json
from cluster.simulation.run import simulate
from cluster.simulation.seat import WorldBroken
from cluster.simulation.sweeps import (
    BadSweep,
    Row,
    Varied,
    columns,
    combinations,
    flat,
    read_varied,
    settings_of,
)

_WAIT_S = 0.5


def one_run(scenario: Scenario) -> Row:
    """Simulate a scenario; return its summary as one row, with the CPU time that it took."""
    began_s = time.process_time()
    try:
        run = simulate(scenario)
    except WorldBroken as error:
        return {"failed": str(error)}
    took_s = time.process_time() - began_s
    return {"failed": "; ".join(run.failures), "cpu_s": took_s, **flat(to_json(run.summary))}


def sweep_command(
    path: str,
    *,
    vary: Sequence[str],
    seeds: int,
    out: str,
    ray_address: str | None,
) -> int:
    """Simulate every combination and write one table; return the exit status."""
    try:
        varied = read_varied(vary, seeds=seeds)
    except BadSweep as bad:
        for problem in bad.problems:
            print(f"vmotion: {problem}", file=sys.stderr)
        return BAD_INPUT
    chosen = list(combinations(varied))
    if problems := _problems(path, varied, chosen):
        for problem in problems:
            print(problem, file=sys.stderr)
        return BAD_INPUT
    console = Console(highlight=False)
    rows: list[Row] = []
    status = DONE
    try:
        # What cannot be written should be said before an hour of simulations.
        Path(out).absolute().parent.mkdir(parents=True, exist_ok=True)
        with ray_session(ray_address, namespace=f"vmotion-sweep-{secrets.token_hex(4)}"):
            status = _fan_out(path, varied, chosen, seeds, rows, console)
        if rows:
            _write(Path(out), rows)
    except NoRay as error:
        return complain(str(error), FAILED)
    except OSError as error:
        return complain(f"{error.filename or out}: {error.strerror}", FAILED)
    console.print(f"{len(rows)} runs: {out}")
    failed = [row for row in rows if row.get("failed")]
    for row in failed:
        print(f"vmotion: a run has failed: {row}", file=sys.stderr)
    return FAILED if failed and status == DONE else status


def _problems(
    path: str, varied: Sequence[Varied], chosen: Sequence[Mapping[str, Setting]]
) -> list[str]:
    """Everything that is wrong with any combination, each once."""
    found: dict[str, None] = {}
    for one in chosen:
        try:
            load(path, settings=settings_of(varied, one))
        except ScenarioProblems as problems:
            found.update(dict.fromkeys(map(str, problems.problems)))
    return list(found)


def _fan_out(
    path: str,
    varied: Sequence[Varied],
    chosen: Sequence[Mapping[str, Setting]],
    seeds: int,
    rows: list[Row],
    console: Console,
) -> int:
    fan: FanOut[Row] = FanOut(one_run)
    wanted = [(one, seed) for one in chosen for seed in range(seeds)]
    done: dict[int, Row] = {}
    status, asked = DONE, 0
    try:
        while len(done) < len(wanted):
            while asked < len(wanted) and len(fan) < fan.at_once_max:
                one, seed = wanted[asked]
                scenario = load(path, settings=settings_of(varied, one))
                fan.submit(asked, replace(scenario, seed=scenario.seed + seed))
                asked += 1
            found = fan.next(wait_s_max=_WAIT_S)
            if found is not None:
                number = int(str(found[0]))
                done[number] = {**wanted[number][0], **found[1]}
                console.print(f"{len(done)} of {len(wanted)} runs")
    except KeyboardInterrupt:
        console.print("interrupted; the table has what there is")
        status = INTERRUPTED
    rows += [done[number] for number in sorted(done)]
    return status


def _write(path: Path, rows: Sequence[Row]) -> None:
    """One row a run, in the order of the combinations; complete, or not there."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    pq.write_table(pa.table(columns(rows)), beside)
    beside.replace(path)
