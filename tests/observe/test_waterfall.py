"""A migration as a waterfall of spans, from the machine's own story."""

import pytest
from migration.driving import SPEC, Hand, reach, spec

from cluster.inventory.model import Mode
from cluster.migration.messages import Role
from cluster.migration.state import Phase
from cluster.observe.record import DrsPass
from cluster.observe.waterfall import migration_span, pass_span


def waterfall(hand, asked=SPEC):
    return migration_span(asked, hand.machine.outcome, hand.machine.story)


def names(span):
    return [child.name for child in span.children]


def finished(hand):
    """Say yes to everything until the migration has ended."""
    while not hand.machine.finished:
        hand.yes()
    return hand


@pytest.fixture
def completed():
    hand = Hand()
    hand.begin()
    hand.yes()
    hand.round_sent(left=2000)
    hand.round_sent(sent=2000, left=100)
    return waterfall(finished(hand))


def test_a_migration_is_what_it_asked_for_in_order_with_the_downtime_as_one(completed):
    assert ["prepare", "round 0", "round 1", "downtime", "unregister"] == names(completed)
    downtime = completed.children[3]
    assert ["stun", "send state", "commit", "resume"] == names(downtime)


def test_children_lie_inside_one_after_the_other(completed):
    for span in (completed, completed.children[3]):
        times = [time_s for child in span.children for time_s in (child.begin_s, child.end_s)]
        assert times == sorted(times)
        assert (span.begin_s, span.end_s) == (times[0], times[-1])


def test_the_downtime_is_as_long_as_the_machine_says(completed):
    downtime = completed.children[3]
    assert pytest.approx(completed.attributes["downtime_s"]) == downtime.end_s - downtime.begin_s


def test_a_round_says_what_it_sent_and_left(completed):
    first = completed.children[1].attributes
    assert (10_000, 2000) == (first["sent_pages"], first["dirty_pages"])


def test_a_commit_that_is_asked_again_is_there_each_time_with_its_error():
    hand = reach(Phase.COMMITTING)
    hand.fail("VirtualCenter did not answer")
    hand.tick()
    span = waterfall(finished(hand))
    (downtime,) = (child for child in span.children if child.name == "downtime")
    commits = [child for child in downtime.children if child.name == "commit"]
    assert ["VirtualCenter did not answer", ""] == [commit.error for commit in commits]


def test_a_refused_commit_ends_the_downtime_with_the_way_back():
    hand = reach(Phase.COMMITTING)
    hand.refuse("esx-2 is not responding")
    span = waterfall(finished(hand))
    (downtime,) = (child for child in span.children if child.name == "downtime")
    assert "roll back" == downtime.children[-1].name
    assert "esx-2 is not responding" in span.error
    assert "aborted" == span.attributes["result"]


def test_a_cancel_before_the_stun_has_no_downtime():
    hand = reach(Phase.PRECOPYING)
    hand.cancel()
    span = waterfall(finished(hand))
    assert "downtime" not in names(span)
    assert "roll back" == names(span)[-1]


def test_what_a_dead_host_never_answered_is_said_to_be_unanswered():
    hand = reach(Phase.PRECOPYING)
    hand.lose(Role.DESTINATION)
    span = waterfall(finished(hand))
    (first,) = (child for child in span.children if child.name == "round 0")
    assert "not answered" == first.error


def test_post_copy_sends_the_remainder_after_the_downtime():
    asked = spec(mode=Mode.HYBRID)
    span = waterfall(finished(reach(Phase.REMAINDER)), asked)
    assert names(span).index("downtime") < names(span).index("remainder")


def test_a_pass_of_drs_ends_when_its_plan_is_there():
    passed = DrsPass(
        time_s=10.0, solve_s=0.25, imbalance_before=0.3, imbalance_after=0.1, priorities=(2, 3)
    )
    span = pass_span(passed)
    assert (9.75, 10.0, 2) == (span.begin_s, span.end_s, span.attributes["recommended"])
