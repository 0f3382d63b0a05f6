"""What a run leaves behind, as frozen rows; field names are the columns and keys of its files.

The names are an interface: they change only with an entry in the changelog. What an
engine cannot know is None, and null in the files.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from cluster.inventory.model import Mode
from cluster.migration.spec import Downtime, MigrationSpec, Outcome, Result, Trigger


class Engine(Enum):
    """Which driver ran the scenario."""

    LIVE = "live"
    SIMULATED = "simulated"


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationRow:
    """One migration that has ended, as in migrations.parquet.

    Attributes:
        rounds: Pre-copy rounds.
        downtime_s: None if the VM was never stunned, or did not run after it; so are its parts.
        predicted_downtime_s: As predicted when the switchover was decided.
        client_blackout_s: None without a probing client.
        survives_process_s: From the resume until the VM would have survived the loss of its
            source's process; None if nothing of its memory came later, or nobody measured.
        survives_node_s: The same for the source's whole node.
        throttle_max: Largest share of vCPU time taken away, 0 to 1.
    """

    vm: str
    source: str
    destination: str
    mode: Mode
    trigger: Trigger
    reason: str
    result: Result
    error: str
    started_s: float
    duration_s: float
    rounds: int
    memory_bytes: int
    sent_bytes: int
    precopy_bytes: int
    downtime_bytes: int
    postcopy_bytes: int
    zero_pages: int
    downtime_s: float | None
    predicted_downtime_s: float | None
    downtime_quiesce_s: float | None
    downtime_scan_s: float | None
    downtime_copy_s: float | None
    downtime_state_s: float | None
    downtime_commit_s: float | None
    downtime_resume_s: float | None
    client_blackout_s: float | None
    demand_faults: int
    survives_process_s: float | None
    survives_node_s: float | None
    throttle_max: float
    dirty_rate_bytes_per_second: float
    bandwidth_bytes_per_second: float


def migration_row(
    spec: MigrationSpec,
    outcome: Outcome,
    *,
    client_blackout_s: float | None = None,
    demand_faults: int = 0,
    survives_process_s: float | None = None,
    survives_node_s: float | None = None,
) -> MigrationRow:
    """Put what was asked, what the machine reports and what clients saw into one row."""
    parts = outcome.downtime
    return MigrationRow(
        vm=spec.vm,
        source=spec.source,
        destination=spec.destination,
        mode=spec.mode,
        trigger=spec.trigger,
        reason=spec.reason,
        result=outcome.result,
        error=outcome.error,
        started_s=outcome.started_s,
        duration_s=outcome.duration_s,
        rounds=len(outcome.rounds),
        memory_bytes=spec.memory_bytes,
        sent_bytes=outcome.precopy_bytes + outcome.downtime_bytes + outcome.postcopy_bytes,
        precopy_bytes=outcome.precopy_bytes,
        downtime_bytes=outcome.downtime_bytes,
        postcopy_bytes=outcome.postcopy_bytes,
        zero_pages=outcome.zero_pages,
        downtime_s=parts.total_s if parts else None,
        predicted_downtime_s=outcome.predicted_downtime_s,
        downtime_quiesce_s=parts.quiesce_s if parts else None,
        downtime_scan_s=parts.scan_s if parts else None,
        downtime_copy_s=parts.copy_s if parts else None,
        downtime_state_s=parts.state_s if parts else None,
        downtime_commit_s=parts.commit_s if parts else None,
        downtime_resume_s=parts.resume_s if parts else None,
        client_blackout_s=client_blackout_s,
        demand_faults=demand_faults,
        survives_process_s=survives_process_s,
        survives_node_s=survives_node_s,
        throttle_max=outcome.throttle_max,
        dirty_rate_bytes_per_second=outcome.dirty_rate_bytes_per_second,
        bandwidth_bytes_per_second=outcome.bandwidth_bytes_per_second,
    )


def downtime_parts(row: MigrationRow) -> Mapping[str, float] | None:
    """The downtime's named parts in the order they happen, seconds; None without a downtime."""
    if row.downtime_s is None:
        return None
    return {part: getattr(row, f"downtime_{part}_s") for part in DOWNTIME_PARTS}


DOWNTIME_PARTS = tuple(name.removesuffix("_s") for name in Downtime.__dataclass_fields__)


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineRow:
    """One host over the sample that ended at `time_s`, as in timeline.parquet.

    Attributes:
        cpu_load: Entitlements of its VMs over its capacity; memory_load alike.
        state: The value of the host's state.
        imbalance: The cluster's, repeated for every host of the sample.
    """

    time_s: float
    host: str
    cpu_load: float
    memory_load: float
    vms: int
    tx_bytes_per_second: float
    rx_bytes_per_second: float
    state: str
    imbalance: float


class EventKind(Enum):
    """What an entry of events.jsonl is about."""

    RUN_STARTED = "run-started"
    RUN_ENDED = "run-ended"
    VM_POWERED_ON = "vm-powered-on"
    VM_POWERED_OFF = "vm-powered-off"
    VM_FAILED = "vm-failed"
    DEMAND_CHANGED = "demand-changed"
    DRS_PASSED = "drs-passed"
    MIGRATION_STARTED = "migration-started"
    MIGRATION_ENDED = "migration-ended"
    HOST_CHANGED = "host-changed"
    INTEGRITY_FAILED = "integrity-failed"
    NOTE = "note"


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRow:
    """Something that happened: `text` for a person, the rest for a program."""

    time_s: float
    kind: EventKind
    text: str
    vm: str | None = None
    host: str | None = None
    details: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DrsPass:
    """One look of DRS at the cluster.

    Attributes:
        priorities: Of its recommendations, 1 to 5, one each.
        applied: Of its recommendations, those requested as migrations.
    """

    time_s: float
    solve_s: float
    imbalance_before: float
    imbalance_after: float
    priorities: tuple[int, ...] = ()
    applied: int = 0

    @property
    def recommended(self) -> int:
        """Recommendations made."""
        return len(self.priorities)


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Migrations by how they ended; `started` leaves out the refused ones."""

    started: int
    completed: int
    aborted: int
    lost: int
    refused: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Percentiles:
    """By nearest rank: the smallest measured value that so many are at or below."""

    p50: float
    p99: float
    max: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Bandwidth:
    """Of migrations: bytes of all over their durations together, and the fastest one's."""

    mean: float
    max: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Imbalance:
    """Over the timeline's samples, from the first one that counts."""

    start: float
    end: float
    mean: float
    max: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SolveTime:
    """Seconds that DRS took to find its plans."""

    p50: float
    max: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DrsSummary:
    """All passes of a run; `solve_s` is None without a pass."""

    passes: int
    recommended: int
    applied: int
    solve_s: SolveTime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class UnmetDemand:
    """Share of the CPU demand that hosts could not serve, per sample."""

    mean: float
    max: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Integrity:
    """What the checks of a live run found."""

    vms_checked: int
    mismatched_pages: int
    lost_requests: int
    duplicated_requests: int

    @property
    def sound(self) -> bool:
        """Whether nothing was found."""
        return not (self.mismatched_pages or self.lost_requests or self.duplicated_requests)


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerUse:
    """What the hosts drew, and what consolidation cost; docs/simulation.md defines the ratios.

    Attributes:
        hosts_on_mean: Hosts that were on, over time.
        slatah_ratio: Time at 100 % of the CPU over the time a host is on, the mean over hosts.
        pdm_ratio: Demand that migrations degraded, the mean over VMs.
    """

    energy_kwh: float
    hosts_on_mean: float
    slatah_ratio: float
    pdm_ratio: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A run in figures, as in summary.json."""

    scenario: str
    engine: Engine
    seed: int
    hosts: int
    vms: int
    duration_s: float
    migrations: Counts
    downtime_s: Percentiles | None
    client_blackout_s: Percentiles | None
    sent_bytes: int
    bandwidth_bytes_per_second: Bandwidth | None
    imbalance: Imbalance | None
    drs: DrsSummary
    unmet_demand_ratio: UnmetDemand | None
    rule_violations: int
    integrity: Integrity | None
    power: PowerUse | None = None
