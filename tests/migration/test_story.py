"""A migration's story keeps what matters, and hands everything on."""

from cluster.migration.messages import Progressed
from cluster.migration.spec import Result, not_begun
from cluster.migration.state import Phase
from cluster.migration.story import Entry, Story
from tests.migration.driving import Hand


def test_of_many_reports_of_progress_the_last_is_kept_and_all_are_handed_on():
    handed: list[Entry] = []
    hand = Hand(story=Story(sink=handed.append))
    hand.begin()
    hand.yes()
    for sent_bytes in (1, 2, 3):
        hand.send(Progressed(reply_to=hand.seq, bytes_sent=sent_bytes, pages_dirty=0))
    assert Phase.PRECOPYING is hand.phase
    assert 5 == len(handed)
    assert [*handed[:2], handed[4]] == list(hand.machine.story)


def test_what_was_refused_before_it_began_took_no_time():
    outcome = not_begun("no room", now=7.0)
    assert (Result.REFUSED, "no room", 7.0, 0.0, None) == (
        outcome.result,
        outcome.error,
        outcome.started_s,
        outcome.duration_s,
        outcome.downtime,
    )
