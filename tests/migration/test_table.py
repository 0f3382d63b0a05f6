"""Every edge of the transition table is walked, to each phase that it names, and no other is there."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from cluster.inventory.model import Mode
from cluster.migration.machine import ProtocolError
from cluster.migration.messages import Role
from cluster.migration.state import ASKS, FINAL, Phase
from cluster.migration.table import TABLE, Kind
from cluster.migration.turn import Patience
from tests.migration.driving import PAGES, SPEC, Hand, event_of, reach, spec

P, K = Phase, Kind


@dataclass(frozen=True)
class Walk:
    """From a phase by an event to a phase, with these commands."""

    before: Phase
    kind: Kind
    after: Phase
    commands: tuple[str, ...] = ()
    start: Callable[[], Hand] | None = None
    situation: str = ""

    def __str__(self) -> str:
        text = f"{self.before.value}-{self.kind.value}-{self.after.value}"
        return f"{text}-{self.situation}" if self.situation else text

    def hand(self) -> Hand:
        return reach(self.before) if self.start is None else self.start()


def cancelled(phase: Phase) -> Hand:
    hand = reach(phase)
    hand.cancel()
    return hand


def paused(phase: Phase, mode: Mode | None = None) -> Hand:
    """The phase's command has failed and will be asked again."""
    hand = reach(phase, mode=mode)
    hand.fail()
    hand.now = hand.machine.wake_at - 0.5
    return hand


def after_loss(phase: Phase, role: Role) -> Hand:
    hand = reach(phase)
    hand.lose(role)
    return hand


def hybrid(phase: Phase) -> Hand:
    return reach(phase, mode=Mode.HYBRID)


def last_round(left: int) -> Hand:
    """In the only round that is allowed; its answer comes with `left` pages dirty."""
    hand = Hand(spec(rounds_max=1))
    hand.begin()
    hand.yes()
    return _answering(hand, left)


def first_round(left: int) -> Hand:
    return _answering(reach(P.PRECOPYING), left)


def _answering(hand: Hand, left: int) -> Hand:
    hand.yes = lambda **_: hand.round_sent(left=left)
    return hand


def ended_unbegun(kind: Kind) -> Hand:
    hand = Hand()
    hand.send(event_of(kind, hand))
    return hand


def last_try() -> Hand:
    return reach(P.UNREGISTERING, patience=Patience(unregister_tries_max=1))


ROLLBACK = ("Rollback",)
WALKS = [
    Walk(P.CREATED, K.BEGUN, P.PREPARING, ("Prepare",)),
    Walk(P.CREATED, K.CANCEL_REQUESTED, P.ABORTED),
    Walk(P.CREATED, K.SOURCE_LOST, P.LOST),
    Walk(P.CREATED, K.DESTINATION_LOST, P.ABORTED),
    #
    Walk(P.PREPARING, K.SUCCEEDED, P.PRECOPYING, ("SendDirty",)),
    Walk(
        P.PREPARING,
        K.SUCCEEDED,
        P.STUNNING,
        ("Stun",),
        lambda: reach(P.PREPARING, mode=Mode.POSTCOPY),
        "post-copy skips the rounds",
    ),
    Walk(
        P.PREPARING, K.SUCCEEDED, P.ROLLING_BACK, ROLLBACK, lambda: cancelled(P.PREPARING), "cancel"
    ),
    Walk(P.PREPARING, K.FAILED, P.ROLLING_BACK, ROLLBACK),
    Walk(P.PREPARING, K.REFUSED, P.REFUSED),
    Walk(P.PREPARING, K.PROGRESSED, P.PREPARING),
    Walk(P.PREPARING, K.CANCEL_REQUESTED, P.PREPARING),
    Walk(P.PREPARING, K.SOURCE_LOST, P.LOST),
    Walk(P.PREPARING, K.DESTINATION_LOST, P.ROLLING_BACK, ROLLBACK),
    #
    Walk(P.PRECOPYING, K.SUCCEEDED, P.STUNNING, ("Stun",), lambda: first_round(10), "converged"),
    Walk(
        P.PRECOPYING,
        K.SUCCEEDED,
        P.PRECOPYING,
        ("SendDirty",),
        lambda: first_round(PAGES // 4),
        "too much left",
    ),
    Walk(
        P.PRECOPYING,
        K.SUCCEEDED,
        P.PRECOPYING,
        ("Throttle", "SendDirty"),
        lambda: first_round(PAGES),
        "dirtied as fast as sent",
    ),
    Walk(
        P.PRECOPYING,
        K.SUCCEEDED,
        P.ROLLING_BACK,
        ROLLBACK,
        lambda: last_round(PAGES),
        "rounds used up",
    ),
    Walk(P.PRECOPYING, K.FAILED, P.ROLLING_BACK, ROLLBACK),
    Walk(P.PRECOPYING, K.REFUSED, P.ROLLING_BACK, ROLLBACK),
    Walk(P.PRECOPYING, K.PROGRESSED, P.PRECOPYING),
    Walk(P.PRECOPYING, K.CANCEL_REQUESTED, P.INTERRUPTING, ("Interrupt",)),
    Walk(P.PRECOPYING, K.SOURCE_LOST, P.LOST),
    Walk(P.PRECOPYING, K.DESTINATION_LOST, P.ROLLING_BACK, ROLLBACK),
    #
    Walk(P.INTERRUPTING, K.SUCCEEDED, P.ROLLING_BACK, ROLLBACK),
    Walk(P.INTERRUPTING, K.FAILED, P.ROLLING_BACK, ROLLBACK),
    Walk(P.INTERRUPTING, K.REFUSED, P.ROLLING_BACK, ROLLBACK),
    Walk(P.INTERRUPTING, K.PROGRESSED, P.INTERRUPTING),
    Walk(P.INTERRUPTING, K.CANCEL_REQUESTED, P.INTERRUPTING),
    Walk(P.INTERRUPTING, K.SOURCE_LOST, P.LOST),
    Walk(P.INTERRUPTING, K.DESTINATION_LOST, P.ROLLING_BACK, ROLLBACK),
    #
    Walk(P.STUNNING, K.SUCCEEDED, P.SENDING_STATE, ("SendState",)),
    Walk(
        P.STUNNING, K.SUCCEEDED, P.ROLLING_BACK, ROLLBACK, lambda: cancelled(P.STUNNING), "cancel"
    ),
    Walk(P.STUNNING, K.FAILED, P.ROLLING_BACK, ROLLBACK),
    Walk(P.STUNNING, K.REFUSED, P.ROLLING_BACK, ROLLBACK),
    Walk(P.STUNNING, K.PROGRESSED, P.STUNNING),
    Walk(P.STUNNING, K.CANCEL_REQUESTED, P.STUNNING),
    Walk(P.STUNNING, K.SOURCE_LOST, P.LOST),
    Walk(P.STUNNING, K.DESTINATION_LOST, P.ROLLING_BACK, ROLLBACK),
    #
    Walk(P.SENDING_STATE, K.SUCCEEDED, P.COMMITTING, ("Commit",)),
    Walk(P.SENDING_STATE, K.FAILED, P.ROLLING_BACK, ROLLBACK),
    Walk(P.SENDING_STATE, K.REFUSED, P.ROLLING_BACK, ROLLBACK),
    Walk(P.SENDING_STATE, K.PROGRESSED, P.SENDING_STATE),
    Walk(P.SENDING_STATE, K.CANCEL_REQUESTED, P.INTERRUPTING, ("Interrupt",)),
    Walk(P.SENDING_STATE, K.SOURCE_LOST, P.LOST),
    Walk(P.SENDING_STATE, K.DESTINATION_LOST, P.ROLLING_BACK, ROLLBACK),
    #
    Walk(P.COMMITTING, K.SUCCEEDED, P.RESUMING, ("Resume",)),
    Walk(
        P.COMMITTING,
        K.SUCCEEDED,
        P.LOST,
        (),
        lambda: after_loss(P.COMMITTING, Role.DESTINATION),
        "destination is dead",
    ),
    Walk(P.COMMITTING, K.FAILED, P.COMMITTING),
    Walk(P.COMMITTING, K.RETRY_DUE, P.COMMITTING, ("Commit",), lambda: paused(P.COMMITTING)),
    Walk(P.COMMITTING, K.REFUSED, P.ROLLING_BACK, ROLLBACK),
    Walk(
        P.COMMITTING,
        K.REFUSED,
        P.LOST,
        (),
        lambda: after_loss(P.COMMITTING, Role.SOURCE),
        "source is dead",
    ),
    Walk(P.COMMITTING, K.PROGRESSED, P.COMMITTING),
    Walk(P.COMMITTING, K.CANCEL_REQUESTED, P.COMMITTING),
    Walk(P.COMMITTING, K.SOURCE_LOST, P.COMMITTING),
    Walk(P.COMMITTING, K.SOURCE_LOST, P.LOST, (), lambda: hybrid(P.COMMITTING), "pages stayed"),
    Walk(P.COMMITTING, K.DESTINATION_LOST, P.COMMITTING),
    Walk(
        P.COMMITTING,
        K.DESTINATION_LOST,
        P.LOST,
        (),
        lambda: after_loss(P.COMMITTING, Role.SOURCE),
        "source is dead",
    ),
    #
    Walk(P.RESUMING, K.SUCCEEDED, P.UNREGISTERING, ("Unregister",)),
    Walk(
        P.RESUMING, K.SUCCEEDED, P.REMAINDER, ("SendRemainder",), lambda: hybrid(P.RESUMING), "flip"
    ),
    Walk(
        P.RESUMING,
        K.SUCCEEDED,
        P.COMPLETED,
        (),
        lambda: after_loss(P.RESUMING, Role.SOURCE),
        "source is dead",
    ),
    Walk(P.RESUMING, K.FAILED, P.RESUMING),
    Walk(P.RESUMING, K.RETRY_DUE, P.RESUMING, ("Resume",), lambda: paused(P.RESUMING)),
    Walk(P.RESUMING, K.REFUSED, P.LOST),
    Walk(P.RESUMING, K.PROGRESSED, P.RESUMING),
    Walk(P.RESUMING, K.CANCEL_REQUESTED, P.RESUMING),
    Walk(P.RESUMING, K.SOURCE_LOST, P.RESUMING),
    Walk(P.RESUMING, K.SOURCE_LOST, P.LOST, (), lambda: hybrid(P.RESUMING), "pages stayed"),
    Walk(P.RESUMING, K.DESTINATION_LOST, P.LOST),
    #
    Walk(P.REMAINDER, K.SUCCEEDED, P.UNREGISTERING, ("Unregister",)),
    Walk(
        P.REMAINDER,
        K.SUCCEEDED,
        P.COMPLETED,
        (),
        lambda: after_loss(P.REMAINDER, Role.SOURCE),
        "source is dead",
    ),
    Walk(P.REMAINDER, K.FAILED, P.REMAINDER),
    Walk(
        P.REMAINDER,
        K.RETRY_DUE,
        P.REMAINDER,
        ("SendRemainder",),
        lambda: paused(P.REMAINDER, Mode.HYBRID),
    ),
    Walk(P.REMAINDER, K.REFUSED, P.LOST),
    Walk(P.REMAINDER, K.PROGRESSED, P.REMAINDER),
    Walk(P.REMAINDER, K.CANCEL_REQUESTED, P.REMAINDER),
    Walk(P.REMAINDER, K.SOURCE_LOST, P.REMAINDER, ("SendRemainder",)),
    Walk(P.REMAINDER, K.DESTINATION_LOST, P.LOST),
    #
    Walk(P.UNREGISTERING, K.SUCCEEDED, P.COMPLETED),
    Walk(P.UNREGISTERING, K.FAILED, P.UNREGISTERING),
    Walk(P.UNREGISTERING, K.FAILED, P.COMPLETED, (), last_try, "for the last time"),
    Walk(
        P.UNREGISTERING,
        K.RETRY_DUE,
        P.UNREGISTERING,
        ("Unregister",),
        lambda: paused(P.UNREGISTERING),
    ),
    Walk(P.UNREGISTERING, K.REFUSED, P.COMPLETED),
    Walk(P.UNREGISTERING, K.PROGRESSED, P.UNREGISTERING),
    Walk(P.UNREGISTERING, K.CANCEL_REQUESTED, P.UNREGISTERING),
    Walk(P.UNREGISTERING, K.SOURCE_LOST, P.COMPLETED),
    Walk(P.UNREGISTERING, K.DESTINATION_LOST, P.UNREGISTERING),
    #
    Walk(P.ROLLING_BACK, K.SUCCEEDED, P.ABORTED),
    Walk(P.ROLLING_BACK, K.FAILED, P.ROLLING_BACK),
    Walk(P.ROLLING_BACK, K.RETRY_DUE, P.ROLLING_BACK, ROLLBACK, lambda: paused(P.ROLLING_BACK)),
    Walk(P.ROLLING_BACK, K.REFUSED, P.LOST),
    Walk(P.ROLLING_BACK, K.PROGRESSED, P.ROLLING_BACK),
    Walk(P.ROLLING_BACK, K.CANCEL_REQUESTED, P.ROLLING_BACK),
    Walk(P.ROLLING_BACK, K.SOURCE_LOST, P.LOST),
    Walk(P.ROLLING_BACK, K.DESTINATION_LOST, P.ROLLING_BACK),
    #
    Walk(P.ABORTED, K.BEGUN, P.ABORTED, (), lambda: ended_unbegun(K.CANCEL_REQUESTED), "crossed"),
    Walk(P.LOST, K.BEGUN, P.LOST, (), lambda: ended_unbegun(K.SOURCE_LOST), "crossed"),
    *(
        Walk(phase, kind, phase)
        for phase in Phase
        if phase in FINAL
        for kind in (K.CANCEL_REQUESTED, K.SOURCE_LOST, K.DESTINATION_LOST)
    ),
]


@pytest.mark.parametrize("walk", WALKS, ids=str)
def test_edge(walk):
    hand = walk.hand()
    assert walk.before is hand.phase
    answers_well = walk.kind is K.SUCCEEDED
    commands = hand.yes() if answers_well else hand.send(event_of(walk.kind, hand))
    assert walk.after is hand.phase
    assert walk.commands == tuple(type(command).__name__ for command in commands)


def test_every_edge_is_walked_to_every_phase_it_names():
    walked = defaultdict(set)
    for walk in WALKS:
        walked[walk.before, walk.kind].add(walk.after)
    assert {key: set(edge.to) for key, edge in TABLE.items()} == walked


ILLEGAL = [
    (phase, kind)
    for phase in Phase
    for kind in Kind
    # Answers, reports and ticks in a phase that waits for none are dropped, not illegal.
    if (phase, kind) not in TABLE and (phase in ASKS or kind is K.BEGUN)
    # A pause before a repeat is only where something is repeated.
    if kind is not K.RETRY_DUE
]


@pytest.mark.parametrize(("phase", "kind"), ILLEGAL, ids=str)
def test_what_the_table_does_not_have_raises_and_changes_nothing(phase, kind):
    hand = reach(phase)
    before, told = hand.machine.state, len(hand.machine.story)
    with pytest.raises(ProtocolError, match="cannot happen") as raised:
        hand.send(event_of(kind, hand))
    assert before == hand.machine.state
    assert told == len(hand.machine.story)
    assert tuple(hand.machine.story) == raised.value.story


def test_illegal_is_only_a_second_start():
    """Every other event may come at any time, because messages cross and hosts die when they like."""
    assert {kind for _, kind in ILLEGAL} == {K.BEGUN}
    assert {phase for phase, _ in ILLEGAL} == set(Phase) - {P.CREATED, P.ABORTED, P.LOST}


@pytest.mark.parametrize("phase", [P.ABORTED, P.LOST])
def test_begun_again_after_the_end_raises(phase):
    hand = reach(phase)
    before = hand.machine.state
    with pytest.raises(ProtocolError, match="begun twice"):
        hand.begin()
    assert before == hand.machine.state


def test_an_answer_to_a_command_never_issued_raises():
    hand = reach(P.PREPARING)
    for reply_to in (0, -1, 2, 99):
        with pytest.raises(ProtocolError, match="never issued"):
            hand.send(event_of(K.SUCCEEDED, hand).__class__(reply_to=reply_to))
    assert P.PREPARING is hand.phase


def test_time_that_goes_back_raises():
    hand = reach(P.PRECOPYING)
    with pytest.raises(ProtocolError, match="is before"):
        hand.send(event_of(K.CANCEL_REQUESTED, hand), at=hand.now - 0.5)
    with pytest.raises(ProtocolError, match="is before"):
        hand.send(event_of(K.CANCEL_REQUESTED, hand), at=float("nan"))


def test_the_story_is_part_of_the_error():
    hand = reach(P.PRECOPYING)
    with pytest.raises(ProtocolError) as raised:
        hand.begin()
    assert "Begun() cannot happen in precopying" == raised.value.problem
    assert "created → preparing; Prepare(seq=1)" in str(raised.value)


def test_the_spec_is_not_touched():
    assert SPEC == reach(P.COMPLETED).machine.spec
