"""Virtual time goes forward, in the order of what is due."""

import pytest

from cluster.simulation.clock import Clock


def test_things_are_done_in_the_order_of_their_times_and_then_of_their_asking():
    clock, done = Clock(), []
    clock.at(2.0, lambda: done.append("c"))
    clock.at(1.0, lambda: done.append("a"))
    clock.at(1.0, lambda: done.append("b"))
    clock.run_until(5.0)
    assert ["a", "b", "c"] == done
    assert 5.0 == clock.now


def test_what_is_asked_while_something_is_done_is_done_too():
    clock, done = Clock(), []
    clock.at(1.0, lambda: clock.after(0.5, lambda: done.append(clock.now)))
    clock.run_until(2.0)
    assert [1.5] == done


def test_what_comes_first_is_done_before_all_that_was_asked_earlier():
    clock, done = Clock(), []
    clock.at(1.0, lambda: done.append("second"))
    clock.at(1.0, lambda: done.append("first"), first=True)
    clock.run_until(1.0)
    assert ["first", "second"] == done


def test_a_cancelled_timer_does_nothing():
    clock, done = Clock(), []
    timer = clock.at(1.0, lambda: done.append(1))
    timer.cancel()
    timer.cancel()
    assert clock.next_s is None
    assert not clock.step()
    assert [] == done


def test_what_is_due_at_the_end_is_done_and_what_is_due_after_it_is_not():
    clock, done = Clock(), []
    clock.at(1.0, lambda: done.append(1))
    clock.at(1.1, lambda: done.append(2))
    clock.run_until(1.0)
    assert [1] == done
    assert 1.1 == clock.next_s


@pytest.mark.parametrize("at_s", [0.5, float("nan")])
def test_the_past_cannot_be_changed(at_s):
    clock = Clock()
    clock.run_until(1.0)
    with pytest.raises(ValueError, match="is before"):
        clock.at(at_s, lambda: None)
