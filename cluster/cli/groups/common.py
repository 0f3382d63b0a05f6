"""What the commands to a cluster that stays share: reaching it, its names, following a task."""

import getpass
import json
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn, TypeVar

import click
from click.shell_completion import CompletionItem

from cluster.actors import places
from cluster.actors.control import Control, Failed, NotReached
from cluster.cli.exit_status import BAD_INPUT, DONE, FAILED, INTERRUPTED
from cluster.inventory.names import suggestion
from cluster.policy.messages import Asked, Wish
from cluster.policy.tasks import Task, TaskState

CENTER, KEEPER = "center", "keeper"
DEFAULT = "default"
_POLL_S = 0.15
_Command = TypeVar("_Command", bound=Callable[..., Any])


# Options.


def cluster_option(command: _Command) -> _Command:
    """Add --cluster."""
    return click.option(
        "--cluster",
        metavar="NAME",
        envvar="VMOTION_CLUSTER",
        shell_complete=_complete_clusters,
        help="The cluster to talk to. Not needed where only one is up.",
    )(command)


def json_option(command: _Command) -> _Command:
    """Add --json."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON to stdout.")(command)


def wait_option(command: _Command) -> _Command:
    """Add --wait and --no-wait."""
    return click.option(
        "--wait/--no-wait", default=True, help="Follow the task to its end, or only begin it."
    )(command)


def complete_vms(ctx: click.Context, param: click.Parameter, typed: str) -> list[CompletionItem]:
    """Return the VMs of the cluster whose names begin so."""
    return _complete(ctx, typed, 1)


def complete_hosts(ctx: click.Context, param: click.Parameter, typed: str) -> list[CompletionItem]:
    """Return the hosts of the cluster whose names begin so."""
    return _complete(ctx, typed, 0)


def _complete(ctx: click.Context, typed: str, which: int) -> list[CompletionItem]:
    """Nobody reads an error of a completion, so there is none."""
    try:
        with reach(ctx.params.get("cluster")) as control:
            found = control.call(CENTER, "names")[which]
    except (SystemExit, Failed, NotReached):
        return []
    return [CompletionItem(name) for name in found if name.startswith(typed)]


def _complete_clusters(
    ctx: click.Context, param: click.Parameter, typed: str
) -> list[CompletionItem]:
    return [CompletionItem(name) for name in places.names() if name.startswith(typed)]


# Reaching a cluster.


def stop(text: str, status: int = FAILED) -> NoReturn:
    """Say what is wrong, and end with that exit status."""
    click.echo(f"vmotion: {text}", err=True)
    raise SystemExit(status)


def chosen(name: str | None) -> str:
    """Return the name of the cluster that is meant."""
    if name is not None:
        return name
    up = places.names()
    if len(up) > 1 and DEFAULT not in up:
        stop(f"several clusters are up: {', '.join(up)}; name one with --cluster", BAD_INPUT)
    return up[0] if len(up) == 1 else DEFAULT


def standing(name: str | None) -> places.Standing:
    """Return the cluster that is meant, as it is written down."""
    wanted = chosen(name)
    try:
        found = places.read(wanted)
    except places.BadPlace as error:
        stop(str(error), BAD_INPUT)
    if found is None:
        up = places.names()
        if up:
            stop(f"there is no cluster {wanted}; {suggestion(wanted, up)}", BAD_INPUT)
        stop("no cluster is up; start one with vmotion up SCENARIO")
    return found


@contextmanager
def reach(name: str | None) -> Iterator[Control]:
    """Talk to a cluster; what keeps us from it is said, and ends the command."""
    found = standing(name)
    if not found.alive:
        if found.ray_address is None:
            stop(
                f"cluster {found.name} is not up any more: its keeper has ended. "
                f"Clear it away with vmotion down --cluster {found.name}, and begin anew"
            )
        from cluster.cli.groups.starting import join

        found = join(found)
    if not found.ready:
        stop(f"cluster {found.name} is only starting; ask again in a moment")
    try:
        with Control(found.control, found.key.encode()) as control:
            yield control
    except NotReached as error:
        stop(f"cluster {found.name} does not answer: {error}")
    except Failed as error:
        stop(str(error))


def known_host(control: Control, name: str) -> None:
    """End the command unless there is such a host."""
    _known(name, "host", control.call(CENTER, "names")[0])


def known_vm(control: Control, name: str) -> None:
    """End the command unless there is such a VM."""
    _known(name, "VM", control.call(CENTER, "names")[1])


def _known(name: str, what: str, names: Sequence[str]) -> None:
    if name not in names:
        stop(f"there is no {what} {name}; {suggestion(name, names)}", BAD_INPUT)


# Tasks.


def ask(
    control: Control,
    wish: Wish,
    *,
    wait: bool = True,
    as_json: bool = False,
    more: Callable[[Task], None] | None = None,
) -> NoReturn:
    """Ask for something, follow it to its end unless told not to, and end with its result.

    `more` says more about a task that has ended.
    """
    task = begin(control, wish)
    if wait:
        task = follow(control, task, quiet=as_json)
    tell(task, as_json=as_json)
    if more is not None and task.over and not as_json:
        more(task)
    raise SystemExit(FAILED if task.state is TaskState.FAILED else DONE)


def begin(control: Control, wish: Wish) -> Task:
    """Ask for something; return the task, which may be over already."""
    asked = Asked(key=uuid.uuid4().hex, by=_user(), wish=wish)
    task: Task = control.call(CENTER, "ask", asked)
    return task


def follow(control: Control, task: Task, *, quiet: bool = False) -> Task:
    """Return a task when it is over; show meanwhile how far it is."""
    from cluster.cli.groups.progress import Progress

    try:
        with Progress(quiet=quiet) as progress:
            while not task.over:
                progress.show(control, task)
                time.sleep(_POLL_S)
                found: Task | None = control.call(CENTER, "task", task.id)
                if found is None:
                    stop(f"task {task.id} is not known any more")
                task = found
    except KeyboardInterrupt:
        click.echo(f"vmotion: task {task.id} goes on; see vmotion task show {task.id}", err=True)
        raise SystemExit(INTERRUPTED) from None
    return task


def tell(task: Task, *, as_json: bool) -> None:
    """Print a task: how it ended, or that it goes on; a failure to stderr."""
    if as_json:
        print_json(task_row(task))
    if task.state is TaskState.FAILED:
        click.echo(f"vmotion: {task.text}", err=True)
    elif not as_json:
        text = task.text or f"{task.kind} {task.subject}".strip()
        click.echo(text if task.over else f"task {task.id}: {text} ({task.state.value})")


def task_row(task: Task) -> dict[str, object]:
    """Return a task for JSON."""
    return {
        "id": task.id,
        "kind": task.kind,
        "subject": task.subject,
        "by": task.by,
        "state": task.state.value,
        "text": task.text,
        "migration": task.migration or None,
        "began_s": round(task.began_s, 3),
        "ended_s": None if task.ended_s is None else round(task.ended_s, 3),
    }


def print_json(thing: object) -> None:
    """Print something as JSON."""
    json.dump(thing, sys.stdout, indent=2, default=str)
    print()


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "somebody"
