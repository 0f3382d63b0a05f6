"""What a migration is asked to do, and what it reports when it has ended."""

from dataclasses import dataclass
from enum import Enum

from cluster.inventory.model import PAGE_BYTES, Mode
from cluster.migration.messages import Seconds


class Result(Enum):
    """How a migration ended; see the glossary."""

    COMPLETED = "completed"
    ABORTED = "aborted"
    LOST = "lost"
    REFUSED = "refused"


class Trigger(Enum):
    """Who wanted the migration."""

    DRS = "drs"
    USER = "user"
    MAINTENANCE = "maintenance"
    SCENARIO = "scenario"


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationSpec:
    """One migration, as VirtualCenter admitted it.

    Attributes:
        id: Unique in the cluster, for logs and messages.
        epoch: What the VM's ownership record will hold after the commit.
        mode: Never HYBRID, POSTCOPY or AUTO on a host that cannot serve faults.
        downtime_s_max: Pre-copy switches over when the predicted downtime is below it.
        stun_s_max: A switchover that is predicted to take longer is not begun; None is no limit.
        stall_s_max: Silence (no answer, no progress) after which a step has stalled.
        rounds_max: Pre-copy rounds, round 0 included.
        compression: Pages may be packed on their way.
        checksum: Batches are checked on arrival.
        verify: Every page is compared by hash afterwards.
        rate_bytes_per_second: What the network promises now; None is unknown or unlimited.
        overhead_s: Predicted fixed cost of a switchover: quiesce, scan, state, commit, resume.
    """

    id: str
    vm: str
    source: str
    destination: str
    epoch: int
    memory_bytes: int
    mode: Mode = Mode.PRECOPY
    trigger: Trigger = Trigger.USER
    reason: str = ""
    downtime_s_max: Seconds = 0.3
    stun_s_max: Seconds | None = None
    stall_s_max: Seconds = 10.0
    rounds_max: int = 30
    compression: bool = False
    checksum: bool = False
    verify: bool = True
    rate_bytes_per_second: float | None = None
    overhead_s: Seconds = 0.01

    @property
    def memory_pages(self) -> int:
        """Pages of guest memory."""
        return self.memory_bytes // PAGE_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One pre-copy round as it was measured."""

    round: int
    duration_s: Seconds
    pages_sent: int
    zero_pages: int
    sent_bytes: int
    pages_dirty: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Downtime:
    """From `Stun` sent to `Resume` answered, as a sum of named parts."""

    quiesce_s: Seconds = 0.0
    scan_s: Seconds = 0.0
    copy_s: Seconds = 0.0
    state_s: Seconds = 0.0
    commit_s: Seconds = 0.0
    resume_s: Seconds = 0.0

    @property
    def total_s(self) -> Seconds:
        """The downtime."""
        return (
            self.quiesce_s
            + self.scan_s
            + self.copy_s
            + self.state_s
            + self.commit_s
            + self.resume_s
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What the machine knows of a migration that has ended.

    Attributes:
        error: Empty when completed, unless the source could not be freed.
        started_s: `now` of `Begun`.
        downtime: None if the VM was never stunned, or did not run after it. After a
            rollback `resume_s` is the rollback's.
        predicted_downtime_s: As predicted when the machine decided to stun.
        precopy_bytes: Also of rounds that failed, as far as progress was reported.
        throttle_max: The largest share of vCPU time taken from the guest.
        dirty_rate_bytes_per_second: Distinct pages dirtied over the rounds' duration; a
            guest whose working set saturates within a round dirties faster than this.
        bandwidth_bytes_per_second: Bytes on the wire over the seconds spent sending.
    """

    result: Result
    error: str
    started_s: Seconds
    duration_s: Seconds
    rounds: tuple[Round, ...]
    downtime: Downtime | None
    predicted_downtime_s: Seconds | None
    precopy_bytes: int
    downtime_bytes: int
    postcopy_bytes: int
    zero_pages: int
    throttle_max: float
    dirty_rate_bytes_per_second: float
    bandwidth_bytes_per_second: float


def not_begun(error: str, *, now: Seconds) -> Outcome:
    """Return the outcome of a migration that was refused before its machine was made."""
    return Outcome(
        result=Result.REFUSED,
        error=error,
        started_s=now,
        duration_s=0.0,
        rounds=(),
        downtime=None,
        predicted_downtime_s=None,
        precopy_bytes=0,
        downtime_bytes=0,
        postcopy_bytes=0,
        zero_pages=0,
        throttle_max=0.0,
        dirty_rate_bytes_per_second=0.0,
        bandwidth_bytes_per_second=0.0,
    )
