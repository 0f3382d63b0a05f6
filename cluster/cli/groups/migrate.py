"""`vmotion migrate` and `cancel`."""

import sys
from collections.abc import Sequence
from typing import NoReturn

import click
from rich.console import Console
from rich.table import Table

from cluster.actors.control import Control
from cluster.actors.views import VmView
from cluster.cli.exit_status import DONE, FAILED
from cluster.cli.groups.common import (
    CENTER,
    ask,
    cluster_option,
    complete_hosts,
    complete_vms,
    json_option,
    known_host,
    known_vm,
    print_json,
    reach,
    stop,
    wait_option,
)
from cluster.inventory.model import Mode
from cluster.migration.spec import Trigger
from cluster.policy.forecast import Candidate
from cluster.policy.messages import CancelRequested, MigrationRequested
from cluster.policy.tasks import Task, TaskState


@click.command()
@click.argument("vm", shell_complete=complete_vms)
@click.argument("host", required=False, shell_complete=complete_hosts)
@click.option("--check", is_flag=True, help="Say what speaks against it, and do nothing.")
@click.option("--mode", type=click.Choice([mode.value for mode in Mode]), help="How to move it.")
@click.option("--reason", default="", help="Why, for the story.")
@wait_option
@cluster_option
@json_option
def migrate(
    vm: str,
    host: str | None,
    check: bool,
    mode: str | None,
    reason: str,
    wait: bool,
    cluster: str | None,
    as_json: bool,
) -> None:
    """Migrate a running VM to another host.

    Without HOST it shows every host, with what speaks against it or what the migration would
    cost, and on a terminal lets you choose. A refusal names every reason; the exit status is 1.

    \b
    Examples:
      vmotion migrate web-1 esx-2
      vmotion migrate web-1                 # which hosts could take it?
      vmotion migrate web-1 esx-2 --check   # may it go there?
    """
    with reach(cluster) as control:
        known_vm(control, vm)
        if host is not None:
            known_host(control, host)
        found: Sequence[Candidate] = control.call(CENTER, "candidates", vm)
        if check:
            _check(control, vm, host, found, as_json)
        if host is None:
            host = _choose(vm, found, as_json)
        wish = MigrationRequested(
            vm=vm,
            destination=host,
            trigger=Trigger.USER,
            mode=None if mode is None else Mode(mode),
            reason=reason,
        )

        def cures(task: Task) -> None:
            if task.state is TaskState.FAILED:
                _say_problems([one for one in found if one.host == host])

        ask(control, wish, wait=wait, as_json=as_json, more=cures)


@click.command()
@click.argument("vm", shell_complete=complete_vms)
@wait_option
@cluster_option
@json_option
def cancel(vm: str, wait: bool, cluster: str | None, as_json: bool) -> None:
    """Stop a VM's migration, as long as it has not been committed.

    \b
    Example:
      vmotion cancel web-1
    """
    with reach(cluster) as control:
        known_vm(control, vm)
        ask(control, CancelRequested(vm=vm), wait=wait, as_json=as_json)


def _check(
    control: Control, vm: str, host: str | None, found: Sequence[Candidate], as_json: bool
) -> NoReturn:
    """Print what speaks against one host, or against each; status 1 if there is no way."""
    view: VmView = control.call(CENTER, "vm", vm)
    if view.host is None:
        stop(f"{vm} is {view.power.value}: {view.ended_reason}")
    if host == view.host:
        stop(f"{vm} runs on {host} already")
    wanted = [one for one in found if host in (None, one.host)]
    possible = any(_free(one) for one in wanted)
    if as_json:
        print_json([_row(one) for one in wanted])
    elif host is None:
        _table(vm, wanted)
    elif possible:
        click.echo(f"{vm} can go to {host}")
    else:
        _say_problems(wanted)
    raise SystemExit(DONE if possible else FAILED)


def _choose(vm: str, found: Sequence[Candidate], as_json: bool) -> str:
    """Return the host that somebody chooses; where nobody can, the list is all there is."""
    if as_json:
        print_json([_row(one) for one in found])
        raise SystemExit(DONE)
    _table(vm, found)
    possible = [one.host for one in found if _free(one)]
    if not possible:
        stop(f"no host can take {vm}")
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        click.echo(f"choose one: vmotion migrate {vm} HOST")
        raise SystemExit(DONE)
    number = click.prompt(
        "Migrate to (number, 0 for nowhere)", type=click.IntRange(0, len(found)), default=1
    )
    if number == 0:
        raise SystemExit(DONE)
    if not _free(found[number - 1]):
        _say_problems([found[number - 1]])
        raise SystemExit(FAILED)
    return found[number - 1].host


def _free(one: Candidate) -> bool:
    """Whether nothing forbids it; a warning does not."""
    return all(problem.warning for problem in one.problems)


def _table(vm: str, found: Sequence[Candidate]) -> None:
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
    for name in ("", "host", "duration", "downtime", "CPU after", "memory after", "problems"):
        table.add_column(name, overflow="fold")
    for number, one in enumerate(found, start=1):
        costs = (
            (f"{one.duration_s:.1f} s", f"{one.downtime_s * 1000:.0f} ms")
            if _free(one)
            else ("–", "–")
        )
        table.add_row(
            str(number),
            one.host,
            *costs,
            f"{one.cpu_load:.0%}",
            f"{one.memory_load:.0%}",
            "\n".join(problem.text for problem in one.problems),
        )
    click.echo(f"{vm} could go to:")
    Console(highlight=False).print(table)


def _say_problems(found: Sequence[Candidate]) -> None:
    for one in found:
        for problem in one.problems:
            click.echo(f"  {problem.check}: {problem.text}. {problem.cure}", err=True)


def _row(one: Candidate) -> dict[str, object]:
    return {
        "host": one.host,
        "possible": _free(one),
        "problems": [
            {"check": problem.check, "text": problem.text, "cure": problem.cure}
            for problem in one.problems
        ],
        "duration_s": one.duration_s,
        "downtime_s": one.downtime_s,
        "cpu_load": one.cpu_load,
        "memory_load": one.memory_load,
    }
