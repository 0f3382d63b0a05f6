"""Max–min shares against textbook cases and their definition; one batch after another on a link."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.policy.sharing import SerialLink, max_min_shares

INF = float("inf")


@pytest.mark.parametrize(
    ("links", "capacity", "shares"),
    [
        ([], [10.0], []),
        ([[0]], [10.0], [10.0]),
        ([[0], [0]], [10.0], [5.0, 5.0]),
        # Bertsekas and Gallager, figure 6.13's kind: a long flow over two links.
        ([[0, 1], [0], [1]], [10.0, 4.0], [2.0, 8.0, 2.0]),
        ([[0], [0], [0, 1], [1]], [9.0, 2.0], [4.0, 4.0, 1.0, 1.0]),
        ([[0, 2], [1, 2]], [3.0, 10.0, 10.0], [3.0, 7.0]),
        ([[0]], [INF], [INF]),
        ([[0, 1]], [INF, 5.0], [5.0]),
        ([[]], [5.0], [INF]),
        ([[0], [0]], [0.0], [0.0, 0.0]),
        ([[0, 0], [0]], [10.0], [5.0, 5.0]),
    ],
)
def test_textbook_cases(links, capacity, shares):
    assert shares == pytest.approx(max_min_shares(links, capacity).tolist())


@st.composite
def networks(draw):
    capacity = draw(st.lists(st.floats(0.0, 1e9) | st.just(INF), min_size=1, max_size=6))
    link = st.integers(0, len(capacity) - 1)
    links = draw(st.lists(st.lists(link, max_size=3, unique=True), max_size=12))
    return links, capacity


@given(networks())
def test_no_link_carries_too_much_and_no_flow_can_grow(network):
    links, capacity = network
    rates = max_min_shares(links, capacity)
    load = np.zeros(len(capacity))
    for used, rate in zip(links, rates, strict=True):
        load[used] += rate
    assert (load <= np.array(capacity) * (1 + 1e-9) + 1e-6).all()
    for used, rate in zip(links, rates, strict=True):
        # A bottleneck: a full link on which nobody has more.
        full = [at for at in used if load[at] >= capacity[at] * (1 - 1e-9) - 1e-6]
        most = [max(r for u, r in zip(links, rates, strict=True) if at in u) for at in full]
        assert rate == INF or any(rate >= top * (1 - 1e-9) - 1e-6 for top in most)


@given(networks(), st.randoms(use_true_random=False))
def test_the_order_of_flows_does_not_matter(network, random):
    links, capacity = network
    order = list(range(len(links)))
    random.shuffle(order)
    shuffled = max_min_shares([links[at] for at in order], capacity)
    assert max_min_shares(links, capacity)[order] == pytest.approx(shuffled)


def test_batches_leave_one_after_another():
    link = SerialLink(rate_bytes_per_second=100.0)
    assert [1.0, 3.0, 3.5] == [link.accept(n, now=0.0) for n in (100, 200, 50)]
    assert 350 == link.sent_bytes


def test_an_idle_link_begins_at_once():
    link = SerialLink(rate_bytes_per_second=100.0)
    link.accept(100, now=0.0)
    assert 6.0 == link.accept(100, now=5.0)


def test_a_link_without_a_rate_never_makes_anybody_wait():
    link = SerialLink(rate_bytes_per_second=None)
    assert [2.0, 2.0] == [link.accept(10**12, now=2.0) for _ in range(2)]


@given(st.lists(st.tuples(st.floats(0, 10), st.integers(1, 10**6)), max_size=20))
def test_a_link_is_never_faster_than_its_rate(arrivals):
    link, now, last = SerialLink(rate_bytes_per_second=1000.0), 0.0, 0.0
    for pause_s, size_bytes in arrivals:
        now += pause_s
        done = link.accept(size_bytes, now=now)
        assert done >= max(last, now) + size_bytes / 1000.0 - 1e-6
        last = done
