"""`vmotion maintenance`: hosts taken out for work, one or all of them."""

import click

from cluster.actors.control import Control
from cluster.actors.views import ClusterView
from cluster.cli.exit_status import DONE, FAILED
from cluster.cli.groups.common import (
    CENTER,
    ask,
    begin,
    cluster_option,
    complete_hosts,
    follow,
    json_option,
    known_host,
    print_json,
    reach,
    task_row,
    tell,
    wait_option,
)
from cluster.policy.messages import MaintenanceCancelled, MaintenanceEnded, MaintenanceRequested
from cluster.policy.state import HostState
from cluster.policy.tasks import Task, TaskState


@click.group()
def maintenance() -> None:
    """Take hosts into maintenance mode and out of it."""


@maintenance.command()
@click.argument("host", shell_complete=complete_hosts)
@click.option(
    "--give-up", is_flag=True, help="If some VM cannot go; otherwise the host waits for it."
)
@wait_option
@cluster_option
@json_option
def enter(host: str, give_up: bool, wait: bool, cluster: str | None, as_json: bool) -> None:
    """Move every VM off a host and let it take no more.

    VMs that cannot go are named with what blocks each.

    \b
    Examples:
      vmotion maintenance enter esx-1
      vmotion maintenance enter esx-1 --give-up
      vmotion maintenance enter esx-1 --no-wait
    """
    with reach(cluster) as control:
        known_host(control, host)
        wish = MaintenanceRequested(host=host, wait=not give_up)
        ask(control, wish, wait=wait, as_json=as_json)


@maintenance.command("exit")
@click.argument("host", shell_complete=complete_hosts)
@cluster_option
@json_option
def leave(host: str, cluster: str | None, as_json: bool) -> None:
    """End a host's maintenance mode; DRS may use it again.

    \b
    Example:
      vmotion maintenance exit esx-1
    """
    with reach(cluster) as control:
        known_host(control, host)
        ask(control, MaintenanceEnded(host=host), as_json=as_json)


@maintenance.command()
@click.argument("host", shell_complete=complete_hosts)
@cluster_option
@json_option
def cancel(host: str, cluster: str | None, as_json: bool) -> None:
    """Stop entering maintenance mode; VMs that have left stay where they are.

    \b
    Example:
      vmotion maintenance cancel esx-1
    """
    with reach(cluster) as control:
        known_host(control, host)
        ask(control, MaintenanceCancelled(host=host), as_json=as_json)


@maintenance.command()
@click.option("--host", "hosts", multiple=True, shell_complete=complete_hosts, help="Only these.")
@cluster_option
@json_option
def rolling(hosts: tuple[str, ...], cluster: str | None, as_json: bool) -> None:
    """Take every host through maintenance mode, one after another.

    A host that cannot be emptied ends it, and stays as it was.

    \b
    Examples:
      vmotion maintenance rolling
      vmotion maintenance rolling --host esx-1 --host esx-2
    """
    with reach(cluster) as control:
        for name in hosts:
            known_host(control, name)
        view: ClusterView = control.call(CENTER, "view", 1 << 62)
        wanted = hosts or tuple(h.name for h in view.hosts if h.state is HostState.CONNECTED)
        done: list[Task] = []
        for name in wanted:
            done += _through(control, name, as_json)
            if done[-1].state is TaskState.FAILED:
                break
    if as_json:
        print_json([task_row(task) for task in done])
    raise SystemExit(FAILED if done and done[-1].state is TaskState.FAILED else DONE)


def _through(control: Control, host: str, as_json: bool) -> list[Task]:
    """Take one host in and out; interrupted, it is not left on its way in."""
    task = begin(control, MaintenanceRequested(host=host, wait=False))
    try:
        entered = follow(control, task, quiet=as_json)
    except SystemExit:
        follow(control, begin(control, MaintenanceCancelled(host=host)), quiet=True)
        raise
    if not as_json or entered.state is TaskState.FAILED:
        tell(entered, as_json=False)
    if entered.state is TaskState.FAILED:
        return [entered]
    left = follow(control, begin(control, MaintenanceEnded(host=host)), quiet=as_json)
    if not as_json or left.state is TaskState.FAILED:
        tell(left, as_json=False)
    return [entered, left]
