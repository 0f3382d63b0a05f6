"""`vmotion task`: what was asked for, by whom, and what became of it."""

import click
from rich.console import Console
from rich.table import Table

from cluster.cli.exit_status import BAD_INPUT, DONE, FAILED
from cluster.cli.groups.common import (
    CENTER,
    cluster_option,
    follow,
    json_option,
    print_json,
    reach,
    stop,
    task_row,
    tell,
)
from cluster.inventory.names import suggestion
from cluster.policy.tasks import Task, TaskState


@click.group()
def task() -> None:
    """Look at tasks."""


@task.command("list")
@click.option("--last", type=click.IntRange(1), default=20, help="So many of the newest; 20.")
@cluster_option
@json_option
def list_tasks(last: int, cluster: str | None, as_json: bool) -> None:
    """List the newest tasks, DRS's own migrations among them.

    \b
    Examples:
      vmotion task list
      vmotion task list --last 100 --json
    """
    with reach(cluster) as control:
        found: tuple[Task, ...] = control.call(CENTER, "tasks")
    if as_json:
        print_json([task_row(one) for one in found[-last:]])
        return
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
    for name in ("task", "kind", "subject", "by", "state", "took", "result"):
        table.add_column(name, overflow="fold")
    for one in found[-last:]:
        took = "" if one.ended_s is None else f"{one.ended_s - one.began_s:.1f} s"
        table.add_row(one.id, one.kind, one.subject, one.by, one.state.value, took, one.text)
    Console(highlight=False).print(table)


@task.command("show")
@click.argument("name")
@click.option("--wait", is_flag=True, help="Follow it to its end.")
@cluster_option
@json_option
def show_task(name: str, wait: bool, cluster: str | None, as_json: bool) -> None:
    """Show a task; the exit status is 1 if it has failed.

    \b
    Examples:
      vmotion task show t0003
      vmotion task show t0003 --wait
    """
    with reach(cluster) as control:
        found: Task | None = control.call(CENTER, "task", name)
        if found is None:
            known = [one.id for one in control.call(CENTER, "tasks")]
            stop(f"there is no task {name}; {suggestion(name, known)}", BAD_INPUT)
        if wait:
            found = follow(control, found, quiet=as_json)
    tell(found, as_json=as_json)
    raise SystemExit(FAILED if found.state is TaskState.FAILED else DONE)
