"""`vmotion run`, `check`, `schema` and `report`: from the command line to exit status."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from cluster.inventory.model import Scenario
from cluster.inventory.problems import ScenarioProblems
from cluster.inventory.scenario import load

if TYPE_CHECKING:
    from cluster.cli.live_run import LiveRun

DONE, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130


def run_command(
    path: str,
    *,
    out: str | None,
    as_json: bool,
    ray_address: str | None,
    metrics_port: int | None,
    seed: int | None,
    duration_s: float | None,
    plain: bool,
) -> int:
    """Run a scenario live and return the exit status; every error is a message, not a traceback."""
    scenario = _load(path)
    if scenario is None:
        return BAD_INPUT
    if seed is not None:
        scenario = replace(scenario, seed=seed)
    if duration_s is not None:
        scenario = replace(scenario, duration_s=duration_s)
    # Ray and plotly are heavy: a mistake in the file should not wait for them.
    from cluster.actors.cluster import ClusterFailed
    from cluster.actors.session import NoRay
    from cluster.cli.live_run import run_live
    from cluster.observe.exporter import Exporter, MetricsServer, PortTakenError
    from cluster.observe.live import PlainView, open_view

    # The summary as JSON is stdout's alone; people watch stderr then.
    console = Console(file=sys.stderr if as_json else sys.stdout, highlight=False)
    view = PlainView(console) if plain else open_view(console)
    exporter = Exporter()
    try:
        if out is not None:
            Path(out).mkdir(parents=True, exist_ok=True)
        with MetricsServer(exporter, port=metrics_port) as server:
            console.print(f"metrics: {server.url}", highlight=False)
            with view:
                finished = run_live(
                    scenario, view=view, exporter=exporter, server=server, address=ray_address
                )
    except PortTakenError as error:
        return _complain(str(error), BAD_INPUT)
    except (NoRay, ClusterFailed) as error:
        return _complain(str(error), FAILED)
    except OSError as error:
        return _complain(f"{error.filename or out}: {error.strerror}", FAILED)
    except KeyboardInterrupt:
        return _complain(
            "interrupted before the cluster was up; nothing is left running", INTERRUPTED
        )
    return _report(finished, out=out, as_json=as_json, console=console)


def check_command(path: str, *, as_json: bool) -> int:
    """Print every problem of a scenario file."""
    try:
        scenario = load(path)
    except ScenarioProblems as found:
        if as_json:
            rows = [
                {"file": p.file, "line": p.line, "key": p.key, "wrong": p.wrong, "right": p.right}
                for p in found.problems
            ]
            print(json.dumps(rows, indent=2))
        else:
            _say_problems(found)
        return BAD_INPUT
    if as_json:
        print("[]")
    else:
        print(f"{path}: {len(scenario.hosts)} hosts, {len(scenario.vms)} VMs, nothing wrong")
    return DONE


def print_schema() -> None:
    """Print the JSON Schema of scenario files."""
    from cluster.inventory.schema import schema

    print(json.dumps(schema(), indent=2))


def report_command(directory: str) -> int:
    """Write report.html again from the other files in `directory`."""
    from cluster.observe.outputs import rewrite_report

    try:
        path = rewrite_report(Path(directory))
    except (OSError, ValueError, KeyError) as error:
        return _complain(f"{directory}: not the files of a run ({error})", BAD_INPUT)
    print(path)
    return DONE


def _load(path: str) -> Scenario | None:
    try:
        return load(path)
    except ScenarioProblems as found:
        _say_problems(found)
        return None


def _say_problems(found: ScenarioProblems) -> None:
    for problem in found.problems:
        print(problem, file=sys.stderr)
    count = len(found.problems)
    print(f"{count} problem{'s' if count > 1 else ''}", file=sys.stderr)


def _complain(text: str, status: int) -> int:
    print(f"vmotion: {text}", file=sys.stderr)
    return status


def _report(finished: "LiveRun", *, out: str | None, as_json: bool, console: Console) -> int:
    """Write the files, print the summary, and say what failed."""
    from cluster.observe.outputs import write_run
    from cluster.observe.rows import to_json
    from cluster.observe.story import summary_text

    recorder = finished.recorder
    if out is not None:
        write_run(
            Path(out), finished.summary, recorder.migrations, recorder.timeline, recorder.events
        )
    if as_json:
        print(json.dumps(to_json(finished.summary), indent=2))
    else:
        console.print(summary_text(finished.summary), highlight=False)
        if out is not None:
            console.print(f"files: {out}/", highlight=False)
    for failure in finished.failures:
        print(f"vmotion: {failure}", file=sys.stderr)
    if finished.interrupted:
        return _complain("interrupted; nothing is left running", INTERRUPTED)
    return FAILED if finished.failures else DONE
