"""Flows share links max–min, and change speed the moment another joins or leaves."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.simulation.clock import Clock
from cluster.simulation.link import Network


class Line:
    """A network whose arrivals are noted as (name, time)."""

    def __init__(self, *capacity):
        self.clock = Clock()
        self.network = Network(self.clock, capacity)
        self.arrived = []

    def send(self, name, links, total_bytes, **limits):
        return self.network.start(
            links,
            total_bytes,
            lambda: self.arrived.append((name, round(self.clock.now, 9))),
            **limits,
        )

    def at(self, at_s, act):
        self.clock.at(at_s, act)

    def run(self):
        self.clock.run_until(1e6)
        return self.arrived


def test_a_flow_alone_has_the_line():
    line = Line(100.0)
    line.send("a", [0], 500)
    assert [("a", 5.0)] == line.run()


def test_a_transfer_slows_down_when_another_joins():
    """a has sent 200 of 500 bytes when b joins with 400; at 50 a second it takes 6 s more.

    b has sent 300 by then; its last 100 have the line alone and take 1 s.
    """
    line = Line(100.0)
    line.send("a", [0], 500)
    line.at(2.0, lambda: line.send("b", [0], 400))
    assert [("a", 8.0), ("b", 9.0)] == line.run()


def test_who_is_held_back_elsewhere_leaves_its_share_to_the_others():
    """b can do 20 on its second link, so a has 80 of the first."""
    line = Line(100.0, 20.0)
    line.send("a", [0], 800)
    line.send("b", [0, 1], 200)
    assert [("a", 10.0), ("b", 10.0)] == sorted(line.run())


def test_a_limit_of_its_own_holds_a_flow_back_and_leaves_the_rest():
    line = Line(100.0)
    line.send("a", [0], 100, limit_bytes_per_second=10.0)
    line.send("b", [0], 900)
    assert [("a", 10.0), ("b", 10.0)] == line.run()


def test_a_limit_can_be_changed_on_the_way():
    line = Line(100.0)
    flow = line.send("a", [0], 200, limit_bytes_per_second=10.0)
    line.at(10.0, lambda: line.network.limit(flow, math.inf))
    assert [("a", 11.0)] == line.run()


def test_a_cut_link_carries_nothing_until_it_heals():
    line = Line(100.0)
    line.send("a", [0], 500)
    line.at(1.0, lambda: line.network.set_capacity(0, 0.0))
    line.at(7.0, lambda: line.network.set_capacity(0, 100.0))
    assert [("a", 11.0)] == line.run()


def test_a_stopped_flow_says_what_it_has_sent_and_frees_its_link():
    line, sent = Line(100.0), []
    flow = line.send("a", [0], 1000)
    line.send("b", [0], 300)
    line.at(2.0, lambda: sent.append(line.network.stop(flow)))
    assert [("b", 4.0)] == line.run()
    assert [100] == sent


def test_no_bytes_and_no_bottleneck_take_no_time():
    line = Line(100.0, math.inf)
    line.send("a", [0], 0)
    line.send("b", [1], 10**12)
    line.send("c", [], 10**12)
    assert [("a", 0.0), ("b", 0.0), ("c", 0.0)] == line.run()


def test_flows_without_a_common_link_do_not_touch_each_other():
    line = Line(100.0, 100.0)
    far = line.send("far", [1], 1000)
    timer = far.timer
    line.send("a", [0], 100)
    assert far.timer is timer
    assert [("a", 1.0), ("far", 10.0)] == line.run()


@given(
    flows=st.lists(
        st.tuples(
            st.sets(st.integers(0, 3), min_size=1, max_size=3),
            st.integers(1, 10_000),
            st.floats(0, 50),
        ),
        min_size=1,
        max_size=12,
    )
)
def test_every_byte_arrives_and_no_link_carries_more_than_it_can(flows):
    capacity = (100.0, 40.0, 75.0, 10.0)
    line = Line(*capacity)
    for index, (links, total_bytes, at_s) in enumerate(flows):
        line.at(at_s, lambda i=index, to=links, n=total_bytes: line.send(i, sorted(to), n))
    arrived = line.run()
    assert sorted(range(len(flows))) == sorted(name for name, _ in arrived)
    ended_s = max(at_s for _, at_s in arrived)
    for link, rate in enumerate(capacity):
        expected = sum(total_bytes for links, total_bytes, _ in flows if link in links)
        assert pytest.approx(expected) == line.network.carried_bytes()[link]
        assert expected <= rate * (ended_s + 1e-6)
