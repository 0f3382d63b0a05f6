"""Drives a migration by hand in tests: reach any phase, answer the command that is out."""

from dataclasses import replace

from cluster.inventory.model import PAGE_BYTES, Mode
from cluster.migration.machine import Migration
from cluster.migration.messages import (
    Begun,
    CancelRequested,
    Command,
    Event,
    Failed,
    HostLost,
    Progressed,
    Refused,
    Role,
    Succeeded,
    Ticked,
)
from cluster.migration.spec import MigrationSpec
from cluster.migration.state import Phase
from cluster.migration.table import Kind

PAGES = 10_000
SPEC = MigrationSpec(
    id="m1",
    vm="web-1",
    source="esx-1",
    destination="esx-2",
    epoch=2,
    memory_bytes=PAGES * PAGE_BYTES,
    rate_bytes_per_second=PAGES * PAGE_BYTES,  # the whole memory in one second
    downtime_s_max=0.1,
    overhead_s=0.01,
    stall_s_max=10.0,
)


def spec(**fields) -> MigrationSpec:
    """SPEC with other fields."""
    return replace(SPEC, **fields)


class Hand:
    """A migration whose time passes half a second an event, unless told otherwise."""

    def __init__(self, spec: MigrationSpec = SPEC, **settings) -> None:
        self.machine = Migration(spec, checking=True, **settings)
        self.now = 0.0
        self.commands: tuple[Command, ...] = ()

    def send(self, event: Event, *, at: float | None = None) -> tuple[Command, ...]:
        self.now = self.now + 0.5 if at is None else at
        self.commands = self.machine.handle(event, now=self.now)
        return self.commands

    @property
    def phase(self) -> Phase:
        return self.machine.state.phase

    @property
    def seq(self) -> int:
        """Of the command that is out."""
        return self.machine.state.asked.command.seq

    def begin(self) -> tuple[Command, ...]:
        return self.send(Begun(), at=self.now)

    def yes(self, **fields) -> tuple[Command, ...]:
        return self.send(Succeeded(reply_to=self.seq, **fields))

    def fail(self, reason: str = "line cut") -> tuple[Command, ...]:
        return self.send(Failed(reply_to=self.seq, reason=reason))

    def refuse(self, reason: str = "no") -> tuple[Command, ...]:
        return self.send(Refused(reply_to=self.seq, reason=reason))

    def cancel(self) -> tuple[Command, ...]:
        return self.send(CancelRequested())

    def lose(self, role: Role) -> tuple[Command, ...]:
        return self.send(HostLost(role=role))

    def tick(self) -> tuple[Command, ...]:
        """Wait for `wake_at`."""
        return self.send(Ticked(), at=self.machine.wake_at)

    def round_sent(self, *, left: int, sent: int | None = None) -> tuple[Command, ...]:
        """Answer a round at the link's rate of PAGES a second."""
        pages = PAGES if sent is None else sent
        answer = Succeeded(
            reply_to=self.seq, pages_sent=pages, sent_bytes=pages * PAGE_BYTES, pages_dirty=left
        )
        return self.send(answer, at=self.now + pages / PAGES)


FORWARD = (
    Phase.CREATED,
    Phase.PREPARING,
    Phase.PRECOPYING,
    Phase.STUNNING,
    Phase.SENDING_STATE,
    Phase.COMMITTING,
    Phase.RESUMING,
    Phase.REMAINDER,
    Phase.UNREGISTERING,
    Phase.COMPLETED,
)


def reach(phase: Phase, *, mode: Mode | None = None, **settings) -> Hand:
    """A migration in `phase`, by the shortest way: pre-copy, or hybrid where that has no such phase."""
    if mode is None:
        mode = Mode.HYBRID if phase is Phase.REMAINDER else Mode.PRECOPY
    hand = Hand(spec(mode=mode), **settings)
    match phase:
        case Phase.INTERRUPTING:
            hand = reach(Phase.PRECOPYING, mode=mode, **settings)
            hand.cancel()
        case Phase.ROLLING_BACK:
            hand = reach(Phase.PREPARING, mode=mode, **settings)
            hand.fail()
        case Phase.ABORTED:
            hand = reach(Phase.ROLLING_BACK, mode=mode, **settings)
            hand.yes()
        case Phase.LOST:
            hand = reach(Phase.RESUMING, mode=mode, **settings)
            hand.refuse()
        case Phase.REFUSED:
            hand = reach(Phase.PREPARING, mode=mode, **settings)
            hand.refuse()
        case _:
            _walk(hand, phase)
    assert hand.phase is phase
    return hand


def _walk(hand: Hand, phase: Phase) -> None:
    for _ in FORWARD:
        if hand.phase is phase:
            return
        if hand.phase is Phase.CREATED:
            hand.begin()
        elif hand.phase is Phase.PRECOPYING:
            hand.round_sent(left=10)
        elif hand.phase is Phase.SENDING_STATE:
            hand.yes(pages_dirty=10 if hand.machine.state.bitmap_only else 0)
        else:
            hand.yes()


def event_of(kind: Kind, hand: Hand) -> Event:
    """An event that is `kind` to the table; answers go to the command that is out."""
    asked = hand.machine.state.asked
    seq = 0 if asked is None else asked.command.seq
    events: dict[Kind, Event] = {
        Kind.BEGUN: Begun(),
        Kind.CANCEL_REQUESTED: CancelRequested(),
        Kind.SOURCE_LOST: HostLost(role=Role.SOURCE),
        Kind.DESTINATION_LOST: HostLost(role=Role.DESTINATION),
        Kind.PROGRESSED: Progressed(reply_to=seq, bytes_sent=4096, pages_dirty=1),
        Kind.SUCCEEDED: Succeeded(reply_to=seq),
        Kind.FAILED: Failed(reply_to=seq, reason="line cut"),
        Kind.REFUSED: Refused(reply_to=seq, reason="no"),
        Kind.RETRY_DUE: Ticked(),
    }
    return events[kind]
