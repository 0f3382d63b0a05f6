"""`vmotion drs …`: the command line of the placement library."""

import click

# Each command imports what it needs when it runs: `vmotion --help` must load neither Ray nor OR-Tools.


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def drs() -> None:
    """What DRS would do, and why: from a snapshot file, or of a cluster that is up.

    \b
    Examples:
      vmotion drs status
      vmotion drs run
      vmotion drs dump snapshot.json
      vmotion drs recommend snapshot.json --policy policy.toml
      vmotion drs explain snapshot.json --vm db
      vmotion drs check snapshot.json plan.json
    """


_SNAPSHOT = click.argument("snapshot", type=click.Path())
_POLICY = click.option(
    "--policy",
    "policy",
    type=click.Path(),
    help="A .toml or .json file with settings of the policy; what it leaves out has its default.",
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@drs.command()
@_SNAPSHOT
@_POLICY
@click.option(
    "--threshold", type=click.IntRange(1, 5), help="Migration threshold, over the policy's."
)
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True)
@click.option(
    "--steps",
    type=click.IntRange(0),
    help="Search steps: the same answer on any machine. This is the default, with 2,000,000.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(0, min_open=True),
    help="Search so long; the answer depends on the machine.",
)
@click.option("--greedy", is_flag=True, help="The published greedy alone, as a baseline.")
@click.option("--out", type=click.Path(dir_okay=False), help="Write the plan there, as JSON.")
@_JSON
def recommend(
    snapshot: str,
    policy: str | None,
    threshold: int | None,
    seed: int,
    steps: int | None,
    seconds: float | None,
    greedy: bool,
    out: str | None,
    as_json: bool,
) -> None:
    """Say what to move, why, in which order and when.

    SNAPSHOT is a .json or .parquet file that `Snapshot.save` wrote. The exit status is 0 with a
    plan or with nothing worth doing, 1 if something mandatory cannot be done, 2 for bad input.

    \b
    Examples:
      vmotion drs recommend snapshot.json
      vmotion drs recommend snapshot.json --policy policy.toml --out plan.json
      vmotion drs recommend snapshot.parquet --threshold 5 --json | jq .moves
    """
    from cluster.cli.drs_offline import recommend_command

    raise SystemExit(
        recommend_command(
            snapshot,
            policy_path=policy,
            threshold=threshold,
            seed=seed,
            steps=steps,
            seconds=seconds,
            greedy=greedy,
            out=out,
            as_json=as_json,
        )
    )


@drs.command()
@_SNAPSHOT
@_POLICY
@click.option("--vm", help="Say what keeps this VM from each other host.")
@_JSON
def explain(snapshot: str, policy: str | None, vm: str | None, as_json: bool) -> None:
    """Say how even the cluster is, which rules are broken, and what cannot hold together.

    Infeasible is explained by a smallest set of rules and capacities that contradict each other.
    The exit status is 1 if there is such a set, or if the VM can go nowhere.

    \b
    Examples:
      vmotion drs explain snapshot.json
      vmotion drs explain snapshot.json --vm db --json
    """
    from cluster.cli.drs_offline import explain_command

    raise SystemExit(explain_command(snapshot, policy_path=policy, vm=vm, as_json=as_json))


@drs.command()
@_SNAPSHOT
@click.argument("plan", type=click.Path(), required=False)
@_POLICY
@_JSON
def check(snapshot: str, plan: str | None, policy: str | None, as_json: bool) -> None:
    """Say everything that is wrong with a snapshot, or with a plan for it, whoever made it.

    A plan is judged at every instant: room for each resource with a migrating VM on both hosts,
    rules, limits. The exit status is 1 if something is wrong.

    \b
    Examples:
      vmotion drs check snapshot.json
      vmotion drs check snapshot.json plan.json --json
    """
    from cluster.cli.drs_offline import check_command

    raise SystemExit(check_command(snapshot, plan, policy_path=policy, as_json=as_json))
