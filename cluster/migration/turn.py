"""One event's worth of work: the state as it changes, and the commands that come of it."""

from dataclasses import dataclass, replace
from typing import Any

from cluster.migration.convergence import Convergence
from cluster.migration.messages import (
    Command,
    Commit,
    Failed,
    Refused,
    Resume,
    Rollback,
    Seconds,
    SendDirty,
    SendRemainder,
    SendState,
    Succeeded,
)
from cluster.migration.spec import MigrationSpec
from cluster.migration.state import Asked, Figures, Phase, State


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long the machine waits before it asks again.

    Attributes:
        retry_s_min: Before the first repeat of a failed command; doubles each time.
        retry_s_max: Between two repeats at most.
        ask_again_s: Silence after which `Commit`, `Resume` and `Rollback` are asked again.
            Shorter than `stall_s_max`, because a guest stands still meanwhile and asking
            twice does no harm.
        unregister_tries_max: A completed migration does not wait for its clean-up for ever.
    """

    retry_s_min: Seconds = 0.05
    retry_s_max: Seconds = 2.0
    ask_again_s: Seconds = 1.0
    unregister_tries_max: int = 5


class Turn:
    """Collects what one event does; the machine takes it over only if all went well."""

    __slots__ = ("commands", "convergence", "note", "patience", "silent", "spec", "state")

    def __init__(
        self, spec: MigrationSpec, convergence: Convergence, patience: Patience, state: State
    ) -> None:
        self.spec = spec
        self.convergence = convergence
        self.patience = patience
        self.state = state
        self.commands: list[Command] = []
        self.note = ""
        self.silent = False  # the failure is a silence, not an answer

    @property
    def now(self) -> Seconds:
        """Of this event."""
        return self.state.now_s

    @property
    def seq(self) -> int:
        """For the next command."""
        return self.state.next_seq

    @property
    def asked(self) -> Asked:
        """What is being waited for."""
        asked = self.state.asked
        assert asked is not None, f"{self.state.phase} waits for nothing"
        return asked

    @property
    def figures(self) -> Figures:
        """Measured so far."""
        return self.state.figures

    def change(self, **fields: Any) -> None:
        """Replace fields of the state."""
        self.state = replace(self.state, **fields)

    def measure(self, **fields: Any) -> None:
        """Replace fields of the figures."""
        self.change(figures=replace(self.state.figures, **fields))

    def tell(self, command: Command) -> None:
        """Issue a side command (`Interrupt`, `Throttle`) whose answer nothing waits for."""
        self.commands.append(command)
        self.change(next_seq=command.seq + 1)

    def ask(self, command: Command, phase: Phase) -> None:
        """Issue `command` and wait for its answer in `phase`."""
        self.commands.append(command)
        asked = Asked(
            command=command,
            first_seq=command.seq,
            first_s=self.now,
            asked_s=self.now,
            silent_at_s=self.now + self.silence_s_max(command),
        )
        self.change(phase=phase, asked=asked, next_seq=command.seq + 1)

    def ask_again(self) -> None:
        """Repeat the command that failed, under a new `seq`."""
        command = replace(self.asked.command, seq=self.seq)
        self.commands.append(command)
        asked = replace(
            self.asked,
            command=command,
            asked_s=self.now,
            silent_at_s=self.now + self.silence_s_max(command),
            again_at_s=None,
        )
        self.change(asked=asked, next_seq=command.seq + 1)

    def ask_later(self) -> None:
        """Note a failure and wait; the pause doubles with each, up to its limit."""
        tries = self.asked.tries + 1
        # 2**60 pauses would overflow nothing, but a float power of thousands would.
        pause_s = min(
            self.patience.retry_s_min * 2.0 ** min(tries - 1, 60), self.patience.retry_s_max
        )
        asked = replace(
            self.asked,
            tries=tries,
            silent_at_s=None,
            again_at_s=self.now + pause_s,
            progress_bytes=0,
        )
        self.change(asked=asked)

    def heard(self) -> None:
        """Put the limit of silence off: the outstanding command made progress."""
        self.change(
            asked=replace(self.asked, silent_at_s=self.now + self.silence_s_max(self.asked.command))
        )

    def end(self, phase: Phase, error: str = "") -> None:
        """Enter a final phase."""
        self.change(
            phase=phase,
            asked=None,
            error=error,
            figures=replace(self.state.figures, ended_s=self.now),
        )

    def count_send(self, answer: Succeeded | Failed | Refused | None) -> None:
        """Add the send that has just ended to the figures; None is one that was superseded.

        A send that failed counts as far as it had reported progress.
        """
        asked, figures = self.asked, self.figures
        sent = asked.progress_bytes
        zero = 0
        if isinstance(answer, Succeeded):
            sent, zero = answer.sent_bytes, answer.zero_pages
        match asked.command:
            case SendDirty():
                self.measure(precopy_bytes=figures.precopy_bytes + sent)
            case SendState():
                self.measure(downtime_bytes=figures.downtime_bytes + sent)
            case SendRemainder():
                self.measure(postcopy_bytes=figures.postcopy_bytes + sent)
            case _:
                return
        self.measure(
            zero_pages=figures.zero_pages + zero,
            send_s=figures.send_s + self.now - asked.asked_s,
        )

    def silence_s_max(self, command: Command) -> Seconds:
        """How long `command` may go without an answer or a report before it counts as failed."""
        stall_s = self.spec.stall_s_max
        match command:
            case Commit() | Resume() | Rollback():
                return min(self.patience.ask_again_s, stall_s)
            case _:
                return stall_s
