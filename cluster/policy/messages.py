"""What VirtualCenter's decisions hear and say: events in the past tense, commands in the imperative."""

from dataclasses import dataclass
from enum import Enum
from typing import Any

from cluster.inventory.demand import Demand
from cluster.inventory.licence_terms import Feature
from cluster.inventory.model import HostSpec, Mode
from cluster.migration.spec import MigrationSpec, Outcome, Trigger
from cluster.policy.facts import HostLoad
from cluster.policy.licence_file import LicenceFile
from cluster.policy.networking import VMotionSetup
from drs import Plan, Policy, Snapshot
from drs.manage import PowerRequest

# Events.


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
class HostConnectRequested:
    """Somebody wants a host back that does not respond; it comes empty."""

    host: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MaintenanceRequested:
    """Somebody wants a host empty. `wait`: also while some VMs cannot go; else give up then."""

    host: str
    wait: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class MaintenanceCancelled:
    """Somebody does not want a host to enter maintenance mode any more."""

    host: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MaintenanceEnded:
    """Somebody has finished the work on a host."""

    host: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DrsConfigured:
    """DRS works in another way from now on; a single VM's automation is in its own spec.

    `changes`: (field of `DrsSettings`, value). Two who change something at once both have it.
    """

    changes: tuple[tuple[str, Any], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PassRequested:
    """Somebody wants DRS to look now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecommendationsApproved:
    """Somebody has consented to the open recommendations for these VMs; None: to all."""

    vms: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HostReconfigured:
    """A host is configured in another way from now on; it keeps its name."""

    spec: HostSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class VMotionConfigured:
    """Somebody configures VMotion on a host: turns it on or off, gives it a port group, or both.

    `setup` None adds no port group; `vmotion` None leaves it on or off.
    """

    host: str
    setup: VMotionSetup | None = None
    vmotion: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VmReconfigured:
    """A VM is configured in another way from now on; it keeps its name and its memory.

    `changes`: (field of `VmSpec`, value). Two who change something at once both have it.
    """

    vm: str
    changes: tuple[tuple[str, Any], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CalendarTold:
    """It is this moment in Unix seconds: licences begin with the first one, and expire by it.

    To be sent before the hosts connect, and again when the driver's clock has begun anew.
    """

    unix_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LicencesOffered:
    """Somebody wants this file in place of the installed one; the vendor's key says who signed it.

    `held_at`: where the licence server keeps it, with other vendors' licences; "" as before.
    """

    file: LicenceFile
    vendor_key: bytes
    held_at: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeaturesTicked:
    """Somebody wants hosts licensed for features."""

    hosts: tuple[str, ...]
    features: tuple[Feature, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FeaturesUnticked:
    """Somebody takes features from hosts, and what needs them; None is all: a release."""

    hosts: tuple[str, ...]
    features: tuple[Feature, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LicenceServerLost:
    """The licence server does not answer any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LicenceServerBack:
    """The licence server answers again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinksMeasured:
    """What the network carries between the nodes that hosts run on, measured at the start.

    `nodes`: (host, node). `rates`: (node, node, payload bytes a second), one way each.
    """

    nodes: tuple[tuple[str, str], ...]
    rates: tuple[tuple[str, str, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerOnRequested:
    """Somebody wants a VM on. `host` None: on its own host, or where DRS places it."""

    vm: str
    host: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerOffRequested:
    """Somebody wants a VM off; its memory is given up."""

    vm: str


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
class MigrationRequested:
    """Somebody wants a VM elsewhere. `destination` None lets DRS's placement choose.

    `onward`: where it goes on to when it has arrived, because the way there is blocked now.
    """

    vm: str
    destination: str | None
    trigger: Trigger
    mode: Mode | None = None
    reason: str = ""
    onward: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelRequested:
    """Somebody wants a VM's migration stopped."""

    vm: str


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


Wish = (
    MigrationRequested
    | VMotionConfigured
    | CancelRequested
    | HostConnectRequested
    | MaintenanceRequested
    | MaintenanceCancelled
    | MaintenanceEnded
    | DrsConfigured
    | PassRequested
    | RecommendationsApproved
    | HostReconfigured
    | VmReconfigured
    | LicencesOffered
    | FeaturesTicked
    | FeaturesUnticked
    | LicenceServerLost
    | LicenceServerBack
    | PowerOnRequested
    | PowerOffRequested
)


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
    Asked
    | Restarted
    | PowerOnRequested
    | PowerOffRequested
    | HostConnected
    | HostFailed
    | NodeLost
    | HostConnectRequested
    | MaintenanceRequested
    | MaintenanceCancelled
    | MaintenanceEnded
    | DrsConfigured
    | PassRequested
    | RecommendationsApproved
    | HostReconfigured
    | VMotionConfigured
    | VmReconfigured
    | LinksMeasured
    | CalendarTold
    | LicencesOffered
    | FeaturesTicked
    | FeaturesUnticked
    | LicenceServerLost
    | LicenceServerBack
    | VmStarted
    | VmEnded
    | Started
    | Stopping
    | LoadSampled
    | Ticked
    | Recommended
    | SolveFailed
    | MigrationRequested
    | CancelRequested
    | CommitRequested
    | MigrationEnded
)


# Commands.


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerOn:
    """Boot a VM on a host; answered by `VmStarted` or `VmEnded`."""

    vm: str
    host: str
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerOff:
    """End a VM on a host."""

    vm: str
    host: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FailHost:
    """Let a host die with every VM on it, as the scenario wants; `HostFailed` follows."""

    host: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StartHost:
    """Begin a lost host's process anew, where it was; answered by `HostConnected` or `HostFailed`."""

    host: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StartMigration:
    """Drive this migration from its source; answered by `MigrationEnded`."""

    spec: MigrationSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelMigration:
    """Ask the machine to stop."""

    migration: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TellPeerLost:
    """The source learns that its destination is dead."""

    migration: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Discard:
    """The destination forgets a migration whose source is gone."""

    migration: str
    destination: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeOver:
    """The source died after the commit: run the VM, and go on without it.

    The destination may be running it already. Answered by `VmStarted`, or by `VmEnded`
    when the destination lacks pages.
    """

    migration: str
    vm: str
    destination: str
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseMigration:
    """Its machine died with the source and reports no more: this is how it ended."""

    spec: MigrationSpec
    outcome: Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class SetShares:
    """Max–min shares of migrations that come in at a host; None is unlimited."""

    host: str
    shares: tuple[tuple[str, float | None], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SetDemand:
    """Give a VM another demand profile; its time counts from `from_s` of the scenario."""

    vm: str
    host: str
    demand: Demand
    from_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Solve:
    """Ask DRS, elsewhere; answered by `Recommended` or `SolveFailed`.

    Attributes:
        power: Power management is part of the pass.
        budget_s_max: Where time is real; in virtual time the driver counts steps.
    """

    solve: int
    snapshot: Snapshot
    policy: Policy
    seed: int
    budget_s_max: float
    power: PowerRequest | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantCommit:
    """The destination owns the VM from now on."""

    migration: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RefuseCommit:
    """The source goes on owning the VM."""

    migration: str
    reason: str


class Topic(Enum):
    """What an entry of the story is about."""

    CLUSTER = "cluster"
    HOST = "host"
    VM = "vm"
    MIGRATION = "migration"
    DRS = "drs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Write this into the story: one sentence, and the same as data."""

    topic: Topic
    what: str
    text: str
    fields: tuple[tuple[str, object], ...] = ()


Command = (
    PowerOn
    | PowerOff
    | FailHost
    | StartHost
    | StartMigration
    | CancelMigration
    | TellPeerLost
    | Discard
    | TakeOver
    | CloseMigration
    | SetShares
    | SetDemand
    | Solve
    | GrantCommit
    | RefuseCommit
    | Record
)
