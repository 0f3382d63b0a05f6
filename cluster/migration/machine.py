"""The migration machine: events in, commands out; no clock, no I/O and no page in it.

A driver calls `handle` with each event and carries the commands out; it ticks the machine
at `wake_at`. The machine counts pages and bytes and holds none, so the size of a VM does
not matter to it. Whatever happens, every migration ends in one of four results, provided
that dead hosts are reported and that commands asked again and again are one day answered.
"""

from cluster.inventory.model import PAGE_BYTES
from cluster.migration.convergence import Convergence
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
    Seconds,
    Succeeded,
    Ticked,
)
from cluster.migration.spec import MigrationSpec, Outcome
from cluster.migration.state import FINAL, RESULTS, Asked, State, check
from cluster.migration.story import Entry, Story
from cluster.migration.table import TABLE, Kind
from cluster.migration.turn import Patience, Turn


class ProtocolError(Exception):
    """An event that cannot happen, so a defect; its text ends with the migration's story."""

    def __init__(self, problem: str, story: Story) -> None:
        super().__init__(f"{problem}\n{story}" if len(story) else problem)
        self.problem = problem
        self.story = tuple(story)


class Migration:
    """One migration's protocol, from `Begun` to an outcome.

    Attributes:
        state: All it remembers; assigning a copy taken earlier goes back to that moment.
        story: What happened; decides nothing.
    """

    def __init__(
        self,
        spec: MigrationSpec,
        *,
        convergence: Convergence | None = None,
        patience: Patience | None = None,
        story: Story | None = None,
        checking: bool = False,
    ) -> None:
        self.spec = spec
        self.convergence = convergence or Convergence()
        self.patience = patience or Patience()
        self.state = State()
        self.story = Story() if story is None else story
        self._checking = checking

    @property
    def finished(self) -> bool:
        """Whether there is an outcome; no command follows it."""
        return self.state.phase in FINAL

    @property
    def wake_at(self) -> Seconds | None:
        """When to send `Ticked` if nothing else happens; ask again after each `handle`."""
        asked = self.state.asked
        if asked is None:
            return None
        return asked.again_at_s if asked.silent_at_s is None else asked.silent_at_s

    @property
    def outcome(self) -> Outcome | None:
        """None before the end."""
        return _outcome(self.state) if self.finished else None

    def handle(self, event: Event, *, now: Seconds) -> tuple[Command, ...]:
        """Take an event and return the commands that it leads to.

        Raises:
            ProtocolError: If the event cannot happen now. Nothing has changed then.
        """
        before = self.state
        if not now >= before.now_s:
            raise ProtocolError(f"{now} is before {before.now_s}", self.story)
        turn = self._turn(now)
        kind, meant = self._classify(event, turn)
        if kind is None:
            turn.note = "dropped: early or about a command that is over"
        else:
            turn.silent = kind is Kind.FAILED and meant is not event
            self._act(turn, kind, meant)
        self.state = turn.state
        commands = tuple(turn.commands)
        self.story.add(
            Entry(
                now_s=now,
                event=event,
                before=before.phase,
                after=self.state.phase,
                commands=commands,
                note=turn.note,
            )
        )
        if self._checking:
            check(self.state)
        return commands

    def _turn(self, now: Seconds) -> Turn:
        turn = Turn(self.spec, self.convergence, self.patience, self.state)
        turn.change(now_s=now)
        return turn

    def _act(self, turn: Turn, kind: Kind, event: Event) -> None:
        phase = self.state.phase
        edge = TABLE.get((phase, kind))
        if edge is None:
            raise ProtocolError(f"{event} cannot happen in {phase.value}", self.story)
        try:
            edge.act(turn, event)
        except Exception as error:
            raise ProtocolError(f"{event} in {phase.value}: {error}", self.story) from error
        if turn.state.phase not in edge.to:
            raise ProtocolError(
                f"{event} leads from {phase.value} to {turn.state.phase.value},"
                " which the table does not have",
                self.story,
            )

    def _classify(self, event: Event, turn: Turn) -> tuple[Kind | None, Event]:
        """Return what the event is to the table, None to drop it, and what it means there."""
        match event:
            case Begun():
                return Kind.BEGUN, event
            case CancelRequested():
                return Kind.CANCEL_REQUESTED, event
            case HostLost(role=Role.SOURCE):
                return Kind.SOURCE_LOST, event
            case HostLost():
                return Kind.DESTINATION_LOST, event
            case Ticked():
                return self._classify_tick(event, turn)
            case _:
                return self._classify_answer(event), event

    def _classify_tick(self, event: Ticked, turn: Turn) -> tuple[Kind | None, Event]:
        asked, due = self.state.asked, self.wake_at
        if asked is None or due is None or turn.now < due:
            return None, event
        if asked.silent_at_s is None:
            return Kind.RETRY_DUE, event
        silence_s = turn.silence_s_max(asked.command)
        reason = f"no answer and no progress for {silence_s:g} s"
        return Kind.FAILED, Failed(reply_to=asked.command.seq, reason=reason)

    def _classify_answer(self, event: Progressed | Succeeded | Failed | Refused) -> Kind | None:
        """A repeated command may be answered for an earlier asking: a yes or no is as true."""
        if not 1 <= event.reply_to < self.state.next_seq:
            raise ProtocolError(f"{event} replies to a command never issued", self.story)
        asked = self.state.asked
        if asked is None or not asked.first_seq <= event.reply_to <= asked.command.seq:
            return None
        match event:
            case Succeeded():
                return Kind.SUCCEEDED
            case Refused():
                return Kind.REFUSED
            case Progressed():
                return Kind.PROGRESSED if _is_latest(asked, event.reply_to) else None
            case Failed():
                return Kind.FAILED if _is_latest(asked, event.reply_to) else None


def _is_latest(asked: Asked, reply_to: int) -> bool:
    """Whether the reply is to the asking under way; one that has failed is not."""
    return reply_to == asked.command.seq and asked.silent_at_s is not None


def _outcome(state: State) -> Outcome:
    figures = state.figures
    ended_s = figures.ended_s if figures.ended_s is not None else state.now_s
    started_s = ended_s if figures.started_s is None else figures.started_s
    sent_bytes = figures.precopy_bytes + figures.downtime_bytes + figures.postcopy_bytes
    return Outcome(
        result=RESULTS[state.phase],
        error=state.error,
        started_s=started_s,
        duration_s=ended_s - started_s,
        rounds=figures.rounds,
        downtime=figures.downtime if figures.stunned and figures.ran_after_stun else None,
        predicted_downtime_s=figures.predicted_downtime_s,
        precopy_bytes=figures.precopy_bytes,
        downtime_bytes=figures.downtime_bytes,
        postcopy_bytes=figures.postcopy_bytes,
        zero_pages=figures.zero_pages,
        throttle_max=figures.throttle_max,
        dirty_rate_bytes_per_second=_ratio(figures.round_dirty_pages * PAGE_BYTES, figures.round_s),
        bandwidth_bytes_per_second=_ratio(sent_bytes, figures.send_s),
    )


def _ratio(amount: float, duration_s: Seconds) -> float:
    return amount / duration_s if duration_s > 0 else 0.0
