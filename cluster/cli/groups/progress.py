"""How far a task is, on a terminal: one line that changes."""

import sys

from rich.console import Console

from cluster.actors.control import Control
from cluster.actors.views import ClusterView
from cluster.policy.tasks import Task


class Progress:
    """A context manager; shows nothing where nobody looks."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._console = Console(file=sys.stderr, highlight=False)
        self._status = None if quiet or not self._console.is_terminal else self._console.status("")

    def show(self, control: Control, task: Task) -> None:
        """Show where a task is."""
        if self._status is not None:
            view: ClusterView = control.call("center", "view", 1 << 62)
            self._status.update(_line(task, view))

    def __enter__(self) -> "Progress":
        if self._status is not None:
            self._status.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._status is not None:
            self._status.stop()


def _line(task: Task, view: ClusterView) -> str:
    parts = [f"{task.id} {task.kind} {task.subject}".strip()]
    for migration in view.migrations:
        if migration.spec.id == task.migration and migration.progress is not None:
            progress = migration.progress
            share = min(1.0, progress.sent_bytes / max(migration.spec.memory_bytes, 1))
            parts.append(f"{progress.phase.replace('_', ' ')}, round {progress.round}, {share:.0%}")
    if task.kind == "maintenance enter":
        parts += [f"{host.vms} VMs to go" for host in view.hosts if host.name == task.subject]
    if task.text:
        parts.append(task.text)
    return ": ".join(parts)
