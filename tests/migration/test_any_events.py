"""Any event at any time: the machine's own laws hold, and a refused event changes nothing."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.inventory.model import Mode
from cluster.migration.machine import ProtocolError
from cluster.migration.messages import (
    Begun,
    CancelRequested,
    Commit,
    Failed,
    HostLost,
    Interrupt,
    Progressed,
    Refused,
    Role,
    Succeeded,
    Throttle,
    Ticked,
)
from cluster.migration.state import ASKS, FINAL, Phase
from tests.migration.driving import PAGES, Hand, spec

SEQS = st.integers(1, 12)
PAGE_COUNTS = st.integers(0, PAGES)
EVENTS = st.one_of(
    st.just(CancelRequested()),
    st.just(Ticked()),
    st.sampled_from([HostLost(role=role) for role in Role]),
    st.builds(Progressed, reply_to=SEQS, bytes_sent=PAGE_COUNTS, pages_dirty=PAGE_COUNTS),
    st.builds(Failed, reply_to=SEQS, reason=st.just("?")),
    st.builds(Refused, reply_to=SEQS, reason=st.just("?")),
    st.builds(
        Succeeded,
        reply_to=SEQS,
        pages_sent=PAGE_COUNTS,
        pages_dirty=PAGE_COUNTS,
        sent_bytes=PAGE_COUNTS,
        scan_s=st.floats(0, 1),
        copy_s=st.floats(0, 10),
    ),
)
STEPS = st.lists(st.tuples(EVENTS, st.floats(0, 5), st.booleans()), max_size=40)


@settings(deadline=None, max_examples=300)
@given(mode=st.sampled_from(Mode), rounds_max=st.integers(1, 5), steps=STEPS)
def test_the_laws_of_the_machine_hold(mode, rounds_max, steps):
    """`checking` is on: every state is checked. A yes is aimed at the command that is out."""
    hand = Hand(spec(mode=mode, rounds_max=rounds_max))
    hand.begin()
    committed_at = []
    for event, later_s, aimed in steps:
        before = hand.machine.state
        if aimed and isinstance(event, Succeeded) and before.asked is not None:
            event = Succeeded(
                reply_to=before.asked.command.seq,
                pages_dirty=event.pages_dirty,
                sent_bytes=event.sent_bytes,
            )
        told = [entry.commands for entry in hand.machine.story]
        if getattr(event, "reply_to", 0) >= before.next_seq:
            with pytest.raises(ProtocolError, match="never issued"):
                hand.send(event, at=before.now_s + later_s)
            assert before == hand.machine.state
            assert told == [entry.commands for entry in hand.machine.story]
            continue
        commands = hand.send(event, at=before.now_s + later_s)
        seqs = [command.seq for command in commands]
        assert list(range(before.next_seq, before.next_seq + len(seqs))) == seqs
        main = [c for c in commands if not isinstance(c, Interrupt | Throttle)]
        assert len(main) <= 1
        if before.phase in FINAL:
            assert () == commands
            assert before.phase is hand.phase
        committed_at += [c.epoch for c in main if isinstance(c, Commit)]
        after = hand.machine.state
        assert (hand.machine.wake_at is None) == (after.phase not in ASKS)
        assert (hand.machine.outcome is not None) == hand.machine.finished
    assert set(committed_at) <= {2}


@given(mode=st.sampled_from(Mode), later_s=st.floats(0, 100))
def test_whoever_is_left_alone_gives_up_or_keeps_asking(mode, later_s):
    """Nothing is ever answered: before the commit it rolls back, and asks for that for ever."""
    hand = Hand(spec(mode=mode))
    hand.send(Begun(), at=later_s)
    for _ in range(20):
        hand.tick()
    assert Phase.ROLLING_BACK is hand.phase
