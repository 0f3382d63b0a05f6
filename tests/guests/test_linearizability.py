"""The checker agrees with trying every order, and finds what two VMs at once would show."""

import math
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.guests.keyvalue import Answer, Status
from cluster.guests.linearizability import (
    Operation,
    Undecided,
    counter,
    linearizable,
    one_key,
    wrong_keys,
)


def op(called, returned, request, answer=None):
    return Operation(called_s=called, returned_s=returned, request=request, answer=answer)


def register(state, request, answer):
    """A register as in porcupine's tests: ("put", v) and ("get",)."""
    if request[0] == "put":
        return True, request[1]
    return answer is None or answer == state, state


def by_trying_all(operations, step, initial):
    """Every order of every choice of unanswered operations; exponential, for tests alone."""
    answered = [o for o in operations if math.isfinite(o.returned_s)]
    pending = [o for o in operations if not math.isfinite(o.returned_s)]
    for mask in range(1 << len(pending)):
        chosen = answered + [o for at, o in enumerate(pending) if mask >> at & 1]
        for order in permutations(chosen):
            state, good = initial, True
            for at, one in enumerate(order):
                if any(later.returned_s < one.called_s for later in order[at + 1 :]):
                    good = False
                    break
                fits, state = step(state, one.request, one.answer)
                if not fits:
                    good = False
                    break
            if good:
                return True
    return False


# The two histories of porcupine's README: the first is linearizable, the second is not.
README_GOOD = [
    op(0, 100, ("put", 100), 0),
    op(25, 75, ("get",), 100),
    op(30, 60, ("get",), 0),
]
README_BAD = [
    op(0, 100, ("put", 200), 0),
    op(10, 30, ("get",), 200),
    op(40, 90, ("get",), 0),
]


@pytest.mark.parametrize(("history", "expected"), [(README_GOOD, True), (README_BAD, False)])
def test_the_histories_of_porcupines_readme(history, expected):
    assert expected is linearizable(history, register, initial=0)


TIMES = st.tuples(st.integers(0, 8), st.integers(0, 6), st.booleans())
REQUESTS = st.tuples(st.just("put"), st.integers(0, 2)) | st.just(("get",))


@settings(max_examples=400, derandomize=True, deadline=None)
@given(st.lists(st.tuples(TIMES, REQUESTS, st.integers(0, 2)), max_size=5))
def test_it_agrees_with_trying_every_order(drawn):
    history = [
        op(
            called,
            math.inf if pending else called + lasted,
            request,
            None if pending or request[0] == "put" else answer,
        )
        for (called, lasted, pending), request, answer in drawn
    ]
    assert by_trying_all(history, register, 0) is linearizable(history, register, initial=0)


@settings(max_examples=200, derandomize=True, deadline=None)
@given(st.lists(st.tuples(TIMES, st.integers(1, 5)), max_size=5))
def test_it_agrees_with_trying_every_order_of_a_counter(drawn):
    history = [
        op(called, math.inf if pending else called + lasted, "+", None if pending else answer)
        for (called, lasted, pending), answer in drawn
    ]
    assert by_trying_all(history, counter, 0) is linearizable(history, counter, initial=0)


def test_two_vms_that_count_from_the_same_number_are_found():
    """Split brain: both answer, each from its own copy."""
    one = [op(t, t + 0.5, "+", t + 1) for t in range(10)]
    two = [op(t + 5.6, t + 5.9, "+", t + 6) for t in range(3)]
    assert linearizable(one, counter, initial=0)
    assert not linearizable([*one, *two], counter, initial=0)


def test_an_operation_without_an_answer_may_have_happened_at_any_time_since_or_never():
    before = [op(0, 1, "+", 1), op(2, math.inf, "+"), op(3, 4, "+", 2)]
    never = [*before, op(5, 6, "+", 3)]
    later = [*before, op(5, 6, "+", 4)]
    assert linearizable(never, counter, initial=0)
    assert linearizable(later, counter, initial=0)
    assert not linearizable([*before, op(5, 6, "+", 5)], counter, initial=0)


def done(value=None, number=0):
    return Answer(number=number, status=Status.DONE, value=value)


def test_each_key_of_a_table_is_judged_by_itself():
    value = b"x" + bytes(15)
    right = [
        op(0, 1, ("get", 1), Answer(0, Status.ABSENT)),
        op(2, 3, ("put", 1, b"x"), done()),
        op(4, 5, ("get", 1), done(value)),
        op(0, 9, ("increment", 7), done(2)),
        op(0, 9, ("increment", 7), done(1)),
        op(10, 11, ("put", 9, b"y"), Answer(5, Status.FULL)),
    ]
    stale = op(6, 7, ("get", 1), Answer(9, Status.ABSENT))
    twice = op(12, 13, ("increment", 7), done(2))
    assert [] == wrong_keys(right, value_bytes=16)
    assert [1] == wrong_keys([*right, stale], value_bytes=16)
    assert [7] == wrong_keys([*right, twice], value_bytes=16)


def test_a_long_history_of_a_few_clients_is_quick():
    step = one_key(16)
    history = [
        op(t + 0.1 * client, t + 0.9, ("increment", 7), done(4 * t + client + 1))
        for t in range(2_000)
        for client in range(4)
    ]
    assert linearizable(history, step, initial=None)
    assert not linearizable(
        [*history, op(1, 5_000, ("get", 7), done(bytes(16)))], step, initial=None
    )


def test_too_many_situations_are_said_and_not_searched_for_ever():
    history = [op(0, 100, ("put", v), 0) for v in range(30)] + [op(0, 100, ("get",), 99)]
    with pytest.raises(Undecided):
        linearizable(history, register, initial=0, situations_max=1_000)
