"""DRS in an operator's hands: recommendations approved, passes asked for, settings changed."""

from dataclasses import replace

from cluster.inventory.model import Automation
from cluster.policy.messages import (
    DrsConfigured,
    PassRequested,
    RecommendationsApproved,
    Solve,
    StartMigration,
    Stopping,
    Ticked,
)
from tests.policy.test_balancing import DRS, answer, crowded, move, plan, solve, started

MANUAL = replace(DRS, automation=Automation.MANUAL)


def advised(*moves):
    """A cluster under manual automation, after a pass."""
    hand = crowded(automation=Automation.MANUAL)
    answer(hand, solve(hand), plan(*(moves or (move(0, 0, 1),)), automatic=False), at=11.0)
    return hand


def test_an_open_recommendation_is_carried_out_when_it_is_approved():
    hand = advised(move(0, 0, 1), move(1, 0, 2))
    assert ["v0", "v1"] == [one.request.vm for one in hand.center.recommendations()]
    assert [("v0", "b")] == started(hand.send(RecommendationsApproved(vms=("v0",))))
    assert ["v1"] == [one.request.vm for one in hand.center.recommendations()]
    assert [("v1", "c")] == started(hand.send(RecommendationsApproved()))
    assert ["there is nothing to apply: no recommendation is open"] == hand.notes(
        RecommendationsApproved()
    )


def test_an_approved_move_by_a_third_host_goes_on_from_there():
    hand = advised(move(0, 0, 2), move(0, 2, 1))
    (spec,) = (
        c.spec for c in hand.send(RecommendationsApproved()) if isinstance(c, StartMigration)
    )
    assert [("v0", "b")] == started(hand.complete(spec))


def test_what_is_not_open_is_said():
    hand = advised()
    assert ["there is no open recommendation for v3"] == hand.notes(
        RecommendationsApproved(vms=("v3",))
    )
    hand.complete(hand.begun("v0", "c"))
    assert ["v0 is not on a any more"] == hand.notes(RecommendationsApproved())


def test_the_next_pass_replaces_what_is_open():
    hand = advised()
    answer(hand, solve(hand, at=20.0), plan(move(2, 0, 2), automatic=False), at=21.0)
    assert ["v2"] == [one.request.vm for one in hand.center.recommendations()]


def test_what_is_automatic_is_never_open():
    hand = crowded()
    answer(hand, solve(hand), plan(move(0, 0, 1)), at=11.0)
    assert () == hand.center.recommendations()


def test_a_pass_is_made_when_it_is_asked_for():
    hand = crowded()
    (asked,) = hand.acts(PassRequested(), at=3.0)
    assert isinstance(asked, Solve)
    assert 10.0 == hand.center.wake_at


def test_a_pass_that_is_asked_for_during_another_follows_it():
    hand = crowded()
    asked = solve(hand)
    assert [] == hand.acts(PassRequested(), at=11.0)
    (second,) = (c for c in answer(hand, asked, plan(), at=12.0) if isinstance(c, Solve))
    assert 2 == second.solve


def drs_with(**changes) -> DrsConfigured:
    return DrsConfigured(changes=tuple(changes.items()))


def test_settings_change_while_it_runs():
    hand = crowded(threshold=3)
    assert ["DRS is manual, migration threshold 5"] == hand.notes(
        drs_with(automation=Automation.MANUAL, threshold=5, interval_s=4.0), at=1.0
    )
    asked = solve(hand, at=5.0)
    assert 5 == asked.policy.migration_threshold


def test_a_longer_interval_does_not_put_a_pass_off():
    hand = crowded()
    hand.send(drs_with(interval_s=1000.0), at=9.0)
    assert 10.0 == hand.center.wake_at


def test_drs_is_turned_off_and_on():
    hand = advised()
    assert ["DRS is off"] == hand.notes(drs_with(enabled=False))
    assert hand.center.wake_at is None
    assert () == hand.center.recommendations()
    assert ["DRS is off"] == hand.notes(PassRequested())
    hand.send(drs_with(enabled=True), at=50.0)
    assert 60.0 == hand.center.wake_at


def test_nothing_is_done_while_the_cluster_stops():
    hand = advised()
    hand.send(Stopping())
    for event in (PassRequested(), RecommendationsApproved(), drs_with(threshold=1)):
        assert [] == hand.acts(event)
    assert [] == hand.acts(Ticked(), at=99.0)
