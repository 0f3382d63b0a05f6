"""What VirtualCenter knows: one record for each host, VM and migration."""

import math
from collections import deque
from dataclasses import dataclass, field
from enum import Enum

from cluster.inventory.demand import Demand
from cluster.inventory.licence_terms import Feature
from cluster.inventory.model import HostSpec, Scenario, VmSpec
from cluster.migration.spec import MigrationSpec
from cluster.policy.kinds import Kinds, host_kind, vm_kind
from cluster.policy.licensing import Licensing
from cluster.policy.links import Links
from cluster.policy.messages import TakeOver
from cluster.policy.ownership import Ownership
from cluster.policy.question import HostFacts
from cluster.policy.rules import RuleBook


class HostState(Enum):
    """As an operator sees it."""

    STARTING = "starting"
    CONNECTED = "connected"
    ENTERING_MAINTENANCE = "entering maintenance mode"
    MAINTENANCE = "in maintenance mode"
    ENTERING_STANDBY = "entering standby"
    STANDBY = "in standby"
    NOT_RESPONDING = "not responding"


class PowerState(Enum):
    """A VM's, as VirtualCenter knows it."""

    STARTING = "starting"
    ON = "powered on"
    OFF = "powered off"


@dataclass(slots=True, kw_only=True)
class HostRecord:
    """One host; owned by the Center.

    Attributes:
        in_maintenance: Also while it does not answer.
        lacking: Why it may not use a feature, by feature; what is not here is licensed.
    """

    spec: HostSpec
    state: HostState = HostState.STARTING
    serves_faults: bool = False
    in_maintenance: bool = False
    lacking: dict[Feature, str] = field(default_factory=dict)

    @property
    def answers(self) -> bool:
        """Whether VMs run there and can be sent away."""
        return self.state in (
            HostState.CONNECTED,
            HostState.ENTERING_MAINTENANCE,
            HostState.ENTERING_STANDBY,
            HostState.MAINTENANCE,
        )

    def facts(self) -> HostFacts:
        """Return what preflight wants to know of this moment."""
        return HostFacts(
            state=self.state.value,
            answers=self.answers,
            takes_vms=self.state is HostState.CONNECTED,
            unlicensed=self.lacking.get(Feature.VMOTION, ""),
            may_not_run=self.lacking.get(Feature.ESX, ""),
            serves_faults=self.serves_faults,
        )


@dataclass(slots=True, kw_only=True)
class VmRecord:
    """One VM; owned by the Center.

    Attributes:
        host: Where it runs or starts; None when it is off. Only `ClusterState.place` sets it.
        born: The epoch under which it was booted last; with a later one its memory is new.
        samples: (time_s, demand MHz, granted MHz) within the window of DRS.
        moved_at_s: Of its last migration's end.
        off_wanted: Why it is to be powered off when its migration has ended; "" is not.
        restart_wanted: HA restarts it as soon as a host can take it.
    """

    spec: VmSpec
    demand: Demand
    demand_from_s: float = 0.0
    power: PowerState = PowerState.STARTING
    host: str | None = None
    epoch: int = 0
    born: int = 0
    samples: deque[tuple[float, float, float]] = field(default_factory=deque)
    moved_at_s: float = float("-inf")
    ended_reason: str = ""
    off_wanted: str = ""
    restart_wanted: bool = False

    def demand_mhz(self) -> float:
        """Mean demand over the window; 0 before the first sample."""
        return sum(s[1] for s in self.samples) / len(self.samples) if self.samples else 0.0

    def deviation_mhz(self) -> float:
        """Standard deviation of the demand over the window; 0 before the second sample."""
        if len(self.samples) < 2:
            return 0.0
        mean = self.demand_mhz()
        # The standard library's pstdev sums fractions, and takes 50 times as long.
        return math.sqrt(sum((s[1] - mean) ** 2 for s in self.samples) / len(self.samples))


@dataclass(slots=True, kw_only=True)
class MigrationRecord:
    """One migration that has not ended; owned by the Center.

    Attributes:
        queued_s: When it was asked for.
        started_s: When its source was told; None while it waits for a slot.
        committed: The destination owns the VM.
        refusal: Why its commit was refused once, and is from then on; "" is not.
        waiting_for: Why it has not started, for people.
        onward: The host that the VM goes on to when it has arrived; this one is a bypass.
        demand_changed: The VM's demand is another since the migration started.
        cancel_wanted: Its source has been asked to stop it.
    """

    spec: MigrationSpec
    queued_s: float
    started_s: float | None = None
    committed: bool = False
    refusal: str = ""
    waiting_for: str = ""
    onward: str | None = None
    demand_changed: bool = False
    cancel_wanted: bool = False


@dataclass(slots=True, kw_only=True)
class ClusterState:
    """All that VirtualCenter's decisions rest on; owned by the Center, shared by its parts.

    Attributes:
        migrations: Those that have not ended, in the order they were asked for.
        overhead_s: Smoothed downtime of past migrations without the copying, for predictions.
        began_s: When the scenario's clock started; None until everything is up.
        licensing: The rights of each host; None until the calendar is known.
        licences_at: Where the licence server keeps its file; "" is a place of its own.
        taking_over: What destinations whose source died are to run alone, by VM.
        residents: The VMs of each host by name, and under None those that are off: what a
            decision about one host asks for must not cost a look at every VM.
        links: Measured payload bytes a second from one host's node to another's.
        vm_kinds, host_kinds: What is alike to the checks of configuration.
    """

    scenario: Scenario
    hosts: dict[str, HostRecord]
    vms: dict[str, VmRecord]
    rules: RuleBook
    ownership: Ownership = field(default_factory=Ownership)
    migrations: dict[str, MigrationRecord] = field(default_factory=dict)
    overhead_s: float = 0.01
    began_s: float | None = None
    licensing: Licensing | None = None
    licences_at: str = ""
    taking_over: dict[str, TakeOver] = field(default_factory=dict)
    residents: dict[str | None, dict[str, VmRecord]] = field(init=False)
    links: Links = field(default_factory=Links)
    vm_kinds: Kinds[VmSpec] = field(default_factory=lambda: Kinds(vm_kind))
    host_kinds: Kinds[HostSpec] = field(default_factory=lambda: Kinds(host_kind))

    def __post_init__(self) -> None:
        self.residents = {host: {} for host in (None, *self.hosts)}
        for name, vm in self.vms.items():
            self.residents[vm.host][name] = vm

    @classmethod
    def of(cls, scenario: Scenario) -> "ClusterState":
        """Return the state before anything has started."""
        return cls(
            scenario=scenario,
            hosts={spec.name: HostRecord(spec=spec) for spec in scenario.hosts},
            vms={spec.name: _record(spec) for spec in scenario.vms},
            rules=RuleBook(scenario.rules),
        )

    def line_rate(self, source: str, destination: str) -> float | None:
        """Return what a migration may expect of cards and network; None is not limited."""
        cards = (self.hosts[host].spec.nic.rate_bytes_per_second for host in (source, destination))
        known = [
            rate for rate in (*cards, self.links.rate(source, destination)) if rate is not None
        ]
        return min(known, default=None)

    def scenario_s(self, now: float) -> float:
        """Return the scenario's time: 0 until everything is up, then seconds since."""
        return 0.0 if self.began_s is None else now - self.began_s

    def place(self, vm: VmRecord, host: str | None) -> None:
        """Let a VM be on a host, or on none."""
        del self.residents[vm.host][vm.spec.name]
        vm.host = host
        self.residents[host][vm.spec.name] = vm

    def running(self) -> list[MigrationSpec]:
        """Return the migrations under way."""
        return [m.spec for m in self.migrations.values() if m.started_s is not None]

    def migration_of(self, vm: str) -> MigrationRecord | None:
        """Return the VM's migration, queued or under way."""
        return next((m for m in self.migrations.values() if m.spec.vm == vm), None)

    def answers(self, host: str) -> bool:
        """Whether a host is there to be told something."""
        return self.hosts[host].answers

    def occupancy(self) -> dict[str, tuple[str, ...]]:
        """Return the hosts that hold each VM: two while it migrates, none when it is off.

        The source holds memory until the migration has ended, also after the commit.
        """
        held: dict[str, tuple[str, ...]] = {
            name: (vm.host,) if vm.host is not None and vm.power is not PowerState.OFF else ()
            for name, vm in self.vms.items()
        }
        for spec in self.running():
            held[spec.vm] = tuple(dict.fromkeys((spec.source, *held[spec.vm], spec.destination)))
        return held


def _record(spec: VmSpec) -> VmRecord:
    """A VM before anything has started; one that arrives later is off."""
    record = VmRecord(spec=spec, demand=spec.demand)
    if spec.arrives_s is not None:
        record.power = PowerState.OFF
        record.ended_reason = f"it arrives at {spec.arrives_s:g} s"
    return record
