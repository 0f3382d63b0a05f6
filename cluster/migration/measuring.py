"""What the machine measures as it goes: rounds, the link, and the downtime with its parts."""

from dataclasses import replace

from cluster.migration.convergence import Course
from cluster.migration.estimates import fit_dirtying
from cluster.migration.messages import Seconds, SendState, Stun, Succeeded
from cluster.migration.spec import Round
from cluster.migration.turn import Turn


def note_round(turn: Turn, event: Succeeded) -> None:
    """Add a finished round to the figures and to what the convergence rule sees."""
    asked, figures, state = turn.asked, turn.figures, turn.state
    turn.count_send(event)
    duration_s = turn.now - asked.asked_s
    done = Round(
        round=state.round,
        duration_s=duration_s,
        pages_sent=event.pages_sent,
        zero_pages=event.zero_pages,
        sent_bytes=event.sent_bytes,
        pages_dirty=event.pages_dirty,
    )
    turn.measure(
        rounds=(*figures.rounds, done),
        round_s=figures.round_s + duration_s,
        round_dirty_pages=figures.round_dirty_pages + event.pages_dirty,
    )
    rule = turn.convergence
    turn.change(
        left_pages=(*state.left_pages, event.pages_dirty)[-rule.window_rounds :],
        link=state.link.sampled(event.sent_bytes, _copying_s(event, duration_s)),
        dirtying=fit_dirtying(event.pages_dirty, duration_s, asked.first_count),
    )


def _copying_s(event: Succeeded, duration_s: Seconds) -> Seconds:
    """Return the seconds the link was at work; a scan of zero pages is not the link's doing."""
    return min(event.copy_s, duration_s) if event.copy_s > 0 else duration_s - event.scan_s


def course(turn: Turn) -> Course:
    """Return what the convergence rule needs to know now."""
    spec, state = turn.spec, turn.state
    return Course(
        mode=spec.mode,
        memory_pages=spec.memory_pages,
        downtime_s_max=spec.downtime_s_max,
        stun_s_max=spec.stun_s_max,
        overhead_s=spec.overhead_s,
        rounds_max=spec.rounds_max,
        rounds_done=state.round + 1,
        left_pages=state.left_pages,
        bytes_per_second=state.link.bytes_per_second or spec.rate_bytes_per_second,
        dirtying=state.dirtying,
        throttle_ratio=state.throttle_ratio,
    )


def note_stun(turn: Turn) -> None:
    """Close the part of the downtime that a stun or an unfinished send of the state took."""
    downtime = turn.figures.downtime
    elapsed_s = turn.now - turn.asked.first_s
    match turn.asked.command:
        case Stun():
            turn.measure(stunned=True, downtime=replace(downtime, quiesce_s=elapsed_s))
        case SendState():
            turn.measure(downtime=replace(downtime, state_s=elapsed_s))
        case _:
            pass


def note_running(turn: Turn) -> None:
    """Close the downtime: a host runs the VM again."""
    resume_s = turn.now - turn.asked.first_s
    turn.measure(ran_after_stun=True, downtime=replace(turn.figures.downtime, resume_s=resume_s))
