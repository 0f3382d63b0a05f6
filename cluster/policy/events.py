"""What VirtualCenter hears: what people want, and what has happened, in the past tense."""

from dataclasses import dataclass

from cluster.migration.spec import Outcome
from cluster.policy.facts import HostLoad
from cluster.policy.wishes import Wish
from drs import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class HostConnected:
    """A host has started, or is back. `serves_faults`: its kernel can carry post-copy.

    `running`: (VM, epoch) of what it runs already; what it may not run is powered off there.
    `incoming`: (migration, VM, epoch) of what it has made room for and does not run yet.
    """

    host: str
    serves_faults: bool
    running: tuple[tuple[str, int], ...] = ()
    incoming: tuple[tuple[str, str, int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFailed:
    """A host's process is known to be dead, with every VM that ran there."""

    host: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeLost:
    """A host's node is reported dead; the host may only be cut off, and stuns its VMs in time.

    To be sent again while it is so: a sample that was under way clears the suspicion.
    """

    host: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CalendarTold:
    """It is this moment in Unix seconds: licences begin with the first one, and expire by it.

    To be sent before the hosts connect, and again when the driver's clock has begun anew.
    """

    unix_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LinksMeasured:
    """What the network carries between the nodes that hosts run on, measured at the start.

    `nodes`: (host, node). `rates`: (node, node, payload bytes a second), one way each.
    """

    nodes: tuple[tuple[str, str], ...]
    rates: tuple[tuple[str, str, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Restarted:
    """VirtualCenter itself died and is back: what was under way is said again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VmStarted:
    """The VM runs where `PowerOn` said."""

    vm: str
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VmEnded:
    """The VM has stopped by itself, or did not start; its memory is gone."""

    vm: str
    epoch: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """Everything is up: the scenario's events and DRS count from now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopping:
    """No new migrations; those under way come to their end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadSampled:
    """A host has measured its VMs."""

    load: HostLoad


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticked:
    """`wake_at` has come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommended:
    """A solve has returned. `solve_s` is what it took, for people."""

    solve: int
    plan: Plan
    solve_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SolveFailed:
    """A solve has ended without a plan."""

    solve: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitRequested:
    """The source asks for the switchover; answered by `GrantCommit` or `RefuseCommit`."""

    migration: str
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationEnded:
    """The machine has finished."""

    migration: str
    outcome: Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Somebody asked for something and follows what becomes of it as a task.

    Attributes:
        key: Unique to the asking; heard twice it is done once.
        by: Who, in words.
    """

    key: str
    by: str
    wish: Wish


Event = (
    Wish
    | Asked
    | Restarted
    | HostConnected
    | HostFailed
    | NodeLost
    | LinksMeasured
    | CalendarTold
    | VmStarted
    | VmEnded
    | Started
    | Stopping
    | LoadSampled
    | Ticked
    | Recommended
    | SolveFailed
    | CommitRequested
    | MigrationEnded
)
