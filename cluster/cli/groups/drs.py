"""`vmotion drs`: DRS in operation, beside what asks it about a file."""

from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from cluster.actors.views import ClusterView
from cluster.cli.drs_group import drs
from cluster.cli.exit_status import BAD_INPUT
from cluster.cli.groups.common import (
    CENTER,
    ask,
    cluster_option,
    complete_vms,
    json_option,
    known_vm,
    print_json,
    reach,
    stop,
    wait_option,
)
from cluster.inventory.model import Automation, Scenario
from cluster.observe import words
from cluster.policy.balancing import OpenRecommendation
from cluster.policy.messages import (
    DrsConfigured,
    PassRequested,
    RecommendationsApproved,
    Topic,
    VmReconfigured,
)
from drs.policy_file import save_policy


@drs.command()
@cluster_option
@json_option
def status(cluster: str | None, as_json: bool) -> None:
    """Show how DRS is set, and how even the cluster is.

    \b
    Example:
      vmotion drs status
    """
    with reach(cluster) as control:
        scenario: Scenario = control.call(CENTER, "scenario")
        view: ClusterView = control.call(CENTER, "view", 1 << 62)
        waiting = len(control.call(CENTER, "recommendations"))
    settings, balance = scenario.drs, view.balance
    row = {
        "enabled": settings.enabled,
        "automation": settings.automation.value,
        "threshold": settings.threshold,
        "interval_s": settings.interval_s,
        "imbalance": round(balance.imbalance, 4),
        "imbalance_target": None if balance.target > 1e9 else round(balance.target, 4),
        "rule_violations": balance.rule_violations,
        "recommendations": waiting,
    }
    if as_json:
        print_json(row)
        return
    for key, value in row.items():
        click.echo(f"{key.replace('_', ' '):<18} {'–' if value is None else value}")


@drs.command()
@cluster_option
@json_option
def recommendations(cluster: str | None, as_json: bool) -> None:
    """List what DRS would do and waits for your consent with.

    \b
    Example:
      vmotion drs recommendations
    """
    with reach(cluster) as control:
        found: tuple[OpenRecommendation, ...] = control.call(CENTER, "recommendations")
    if as_json:
        print_json(
            [
                {
                    "vm": one.request.vm,
                    "source": one.source,
                    "destination": one.request.destination,
                    "priority": one.priority,
                    "reason": one.request.reason,
                }
                for one in found
            ]
        )
        return
    if not found:
        click.echo("DRS has no open recommendation")
        return
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
    for name in ("priority", "VM", "from", "to", "reason"):
        table.add_column(name, overflow="fold")
    for one in found:
        request = one.request
        to = request.onward or request.destination or ""
        table.add_row(str(one.priority), request.vm, one.source, to, request.reason)
    Console(highlight=False).print(table)


@drs.command()
@click.argument("vms", nargs=-1, shell_complete=complete_vms)
@cluster_option
@json_option
def apply(vms: tuple[str, ...], cluster: str | None, as_json: bool) -> None:
    """Carry out the open recommendations, all of them or those for some VMs.

    \b
    Examples:
      vmotion drs apply
      vmotion drs apply web-1 web-2
    """
    with reach(cluster) as control:
        for vm in vms:
            known_vm(control, vm)
        ask(control, RecommendationsApproved(vms=vms or None), as_json=as_json)


@drs.command()
@wait_option
@cluster_option
@json_option
def run(wait: bool, cluster: str | None, as_json: bool) -> None:
    """Let DRS look at the cluster now.

    \b
    Example:
      vmotion drs run
    """
    with reach(cluster) as control:
        ask(control, PassRequested(), wait=wait, as_json=as_json)


@drs.command("set")
@click.option("--threshold", type=click.IntRange(1, 5), help="1 conservative to 5 aggressive.")
@click.option("--automation", type=click.Choice([one.value for one in Automation]))
@click.option("--vm", shell_complete=complete_vms, help="Set the automation of this VM alone.")
@click.option("--on/--off", "enabled", default=None, help="Turn DRS on or off.")
@cluster_option
@json_option
def set_drs(
    threshold: int | None,
    automation: str | None,
    vm: str | None,
    enabled: bool | None,
    cluster: str | None,
    as_json: bool,
) -> None:
    """Change how DRS works while it runs.

    \b
    Examples:
      vmotion drs set --threshold 5
      vmotion drs set --automation manual
      vmotion drs set --vm db-1 --automation partially
    """
    if threshold is None and automation is None and enabled is None:
        stop("nothing to set: name --threshold, --automation, --on or --off", BAD_INPUT)
    level = None if automation is None else Automation(automation)
    with reach(cluster) as control:
        if vm is not None:
            known_vm(control, vm)
            if threshold is not None or enabled is not None or level is None:
                stop("of a single VM only --automation can be set", BAD_INPUT)
            one = VmReconfigured(vm=vm, changes=(("automation", level),))
            ask(control, one, as_json=as_json)
        wanted = {"threshold": threshold, "automation": level, "enabled": enabled}
        changes = tuple((name, value) for name, value in wanted.items() if value is not None)
        ask(control, DrsConfigured(changes=changes), as_json=as_json)


@drs.command()
@click.argument("snapshot", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--policy",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the policy that DRS works by there, as .json.",
)
@cluster_option
@json_option
def dump(snapshot: Path, policy: Path | None, cluster: str | None, as_json: bool) -> None:
    """Save the cluster as DRS sees it now, as .json or .parquet.

    What DRS would do with it can then be asked anywhere, as often as wanted, without the cluster.

    \b
    Examples:
      vmotion drs dump snapshot.json --policy policy.json
      vmotion drs recommend snapshot.json --policy policy.json
    """
    with reach(cluster) as control:
        seen, works_by = control.call(CENTER, "drs_input")
    try:
        seen.save(snapshot)
        if policy is not None:
            save_policy(works_by, policy)
    except (OSError, ValueError) as error:
        stop(str(error), BAD_INPUT)
    if as_json:
        print_json({"snapshot": str(snapshot), "policy": None if policy is None else str(policy)})
        return
    click.echo(f"{snapshot}: {len(seen.vms)} VMs on {len(seen.hosts)} hosts")
    if policy is not None:
        click.echo(f"{policy}: the policy, with threshold {works_by.migration_threshold}")


@drs.command()
@cluster_option
@json_option
def history(cluster: str | None, as_json: bool) -> None:
    """List DRS's passes, what each recommended, and why.

    \b
    Example:
      vmotion drs history
    """
    with reach(cluster) as control:
        entries = control.call(CENTER, "records", 0)
    found = [e.note for e in entries if e.note.record.topic is Topic.DRS]
    if as_json:
        print_json(
            [
                {"time_s": one.time_s, "what": one.record.what, **dict(one.record.fields)}
                for one in found
            ]
        )
        return
    for one in found:
        click.echo(f"{words.clock(one.time_s)}  {one.record.text}")
        for vm, host, priority, reason in dict(one.record.fields).get("recommendations", ()):
            click.echo(f"        {vm} → {host}, priority {priority}: {reason}")
