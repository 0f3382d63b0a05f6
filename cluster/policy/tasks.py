"""Tasks: what somebody asked for or VirtualCenter began by itself, how far it is, how it ended.

A task follows the story: each kind of wish has entries that end it, in a table. So there is
no second account of what happens, and a task cannot say something else than the story.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from types import MappingProxyType

from cluster.migration.spec import Trigger
from cluster.policy.messages import (
    Asked,
    CancelRequested,
    Command,
    DrsConfigured,
    FeaturesTicked,
    FeaturesUnticked,
    HostConnectRequested,
    HostReconfigured,
    LicenceServerBack,
    LicenceServerLost,
    LicencesOffered,
    MaintenanceCancelled,
    MaintenanceEnded,
    MaintenanceRequested,
    MigrationRequested,
    PassRequested,
    PowerOffRequested,
    PowerOnRequested,
    RecommendationsApproved,
    Record,
    Topic,
    VMotionConfigured,
    VmReconfigured,
    Wish,
)
from cluster.policy.state import ClusterState

# Ended tasks that are kept, the newest; VI3 kept those of ten minutes.
_KEPT_MAX = 1000


class TaskState(Enum):
    """As an operator sees it."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One task.

    Attributes:
        kind: Of the wish; a key of `KINDS`.
        subject: The VM or host it is about; "" is the cluster.
        by: Who asked.
        text: What it waits for, or how it ended: the story's sentences.
        migration: The migration it follows; "" until there is one.
        began_s, ended_s: VirtualCenter's time.
    """

    id: str
    kind: str
    subject: str
    by: str
    state: TaskState
    began_s: float
    ended_s: float | None = None
    text: str = ""
    migration: str = ""

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self.state in (TaskState.DONE, TaskState.FAILED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """Which entries of the story end a task of this kind.

    Attributes:
        ends: (topic, what): whether the task is done then, or has failed.
        says: Entries that a task which goes on shows.
        subject: The entry's field that names the task's subject; "" takes any.
        at_once: Done with the decision, whatever the story says of it.
    """

    name: str
    ends: Mapping[tuple[Topic, str], bool]
    says: frozenset[tuple[Topic, str]] = frozenset()
    subject: str = ""
    at_once: bool = False


def _kind(
    name: str,
    topic: Topic,
    *,
    done: tuple[str, ...],
    failed: tuple[str, ...],
    says: tuple[str, ...] = (),
    subject: str = "",
) -> Kind:
    ends = {(topic, what): True for what in done} | {(topic, what): False for what in failed}
    return Kind(
        name=name,
        ends=MappingProxyType(ends),
        says=frozenset((topic, what) for what in says),
        subject=subject,
    )


def _at_once(name: str) -> Kind:
    """A wish about licences: it is done when it is decided on, unless it was refused."""
    failed = (Topic.CLUSTER, "licences_refused")
    return Kind(name=name, ends=MappingProxyType({failed: False}), at_once=True)


def _of_licences(name: str, done: str) -> Kind:
    return _kind(name, Topic.CLUSTER, done=(done,), failed=("licences_refused",))


_MOVED = ("aborted", "lost", "refused")
KINDS: Mapping[type, Kind] = MappingProxyType(
    {
        MigrationRequested: _kind(
            "migrate", Topic.MIGRATION, done=("completed",), failed=_MOVED, subject="vm"
        ),
        CancelRequested: _kind(
            "cancel",
            Topic.MIGRATION,
            done=("aborted", "refused"),
            failed=("completed", "lost", "cancel_refused"),
            subject="vm",
        ),
        HostConnectRequested: _kind(
            "connect host",
            Topic.HOST,
            done=("connected",),
            failed=("connect_refused", "failed"),
            subject="host",
        ),
        MaintenanceRequested: _kind(
            "maintenance enter",
            Topic.HOST,
            done=("maintenance",),
            failed=(
                "maintenance_refused",
                "maintenance_given_up",
                "maintenance_cancelled",
                "failed",
            ),
            says=("maintenance_blocked",),
            subject="host",
        ),
        MaintenanceCancelled: _kind(
            "maintenance cancel",
            Topic.HOST,
            done=("maintenance_cancelled",),
            failed=("maintenance_refused",),
            subject="host",
        ),
        MaintenanceEnded: _kind(
            "maintenance exit",
            Topic.HOST,
            done=("exited_maintenance",),
            failed=("maintenance_refused",),
            subject="host",
        ),
        PassRequested: _kind(
            "drs run",
            Topic.DRS,
            done=("pass",),
            failed=("refused", "plan_dropped", "solve_failed"),
        ),
        RecommendationsApproved: _kind(
            "drs apply", Topic.DRS, done=("approved",), failed=("approve_refused", "refused")
        ),
        DrsConfigured: _kind("drs set", Topic.DRS, done=("configured",), failed=("refused",)),
        PowerOnRequested: _kind(
            "power on",
            Topic.VM,
            done=("powered_on",),
            failed=("power_on_failed", "failed"),
            subject="vm",
        ),
        PowerOffRequested: _kind(
            "power off",
            Topic.VM,
            done=("powered_off", "failed"),
            failed=("power_off_failed",),
            subject="vm",
        ),
        HostReconfigured: _kind(
            "configure host",
            Topic.HOST,
            done=("configured",),
            failed=("configure_refused",),
            subject="host",
        ),
        VmReconfigured: _kind(
            "configure vm",
            Topic.VM,
            done=("configured",),
            failed=("configure_refused",),
            subject="vm",
        ),
        LicencesOffered: _of_licences("license install", "licences_installed"),
        FeaturesTicked: _of_licences("license tick", "licences_ticked"),
        FeaturesUnticked: _of_licences("license release", "licences_released"),
        VMotionConfigured: _kind(
            "configure vmotion",
            Topic.HOST,
            done=("configured",),
            failed=("configure_refused",),
            subject="host",
        ),
        LicenceServerLost: _at_once("licence server lost"),
        LicenceServerBack: _at_once("licence server back"),
    }
)
_BY_NAME = {kind.name: kind for kind in KINDS.values()}


class Tasks:
    """All tasks under way, and the newest that have ended."""

    def __init__(self, state: ClusterState) -> None:
        self._state = state
        self._tasks: dict[str, Task] = {}
        self._open: dict[str, None] = {}
        self._keys: dict[str, str] = {}
        self._count = 0

    def all(self) -> tuple[Task, ...]:
        """Return them, the oldest first."""
        return tuple(self._tasks.values())

    def get(self, task: str) -> Task | None:
        """Return a task; None if it is unknown, or forgotten."""
        return self._tasks.get(task)

    def asked_before(self, key: str) -> Task | None:
        """Return the task of a wish that has been heard already."""
        return self._tasks.get(self._keys.get(key, ""))

    def begin(self, asked: Asked, *, now: float) -> None:
        """Somebody wants something; what becomes of it follows with `took`."""
        kind = KINDS[type(asked.wish)]
        task = self._add(kind.name, _subject(asked.wish), asked.by, now)
        self._keys[asked.key] = task.id

    def asked(self, key: str, commands: Iterable[Command], *, now: float) -> None:
        """Its wish has been decided on, and that led to these commands."""
        task = self.asked_before(key)
        if task is None or task.over:
            return
        if _BY_NAME[task.kind].at_once:
            said = [command.text for command in commands if isinstance(command, Record)]
            self._end(task, True, "; ".join(said), now)
        elif task.kind in ("migrate", "cancel"):
            record = self._state.migration_of(task.subject)
            if record is not None:
                queued = record.started_s is None
                state = TaskState.QUEUED if queued else TaskState.RUNNING
                waits = f"waits for {record.waiting_for}" if queued else ""
                self._put(replace(task, state=state, migration=record.spec.id, text=waits))

    def took(self, commands: Iterable[Command], *, now: float) -> None:
        """Let the story's new entries move tasks on; DRS's own migrations become tasks."""
        for command in commands:
            if isinstance(command, Record):
                self._heard(command, now)

    def _heard(self, record: Record, now: float) -> None:
        fields = dict(record.fields)
        entry = (record.topic, record.what)
        if entry == (Topic.MIGRATION, "started"):
            self._migration_started(fields, now)
        for name in list(self._open):
            task = self._tasks[name]
            kind = _BY_NAME[task.kind]
            if kind.subject and fields.get(kind.subject) != task.subject:
                continue
            if task.migration and fields.get("migration") != task.migration:
                continue
            if (succeeded := kind.ends.get(entry)) is not None:
                self._end(task, succeeded, record.text, now)
            elif entry in kind.says:
                self._put(replace(task, text=record.text))

    def _migration_started(self, fields: dict[str, object], now: float) -> None:
        migration, vm = str(fields["migration"]), str(fields["vm"])
        for name in self._open:
            task = self._tasks[name]
            if (task.kind, task.subject) == ("migrate", vm):
                self._put(replace(task, state=TaskState.RUNNING, migration=migration, text=""))
                return
        trigger = str(fields["trigger"])
        if trigger != Trigger.USER.value:  # asked for by somebody in particular: a task already
            task = self._add("migrate", vm, trigger, now)
            self._put(replace(task, migration=migration, text=str(fields["reason"])))

    def _add(self, kind: str, subject: str, by: str, now: float) -> Task:
        self._count += 1
        task = Task(
            id=f"t{self._count:04d}",
            kind=kind,
            subject=subject,
            by=by,
            state=TaskState.RUNNING,
            began_s=now,
        )
        self._put(task)
        self._open[task.id] = None
        return task

    def _put(self, task: Task) -> None:
        self._tasks[task.id] = task

    def _end(self, task: Task, succeeded: bool, text: str, now: float) -> None:
        state = TaskState.DONE if succeeded else TaskState.FAILED
        self._put(replace(task, state=state, ended_s=now, text=text))
        del self._open[task.id]
        if len(self._tasks) > _KEPT_MAX + len(self._open):
            oldest = next(name for name in self._tasks if name not in self._open)
            del self._tasks[oldest]
            self._keys = {key: name for key, name in self._keys.items() if name != oldest}


def _subject(wish: Wish) -> str:
    match wish:
        case (
            MigrationRequested(vm=name)
            | CancelRequested(vm=name)
            | PowerOnRequested(vm=name)
            | PowerOffRequested(vm=name)
            | HostConnectRequested(host=name)
            | MaintenanceRequested(host=name)
            | MaintenanceCancelled(host=name)
            | MaintenanceEnded(host=name)
            | VMotionConfigured(host=name)
            | VmReconfigured(vm=name)
        ):
            return name
        case HostReconfigured(spec=host):
            return host.name
        case _:
            return ""
