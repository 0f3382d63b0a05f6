"""`vmotion tune`, `compare` and `sweep`: experiments in virtual time."""

import click

_OBJECTIVES = ("imbalance", "unmet", "migrations", "sent_bytes", "downtime_s", "energy_kwh")


@click.command()
@click.argument("scenario", type=click.Path())
@click.option(
    "--space",
    multiple=True,
    required=True,
    metavar="NAME=A..B|A,B,C",
    help="A parameter of [drs] or [power] to search: a range, or values to choose from.",
)
@click.option(
    "--objective",
    "objectives",
    multiple=True,
    type=click.Choice(_OBJECTIVES),
    default=("imbalance", "migrations"),
    help="What to keep low; several times. Default imbalance and migrations.",
)
@click.option("--trials", type=click.IntRange(1), default=50, help="In all, earlier calls counted.")
@click.option("--seeds", type=click.IntRange(1), default=3, help="Simulations of each trial.")
@click.option("--out", type=click.Path(file_okay=False), default="tuning", help="Directory.")
@click.option("--json", "as_json", is_flag=True, help="Print the front as JSON to stdout.")
@click.option("--ray-address", metavar="HOST:PORT", help="Search on this running Ray cluster.")
def tune(
    scenario: str,
    space: tuple[str, ...],
    objectives: tuple[str, ...],
    trials: int,
    seeds: int,
    out: str,
    as_json: bool,
    ray_address: str | None,
) -> None:
    """Search DRS policies for a scenario in virtual time, several simulations at once on Ray.

    Leaves study.db (give the same --out again to go on), the Pareto front as front.json and front.html,
    and policy.toml, which run, simulate and compare take. The first trial is the scenario's own policy.

    \b
    Examples:
      vmotion tune my.toml --space threshold=1..5 --space interval_s=60,300 --trials 40
      vmotion tune my.toml --space deviations=0.5..2.0 --objective energy_kwh --objective unmet
    """
    try:
        from cluster.cli.tune import tune_command
    except ModuleNotFoundError as error:
        if error.name != "optuna":
            raise
        message = "vmotion tune needs Optuna: pip install 'vmotion[tune]'"
        raise click.ClickException(message) from error
    status = tune_command(
        scenario,
        space=space,
        objectives=objectives,
        trials=trials,
        seeds=seeds,
        out=out,
        ray_address=ray_address,
        as_json=as_json,
    )
    raise SystemExit(status)


@click.command()
@click.argument("policies", nargs=-1, type=click.Path())
@click.argument("scenario", type=click.Path())
@click.option("--seeds", type=click.IntRange(1), default=3, help="Simulations of each policy.")
@click.option("--duration", type=click.FloatRange(0, min_open=True), help="Virtual seconds.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON to stdout.")
def compare(
    policies: tuple[str, ...], scenario: str, seeds: int, duration: float | None, as_json: bool
) -> None:
    """Simulate a scenario under several policies, its own as the baseline, and print both.

    A policy is a TOML file with the tables [drs] and [power]; what it does not name stays.

    \b
    Examples:
      vmotion compare tuning/policy.toml my.toml
      vmotion compare calm.toml eager.toml my.toml --seeds 5 --json
    """
    from cluster.cli.compare import compare_command

    status = compare_command(policies, scenario, seeds=seeds, as_json=as_json, duration_s=duration)
    raise SystemExit(status)


@click.command()
@click.argument("scenario", type=click.Path())
@click.option(
    "--vary",
    multiple=True,
    required=True,
    metavar="NAME=A,B,C|A..B",
    help="A key of the scenario file and its values; several times for every combination. Short: "
    "hosts, vms (their counts), bandwidth (Mbit/s), dirty_rate (MB/s).",
)
@click.option("--seeds", type=click.IntRange(1), default=1, help="Simulations of each combination.")
@click.option("--out", type=click.Path(dir_okay=False), default="sweep.parquet", help="The table.")
@click.option("--ray-address", metavar="HOST:PORT", help="Simulate on this running Ray cluster.")
def sweep(
    scenario: str, vary: tuple[str, ...], seeds: int, out: str, ray_address: str | None
) -> None:
    """Simulate a scenario under every combination of parameters, several at once on Ray.

    Leaves one Parquet table with a row a run: the parameters, the seed, and the summary's figures.
    Ctrl-C writes the runs that have ended.

    \b
    Examples:
      vmotion sweep my.toml --vary hosts=4,8,16 --vary vms=64,128 --out sizes.parquet
      vmotion sweep my.toml --vary bandwidth=1000,10000 --vary dirty_rate=0,50,200 --seeds 3
      vmotion sweep my.toml --vary drs.threshold=1..5 --vary vm.web.count=10,20
    """
    from cluster.cli.sweep import sweep_command

    status = sweep_command(scenario, vary=vary, seeds=seeds, out=out, ray_address=ray_address)
    raise SystemExit(status)
