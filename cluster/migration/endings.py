"""What each allowed event does when somebody cancels or a host dies."""

from dataclasses import replace
from typing import Any

from cluster.migration.measuring import note_stun
from cluster.migration.messages import HostLost, Interrupt
from cluster.migration.state import Phase
from cluster.migration.steps import lose, roll_back
from cluster.migration.turn import Turn

# Cancel.


def cancel_unbegun(turn: Turn, event: Any) -> None:
    """Nothing was done, so nothing is undone."""
    turn.end(Phase.ABORTED, "cancelled before the start")


def cancel_later(turn: Turn, event: Any) -> None:
    """Wait for the short command under way."""
    turn.note = "cancelled when this step is answered"
    turn.change(cancelled=True)


def cancel_send(turn: Turn, event: Any) -> None:
    """Do not wait for a long send."""
    asked = turn.asked
    turn.tell(Interrupt(seq=turn.seq, send_seq=asked.command.seq))
    # From here progress no longer counts: it would let a lost Interrupt go unnoticed.
    silent_at_s = turn.now + turn.spec.stall_s_max
    turn.change(phase=Phase.INTERRUPTING, asked=replace(asked, silent_at_s=silent_at_s))


def cancel_too_late(turn: Turn, event: Any) -> None:
    """The commit was asked for; the destination may own the VM."""
    turn.note = "ignored: too late to cancel, Commit was sent"


def ignore(turn: Turn, event: Any) -> None:
    """Change nothing."""
    turn.note = "ignored"


def begin_after_end(turn: Turn, event: Any) -> None:
    """A start that crossed a cancel or a host's death; `Begun` comes once."""
    if turn.figures.started_s is not None:
        raise ValueError("begun twice")
    turn.note = "ignored: it had ended before it began"


# Hosts die.


def destination_lost(turn: Turn, event: HostLost) -> None:
    """Before the commit the source just runs on."""
    turn.change(destination_lost=True)
    turn.count_send(None)
    note_stun(turn)
    roll_back(turn, "the destination died")


def source_lost(turn: Turn, event: HostLost) -> None:
    """Before the commit the VM dies with its host."""
    turn.change(source_lost=True)
    if turn.state.asked is not None:
        turn.count_send(None)
    lose(turn, "the source died before the commit")


def destination_lost_unbegun(turn: Turn, event: HostLost) -> None:
    """Nothing was done."""
    turn.change(destination_lost=True)
    turn.end(Phase.ABORTED, "the destination died before the start")


def destination_lost_committing(turn: Turn, event: HostLost) -> None:
    """Who owns the VM is not known; the answer will say whether it can be saved."""
    turn.change(destination_lost=True)
    turn.note = "asking on: only the commit's answer tells who owns the VM"
    if turn.state.source_lost:
        lose(turn, "both hosts died")


def source_lost_committing(turn: Turn, event: HostLost) -> None:
    """The destination has all pages if none stayed behind."""
    turn.change(source_lost=True)
    if turn.state.destination_lost:
        lose(turn, "both hosts died")
    elif turn.state.missing_pages:
        lose(turn, "the source died with pages that the destination lacks")


def source_lost_resuming(turn: Turn, event: HostLost) -> None:
    """As while committing."""
    turn.change(source_lost=True)
    if turn.state.missing_pages:
        lose(turn, "the source died with pages that the destination lacks")


def destination_lost_running(turn: Turn, event: HostLost) -> None:
    """After the commit the destination has the only VM."""
    turn.change(destination_lost=True)
    turn.count_send(None)
    lose(turn, "the destination died after the commit")


def source_lost_remainder(turn: Turn, event: HostLost) -> None:
    """Only the destination knows whether a page is still missing: ask it."""
    turn.change(source_lost=True)
    turn.count_send(None)
    turn.note = "asking the destination whether it has all pages"
    turn.ask_again()


def destination_lost_unregistering(turn: Turn, event: HostLost) -> None:
    """An ordinary host failure after a completed migration; the source is still freed."""
    turn.change(destination_lost=True)
    turn.note = "the migration is complete; the VM dies with its new host"


def source_lost_unregistering(turn: Turn, event: HostLost) -> None:
    """What was to be freed is gone with its host."""
    turn.change(source_lost=True)
    turn.end(Phase.COMPLETED)


def destination_lost_rolling_back(turn: Turn, event: HostLost) -> None:
    """The way back needs the source alone."""
    turn.change(destination_lost=True)
    turn.note = "the source runs on without it"
