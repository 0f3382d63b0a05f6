"""The protocol's laws, one situation a test."""

import pytest

from cluster.inventory.model import PAGE_BYTES, Mode
from cluster.migration.messages import (
    CancelRequested,
    Commit,
    Failed,
    Interrupt,
    Progressed,
    Refused,
    Resume,
    Role,
    Rollback,
    SendState,
    Succeeded,
    Ticked,
)
from cluster.migration.spec import Downtime, Result
from cluster.migration.state import Phase
from cluster.migration.turn import Patience
from tests.migration.driving import PAGES, SPEC, Hand, reach, spec


def names(commands):
    return [type(command).__name__ for command in commands]


# The commit.


def test_a_failed_commit_is_asked_again_with_the_same_epoch_until_it_is_answered():
    """The pauses double up to their limit: 50, 100, 200 ms … 2 s."""
    hand = reach(Phase.COMMITTING)
    pauses = []
    for _ in range(8):
        assert () == hand.send(
            Failed(reply_to=hand.seq, reason="connection reset"), at=hand.now + 0.01
        )
        pauses.append(round(hand.machine.wake_at - hand.now, 9))
        (again,) = hand.tick()
        assert Commit(seq=again.seq, epoch=SPEC.epoch) == again
    assert [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0] == pauses
    assert ["Resume"] == names(hand.yes())


def test_a_lost_answer_and_a_failed_retry_do_not_roll_back():
    hand = reach(Phase.COMMITTING)
    assert ["Commit"] == names(hand.tick())  # silence
    hand.fail("no route")
    assert Phase.COMMITTING is hand.phase
    assert ["Commit"] == names(hand.tick())
    assert ["Resume"] == names(hand.yes())


def test_the_answer_to_an_earlier_asking_of_the_commit_is_as_true():
    hand = reach(Phase.COMMITTING)
    first = hand.seq
    hand.tick()
    assert ["Resume"] == names(hand.send(Succeeded(reply_to=first)))


def test_it_counts_also_while_the_machine_pauses():
    hand = reach(Phase.COMMITTING)
    first = hand.seq
    hand.fail()
    assert ["Rollback"] == names(hand.send(Refused(reply_to=first, reason="fenced")))


def test_a_failure_of_an_earlier_asking_says_nothing_new():
    hand = reach(Phase.COMMITTING)
    first = hand.seq
    hand.tick()
    wake_at = hand.machine.wake_at
    assert () == hand.send(Failed(reply_to=first, reason="late"), at=hand.now + 0.1)
    assert wake_at == hand.machine.wake_at


def test_only_a_refused_commit_leads_back():
    hand = reach(Phase.COMMITTING)
    (command,) = hand.refuse("the record is at epoch 3")
    reason = "Commit refused: the record is at epoch 3"
    assert Rollback(seq=command.seq, reason=reason) == command
    hand.yes()
    assert (Result.ABORTED, reason) == (hand.machine.outcome.result, hand.machine.outcome.error)


def test_a_dead_destination_does_not_end_the_asking():
    hand = reach(Phase.COMMITTING)
    hand.lose(Role.DESTINATION)
    assert ["Commit"] == names(hand.tick())
    assert ["Rollback"] == names(hand.refuse())


def test_committed_to_a_dead_destination_is_lost():
    hand = reach(Phase.COMMITTING)
    hand.lose(Role.DESTINATION)
    assert () == hand.yes()
    assert Result.LOST is hand.machine.outcome.result
    assert hand.machine.outcome.downtime is None


def test_a_vm_outlives_its_source_once_the_destination_has_all_pages():
    """After a stop-and-copy nothing is missing, so a commit that went through saves it."""
    hand = reach(Phase.COMMITTING)
    hand.lose(Role.SOURCE)
    assert ["Resume"] == names(hand.yes())
    hand.yes()
    assert Result.COMPLETED is hand.machine.outcome.result


# After it.


def test_a_failed_resume_is_asked_again():
    hand = reach(Phase.RESUMING)
    hand.fail()
    (again,) = hand.tick()
    assert Resume(seq=again.seq) == again


def test_a_network_break_pauses_the_remainder_and_does_not_end_it():
    hand = reach(Phase.REMAINDER)
    for _ in range(20):
        hand.fail("link down")
        assert ["SendRemainder"] == names(hand.tick())
    hand.yes(pages_sent=5, sent_bytes=5 * PAGE_BYTES)
    hand.yes()
    assert Result.COMPLETED is hand.machine.outcome.result


def test_a_source_that_dies_when_its_last_page_has_left_loses_nothing():
    """Only the destination knows: it is asked, and says yes or no."""
    hand = reach(Phase.REMAINDER)
    assert ["SendRemainder"] == names(hand.lose(Role.SOURCE))
    hand.yes()
    assert Result.COMPLETED is hand.machine.outcome.result


def test_a_flip_that_left_no_page_behind_outlives_its_source():
    hand = reach(Phase.SENDING_STATE, mode=Mode.HYBRID)
    hand.yes(pages_dirty=0)
    hand.lose(Role.SOURCE)
    assert ["Resume"] == names(hand.yes())
    assert ["SendRemainder"] == names(hand.yes())
    hand.yes()
    assert Result.COMPLETED is hand.machine.outcome.result


def test_a_source_that_dies_with_pages_loses_the_vm():
    hand = reach(Phase.REMAINDER)
    hand.lose(Role.SOURCE)
    hand.refuse("12 pages are missing")
    outcome = hand.machine.outcome
    assert (Result.LOST, "SendRemainder refused: 12 pages are missing") == (
        outcome.result,
        outcome.error,
    )


def test_a_source_that_cannot_be_freed_does_not_undo_the_migration():
    hand = reach(Phase.UNREGISTERING, patience=Patience(unregister_tries_max=3))
    for _ in range(2):
        hand.fail()
        hand.tick()
    hand.fail("permission denied")
    outcome = hand.machine.outcome
    assert Result.COMPLETED is outcome.result
    assert "the source was not freed: permission denied" == outcome.error
    assert outcome.downtime is not None


# Silence.


@pytest.mark.parametrize(
    ("phase", "limit_s"),
    [
        (Phase.PREPARING, 10.0),
        (Phase.PRECOPYING, 10.0),
        (Phase.STUNNING, 10.0),
        (Phase.SENDING_STATE, 10.0),
        (Phase.COMMITTING, 1.0),
        (Phase.RESUMING, 1.0),
        (Phase.REMAINDER, 10.0),
        (Phase.UNREGISTERING, 10.0),
        (Phase.ROLLING_BACK, 1.0),
    ],
)
def test_silence_counts_as_failure(phase, limit_s):
    hand = reach(phase)
    assert hand.now + limit_s == hand.machine.wake_at
    expected = ["Rollback"] if limit_s == 10.0 else [type(hand.commands[-1]).__name__]
    if phase in {Phase.REMAINDER, Phase.UNREGISTERING}:
        expected = ["SendRemainder" if phase is Phase.REMAINDER else "Unregister"]
    assert expected == names(hand.tick())


def test_progress_puts_the_limit_of_silence_off_for_ever():
    """200 healthy migrations on one link are slow; none of them has stalled."""
    hand = reach(Phase.PRECOPYING)
    for sent in range(1000):
        hand.send(Progressed(reply_to=hand.seq, bytes_sent=sent, pages_dirty=0), at=hand.now + 9.99)
        assert () == hand.send(Ticked(), at=hand.now)
    assert Phase.PRECOPYING is hand.phase
    assert ["Rollback"] == names(hand.tick())


def test_a_report_about_an_earlier_command_is_no_progress():
    hand = reach(Phase.STUNNING)
    wake_at = hand.machine.wake_at
    hand.send(Progressed(reply_to=hand.seq - 1, bytes_sent=1, pages_dirty=1))
    assert wake_at == hand.machine.wake_at


def test_an_early_tick_does_nothing():
    hand = reach(Phase.PRECOPYING)
    assert () == hand.send(Ticked(), at=hand.machine.wake_at - 1e-6)
    assert Phase.PRECOPYING is hand.phase


def test_a_finished_migration_needs_no_waking():
    hand = reach(Phase.COMPLETED)
    assert hand.machine.wake_at is None
    assert () == hand.send(Ticked())


# Cancel.


def test_a_cancel_interrupts_a_send_and_waits_for_its_answer():
    hand = reach(Phase.PRECOPYING)
    send_seq = hand.seq
    (command,) = hand.cancel()
    assert Interrupt(seq=send_seq + 1, send_seq=send_seq) == command
    # The Interrupt's own answer decides nothing.
    assert () == hand.send(Succeeded(reply_to=command.seq))
    assert ["Rollback"] == names(hand.yes(pages_sent=7, sent_bytes=7 * PAGE_BYTES))
    hand.yes()
    outcome = hand.machine.outcome
    assert (Result.ABORTED, "cancelled") == (outcome.result, outcome.error)
    assert 7 * PAGE_BYTES == outcome.precopy_bytes


def test_a_lost_interrupt_does_not_wait_for_the_end_of_the_round():
    """The send goes on and reports progress; that does not put the limit off any more."""
    hand = reach(Phase.PRECOPYING)
    hand.cancel()
    wake_at = hand.machine.wake_at
    hand.send(Progressed(reply_to=hand.seq, bytes_sent=1, pages_dirty=1))
    assert wake_at == hand.machine.wake_at
    assert ["Rollback"] == names(hand.tick())


@pytest.mark.parametrize("phase", list(Phase), ids=lambda phase: phase.value)
def test_cancel_twice_is_cancel_once(phase):
    hand = reach(phase)
    hand.cancel()
    once = hand.machine.state
    assert () == hand.send(CancelRequested(), at=hand.now)
    assert once == hand.machine.state


@pytest.mark.parametrize(
    "phase",
    [Phase.COMMITTING, Phase.RESUMING, Phase.REMAINDER, Phase.UNREGISTERING, Phase.COMPLETED],
)
def test_a_cancel_after_the_commit_was_sent_is_ignored_and_said(phase):
    hand = reach(phase)
    assert () == hand.cancel()
    assert phase is hand.phase
    *_, last = hand.machine.story
    assert "ignored" in last.note


def test_cancel_before_the_start_leaves_nothing_to_undo():
    hand = Hand()
    assert () == hand.cancel()
    assert Result.ABORTED is hand.machine.outcome.result
    assert () == hand.begin()
    assert 0.0 == hand.machine.outcome.duration_s


def test_cancel_during_the_stun_lets_the_source_run_again():
    hand = reach(Phase.STUNNING)
    assert () == hand.cancel()
    assert ["Rollback"] == names(hand.yes())
    hand.yes()
    assert Result.ABORTED is hand.machine.outcome.result
    assert Downtime(quiesce_s=1.0, resume_s=0.5) == hand.machine.outcome.downtime


# Modes.


def test_the_six_steps_of_a_hybrid_migration():
    hand = Hand(spec(mode=Mode.HYBRID))
    said = [hand.begin(), hand.yes(), hand.round_sent(left=10)]
    (state,) = hand.yes()
    assert SendState(seq=state.seq, bitmap_only=True) == state
    said += [(state,), hand.yes(pages_dirty=10), hand.yes(), hand.yes()]
    said += [hand.yes(pages_sent=10, sent_bytes=10 * PAGE_BYTES), hand.yes()]
    assert [
        "Prepare",
        "SendDirty",
        "Stun",
        "SendState",
        "Commit",
        "Resume",
        "SendRemainder",
        "Unregister",
    ] == [name for commands in said for name in names(commands)]
    assert 10 * PAGE_BYTES == hand.machine.outcome.postcopy_bytes


def test_post_copy_sends_no_page_before_the_switchover():
    hand = reach(Phase.COMPLETED, mode=Mode.POSTCOPY)
    assert () == hand.machine.outcome.rounds
    commands = [name for entry in hand.machine.story for name in names(entry.commands)]
    assert "SendDirty" not in commands
    assert "SendRemainder" in commands


def test_the_throttle_is_told_with_the_round_that_it_is_for():
    hand = reach(Phase.PRECOPYING)
    throttle, send = hand.round_sent(left=PAGES)
    assert pytest.approx(0.5) == throttle.ratio
    assert throttle.seq < send.seq
    # Whether it took hold shows in the next round, not in its answer.
    assert () == hand.send(Failed(reply_to=throttle.seq, reason="no control page"))
    assert Phase.PRECOPYING is hand.phase
    assert pytest.approx(0.5) == hand.machine.state.throttle_ratio


# Measuring.


def test_the_downtime_is_the_sum_of_its_parts_from_stun_sent_to_resume_answered():
    hand = reach(Phase.STUNNING)
    stun_sent_s = hand.now
    hand.send(Succeeded(reply_to=hand.seq), at=hand.now + 0.001)
    hand.send(Succeeded(reply_to=hand.seq, scan_s=0.002, copy_s=0.03), at=hand.now + 0.04)
    hand.send(Succeeded(reply_to=hand.seq), at=hand.now + 0.004)
    hand.send(Succeeded(reply_to=hand.seq), at=hand.now + 0.0005)
    resumed_s = hand.now
    hand.yes()
    downtime = hand.machine.outcome.downtime
    parts = (
        downtime.quiesce_s,
        downtime.scan_s,
        downtime.copy_s,
        downtime.state_s,
        downtime.commit_s,
        downtime.resume_s,
    )
    assert pytest.approx((0.001, 0.002, 0.03, 0.008, 0.004, 0.0005)) == parts
    assert pytest.approx(resumed_s - stun_sent_s) == downtime.total_s


def test_parts_that_overlap_still_sum_to_what_elapsed():
    """Two streams copy for 30 ms each within 40 ms, after a scan of 20 ms."""
    hand = reach(Phase.SENDING_STATE)
    hand.send(Succeeded(reply_to=hand.seq, scan_s=0.02, copy_s=0.06), at=hand.now + 0.04)
    downtime = hand.machine.state.figures.downtime
    assert pytest.approx((0.02, 0.02, 0.0)) == (
        downtime.scan_s,
        downtime.copy_s,
        downtime.state_s,
    )


def test_the_commits_repeats_are_part_of_the_downtime():
    hand = reach(Phase.COMMITTING)
    asked_s = hand.now
    hand.tick()
    hand.tick()
    hand.yes()
    assert pytest.approx(hand.now - asked_s) == hand.machine.state.figures.downtime.commit_s


def test_the_prediction_is_noted_at_the_decision():
    """1,000 pages would take 0.1 s; 10 ms of overhead go on top: not allowed. 900 are."""
    hand = reach(Phase.PRECOPYING)
    hand.round_sent(left=1_000)
    assert hand.machine.state.figures.predicted_downtime_s is None
    hand.round_sent(left=900, sent=1_000)
    assert pytest.approx(0.1) == hand.machine.state.figures.predicted_downtime_s


def test_rounds_and_bytes_are_counted():
    hand = reach(Phase.PRECOPYING)
    hand.round_sent(left=2_000)
    hand.round_sent(left=100, sent=2_000)
    hand.yes()
    hand.yes(sent_bytes=100 * PAGE_BYTES + 5)
    hand.yes()
    hand.yes()
    hand.yes()
    outcome = hand.machine.outcome
    assert [(0, PAGES, 2_000), (1, 2_000, 100)] == [
        (done.round, done.pages_sent, done.pages_dirty) for done in outcome.rounds
    ]
    assert 12_000 * PAGE_BYTES == outcome.precopy_bytes
    assert 100 * PAGE_BYTES + 5 == outcome.downtime_bytes
    assert pytest.approx(2_100 / 1.2 * PAGE_BYTES) == outcome.dirty_rate_bytes_per_second


def test_a_round_that_failed_counts_as_far_as_it_reported():
    hand = reach(Phase.PRECOPYING)
    hand.send(Progressed(reply_to=hand.seq, bytes_sent=12_345, pages_dirty=0))
    hand.fail()
    assert 12_345 == hand.machine.state.figures.precopy_bytes


# State.


def test_the_state_can_be_copied_compared_hashed_and_taken_up_again():
    hand = reach(Phase.PRECOPYING)
    moment = hand.machine.state
    hand.round_sent(left=10)
    on = hand.machine.state
    assert moment != on
    assert 2 == len({moment, on, reach(Phase.PRECOPYING).machine.state})
    other = Hand()
    other.machine.state, other.now = moment, moment.now_s
    other.round_sent(left=10)
    assert on == other.machine.state
