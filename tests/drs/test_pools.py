"""Resource pools: worked examples with their arithmetic."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drs.pools import Member, Pool, divide, divide_size, pool_problems


def vm(name, pool, demand, **more):
    return Member(name=name, pool=pool, demand=demand, size=more.pop("size", demand), **more)


def test_the_excess_is_divided_in_a_second_pass():
    """Pool of 10 GB, 4 VMs of 4 GB that demand 1 GB: 1 each, then (10 - 4) / 4 more: 2.5 each."""
    vms = [vm(f"v{i}", "p", 1.0, size=4.0) for i in range(4)]
    got = divide_size(10.0, [Pool(name="p")], vms)
    assert {f"v{i}": pytest.approx(2.5) for i in range(4)} == got
    assert {f"v{i}": pytest.approx(1.0) for i in range(4)} == divide(10.0, [Pool(name="p")], vms)


def test_a_small_pool_with_high_shares_beats_a_crowd_with_normal_ones():
    """12 GHz, pools high:normal = 8000:4000, so 8 and 4; one VM in the first, four in the second."""
    pools = [Pool(name="high", shares=8000.0), Pool(name="normal", shares=4000.0)]
    vms = [vm("a", "high", 20.0), *(vm(f"b{i}", "normal", 20.0) for i in range(4))]
    got = divide(12.0, pools, vms)
    assert got["a"] == pytest.approx(8.0)
    assert [pytest.approx(1.0)] * 4 == [got[f"b{i}"] for i in range(4)]


def test_a_pools_limit_binds_all_its_vms_together():
    """Limit 3 for two VMs that want 5 each: 1.5 each; the VM outside gets the rest it wants."""
    got = divide(
        20.0,
        [Pool(name="p", limit=3.0)],
        [vm("a", "p", 5.0), vm("b", "p", 5.0), vm("c", None, 12.0)],
    )
    assert {"a": pytest.approx(1.5), "b": pytest.approx(1.5), "c": pytest.approx(12.0)} == got


def test_a_reservation_deep_in_the_tree_holds_against_shares_outside():
    """10 units; a reserves 6 in an expandable pool with few shares; b wants all: 6 and 4."""
    pools = [Pool(name="outer", shares=1.0), Pool(name="inner", parent="outer", shares=1.0)]
    vms = [vm("a", "inner", 10.0, reservation=6.0), vm("b", None, 10.0, shares=1000.0)]
    assert {"a": pytest.approx(6.0, abs=0.1), "b": pytest.approx(4.0, abs=0.1)} == divide(
        10.0, pools, vms
    )


def test_what_is_wrong_with_a_tree_is_told_at_once():
    pools = [
        Pool(name="p", parent="nowhere"),
        Pool(name="q", reservation=5.0, limit=4.0),
        Pool(name="r", shares=math.nan),
    ]
    problems = pool_problems(pools, [vm("a", "nobody", 1.0)], 10.0)
    assert ["p", "a", "q", "r"] == [p.subject for p in problems]
    assert ["p", "q"] == [
        x.subject
        for x in pool_problems([Pool(name="p", parent="q"), Pool(name="q", parent="p")], [], 1.0)
    ]


def test_two_pools_of_one_name_are_told():
    problems = pool_problems([Pool(name="p"), Pool(name="p")], [], 1.0)
    assert [("pools", "two pools have one name")] == [(x.subject, x.message) for x in problems]


def test_a_pool_below_a_loop_is_told_with_it():
    tree = [Pool(name="p", parent="q"), Pool(name="q", parent="p"), Pool(name="low", parent="p")]
    assert ["p", "q", "low"] == [x.subject for x in pool_problems(tree, [], 1.0)]


def test_a_fixed_pool_takes_its_own_reservation_of_its_parent_and_no_more():
    """The fixed pool holds 2 of the outer's 3, whatever its VM wants; the outer's VM reserves 1 or 2."""
    pools = [
        Pool(name="outer", reservation=3.0, expandable=False),
        Pool(name="fixed", parent="outer", reservation=2.0, expandable=False),
    ]
    fits, not_so = (
        [vm("a", "fixed", 9.0, reservation=1.0), vm("b", "outer", 9.0, reservation=held)]
        for held in (1.0, 2.0)
    )
    assert () == pool_problems(pools, fits, 10.0)
    assert ["outer"] == [x.subject for x in pool_problems(pools, not_so, 10.0)]


def test_with_nothing_left_over_the_second_pass_gives_nothing():
    vms = [vm("a", None, 6.0, size=9.0), vm("b", None, 6.0, size=9.0)]
    assert {"a": 5.0, "b": 5.0} == divide_size(10.0, [Pool(name="empty")], vms)


def test_a_fixed_reservation_does_not_borrow_and_an_expandable_one_does():
    """A VM that reserves 5 in a pool of 3: refused; expandable: 5 of the cluster's 10; not of its 4."""
    vms = [vm("a", "p", 5.0, reservation=5.0)]
    assert ["p"] == [
        x.subject
        for x in pool_problems([Pool(name="p", reservation=3.0, expandable=False)], vms, 10.0)
    ]
    assert () == pool_problems([Pool(name="p", reservation=3.0)], vms, 10.0)
    assert ["cluster"] == [
        x.subject for x in pool_problems([Pool(name="p", reservation=3.0)], vms, 4.0)
    ]


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.floats(0, 100), st.floats(1, 100)), min_size=1, max_size=10
    ),
    st.floats(1, 300),
)
def test_nothing_is_wasted_and_nobody_gets_more_than_asked(vms, capacity):
    pools = [Pool(name="1"), Pool(name="2", parent="1", shares=100.0), Pool(name="3")]
    members = [vm(f"v{i}", str(p) if p else None, d, shares=s) for i, (p, d, s) in enumerate(vms)]
    got = divide(capacity, pools, members)
    assert all(got[m.name] <= m.demand + 1e-6 for m in members)
    assert sum(got.values()) == pytest.approx(
        min(capacity, sum(m.demand for m in members)), rel=1e-6, abs=1e-6
    )
