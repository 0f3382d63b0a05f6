"""What a cluster is made of: frozen facts, checked before they get here.

`cluster.inventory.scenario` reads and checks a TOML file and returns a `Scenario`;
everything else in the project takes these classes and trusts them. They pickle,
compare and hash, and know nothing of files, Ray or time.
"""

from dataclasses import dataclass, field
from enum import Enum

from cluster.inventory.demand import Demand
from cluster.inventory.faults import NO_FAULTS, Faults
from cluster.inventory.licence_terms import Feature
from cluster.inventory.licences import NO_LICENCES, LicenceSettings
from cluster.inventory.switches import VirtualSwitch
from cluster.page import MIB as MIB
from cluster.page import PAGE_BYTES as PAGE_BYTES


class Profile(Enum):
    """Whose rules hold where the how-to and VMware differ."""

    VI3 = "vi3"
    VSPHERE = "vsphere"


class Placement(Enum):
    """How ESX hosts are laid over the nodes of a Ray cluster.

    SPREAD takes the node with the fewest hosts, PACK fills a node while it holds.
    """

    SPREAD = "spread"
    PACK = "pack"


class Mode(Enum):
    """How a migration moves memory; see docs/migration.md."""

    PRECOPY = "precopy"
    POSTCOPY = "postcopy"
    HYBRID = "hybrid"
    AUTO = "auto"


class Automation(Enum):
    """How far DRS may go by itself.

    MANUAL recommends only. PARTIALLY places new VMs and recommends migrations.
    FULLY carries out what its migration threshold admits.
    """

    MANUAL = "manual"
    PARTIALLY = "partially"
    FULLY = "fully"


@dataclass(frozen=True, slots=True, kw_only=True)
class Nic:
    """A host's VMotion network card; both directions have the rate (full duplex).

    Attributes:
        rate_bytes_per_second: None is unlimited (the machine's own speed).
    """

    name: str = "vmnic0"
    rate_bytes_per_second: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSpec:
    """An ESX host. `cpu_mhz` is the sum over its cores, `memory_mib` what VMs may use.

    Attributes:
        networks: Physical networks that VMs can reach from here.
        nic: The card that VMotion sends on.
        other_nics: Names of its further cards.
        cpu_features: What its CPUs offer beyond their family's common part.
        sockets, cores_per_socket: For licences alone; `cpu_mhz` says what it can do.
        switches: Empty: virtual networking is not described, and taken to be right.
        power_w: Watts at 0, 10 … 100 % of its CPU; empty is not known.
        vmotion: Configured for VMotion: Licensed Features, Add-Ons.
        node_labels: (name, value) pairs that the Ray node it runs on must have.
        features: What it is licensed for from the start, if there are licences; None is all that
            there are enough licences for.
    """

    name: str
    cpu_mhz: float
    memory_mib: int
    nic: Nic = Nic()
    networks: tuple[str, ...] = ("VM Network",)
    datastores: tuple[str, ...] = ("shared",)
    cpu_family: str = "generic"
    fault_domain: str = ""
    other_nics: tuple[str, ...] = ()
    cpu_features: tuple[str, ...] = ()
    sockets: int = 1
    cores_per_socket: int = 1
    switches: tuple[VirtualSwitch, ...] = ()
    power_w: tuple[float, ...] = ()
    vmotion: bool = True
    node_labels: tuple[tuple[str, str], ...] = ()
    features: tuple[Feature, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestSpec:
    """The program a VM runs.

    Attributes:
        program: A built-in's name, or "module:Class" of a user's file.
        params: Keyword arguments of the class, as sorted (name, value) pairs.
        file: Path of the user's file; None for a built-in.
    """

    program: str
    params: tuple[tuple[str, object], ...] = ()
    file: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientsSpec:
    """Clients that talk to a VM for as long as it runs.

    Attributes:
        count: Independent clients, each with at most one request under way.
        rate_hz: Requests a second of each client.
    """

    count: int = 1
    rate_hz: float = 20.0


class RestartPriority(Enum):
    """In which order HA restarts VMs after a host's failure; DISABLED stay off."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True, kw_only=True)
class VmSpec:
    """A VM as it was configured.

    Attributes:
        cpu_mhz: What its vCPUs can use at most; demand above it is cut.
        host: Where it is powered on; None lets DRS place it.
        downtime_s_max: This VM's own limit; None takes the cluster's.
        stun_s_max: A migration that is predicted to stun it for longer is refused, before it
            starts or before its switchover; None is no limit.
        seed: Of the guest's own random numbers; makes its writes replayable.
        local_devices: Devices connected to something that only this host has, such as a
            CD-ROM drive with a local image.
        cpu_affinity: The host's CPUs that it is bound to; empty is not bound.
        clustered: It shares a disk with another VM of a cluster (MSCS).
        swap_datastore: Where its swap file is; None is with its disks.
        masked_features: CPU features hidden from the guest, which it can do without.
        arrives_s: It is off until then; None is powered on with the cluster.
    """

    name: str
    memory_mib: int
    cpu_mhz: float
    guest: GuestSpec
    demand: Demand
    clients: ClientsSpec | None = None
    host: str | None = None
    networks: tuple[str, ...] = ("VM Network",)
    datastore: str = "shared"
    cpu_reservation_mhz: float = 0.0
    cpu_limit_mhz: float | None = None
    cpu_shares: float = 1000.0
    memory_reservation_mib: int = 0
    automation: Automation | None = None
    downtime_s_max: float | None = None
    stun_s_max: float | None = None
    seed: int = 0
    local_devices: tuple[str, ...] = ()
    cpu_affinity: tuple[int, ...] = ()
    clustered: bool = False
    swap_datastore: str | None = None
    masked_features: tuple[str, ...] = ()
    restart_priority: RestartPriority = RestartPriority.MEDIUM
    arrives_s: float | None = None

    @property
    def memory_bytes(self) -> int:
        """Size of the guest's memory; always a whole number of pages."""
        return self.memory_mib * MIB


class RuleKind(Enum):
    """VM–VM rules keep together or apart; VM–host rules bind a group to hosts."""

    AFFINITY = "affinity"
    ANTI_AFFINITY = "anti-affinity"
    VM_HOST_MUST = "vm-host-must"
    VM_HOST_MUST_NOT = "vm-host-must-not"
    VM_HOST_SHOULD = "vm-host-should"
    VM_HOST_SHOULD_NOT = "vm-host-should-not"


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleSpec:
    """A placement rule over VM names and, for VM–host rules, host names."""

    name: str
    kind: RuleKind
    vms: tuple[str, ...]
    hosts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DrsSettings:
    """When DRS looks, and what it may do.

    Attributes:
        interval_s: Between two passes.
        window_s: Demand is the mean over this window.
        threshold: Migration threshold, 1 conservative to 5 aggressive.
        budget_s_max: A solve returns its best plan within this time.
        plan_age_s_max: An older plan is dropped.
        moves_max: Migrations recommended in one pass at most; None is no limit.
        cooldown_s: A VM that moved stays for this long.
    """

    enabled: bool = True
    automation: Automation = Automation.FULLY
    threshold: int = 3
    interval_s: float = 300.0
    window_s: float = 60.0
    budget_s_max: float = 2.0
    plan_age_s_max: float = 10.0
    moves_max: int | None = None
    cooldown_s: float = 60.0


class PowerPlanner(Enum):
    """Who decides which hosts stand by.

    Two are baselines: DVFS lets a host without VMs stand by and moves nobody; THR_MMT moves
    VMs off hosts above `high_ratio` and off the emptiest, as CloudSim does.
    """

    DPM = "dpm"
    DVFS = "dvfs"
    THR_MMT = "thr-mmt"


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerSettings:
    """Power management: hosts that nobody needs stand by.

    Attributes:
        deviations: Standard deviations of a host's demand that are kept free on it.
        high_ratio: Mean and deviations above this share of the CPU: the host is relieved.
        target_ratio: So full may a host be made.
        low_ratio: Below this share without it, the emptiest host stands by.
        hosts_on_min: So many stay on.
    """

    enabled: bool = False
    planner: PowerPlanner = PowerPlanner.DPM
    deviations: float = 0.2
    high_ratio: float = 0.94
    target_ratio: float = 0.83
    low_ratio: float = 0.67
    hosts_on_min: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationSettings:
    """How migrations are done.

    Attributes:
        mode: HYBRID where hosts can serve faults; it becomes PRECOPY where they cannot.
        downtime_s_max: Predicted downtime at which pre-copy may switch over.
        stall_s_max: A step without answer and without progress for this long has stalled.
        per_host_max: Migrations at once on a host, in or out; None takes it from the
            NIC's rate as vSphere does (4 on 1 GbE, 8 on 10 GbE and faster).
        rounds_max: Pre-copy rounds after which the migration switches over or gives up.
        compression: Pack pages with LZ4 where that makes them arrive sooner on the link at hand.
        checksum: Check each batch's contents on arrival against a checksum from the source.
        verify: Compare every page by hash with the source's frozen memory afterwards.
        probe_interval_s: Between a client's probes while its VM is migrating.
        standby_processes: VM processes that each host keeps started for VMs that come.
    """

    mode: Mode = Mode.HYBRID
    downtime_s_max: float = 0.05
    stall_s_max: float = 10.0
    rounds_max: int = 30
    per_host_max: int | None = None
    compression: bool = False
    checksum: bool = False
    verify: bool = True
    probe_interval_s: float = 0.01
    standby_processes: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class HaSettings:
    """Whether HA restarts the VMs of a lost host, and what it keeps free for that.

    Attributes:
        failures_tolerated: Hosts whose loss reservations must survive; 0 keeps nothing free.
        isolation_s_max: A host that is cut off for this long has stunned its VMs.
    """

    enabled: bool = False
    failures_tolerated: int = 1
    isolation_s_max: float = 15.0


class TimedKind(Enum):
    """What can happen at a time that the scenario names."""

    DEMAND = "demand"
    MIGRATE = "migrate"
    CANCEL = "cancel"
    POWER_ON = "power-on"
    POWER_OFF = "power-off"
    MAINTENANCE = "maintenance"
    END_MAINTENANCE = "end-maintenance"
    HOST_FAILURE = "host-failure"
    LICENCE_SERVER_LOST = "licence-server-lost"
    LICENCE_SERVER_BACK = "licence-server-back"


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedEvent:
    """Something that happens `at_s` seconds after all VMs are up.

    Attributes:
        demand: The new demand profile, for DEMAND; its own time starts at `at_s`.
        destination: A host's name, for MIGRATE; None lets DRS choose.
        hosts: For MAINTENANCE, END_MAINTENANCE and HOST_FAILURE.
        wait: For MAINTENANCE: also while some VMs cannot go; else give up then.
    """

    at_s: float
    kind: TimedKind
    vms: tuple[str, ...] = ()
    demand: Demand | None = None
    destination: str | None = None
    mode: Mode | None = None
    hosts: tuple[str, ...] = ()
    wait: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A whole experiment: a cluster, its rules and policies, and what happens to it.

    Attributes:
        faults: What goes wrong when it is simulated; a live run has no declared faults.
        evc_features: The baseline that all hosts' CPUs are shown to have (vsphere); None is off.
    """

    name: str
    duration_s: float
    seed: int = 0
    profile: Profile = Profile.VI3
    placement: Placement = Placement.SPREAD
    sample_s: float = 1.0
    hosts: tuple[HostSpec, ...] = ()
    vms: tuple[VmSpec, ...] = ()
    rules: tuple[RuleSpec, ...] = ()
    drs: DrsSettings = DrsSettings()
    power: PowerSettings = PowerSettings()
    migration: MigrationSettings = MigrationSettings()
    ha: HaSettings = HaSettings()
    faults: Faults = NO_FAULTS
    evc_features: tuple[str, ...] | None = None
    licences: LicenceSettings = NO_LICENCES
    events: tuple[TimedEvent, ...] = ()
    directory: str = field(default=".", compare=False)

    @property
    def arriving(self) -> frozenset[str]:
        """The VMs that are not powered on with the cluster, by name."""
        return frozenset(vm.name for vm in self.vms if vm.arrives_s is not None)
