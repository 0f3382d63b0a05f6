"""What each allowed event does on the way forward, on the way back, and when it is asked again.

One function an edge, named after what happened. It may issue commands and change the
state through its `Turn`, and ends in one of the phases that the table promises.
"""

from dataclasses import replace
from typing import Any

from cluster.inventory.model import Mode
from cluster.migration.convergence import (
    Decision,
    Verdict,
    decide,
    over_limit,
    predicted_flip_s,
)
from cluster.migration.measuring import course, note_round, note_running, note_stun
from cluster.migration.messages import (
    Commit,
    Failed,
    Prepare,
    Progressed,
    Refused,
    Resume,
    Rollback,
    SendDirty,
    SendRemainder,
    SendState,
    Stun,
    Succeeded,
    Throttle,
    Unregister,
)
from cluster.migration.state import Phase
from cluster.migration.turn import Turn

# The way forward.


def begin(turn: Turn, event: Any) -> None:
    """Start the clock and make the destination ready."""
    turn.measure(started_s=turn.now)
    turn.ask(Prepare(seq=turn.seq), Phase.PREPARING)


def prepared(turn: Turn, event: Succeeded) -> None:
    """Send round 0, or flip at once when nothing is to be sent before the switchover."""
    if turn.state.cancelled:
        roll_back(turn, "cancelled")
    elif turn.spec.mode is Mode.POSTCOPY:
        predicted_s = predicted_flip_s(
            turn.spec.memory_pages,
            turn.spec.memory_pages,
            turn.spec.rate_bytes_per_second,
            turn.spec.overhead_s,
        )
        if over := over_limit(predicted_s, turn.spec.stun_s_max):
            roll_back(turn, over)
            return
        turn.measure(predicted_downtime_s=predicted_s)
        turn.change(bitmap_only=True)
        turn.ask(Stun(seq=turn.seq), Phase.STUNNING)
    else:
        turn.ask(SendDirty(seq=turn.seq, round=0), Phase.PRECOPYING)


def round_sent(turn: Turn, event: Succeeded) -> None:
    """Note the round and do what the convergence rule decides."""
    note_round(turn, event)
    decision = decide(course(turn), turn.convergence)
    turn.note = f"{decision.verdict.value}: {decision.reason}"
    _carry_out(turn, decision)


def _carry_out(turn: Turn, decision: Decision) -> None:
    match decision.verdict:
        case Verdict.SWITCH_OVER:
            turn.measure(predicted_downtime_s=decision.predicted_downtime_s)
            turn.change(bitmap_only=decision.bitmap_only)
            turn.ask(Stun(seq=turn.seq), Phase.STUNNING)
        case Verdict.GIVE_UP:
            roll_back(turn, decision.reason)
        case Verdict.THROTTLE_MORE:
            ratio = decision.throttle_ratio
            turn.tell(Throttle(seq=turn.seq, ratio=ratio))
            turn.change(throttle_ratio=ratio)
            turn.measure(throttle_max=max(turn.figures.throttle_max, ratio))
            _next_round(turn)
        case Verdict.NEXT_ROUND:
            _next_round(turn)


def _next_round(turn: Turn) -> None:
    following = turn.state.round + 1
    turn.change(round=following)
    turn.ask(SendDirty(seq=turn.seq, round=following), Phase.PRECOPYING)


def stunned(turn: Turn, event: Succeeded) -> None:
    """Ship state and what is left; or go back, if a cancel came meanwhile."""
    note_stun(turn)
    if turn.state.cancelled:
        roll_back(turn, "cancelled")
    else:
        turn.ask(SendState(seq=turn.seq, bitmap_only=turn.state.bitmap_only), Phase.SENDING_STATE)


def state_sent(turn: Turn, event: Succeeded) -> None:
    """Ask for the commit: from here only a definite no leads back."""
    turn.count_send(event)
    elapsed_s = turn.now - turn.asked.asked_s
    # Pipelined scans and copies may overlap; the parts must still sum to what elapsed.
    scan_s = min(event.scan_s, elapsed_s)
    copy_s = min(event.copy_s, elapsed_s - scan_s)
    state_s = elapsed_s - scan_s - copy_s
    turn.measure(
        downtime=replace(turn.figures.downtime, scan_s=scan_s, copy_s=copy_s, state_s=state_s)
    )
    if turn.state.bitmap_only:
        turn.change(missing_pages=event.pages_dirty)
    turn.ask(Commit(seq=turn.seq, epoch=turn.spec.epoch), Phase.COMMITTING)


def committed(turn: Turn, event: Succeeded) -> None:
    """Run the VM where the record says it is now, if that host is still there."""
    commit_s = turn.now - turn.asked.first_s
    turn.measure(downtime=replace(turn.figures.downtime, commit_s=commit_s))
    if turn.state.destination_lost:
        lose(turn, "the destination died after the commit")
    else:
        turn.ask(Resume(seq=turn.seq), Phase.RESUMING)


def resumed(turn: Turn, event: Succeeded) -> None:
    """Send the remainder, if pages stayed behind, or free the source."""
    note_running(turn)
    if turn.state.bitmap_only:
        turn.ask(SendRemainder(seq=turn.seq), Phase.REMAINDER)
    elif turn.state.source_lost:
        turn.end(Phase.COMPLETED)
    else:
        turn.ask(Unregister(seq=turn.seq), Phase.UNREGISTERING)


def remainder_sent(turn: Turn, event: Succeeded) -> None:
    """Free the source, if it is there."""
    turn.count_send(event)
    if turn.state.source_lost:
        turn.end(Phase.COMPLETED)
    else:
        turn.ask(Unregister(seq=turn.seq), Phase.UNREGISTERING)


def unregistered(turn: Turn, event: Succeeded) -> None:
    """Done."""
    turn.end(Phase.COMPLETED)


def progressed(turn: Turn, event: Progressed) -> None:
    """The outstanding command lives; a round's first count of dirty pages is kept."""
    turn.heard()
    asked = replace(turn.asked, progress_bytes=event.bytes_sent)
    elapsed_s = turn.now - asked.asked_s
    if asked.first_count is None and event.pages_dirty > 0 and elapsed_s > 0:
        asked = replace(asked, first_count=(elapsed_s, event.pages_dirty))
    turn.change(asked=asked)


# The way back.


def roll_back(turn: Turn, reason: str) -> None:
    """Give up before the commit; whatever is still under way is superseded."""
    turn.change(error=reason, cancelled=False)
    turn.ask(Rollback(seq=turn.seq, reason=reason), Phase.ROLLING_BACK)


def step_failed(turn: Turn, event: Failed | Refused) -> None:
    """Before the commit every failure leads back to the source."""
    turn.count_send(event)
    note_stun(turn)
    no = "refused" if isinstance(event, Refused) else "failed"
    roll_back(turn, f"{type(turn.asked.command).__name__} {no}: {event.reason}")


def interrupted(turn: Turn, event: Succeeded | Failed | Refused) -> None:
    """The send has ended, however it ended: carry the cancel out."""
    turn.count_send(event)
    note_stun(turn)
    roll_back(turn, "cancelled")


def commit_refused(turn: Turn, event: Refused) -> None:
    """The definite no: the source runs on, if it lives."""
    commit_s = turn.now - turn.asked.first_s
    turn.measure(downtime=replace(turn.figures.downtime, commit_s=commit_s))
    if turn.state.source_lost:
        lose(turn, f"the source died and the commit was refused: {event.reason}")
    else:
        roll_back(turn, f"Commit refused: {event.reason}")


def rolled_back(turn: Turn, event: Succeeded) -> None:
    """The source runs the VM as before."""
    if turn.figures.stunned:
        note_running(turn)
    turn.end(Phase.ABORTED, turn.state.error)


def lose(turn: Turn, error: str) -> None:
    """No host can run the VM from memory."""
    turn.end(Phase.LOST, error)


def source_gone(turn: Turn, event: Refused) -> None:
    """The source says that it has no VM to go back to."""
    lose(turn, f"{turn.state.error}; then Rollback refused: {event.reason}")


def destination_gone(turn: Turn, event: Refused) -> None:
    """The record names the destination, and the destination has no VM."""
    turn.count_send(event)
    lose(turn, f"{type(turn.asked.command).__name__} refused: {event.reason}")


def prepare_refused(turn: Turn, event: Refused) -> None:
    """The destination will not have it; nothing was done."""
    turn.end(Phase.REFUSED, event.reason)


# Asking again.


def try_later(turn: Turn, event: Failed) -> None:
    """Pause, then ask the same thing; silence was pause enough."""
    turn.count_send(event)
    turn.ask_later()
    if turn.silent:
        turn.ask_again()


def ask_again(turn: Turn, event: Any) -> None:
    """The pause is over."""
    turn.ask_again()


def unregister_failed(turn: Turn, event: Failed) -> None:
    """Ask again a few times; the migration is done in any case."""
    if turn.asked.tries + 1 >= turn.patience.unregister_tries_max:
        turn.end(Phase.COMPLETED, f"the source was not freed: {event.reason}")
    else:
        try_later(turn, event)


def unregister_refused(turn: Turn, event: Refused) -> None:
    """Asking again would not help, and the VM runs at the destination."""
    turn.end(Phase.COMPLETED, f"the source was not freed: {event.reason}")
