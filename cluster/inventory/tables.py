"""The shape of a scenario file: one pydantic model a TOML table, strict and closed.

These models say what can be said of one table alone: keys, types, ranges, defaults.
What holds between tables is `checks`; what the rest of the project uses is `model`.
The field descriptions are the documentation: the JSON Schema, the table of keys in
docs/scenarios.md and the cures in messages all come from them.
"""

import math
from typing import Annotated, Any

from pydantic import AfterValidator, Discriminator, Field, JsonValue, Tag, WithJsonSchema
from pydantic_core import PydanticCustomError

from cluster.inventory.cluster_tables import EventTable, HaTable, LicencesTable
from cluster.inventory.demand_tables import DemandShape
from cluster.inventory.fault_tables import FaultsTable
from cluster.inventory.fields import (
    Count,
    Mhz,
    Mib,
    Names,
    PositiveMhz,
    PositiveMib,
    PositiveSeconds,
    Seconds,
    Seed,
    Table,
    by_type,
    default_of,
)
from cluster.inventory.licence_terms import FEATURE_NAMES, FeatureName
from cluster.inventory.model import (
    Automation,
    ClientsSpec,
    DrsSettings,
    HostSpec,
    MigrationSettings,
    Mode,
    Placement,
    PowerPlanner,
    PowerSettings,
    Profile,
    RestartPriority,
    RuleKind,
    Scenario,
    VmSpec,
)
from cluster.inventory.network_tables import NicName, NicTable, SwitchTable
from cluster.inventory.stay_tables import Stay, Times


class ScenarioTable(Table):
    """The experiment itself."""

    name: str | None = Field(
        None, description="Name of the experiment; the file's name if it is left out."
    )
    duration_s: PositiveSeconds = Field(description="How long it runs, once all VMs are up.")
    seed: Seed = Field(default_of(Scenario, "seed"), description="Makes a run repeatable.")
    profile: Annotated[Profile, Field(strict=False)] = Field(
        default_of(Scenario, "profile"),
        description="Whose rules hold: those of VI3 or those of today's vSphere.",
    )
    sample_s: PositiveSeconds = Field(
        default_of(Scenario, "sample_s"), description="Time between two samples of the timeline."
    )
    placement: Annotated[Placement, Field(strict=False)] = Field(
        default_of(Scenario, "placement"),
        description="How hosts are laid over the nodes of a Ray cluster.",
    )
    evc_features: list[str] | None = Field(
        default_of(Scenario, "evc_features"),
        description="With profile vsphere: the CPU features that guests see on all hosts, an EVC "
        "baseline; off if left out.",
    )


Sockets = Annotated[int, Field(ge=1, le=1024)]
FeatureOfHost = Annotated[FeatureName, Field(strict=False)]


class HostTable(Table):
    """An ESX host, or a group of equal ones."""

    name: str = Field(
        description="Name of the host; in a group `{}` is the number, counted from 1 "
        '(without it the number follows: "esx" gives esx-1, esx-2, …).'
    )
    count: Count | None = Field(None, description="Number of hosts in the group.")
    cpu_mhz: PositiveMhz = Field(description="CPU that VMs may use: the sum over the cores.")
    memory_mib: PositiveMib = Field(description="Memory that VMs may use.")
    nic: Annotated[
        Annotated[NicName, Tag("<name>")] | Annotated[NicTable, Tag("<table>")],
        Discriminator(
            by_type(text="<name>", table="<table>"),
            custom_error_type="nic_type",
            custom_error_message='"1GbE", "10GbE", "unlimited" or a table with rate_mbit_s',
        ),
    ] = Field("unlimited", description="VMotion network card; both directions have its rate.")
    networks: Names = Field(
        list(default_of(HostSpec, "networks")), description="Networks that VMs find here."
    )
    datastores: Names = Field(
        list(default_of(HostSpec, "datastores")), description="Datastores that the host mounts."
    )
    cpu_family: str = Field(
        default_of(HostSpec, "cpu_family"), description="VMs migrate within one CPU family."
    )
    fault_domain: str = Field(
        default_of(HostSpec, "fault_domain"),
        description="Rack or room; hosts in one fail together.",
    )
    node_labels: dict[str, str] = Field(
        {}, description="Labels that the Ray node it runs on must have (`ray start --labels`)."
    )
    cpu_features: list[str] = Field(
        [], description="What its CPUs offer beyond their family's common part, such as sse4."
    )
    sockets: Sockets = Field(
        default_of(HostSpec, "sockets"), description="Processors, as licences count them."
    )
    cores_per_socket: Sockets = Field(
        default_of(HostSpec, "cores_per_socket"),
        description="Cores of a processor; with more than four it takes more licences.",
    )
    features: list[FeatureOfHost] | None = Field(
        default_of(HostSpec, "features"),
        description="Where there are licences: what it is licensed for, of "
        + ", ".join(f"`{name}`" for name in FEATURE_NAMES)
        + "; all that there are enough licences for if left out.",
    )
    vmotion: bool = Field(
        default_of(HostSpec, "vmotion"),
        description="Configured for VMotion: Licensed Features, Add-Ons.",
    )
    other_nics: list[str] = Field([], description="Names of its further cards.")
    switch: list[SwitchTable] = Field(
        [],
        description="`[[host.switch]]` tables: its virtual switches. Without any its networking is "
        "not described, and taken to be right.",
    )
    power_w: (
        Annotated[list[Annotated[float, Field(ge=0, le=1e6)]], Field(min_length=11, max_length=11)]
        | None
    ) = Field(
        None,
        description="Watts at 0, 10 … 100 % of its CPU, eleven numbers as SPECpower tells them; "
        "without them a run tells no energy.",
    )


class ClientsTable(Table):
    """Clients that talk to each VM for as long as it runs."""

    count: Annotated[int, Field(ge=1, le=1000)] = Field(
        default_of(ClientsSpec, "count"),
        description="Independent clients, each with one request under way at most.",
    )
    rate_hz: Annotated[float, Field(gt=0, le=1e4)] = Field(
        default_of(ClientsSpec, "rate_hz"), description="Requests a second of each client."
    )


def _param(value: object) -> object:
    items = value if isinstance(value, list) else [value]
    for item in items:
        if not isinstance(item, bool | int | float | str) or item in (math.inf, -math.inf):
            raise PydanticCustomError("param_type", PARAM_RULE)
        if item != item or (isinstance(item, int) and item.bit_length() > 64):
            raise PydanticCustomError("param_type", PARAM_RULE)
    return value


PARAM_RULE = "a number, a text, true or false, or a list of those"
_PARAM_TYPES: list[JsonValue] = ["boolean", "integer", "number", "string"]
Param = Annotated[
    Any,
    AfterValidator(_param),
    WithJsonSchema({"type": [*_PARAM_TYPES, "array"], "items": {"type": _PARAM_TYPES}}),
]


class VmTable(Table):
    """A VM, or a group of equal ones."""

    name: str = Field(
        description="Name of the VM; in a group `{}` is the number, counted from 1 "
        '(without it the number follows: "web" gives web-1, web-2, …).'
    )
    count: Count | None = Field(None, description="Number of VMs in the group.")
    memory_mib: PositiveMib = Field(description="Memory of the VM.")
    cpu_mhz: PositiveMhz = Field(description="What its vCPUs can use; demand above it is cut.")
    demand: DemandShape = Field(
        description="CPU that it asks for over time: a number of MHz, or one of the tables below."
    )
    guest: str = Field(
        "idle",
        description="Program that runs in it: idle, writer, keyvalue or trace, "
        'or a class of your own as "file.py:Class".',
    )
    params: dict[str, Param] = Field(
        {}, description="Keyword arguments of the program's class, as a table [vm.params]."
    )
    clients: ClientsTable | None = Field(None, description="Clients of each VM; none if left out.")
    host: Names | None = Field(
        None,
        description="Host where it is powered on; with several (a list, or a pattern with `*`) "
        "a group is dealt out in turn; DRS chooses if it is left out.",
    )
    networks: Names = Field(
        list(default_of(VmSpec, "networks")), description="Networks that it needs."
    )
    datastore: str = Field(default_of(VmSpec, "datastore"), description="Datastore with its disks.")
    cpu_reservation_mhz: Mhz = Field(
        default_of(VmSpec, "cpu_reservation_mhz"), description="CPU that it gets whatever happens."
    )
    cpu_limit_mhz: PositiveMhz | None = Field(
        default_of(VmSpec, "cpu_limit_mhz"),
        description="CPU that it gets at most; no limit if left out.",
    )
    cpu_shares: Annotated[float, Field(gt=0, le=1e6)] = Field(
        default_of(VmSpec, "cpu_shares"), description="Its weight where CPU is short."
    )
    memory_reservation_mib: Mib = Field(
        default_of(VmSpec, "memory_reservation_mib"),
        description="Memory that is kept for it whatever happens.",
    )
    automation: Annotated[Automation, Field(strict=False)] | None = Field(
        default_of(VmSpec, "automation"),
        description="How far DRS may go with this VM; the cluster's level if left out.",
    )
    downtime_s_max: PositiveSeconds | None = Field(
        default_of(VmSpec, "downtime_s_max"),
        description="Its own downtime limit; the cluster's if left out.",
    )
    arrives_s: Times | None = Field(
        None,
        description="It is powered on then; with [earliest, latest] each VM of a group at a time "
        "in between. With the cluster if left out.",
    )
    stays_s: Stay | None = Field(
        None,
        description="It is powered off after that time, after one of [shortest, longest], or after "
        "one drawn from the table below; it stays to the end if left out.",
    )
    restart_priority: Annotated[RestartPriority, Field(strict=False)] = Field(
        default_of(VmSpec, "restart_priority"),
        description="When HA restarts it after its host's failure.",
    )
    local_devices: list[str] = Field(
        [], description="Devices connected to what only its host has, such as a local ISO image."
    )
    cpu_affinity: list[Annotated[int, Field(ge=0, le=1023)]] = Field(
        [], description="The host's CPUs that it is bound to; not bound if left out."
    )
    clustered: bool = Field(
        default_of(VmSpec, "clustered"),
        description="It shares a disk with another VM of a cluster (MSCS).",
    )
    swap_datastore: str | None = Field(
        default_of(VmSpec, "swap_datastore"),
        description="Datastore with its swap file; the one of its disks if left out.",
    )
    masked_features: list[str] = Field(
        [], description="CPU features that are hidden from the guest."
    )
    stun_s_max: PositiveSeconds | None = Field(
        default_of(VmSpec, "stun_s_max"),
        description="A migration predicted to stun it for longer is refused; no limit if left out.",
    )
    seed: Seed | None = Field(
        None,
        description="Seed of the guest's random numbers (VM i of a group: seed + i, from 0); "
        "made from the scenario's seed and the VM's name if left out.",
    )


class RuleTable(Table):
    """A placement rule that DRS keeps."""

    name: str = Field(description="Name of the rule, for messages.")
    kind: Annotated[RuleKind, Field(strict=False)] = Field(
        description="Keep VMs together or apart, or bind them to hosts."
    )
    vms: Names = Field(description="Names of VMs, or patterns with `*`.")
    hosts: Names | None = Field(
        None, description="Names of hosts, or patterns; for the vm-host kinds only."
    )


class DrsTable(Table):
    """When DRS looks, and what it may do."""

    enabled: bool = Field(
        default_of(DrsSettings, "enabled"), description="Whether DRS runs at all."
    )
    automation: Annotated[Automation, Field(strict=False)] = Field(
        default_of(DrsSettings, "automation"),
        description="How far it may go by itself: recommend only, place new VMs, or migrate.",
    )
    threshold: Annotated[int, Field(ge=1, le=5)] = Field(
        default_of(DrsSettings, "threshold"),
        description="Migration threshold: 1 conservative to 5 aggressive.",
    )
    interval_s: PositiveSeconds = Field(
        default_of(DrsSettings, "interval_s"), description="Time between two passes."
    )
    window_s: PositiveSeconds = Field(
        default_of(DrsSettings, "window_s"), description="Demand is the mean over this time."
    )
    budget_s_max: PositiveSeconds = Field(
        default_of(DrsSettings, "budget_s_max"), description="A solve ends within this time."
    )
    plan_age_s_max: PositiveSeconds = Field(
        default_of(DrsSettings, "plan_age_s_max"), description="An older plan is dropped."
    )
    moves_max: Count | None = Field(
        default_of(DrsSettings, "moves_max"),
        description="Migrations recommended in one pass at most; no limit if left out.",
    )
    cooldown_s: Seconds = Field(
        default_of(DrsSettings, "cooldown_s"), description="A VM that moved stays for this long."
    )


class PowerTable(Table):
    """Power management: hosts that nobody needs stand by, and are powered on again."""

    enabled: bool = Field(
        default_of(PowerSettings, "enabled"), description="Whether hosts stand by at all."
    )
    planner: Annotated[PowerPlanner, Field(strict=False)] = Field(
        default_of(PowerSettings, "planner"),
        description="Who decides which; dvfs, which moves nobody, and thr-mmt are baselines.",
    )
    deviations: Annotated[float, Field(ge=0, le=10)] = Field(
        default_of(PowerSettings, "deviations"),
        description="Standard deviations of a host's demand that are kept free on it.",
    )
    high_ratio: Annotated[float, Field(gt=0, le=2)] = Field(
        default_of(PowerSettings, "high_ratio"),
        description="A host with more than this share of its CPU taken, deviations included, is relieved.",
    )
    target_ratio: Annotated[float, Field(gt=0, le=2)] = Field(
        default_of(PowerSettings, "target_ratio"), description="So full may a host be made."
    )
    low_ratio: Annotated[float, Field(ge=0, le=2)] = Field(
        default_of(PowerSettings, "low_ratio"),
        description="If the others stay below this share without it, the emptiest host stands by.",
    )
    hosts_on_min: Count = Field(
        default_of(PowerSettings, "hosts_on_min"), description="So many hosts stay on."
    )


class MigrationTable(Table):
    """How migrations are done."""

    mode: Annotated[Mode, Field(strict=False)] = Field(
        default_of(MigrationSettings, "mode"), description="How memory moves; see migration.md."
    )
    downtime_s_max: PositiveSeconds = Field(
        default_of(MigrationSettings, "downtime_s_max"),
        description="Predicted downtime at which pre-copy may switch over.",
    )
    stall_s_max: PositiveSeconds = Field(
        default_of(MigrationSettings, "stall_s_max"),
        description="A step without answer and progress for this long has stalled.",
    )
    rounds_max: Annotated[int, Field(ge=1, le=10_000)] = Field(
        default_of(MigrationSettings, "rounds_max"),
        description="Pre-copy rounds after which a migration switches over or gives up.",
    )
    per_host_max: Annotated[int, Field(ge=1, le=1000)] | None = Field(
        default_of(MigrationSettings, "per_host_max"),
        description="Migrations at once on a host; 4 on 1 GbE and 8 on faster ones if left out.",
    )
    compression: bool = Field(
        default_of(MigrationSettings, "compression"),
        description="Whether pages are packed where that makes them arrive sooner.",
    )
    checksum: bool = Field(
        default_of(MigrationSettings, "checksum"),
        description="Whether each batch is checked on arrival; costs a copy and two passes.",
    )
    verify: bool = Field(
        default_of(MigrationSettings, "verify"),
        description="Whether every page is compared by hash afterwards.",
    )
    probe_interval_s: PositiveSeconds = Field(
        default_of(MigrationSettings, "probe_interval_s"),
        description="Time between a client's probes while its VM migrates.",
    )
    standby_processes: Annotated[int, Field(ge=0, le=1000)] = Field(
        default_of(MigrationSettings, "standby_processes"),
        description="VM processes that each host keeps started for VMs that come; one takes 64 MiB.",
    )


class ScenarioFile(Table):
    """A scenario: a cluster, its rules and policies, and what happens to it."""

    scenario: ScenarioTable
    host: Annotated[list[HostTable], Field(min_length=1)] = Field(description="[[host]] tables.")
    vm: Annotated[list[VmTable], Field(min_length=1)] = Field(description="[[vm]] tables.")
    rule: list[RuleTable] = Field([], description="[[rule]] tables.")
    drs: DrsTable = Field(
        default_factory=lambda: DrsTable.model_validate({}), description="The [drs] table."
    )
    power: PowerTable = Field(
        default_factory=lambda: PowerTable.model_validate({}), description="The [power] table."
    )
    migration: MigrationTable = Field(
        default_factory=lambda: MigrationTable.model_validate({}),
        description="The [migration] table.",
    )
    ha: HaTable = Field(
        default_factory=lambda: HaTable.model_validate({}), description="The [ha] table."
    )
    licences: LicencesTable = Field(
        default_factory=lambda: LicencesTable.model_validate({}),
        description="The [licences] table.",
    )
    faults: FaultsTable = Field(
        default_factory=lambda: FaultsTable.model_validate({}), description="The [faults] table."
    )
    event: list[EventTable] = Field([], description="[[event]] tables.")
