"""`vmotion`: parse the command line, call, print.

Exit status: 0 done; 1 the operation failed or was refused, with the reasons on stderr;
2 bad usage or bad input; 130 interrupted.
"""

import os
import sys
from datetime import datetime
from pathlib import Path

import click

from cluster.cli.lazy import LazyGroup
from cluster.cli.options import watching_options

# Each command imports what it needs when it runs: `vmotion --help` must not load Ray.


_GROUPS = "cluster.cli.groups"
# Commands to a cluster that stays, and experiments; each group has a file of its own.
_STANDING = {
    "up": (f"{_GROUPS}.up:up", "Start a scenario's cluster, and return while it goes on."),
    "down": (f"{_GROUPS}.up:down", "End a cluster, with everything that belongs to it."),
    "status": (f"{_GROUPS}.status:status", "Show hosts, migrations, and what is wrong."),
    "host": (f"{_GROUPS}.host_configure:host", "Look at hosts, and configure VMotion on them."),
    "license": (f"{_GROUPS}.license_use:group", "Buy licences, install them, give them to hosts."),
    "vm": (f"{_GROUPS}.vm_set:vm", "Look at VMs, power them on and off, change them."),
    "migrate": (f"{_GROUPS}.migrate:migrate", "Migrate a running VM to another host."),
    "cancel": (f"{_GROUPS}.migrate:cancel", "Stop a VM's migration."),
    "maintenance": (f"{_GROUPS}.maintenance:maintenance", "Take hosts out for work."),
    "drs": (f"{_GROUPS}.drs:drs", "See what DRS recommends, apply it, set it."),
    "task": (f"{_GROUPS}.task:task", "Look at tasks."),
    "events": (f"{_GROUPS}.events:events", "Print what has happened."),
    "tune": (f"{_GROUPS}.experiments:tune", "Search DRS policies in virtual time."),
    "compare": (f"{_GROUPS}.experiments:compare", "Simulate policies side by side."),
    "sweep": (f"{_GROUPS}.experiments:sweep", "Simulate every combination of parameters."),
}


@click.group(
    cls=LazyGroup, lazy=_STANDING, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(package_name="vmotion")
def main() -> None:
    """A VMware-style cluster that really runs: hosts and VMs as Ray actors, live migration
    of real memory, and DRS.

    \b
    Examples:
      vmotion run examples/quickstart.toml --out out
      vmotion simulate examples/quickstart.toml --out out
      vmotion up examples/quickstart.toml; vmotion status; vmotion down
      vmotion check my-scenario.toml
      vmotion drs recommend snapshot.json
      vmotion schema > scenario.schema.json
    """


@main.command()
@click.argument("scenario", type=click.Path())
@click.option("--out", type=click.Path(file_okay=False), help="Write the run's files there.")
@click.option("--json", "as_json", is_flag=True, help="Print summary.json to stdout at the end.")
@click.option(
    "--ray-address",
    metavar="HOST:PORT",
    help="Use this running Ray cluster, from one of its nodes. Without it a Ray of its own "
    "starts here and is shut down afterwards.",
)
@watching_options
@click.option(
    "--policy", type=click.Path(), help="A policy file over the scenario's [drs], [power]."
)
@click.option("--seed", type=click.IntRange(0), help="Instead of the scenario's own seed.")
@click.option("--duration", type=click.FloatRange(0, min_open=True), help="Seconds to run for.")
@click.option("--plain", is_flag=True, help="Print lines even on a terminal.")
def run(
    scenario: str,
    out: str | None,
    as_json: bool,
    ray_address: str | None,
    metrics_port: int | None,
    host_metrics: bool,
    vm_metrics: bool,
    policy: str | None,
    seed: int | None,
    duration: float | None,
    plain: bool,
    log: str | None,
    log_level: str,
) -> None:
    """Run a scenario live on Ray, with real memory and real migrations.

    Shows hosts, migrations and the imbalance while it runs, and checks every page and every
    request at the end. The exit status is 1 if a page or a request went wrong.

    \b
    Examples:
      vmotion run examples/quickstart.toml --out out
      vmotion run examples/quickstart.toml --json | jq .downtime_s
      vmotion run my.toml --ray-address 10.0.0.1:6379 --metrics-port 9500 --host-metrics
      vmotion run my.toml --log run.log --log-level debug
    """
    try:
        from cluster.cli.run import run_command

        status = run_command(
            scenario,
            out=out,
            as_json=as_json,
            ray_address=ray_address,
            metrics_port=metrics_port,
            host_metrics=host_metrics,
            vm_metrics=vm_metrics,
            policy=policy,
            seed=seed,
            duration_s=duration,
            plain=plain,
            log=log,
            log_level=log_level,
        )
    except KeyboardInterrupt:
        click.echo("vmotion: interrupted; nothing is left running", err=True)
        sys.stderr.flush()
        # Ray's library may be half started, and crashes when the interpreter ends it.
        os._exit(130)
    raise SystemExit(status)


@main.command()
@click.argument("scenario", type=click.Path())
@click.option("--out", type=click.Path(file_okay=False), help="Write the run's files there.")
@click.option("--json", "as_json", is_flag=True, help="Print summary.json to stdout at the end.")
@click.option(
    "--policy", type=click.Path(), help="A policy file over the scenario's [drs], [power]."
)
@click.option(
    "--calibration",
    type=click.Path(),
    metavar="FILE",
    help="Measured overheads, as benchmarks/calibrate.py saves them.",
)
@click.option("--seed", type=click.IntRange(0), help="Instead of the scenario's own seed.")
@click.option(
    "--duration", type=click.FloatRange(0, min_open=True), help="Virtual seconds to run for."
)
@click.option("--plain", is_flag=True, help="Print lines even on a terminal.")
@click.option(
    "--openmetrics",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the run as samples in virtual time, for promtool to load into Prometheus.",
)
@click.option(
    "--run-label",
    metavar="NAME",
    help="Their label `run`, by which dashboards tell runs apart. Default: FILE without its end.",
)
@click.option(
    "--begin",
    type=click.DateTime(("%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z")),
    help="When the samples begin (UTC). Default: the last midnight from which the run is over.",
)
def simulate(
    scenario: str,
    out: str | None,
    as_json: bool,
    policy: str | None,
    calibration: str | None,
    seed: int | None,
    duration: float | None,
    plain: bool,
    openmetrics: Path | None,
    run_label: str | None,
    begin: datetime | None,
) -> None:
    """Run a scenario in virtual time: the same decisions and files, without Ray or memory.

    The same seed gives the same events.jsonl to the byte. Ctrl-C writes what there is.
    The exit status is 1 if a VM found no host, or a checker found a promise broken.

    \b
    Examples:
      vmotion simulate examples/quickstart.toml --out out
      vmotion simulate examples/quickstart.toml --json | jq .migrations
      vmotion simulate my.toml --seed 7 --duration 3600
      vmotion simulate threshold-5.toml --openmetrics threshold-5.txt
    """
    if openmetrics is None and (run_label is not None or begin is not None):
        raise click.UsageError(
            "--run-label and --begin are of the samples: name --openmetrics FILE"
        )
    try:
        from cluster.cli.samples import SamplesFile
        from cluster.cli.simulate import simulate_command

        samples = None
        if openmetrics is not None:
            samples = SamplesFile(path=openmetrics, run=run_label, begin=begin)
        status = simulate_command(
            scenario,
            out=out,
            as_json=as_json,
            policy=policy,
            calibration=calibration,
            seed=seed,
            duration_s=duration,
            plain=plain,
            samples=samples,
        )
    except KeyboardInterrupt:
        click.echo("vmotion: interrupted before the simulation began", err=True)
        status = 130
    raise SystemExit(status)


@main.command()
@click.argument("scenario", type=click.Path())
@click.option("--json", "as_json", is_flag=True, help="Print the problems as JSON.")
def check(scenario: str, as_json: bool) -> None:
    """Say everything that is wrong with a scenario file, without running it.

    \b
    Examples:
      vmotion check examples/quickstart.toml
      vmotion check my.toml --json
    """
    from cluster.cli.run import check_command

    raise SystemExit(check_command(scenario, as_json=as_json))


@main.command()
def schema() -> None:
    """Print the JSON Schema of scenario files, for editors.

    \b
    Example:
      vmotion schema > scenario.schema.json
    """
    from cluster.cli.run import print_schema

    print_schema()


@main.command()
@click.argument("directories", nargs=-1, required=True, type=click.Path(file_okay=False))
@click.option("--out", type=click.Path(dir_okay=False), help="Of a comparison; comparison.html.")
def report(directories: tuple[str, ...], out: str | None) -> None:
    """Make a run's report.html again, or compare several runs on one page.

    \b
    Examples:
      vmotion report out
      vmotion report threshold-3 threshold-5 --out comparison.html
    """
    from cluster.cli.run import report_command

    raise SystemExit(report_command(directories, out=out))
