"""What VirtualCenter says is to be done, in the imperative, and what is written into the story."""

from dataclasses import dataclass
from enum import Enum

from cluster.inventory.demand import Demand
from cluster.migration.spec import MigrationSpec, Outcome
from drs import Policy, Snapshot
from drs.manage import PowerRequest


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
