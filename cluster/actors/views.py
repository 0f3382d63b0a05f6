"""What VirtualCenter shows to who looks: frozen, picklable."""

from dataclasses import dataclass

from cluster.actors.reports import HostFacts, HostSample, MigrationProgress, Verification, VmSample
from cluster.inventory.licence_terms import Feature
from cluster.inventory.model import VmSpec
from cluster.migration.spec import MigrationSpec, Outcome
from cluster.migration.story import Entry
from cluster.policy.balancing import Balance
from cluster.policy.licensing import Status
from cluster.policy.messages import Record
from cluster.policy.state import HostState, PowerState


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """One entry of the story."""

    time_s: float
    record: Record


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedMigration:
    """A migration that has ended, with its machine's own story.

    Attributes:
        verifying: Its memory is being compared; a `Verification` follows.
    """

    spec: MigrationSpec
    outcome: Outcome
    story: tuple[Entry, ...] = ()
    verifying: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class HostView:
    """A host as it is now.

    Attributes:
        standby_processes: VM processes that wait for a VM.
    """

    name: str
    state: HostState
    cpu_mhz: float
    memory_mib: int
    demand_mhz: float
    granted_mhz: float
    used_mib: int
    vms: int
    tx_bytes: int
    rx_bytes: int
    standby_processes: int
    facts: HostFacts | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationView:
    """A migration that has not ended. `progress` is None while it waits."""

    spec: MigrationSpec
    queued_s: float
    started_s: float | None
    waiting_for: str
    progress: MigrationProgress | None


@dataclass(frozen=True, slots=True, kw_only=True)
class VmView:
    """A VM as it is now.

    Attributes:
        ended_reason: Why it is off; "" is not.
        sample: The last of its host, if it was in it.
    """

    spec: VmSpec
    host: str | None
    power: PowerState
    epoch: int
    demand_mhz: float
    ended_reason: str
    sample: VmSample | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HostLicences:
    """What a host is licensed for.

    Attributes:
        needed: Licences of each feature that it takes.
        lacking: (feature, why) of what it may not use now.
    """

    host: str
    needed: int
    ticked: tuple[Feature, ...]
    lacking: tuple[tuple[Feature, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LicenceView:
    """The licences of a cluster.

    Attributes:
        held_at: Where the licence server keeps its file; "" is a place of its own.
    """

    status: Status
    held_at: str
    hosts: tuple[HostLicences, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterView:
    """What there is to see now, and what has happened since the last look.

    Attributes:
        number: Of the newest that has happened: the next look begins after it.
        time_s: Of the scenario: 0 until everything is up.
        all_up: Every VM has started or ended trying.
        samples: The last of each host that has sent one.
        vms: (name, host or None, power state).
        awaiting_restart: VMs that HA has to restart and cannot yet.
        licences: What the right to use features rests on; None before the hosts connect.
    """

    number: int
    time_s: float
    all_up: bool
    balance: Balance
    hosts: tuple[HostView, ...]
    samples: dict[str, HostSample]
    vms: tuple[tuple[str, str | None, PowerState], ...]
    migrations: tuple[MigrationView, ...]
    happened: tuple[Happening, ...]
    ended: tuple[EndedMigration, ...]
    verified: tuple[Verification, ...]
    verifying: int
    problems: tuple[str, ...]
    awaiting_restart: int = 0
    licences: Status | None = None
