"""What the migration machine says and hears: commands in the imperative, events in the past tense.

Every command is answered exactly once, by `Succeeded`, `Failed` or `Refused` with the
command's `seq` in `reply_to`. *Refused* is a definite no: nothing happened and nothing
will, however often it is asked. *Failed* says only that no success is known; the command
may have taken effect.

What whoever carries commands out owes the machine, and the machine builds on:
- `seq` grows. A newer command ends an older one that is still under way, and an older one
  that arrives late is dropped; `Interrupt` and `Throttle` end nothing. So a `Rollback` is
  safe while an unanswered send, stun or preparation still runs somewhere.
- The owner of the record remembers a refused `Commit`: whoever asks with that epoch later,
  even with a message that was sent earlier, is refused.
- `Rollback` and `Unregister` give the guest its whole vCPU time back.
- When a migration ends as lost, each host frees what it holds of the VM.
"""

from dataclasses import dataclass
from enum import Enum

Seconds = float


class Role(Enum):
    """The two ends of a migration."""

    SOURCE = "source"
    DESTINATION = "destination"


# Commands. Each can be repeated safely: doing it twice leaves what doing it once left.


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepare:
    """Make the destination ready: memory, tracking, a VM that is stunned from birth."""

    seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SendDirty:
    """Send what is dirty now; round 0 sends everything. Progress is reported meanwhile."""

    seq: int
    round: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Throttle:
    """Take `ratio` (0 to 1) of the guest's vCPU time away; 0 gives all of it back."""

    seq: int
    ratio: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Interrupt:
    """Stop the send `send_seq` soon; that send is answered with what it had sent."""

    seq: int
    send_seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Stun:
    """Stop the vCPUs at the end of their quantum."""

    seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SendState:
    """Final scan of the stunned VM; send CPU and device state, and what is left.

    What is left travels as pages when `bitmap_only` is false, and as the bitmap of
    missing pages when it is true.
    """

    seq: int
    bitmap_only: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """Ask the owner of the record to give the VM to the destination at `epoch`.

    Asked again with the same epoch until it is answered by success or refusal.
    """

    seq: int
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume:
    """Start the vCPUs on the destination."""

    seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SendRemainder:
    """Post-copy: send the missing pages, those that the guest touches first.

    With the source dead the destination answers: yes if it has every page, else refused.
    """

    seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollback:
    """Give up: the source's VM runs on, unthrottled; the destination forgets what it has."""

    seq: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unregister:
    """Free what the source still holds of the VM."""

    seq: int


Command = (
    Prepare
    | SendDirty
    | Throttle
    | Interrupt
    | Stun
    | SendState
    | Commit
    | Resume
    | SendRemainder
    | Rollback
    | Unregister
)


# Events.


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """The migration was admitted and may start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelRequested:
    """A user asked to stop; too late once `Commit` has been sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostLost:
    """One of the two hosts is known to be dead."""

    role: Role


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticked:
    """`wake_at` has come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progressed:
    """The command `reply_to` is under way and has not stalled.

    Attributes:
        bytes_sent: By this command so far.
        pages_dirty: Written since the round began, as last counted; 0 is not counted. The
            first count of a round, early in it, tells the guest's true dirty rate; at the
            round's end a small working set has saturated.
    """

    reply_to: int
    bytes_sent: int
    pages_dirty: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Succeeded:
    """The command was carried out.

    Attributes:
        pages_sent: By this command, zero pages included.
        pages_dirty: Written since they were last sent, counted when the command ended.
        zero_pages: Of `pages_sent`, those that needed no bytes.
        sent_bytes: Bytes on the wire.
        scan_s: Seconds spent finding dirty pages.
        copy_s: Seconds spent moving pages.
    """

    reply_to: int
    pages_sent: int = 0
    pages_dirty: int = 0
    zero_pages: int = 0
    sent_bytes: int = 0
    scan_s: Seconds = 0.0
    copy_s: Seconds = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """No success is known; for `Commit` the outcome is unknown."""

    reply_to: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A definite no; nothing happened."""

    reply_to: int
    reason: str


Answer = Succeeded | Failed | Refused
Event = Begun | CancelRequested | HostLost | Ticked | Progressed | Answer
