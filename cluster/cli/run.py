"""`vmotion run`, `check`, `schema` and `report`: from the command line to exit status."""

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from rich.console import Console

from cluster.cli.exit_status import BAD_INPUT, DONE, FAILED, INTERRUPTED
from cluster.cli.scenarios import load_judged
from cluster.inventory.faults import NO_FAULTS
from cluster.inventory.model import Scenario
from cluster.inventory.problems import ScenarioProblems

if TYPE_CHECKING:
    from cluster.actors.recording import Recorder
    from cluster.observe.record import EventRow, MigrationRow, Summary, TimelineRow
    from cluster.observe.rounds import RoundRow
    from cluster.observe.tracing import Tracing


class Recorded(Protocol):
    """The rows of a run, whichever engine made them."""

    @property
    def migrations(self) -> "Sequence[MigrationRow]": ...
    @property
    def rounds(self) -> "Sequence[RoundRow]": ...
    @property
    def timeline(self) -> "Sequence[TimelineRow]": ...
    @property
    def events(self) -> "Sequence[EventRow]": ...


def run_command(
    path: str,
    *,
    out: str | None,
    as_json: bool,
    ray_address: str | None,
    metrics_port: int | None,
    host_metrics: bool,
    vm_metrics: bool,
    policy: str | None,
    seed: int | None,
    duration_s: float | None,
    plain: bool,
    log: str | None = None,
    log_level: str = "info",
) -> int:
    """Run a scenario live and return the exit status; every error is a message, not a traceback."""
    scenario = load_scenario(path, seed=seed, duration_s=duration_s, policy=policy)
    if scenario is None:
        return BAD_INPUT
    if scenario.faults != NO_FAULTS:
        print("vmotion: [faults] are for vmotion simulate; this run has none", file=sys.stderr)
    # Ray and plotly are heavy: a mistake in the file should not wait for them.
    from cluster.actors.cluster import ClusterFailed
    from cluster.actors.session import NoRay
    from cluster.cli.live_run import HostMetrics, run_live
    from cluster.observe.exporter import Exporter
    from cluster.observe.live import PlainView, open_view
    from cluster.observe.logs import Level, open_log
    from cluster.observe.serving import MetricsServer, PortTakenError
    from cluster.observe.tracing import TracingMissingError, tracing_from

    # The summary as JSON is stdout's alone; people watch stderr then.
    console = Console(file=sys.stderr if as_json else sys.stdout, highlight=False)
    view = PlainView(console) if plain else open_view(console)
    exporter = Exporter(per_vm=vm_metrics, hosts_own=not host_metrics)
    try:
        tracing = tracing_from(os.environ)
        if out is not None:
            Path(out).mkdir(parents=True, exist_ok=True)
        with (
            open_log(log, Level[log_level.upper()]) as lines,
            MetricsServer(exporter.metrics, port=metrics_port) as server,
        ):
            console.print(f"metrics: {server.url}", highlight=False)
            with view:
                finished = run_live(
                    scenario,
                    view=view,
                    exporter=exporter,
                    server=server,
                    address=ray_address,
                    host_metrics=HostMetrics(per_vm=vm_metrics) if host_metrics else None,
                    log=lines,
                )
    except (PortTakenError, TracingMissingError) as error:
        return complain(str(error), BAD_INPUT)
    except (NoRay, ClusterFailed) as error:
        return complain(str(error), FAILED)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return complain(f"{where}{error.strerror or error or type(error).__name__}", FAILED)
    if tracing is not None:
        with tracing:
            _tell_spans(tracing, finished.recorder)
    status = leave_behind(
        out,
        finished.summary,
        finished.recorder,
        failures=finished.failures,
        as_json=as_json,
        console=console,
    )
    if finished.interrupted:
        return complain("interrupted; nothing is left running", INTERRUPTED)
    return status


def _tell_spans(tracing: "Tracing", recorder: "Recorder") -> None:
    """Send a run's migrations and DRS passes to the collector that the environment names."""
    if recorder.began_unix_s is None:
        return  # it never began
    for span in recorder.spans:
        tracing.tell(span, run_began_unix_s=recorder.began_unix_s)


def check_command(path: str, *, as_json: bool) -> int:
    """Print every problem of a scenario file."""
    try:
        scenario = load_judged(path)
    except ScenarioProblems as found:
        if as_json:
            rows = [
                {"file": p.file, "line": p.line, "key": p.key, "wrong": p.wrong, "right": p.right}
                for p in found.problems
            ]
            print(json.dumps(rows, indent=2))
        else:
            say_problems(found)
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


def report_command(directories: Sequence[str], *, out: str | None) -> int:
    """Write one run's report again from its other files, or several runs' side by side."""
    from cluster.observe.outputs import rewrite_report, write_comparison

    paths = [Path(directory) for directory in directories]
    try:
        if len(paths) == 1:
            written = rewrite_report(paths[0])
        else:
            written = Path(out or "comparison.html")
            write_comparison(paths, written)
    except (OSError, ValueError, KeyError) as error:
        named = ", ".join(directories)
        return complain(f"{named}: not the files of a run ({error})", BAD_INPUT)
    print(written)
    return DONE


def load_scenario(
    path: str, *, seed: int | None, duration_s: float | None, policy: str | None = None
) -> Scenario | None:
    """Read a scenario, with another seed, duration and policy if given; None when problems were said."""
    try:
        scenario = load_judged(path)
    except ScenarioProblems as found:
        say_problems(found)
        return None
    if seed is not None:
        scenario = replace(scenario, seed=seed)
    if duration_s is not None:
        scenario = replace(scenario, duration_s=duration_s)
    if policy is not None:
        from cluster.simulation.policies import BadPolicy, read_policy, with_policy

        try:
            scenario = with_policy(scenario, read_policy(Path(policy)))
        except BadPolicy as bad:
            for problem in bad.problems:
                print(f"vmotion: {problem}", file=sys.stderr)
            return None
    return scenario


def say_problems(found: ScenarioProblems) -> None:
    """Print every problem to stderr, and how many there are."""
    for problem in found.problems:
        print(problem, file=sys.stderr)
    count = len(found.problems)
    print(f"{count} problem{'s' if count > 1 else ''}", file=sys.stderr)


def complain(text: str, status: int) -> int:
    """Print what went wrong to stderr; return the exit status."""
    print(f"vmotion: {text}", file=sys.stderr)
    return status


def leave_behind(
    out: str | None,
    summary: "Summary",
    rows: "Recorded",
    *,
    failures: Sequence[str],
    as_json: bool,
    console: Console,
) -> int:
    """Write the files, print the summary, and say what failed; return the exit status.

    Raises:
        OSError: If a file cannot be written.
    """
    from cluster.observe.outputs import write_run
    from cluster.observe.rows import to_json
    from cluster.observe.story import summary_text

    if out is not None:
        write_run(Path(out), summary, rows.migrations, rows.timeline, rows.events, rows.rounds)
    if as_json:
        print(json.dumps(to_json(summary), indent=2))
    else:
        console.print(summary_text(summary), highlight=False, soft_wrap=True)
        if out is not None:
            console.print(f"files: {out}/", highlight=False)
    for failure in failures:
        print(f"vmotion: {failure}", file=sys.stderr)
    return FAILED if failures else DONE
