"""What hosts tell VirtualCenter: frozen, picklable."""

from dataclasses import dataclass, field

from cluster.actors.replies import Handle
from cluster.memory.pager import Served
from cluster.memory.tracker import TrackerKind
from cluster.policy.facts import HostLoad


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFacts:
    """What a host says of itself when it has started.

    Attributes:
        tracker_why: Why not the kernel's tracker; empty if it is.
        faults_why: Why this host cannot serve a guest's faults; empty if it can.
    """

    host: str
    pid: int
    node: str
    tracker: TrackerKind
    tracker_why: str
    faults_why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningVm:
    """A VM on a host. `leaving`: it is on its way to another, which may own it by now."""

    name: str
    epoch: int
    handle: Handle
    leaving: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class HostReport:
    """What a host says when VirtualCenter connects it, for the first time or after its own death.

    Attributes:
        begun: It knows the scenario's time.
        incoming: (migration, VM, epoch) of what it has made room for and does not run yet.
        there: Of migrations that leave it: the VM at the destination, once it is prepared.
    """

    facts: HostFacts
    begun: bool = False
    vms: tuple[RunningVm, ...] = ()
    incoming: tuple[tuple[str, str, int], ...] = ()
    there: dict[str, Handle] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class VmSample:
    """One VM over the sample just ended: means, and counters since power-on here."""

    vm: str
    epoch: int
    demand_mhz: float
    granted_mhz: float
    memory_mib: int
    guest_s: float
    steps: int
    requests: int
    overruns: int
    step_s_max: float
    behind_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSample:
    """A host over the sample just ended; byte counters since its start.

    Attributes:
        standby_processes: VM processes that wait for a VM.
    """

    time_s: float
    load: HostLoad
    vms: tuple[VmSample, ...]
    tx_bytes: int
    rx_bytes: int
    standby_processes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationProgress:
    """A migration under way, for people who watch."""

    migration: str
    phase: str
    round: int
    sent_bytes: int
    dirty_pages: int
    rate_bytes_per_second: float
    throttle_ratio: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """Every page of a migrated VM compared with the source's frozen memory.

    Attributes:
        served: What the destination's pager did; None for a pre-copy.
        error: Empty, or why the comparison could not be made: a defect.
        uncompared: Empty, or what died before it could be made, which says nothing of the pages.
    """

    migration: str
    vm: str
    pages: int
    mismatched_pages: int
    served: Served | None = None
    error: str = ""
    uncompared: str = ""
