"""What VirtualCenter knows: one record for each host, VM and migration."""

from collections import deque
from dataclasses import dataclass, field
from enum import Enum

from cluster.inventory.demand import Demand
from cluster.inventory.model import HostSpec, Scenario, VmSpec
from cluster.migration.spec import MigrationSpec
from cluster.policy.ownership import Ownership


class HostState(Enum):
    """As an operator sees it."""

    STARTING = "starting"
    CONNECTED = "connected"
    NOT_RESPONDING = "not responding"


class PowerState(Enum):
    """A VM's, as VirtualCenter knows it."""

    STARTING = "starting"
    ON = "powered on"
    OFF = "powered off"


@dataclass(slots=True, kw_only=True)
class HostRecord:
    """One host; owned by the Center."""

    spec: HostSpec
    state: HostState = HostState.STARTING
    serves_faults: bool = False


@dataclass(slots=True, kw_only=True)
class VmRecord:
    """One VM; owned by the Center.

    Attributes:
        host: Where it runs or starts; None when it is off.
        samples: (time_s, demand MHz, granted MHz) within the window of DRS.
        moved_at_s: Of its last migration's end.
    """

    spec: VmSpec
    demand: Demand
    demand_from_s: float = 0.0
    power: PowerState = PowerState.STARTING
    host: str | None = None
    epoch: int = 0
    samples: deque[tuple[float, float, float]] = field(default_factory=deque)
    moved_at_s: float = float("-inf")
    ended_reason: str = ""

    def demand_mhz(self) -> float:
        """Mean demand over the window; 0 before the first sample."""
        return sum(s[1] for s in self.samples) / len(self.samples) if self.samples else 0.0


@dataclass(slots=True, kw_only=True)
class MigrationRecord:
    """One migration that has not ended; owned by the Center.

    Attributes:
        queued_s: When it was asked for.
        started_s: When its source was told; None while it waits for a slot.
        committed: The destination owns the VM.
        waiting_for: Why it has not started, for people.
    """

    spec: MigrationSpec
    queued_s: float
    started_s: float | None = None
    committed: bool = False
    waiting_for: str = ""


@dataclass(slots=True, kw_only=True)
class ClusterState:
    """All that VirtualCenter's decisions rest on; owned by the Center, shared by its parts.

    Attributes:
        migrations: Those that have not ended, in the order they were asked for.
        overhead_s: Smoothed downtime of past migrations without the copying, for predictions.
    """

    scenario: Scenario
    hosts: dict[str, HostRecord]
    vms: dict[str, VmRecord]
    ownership: Ownership = field(default_factory=Ownership)
    migrations: dict[str, MigrationRecord] = field(default_factory=dict)
    overhead_s: float = 0.01

    def running(self) -> list[MigrationSpec]:
        """Return the migrations under way."""
        return [m.spec for m in self.migrations.values() if m.started_s is not None]

    def migration_of(self, vm: str) -> MigrationRecord | None:
        """Return the VM's migration, queued or under way."""
        return next((m for m in self.migrations.values() if m.spec.vm == vm), None)

    def occupancy(self) -> dict[str, tuple[str, ...]]:
        """Return the hosts that hold each VM: two while it migrates, none when it is off."""
        held: dict[str, tuple[str, ...]] = {
            name: (vm.host,) if vm.host is not None and vm.power is not PowerState.OFF else ()
            for name, vm in self.vms.items()
        }
        for spec in self.running():
            held[spec.vm] = tuple(dict.fromkeys((*held[spec.vm], spec.destination)))
        return held

    def held_by(self, host: str, *, but: str = "") -> list[VmSpec]:
        """Return the VMs that hold memory on a host, those that come or go included."""
        return [
            self.vms[vm].spec
            for vm, hosts in self.occupancy().items()
            if host in hosts and vm != but
        ]
