"""From an order by an activation code to a signed file."""

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.inventory.licence_terms import FEATURES, Feature, Order, Product, licences_needed
from cluster.policy.licence_file import LicenceFile, check, combine
from cluster.policy.licence_vendor import activate, order_problems, purchase
from cluster.policy.problems import Problem
from cluster.policy.signatures import public_key_of

KEY = b"the vendor's private key".ljust(32)
PUBLIC = public_key_of(KEY)
NOW = datetime(2026, 6, 15, 12, tzinfo=UTC).timestamp()

ORDERS = st.builds(
    Order,
    product=st.sampled_from(Product),
    count=st.integers(1, 65535),
    days=st.none() | st.integers(1, 36500),
)


@given(ORDERS, st.integers(1, 2**32 - 1))
def test_a_code_holds_the_whole_order(order, serial):
    (code,) = purchase((order,), KEY, first_serial=serial)
    file = activate(code, KEY, now=NOW)
    assert isinstance(file, LicenceFile)
    assert list(FEATURES[order.product]) == [one.feature for one in file.increments]
    assert {(order.count, serial)} == {(one.count, one.serial) for one in file.increments}
    assert [] == check(file, PUBLIC, now=NOW)


def test_a_code_is_typed_by_people():
    (code,) = purchase((Order(product=Product.STARTER, count=2),), KEY, first_serial=1)
    assert 6 == len(code.split("-"))
    assert activate(code, KEY, now=NOW) == activate(f" {code.lower()} ", KEY, now=NOW)


@given(
    st.text(max_size=40) | st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567-", min_size=28, max_size=34)
)
def test_what_the_vendor_did_not_print_is_no_code(text):
    assert isinstance(activate(text, KEY, now=NOW), Problem)


def test_a_code_of_another_vendor_is_no_code():
    (code,) = purchase(
        (Order(product=Product.STARTER, count=2),), b"another key".ljust(32), first_serial=1
    )
    assert isinstance(activate(code, KEY, now=NOW), Problem)


def test_days_count_from_the_activation():
    (code,) = purchase((Order(product=Product.VMOTION, count=2, days=30),), KEY, first_serial=1)
    file = activate(code, KEY, now=NOW, server="SERVER lic-1 ANY 27000")
    assert isinstance(file, LicenceFile)
    assert date(2026, 7, 14) == file.increments[0].expires
    assert "SERVER lic-1 ANY 27000" == file.server


def test_a_code_that_is_activated_twice_cannot_be_used_twice():
    (code,) = purchase((Order(product=Product.VMOTION, count=2),), KEY, first_serial=1)
    files = [activate(code, KEY, now=NOW), activate(code, KEY, now=NOW + 1e6)]
    _, problems = combine(file for file in files if isinstance(file, LicenceFile))
    assert ["duplicate"] == [problem.check for problem in problems]


def test_codes_of_one_purchase_combine():
    orders = (
        Order(product=Product.ENTERPRISE, count=2),
        Order(product=Product.VIRTUALCENTER, count=1),
    )
    codes = purchase(orders, KEY, first_serial=5)
    files = [activate(code, KEY, now=NOW) for code in codes]
    combined, problems = combine(file for file in files if isinstance(file, LicenceFile))
    assert [] == problems + check(combined, PUBLIC, now=NOW)
    assert {5, 6} == {one.serial for one in combined.increments}


def test_all_that_cannot_be_bought_is_said_at_once():
    orders = (
        Order(product=Product.STARTER, count=0),
        Order(product=Product.VMOTION, count=70_000, days=0),
    )
    assert 3 == len(order_problems(orders))
    assert 1 == len(order_problems(()))
    with pytest.raises(ValueError, match="0 licences"):
        purchase(orders, KEY, first_serial=1)


def test_enterprise_has_what_the_others_buy_one_by_one():
    assert Feature.VMOTION not in FEATURES[Product.STARTER] + FEATURES[Product.STANDARD]
    assert {Feature.ESX, Feature.VMOTION, Feature.DRS, Feature.HA} == set(
        FEATURES[Product.ENTERPRISE]
    )


@pytest.mark.parametrize(
    ("sockets", "cores", "licences"),
    [
        (1, 1, 1),
        (2, 4, 1),
        (2, 5, 2),
        (2, 8, 2),
        (1, 8, 1),
        (1, 12, 2),
        (3, 1, 2),
        (4, 4, 2),
        (4, 16, 8),
    ],
)
def test_licences_are_for_two_processors_of_four_cores(sockets, cores, licences):
    assert licences == licences_needed(sockets, cores)
