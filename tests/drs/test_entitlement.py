"""Divvy: worked examples with their arithmetic, and what must hold for any input."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drs.entitlement import divvy

INF = float("inf")


def test_without_contention_everybody_gets_what_it_asks_for():
    assert [1.0, 2.0] == divvy(10.0, [1, 2], [0, 0], [INF, INF], [1, 1]).tolist()


def test_shares_divide_what_is_contended():
    """9000 MHz, both want 9000, shares 2:1 -> 6000 and 3000."""
    assert pytest.approx([6000, 3000]) == divvy(
        9000, [9000, 9000], [0, 0], [INF, INF], [2000, 1000]
    )


def test_what_one_does_not_need_goes_to_the_others_by_shares():
    """10 units; A wants 1 (gets 1); 9 left for B:C = 2:1 -> 6 and 3."""
    assert pytest.approx([1, 6, 3]) == divvy(10, [1, 20, 20], [0, 0, 0], [INF] * 3, [1, 2, 1])


def test_a_reservation_is_kept_and_a_limit_is_not_passed():
    """12 units, equal shares: A is held up to its 8; 4 left, C is limited to 1, B gets 3."""
    assert pytest.approx([8, 3, 1]) == divvy(12, [20, 20, 20], [8, 0, 0], [INF, INF, 1], [1, 1, 1])


def test_a_reservation_that_is_not_used_is_lent():
    """A reserves 8 and wants 2: B may have 8 of the 10."""
    assert pytest.approx([2, 8]) == divvy(10, [2, 9], [8, 0], [INF, INF], [1, 1])


def test_reservations_that_do_not_fit_shrink_alike():
    assert pytest.approx([4, 2]) == divvy(6, [8, 4], [8, 4], [INF, INF], [1, 1])


def test_without_shares_a_vm_gets_what_is_left():
    """10: A (shares 1) wants 7, B and C (no shares) want 2 and 5 -> 3 left, filled evenly."""
    assert pytest.approx([7, 1.5, 1.5]) == divvy(10, [7, 2, 5], [0, 0, 0], [INF] * 3, [1, 0, 0])


def test_without_shares_reservations_that_do_not_fit_shrink_to_what_there_is():
    """4 for a reservation of 6 without shares, and a neighbour with shares and none."""
    assert pytest.approx([4, 0]) == divvy(4, [6, 5], [6, 0], [INF, INF], [0, 1])


def test_without_shares_a_vm_gets_nothing_beside_one_that_takes_all():
    assert pytest.approx([0, 4]) == divvy(4, [6, 5], [0, 0], [INF, INF], [0, 1])


def test_no_vms_and_no_capacity():
    assert [] == divvy(10, [], [], [], []).tolist()
    assert [0.0] == divvy(0, [5], [1], [INF], [1]).tolist()


amount = st.floats(0, 1e6, allow_nan=False)


@given(
    st.lists(
        st.tuples(amount, amount, st.one_of(amount, st.just(INF)), st.floats(0, 1e4)),
        min_size=1,
        max_size=12,
    ),
    amount,
)
def test_divvy_keeps_its_promises(vms, capacity):
    demand, reservation, limit, shares = (
        np.array(column, float) for column in zip(*vms, strict=True)
    )
    granted = divvy(capacity, demand, reservation, limit, shares)
    want = np.minimum(demand, limit)
    slack = 1e-6 * max(1.0, capacity)
    assert np.all(granted >= 0)
    assert np.all(granted <= want + slack)
    assert granted.sum() <= capacity + slack
    held = np.minimum(reservation, want)
    if held.sum() <= capacity:
        assert np.all(granted >= held - slack)
    assert granted.sum() == pytest.approx(min(capacity, want.sum()), rel=1e-6, abs=slack)
