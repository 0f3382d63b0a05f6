"""Everything a migration machine remembers, as one value that can be copied, compared and hashed."""

from dataclasses import dataclass, field
from enum import Enum

from cluster.migration.estimates import Dirtying, LinkEstimate
from cluster.migration.messages import (
    Command,
    Commit,
    Prepare,
    Resume,
    Rollback,
    Seconds,
    SendDirty,
    SendRemainder,
    SendState,
    Stun,
    Unregister,
)
from cluster.migration.spec import Downtime, Result, Round


class Phase(Enum):
    """Where a migration is; the last four are final."""

    CREATED = "created"
    PREPARING = "preparing"
    PRECOPYING = "precopying"
    INTERRUPTING = "interrupting"
    STUNNING = "stunning"
    SENDING_STATE = "sending_state"
    COMMITTING = "committing"
    RESUMING = "resuming"
    REMAINDER = "remainder"
    UNREGISTERING = "unregistering"
    ROLLING_BACK = "rolling_back"
    COMPLETED = "completed"
    ABORTED = "aborted"
    LOST = "lost"
    REFUSED = "refused"


RESULTS = {
    Phase.COMPLETED: Result.COMPLETED,
    Phase.ABORTED: Result.ABORTED,
    Phase.LOST: Result.LOST,
    Phase.REFUSED: Result.REFUSED,
}
FINAL = frozenset(RESULTS)

ASKS: dict[Phase, tuple[type[Command], ...]] = {
    Phase.PREPARING: (Prepare,),
    Phase.PRECOPYING: (SendDirty,),
    Phase.INTERRUPTING: (SendDirty, SendState),
    Phase.STUNNING: (Stun,),
    Phase.SENDING_STATE: (SendState,),
    Phase.COMMITTING: (Commit,),
    Phase.RESUMING: (Resume,),
    Phase.REMAINDER: (SendRemainder,),
    Phase.UNREGISTERING: (Unregister,),
    Phase.ROLLING_BACK: (Rollback,),
}
"""Which command's answer a phase waits for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The command whose answer the machine waits for, or that it will ask again.

    Attributes:
        command: As last asked.
        first_seq: `seq` of its first asking; repeats count up from it.
        first_s: `now` of its first asking.
        asked_s: `now` of the latest asking.
        tries: Askings that failed.
        silent_at_s: Without an answer or progress until then it counts as failed; None
            while it waits to be asked again.
        again_at_s: When it is asked again; exactly one of the two is None.
        progress_bytes: As last reported.
        first_count: Seconds since `asked_s` and dirty pages of the first count reported.
    """

    command: Command
    first_seq: int
    first_s: Seconds
    asked_s: Seconds
    tries: int = 0
    silent_at_s: Seconds | None = None
    again_at_s: Seconds | None = None
    progress_bytes: int = 0
    first_count: tuple[Seconds, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What was measured, for the outcome; no decision looks at it.

    Attributes:
        downtime: Parts known so far.
        ran_after_stun: A host was told to run the VM after the stun, and said yes.
        send_s: Time between a send's asking and its end, summed.
        round_s: The same of pre-copy rounds alone.
        round_dirty_pages: Dirty at the ends of rounds, summed.
    """

    started_s: Seconds | None = None
    ended_s: Seconds | None = None
    rounds: tuple[Round, ...] = ()
    stunned: bool = False
    ran_after_stun: bool = False
    downtime: Downtime = field(default_factory=Downtime)
    predicted_downtime_s: Seconds | None = None
    precopy_bytes: int = 0
    downtime_bytes: int = 0
    postcopy_bytes: int = 0
    zero_pages: int = 0
    throttle_max: float = 0.0
    send_s: Seconds = 0.0
    round_s: Seconds = 0.0
    round_dirty_pages: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A migration between two events.

    Attributes:
        now_s: Of the latest event; time never goes back.
        next_seq: Every command gets its own, counting from 1.
        cancelled: A cancel waits for the outstanding command's answer.
        error: Why it rolls back, was lost or was refused; empty otherwise.
        bitmap_only: The switchover flips to post-copy; pages stay on the source.
        missing_pages: At the flip, as the answer to `SendState` said.
        round: Of the pre-copy round under way or last done.
        left_pages: What the latest rounds left dirty, oldest first.
        dirtying: Of the latest round, under `throttle_ratio`.
    """

    phase: Phase = Phase.CREATED
    now_s: Seconds = float("-inf")
    next_seq: int = 1
    asked: Asked | None = None
    cancelled: bool = False
    source_lost: bool = False
    destination_lost: bool = False
    error: str = ""
    bitmap_only: bool = False
    missing_pages: int = 0
    throttle_ratio: float = 0.0
    round: int = 0
    left_pages: tuple[int, ...] = ()
    link: LinkEstimate = field(default_factory=LinkEstimate)
    dirtying: Dirtying = field(default_factory=Dirtying)
    figures: Figures = field(default_factory=Figures)


def check(state: State) -> None:
    """Raise AssertionError if a law that relates the fields of a state is broken."""
    phase, asked = state.phase, state.asked
    assert (asked is not None) == (phase in ASKS), "a phase waits for its command, others for none"
    assert (state.figures.ended_s is not None) == (phase in FINAL), "the end is noted once, at it"
    assert phase is not Phase.CREATED or state == State(now_s=state.now_s), "nothing has happened"
    assert 0.0 <= state.throttle_ratio < 1.0, "some vCPU time is always left"
    if asked is not None:
        assert isinstance(asked.command, ASKS[phase]), "the command belongs to the phase"
        assert 1 <= asked.first_seq <= asked.command.seq < state.next_seq, "seq counts up"
        assert (asked.silent_at_s is None) != (asked.again_at_s is None), "exactly one timer runs"
        assert asked.first_s <= asked.asked_s <= state.now_s, "asked before now"
    if phase in {Phase.ROLLING_BACK, Phase.ABORTED, Phase.LOST, Phase.REFUSED}:
        assert state.error, "what did not complete says why"
    if state.destination_lost and phase not in FINAL:
        assert phase in {Phase.COMMITTING, Phase.ROLLING_BACK, Phase.UNREGISTERING}, (
            "a dead destination leaves only the commit's outcome, the way back or the clean-up"
        )
    if state.source_lost and phase not in FINAL:
        assert phase in {Phase.COMMITTING, Phase.RESUMING, Phase.REMAINDER}, (
            "without its source a migration goes on only between the commit and the clean-up"
        )
        if phase is not Phase.REMAINDER:
            assert not state.missing_pages, "pages that never left a dead source cannot follow"
