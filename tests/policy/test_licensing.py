"""Who may use which feature: evaluation, installed licences, usage, the server's absence."""

import math
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from cluster.inventory.licence_terms import HOST_FEATURES, Feature, Order, Product
from cluster.policy.licence_file import LicenceFile, combine
from cluster.policy.licence_vendor import activate, purchase
from cluster.policy.licensing import DAY_S, EVALUATION_S, GRACE_S, Licensing, Mode
from cluster.policy.signatures import public_key_of

KEY = b"the vendor's private key".ljust(32)
PUBLIC = public_key_of(KEY)
NOW = datetime(2026, 6, 15, 12, tzinfo=UTC).timestamp()


def bought(*orders: Order, first_serial: int = 1) -> LicenceFile:
    codes = purchase(orders, KEY, first_serial=first_serial)
    file, problems = combine(
        made for code in codes if isinstance(made := activate(code, KEY, now=NOW), LicenceFile)
    )
    assert [] == problems
    return file


def order(product: Product, count: int = 1, **fields) -> Order:
    return Order(product=product, count=count, **fields)


def evaluation() -> Licensing:
    """Hosts a and b take one licence each, c takes two."""
    return Licensing({"a": 1, "b": 1, "c": 2}, began_s=NOW)


def licensed(enterprise: int = 2, vmotion: int = 0, center: int = 1) -> Licensing:
    licensing = evaluation()
    orders = [order(Product.ENTERPRISE, enterprise)]
    orders += [order(Product.VMOTION, vmotion)] if vmotion else []
    orders += [order(Product.VIRTUALCENTER, center)] if center else []
    assert [] == licensing.install(bought(*orders), PUBLIC, now=NOW)
    return licensing


def tick_all(licensing: Licensing, host: str) -> list[str]:
    return [
        problem.text
        for feature in (Feature.ESX, Feature.VMOTION, Feature.DRS, Feature.HA)
        for problem in licensing.tick(host, feature, now=NOW)
    ]


# Evaluation.


@pytest.mark.parametrize("feature", list(Feature))
def test_everything_is_allowed_during_the_evaluation(feature):
    licensing = evaluation()
    assert "" == licensing.lacking("c", feature, now=NOW + EVALUATION_S - 1.0)


def test_the_evaluation_ends_after_60_days():
    licensing = evaluation()
    assert (Mode.EVALUATION, 60) == (
        licensing.status(now=NOW).mode,
        licensing.status(now=NOW).days_left,
    )
    assert 1 == licensing.status(now=NOW + EVALUATION_S - 1.0).days_left
    after = NOW + EVALUATION_S
    assert (Mode.EXPIRED, None) == (
        licensing.status(now=after).mode,
        licensing.status(now=after).days_left,
    )
    assert "the evaluation has ended, and no licence is installed" == licensing.lacking(
        "a", Feature.ESX, now=after
    )


def test_a_file_ends_the_evaluation():
    licensing = licensed()
    assert Mode.LICENSED is licensing.mode(now=NOW + 2 * EVALUATION_S)
    assert "a is not licensed for VMotion" == licensing.lacking("a", Feature.VMOTION, now=NOW)


# Licences.


def test_a_host_with_all_features_ticked_may_use_them():
    licensing = licensed()
    assert [] == tick_all(licensing, "a")
    for feature in (Feature.ESX, Feature.VMOTION, Feature.DRS, Feature.HA):
        assert "" == licensing.lacking("a", feature, now=NOW)
    assert licensing.lacking("b", Feature.ESX, now=NOW)


def test_usage_is_counted_by_feature_and_host():
    licensing = licensed(enterprise=2, vmotion=2)
    tick_all(licensing, "a")
    licensing.tick("b", Feature.ESX, now=NOW)
    uses = {use.feature: use for use in licensing.status(now=NOW).uses}
    assert (2, 2, (("a", 1), ("b", 1))) == (
        uses[Feature.ESX].installed,
        uses[Feature.ESX].used,
        uses[Feature.ESX].hosts,
    )
    assert (4, 1) == (uses[Feature.VMOTION].installed, uses[Feature.VMOTION].used)
    assert 1 == uses[Feature.VIRTUALCENTER].installed


def test_a_feature_that_is_used_up_is_refused_with_what_is_missing():
    licensing = licensed(enterprise=2)
    licensing.tick("a", Feature.ESX, now=NOW)
    (problem,) = licensing.tick("c", Feature.ESX, now=NOW)
    assert "c takes 2 ESX Server licences, 1 of 2 are free" == problem.text


def test_all_that_stands_against_a_tick_is_said():
    licensing = licensed(enterprise=1, center=0)
    texts = [problem.text for problem in licensing.tick("c", Feature.DRS, now=NOW)]
    assert [
        "DRS on c needs ESX Server there",
        "DRS on c needs VMotion there",
        "DRS needs a VirtualCenter licence",
        "c takes 2 DRS licences, 1 of 1 are free",
    ] == texts


def test_ticking_twice_takes_one():
    licensing = licensed(enterprise=1)
    assert [] == licensing.tick("a", Feature.ESX, now=NOW) + licensing.tick(
        "a", Feature.ESX, now=NOW
    )


def test_a_released_host_frees_its_licences():
    licensing = licensed(enterprise=1)
    tick_all(licensing, "a")
    assert tick_all(licensing, "b")
    assert (Feature.ESX, Feature.VMOTION, Feature.DRS, Feature.HA) == licensing.release("a")
    assert [] == tick_all(licensing, "b")


def test_unticking_takes_what_rests_on_it():
    licensing = licensed()
    tick_all(licensing, "a")
    assert (Feature.VMOTION, Feature.DRS) == licensing.untick("a", Feature.VMOTION)
    assert "" == licensing.lacking("a", Feature.HA, now=NOW)


def test_virtualcenter_is_not_ticked_on_hosts():
    assert licensed().tick("a", Feature.VIRTUALCENTER, now=NOW)


def test_vmotion_a_la_carte_completes_standard():
    licensing = evaluation()
    file = bought(order(Product.STANDARD, 2), order(Product.VIRTUALCENTER))
    licensing.install(file, PUBLIC, now=NOW)
    licensing.tick("a", Feature.ESX, now=NOW)
    assert licensing.tick("a", Feature.VMOTION, now=NOW)
    more = bought(order(Product.VMOTION, 2), first_serial=9)
    both, _ = combine([file, more])
    assert [] == licensing.install(both, PUBLIC, now=NOW)
    assert [] == licensing.tick("a", Feature.VMOTION, now=NOW)


# Files.


def test_a_bad_file_is_refused_and_the_last_one_stays():
    licensing = licensed()
    tick_all(licensing, "a")
    edited = replace(
        (good := bought(order(Product.ENTERPRISE))),
        increments=tuple(replace(one, count=99) for one in good.increments),
    )
    assert {"signature"} == {p.check for p in licensing.install(edited, PUBLIC, now=NOW)}
    assert ["form"] == [p.check for p in licensing.install(LicenceFile(), PUBLIC, now=NOW)]
    assert "" == licensing.lacking("a", Feature.DRS, now=NOW)


def test_a_file_too_small_for_what_is_used_is_refused_with_what_is_missing():
    licensing = licensed(enterprise=4)
    for host in ("a", "b", "c"):
        tick_all(licensing, host)
    small = bought(order(Product.ENTERPRISE, 2), order(Product.VIRTUALCENTER))
    texts = [problem.text for problem in licensing.install(small, PUBLIC, now=NOW)]
    assert "hosts use 4 ESX Server licences, the file has 2: 2 are missing" in texts
    assert 4 == len(texts)


def test_expired_licences_leave_the_last_hosts_without():
    licensing = evaluation()
    file = bought(
        order(Product.STANDARD, 1),
        order(Product.STANDARD, 1, days=10),
        order(Product.VIRTUALCENTER),
    )
    licensing.install(file, PUBLIC, now=NOW)
    licensing.tick("b", Feature.ESX, now=NOW)
    licensing.tick("a", Feature.ESX, now=NOW)
    later = NOW + 11 * DAY_S
    assert "" == licensing.lacking("a", Feature.ESX, now=later)
    assert "there are too few ESX Server licences for b" == licensing.lacking(
        "b", Feature.ESX, now=later
    )
    assert date(2026, 6, 24) == file.increments[1].expires


# The licence server is away.


def test_the_grace_period_lasts_14_days_and_starts_once():
    licensing = licensed()
    tick_all(licensing, "a")
    licensing.server_lost(now=NOW)
    licensing.server_lost(now=NOW + DAY_S)
    status = licensing.status(now=NOW + 3.5 * DAY_S)
    assert (Mode.GRACE, 11) == (status.mode, status.days_left)
    assert "" == licensing.lacking("a", Feature.VMOTION, now=NOW + GRACE_S - 1.0)
    assert "the licence server has been away for longer than the grace period" == licensing.lacking(
        "a", Feature.VMOTION, now=NOW + GRACE_S
    )
    licensing.server_back()
    assert "" == licensing.lacking("a", Feature.VMOTION, now=NOW + GRACE_S)


def test_nothing_new_is_licensed_while_the_server_is_away():
    licensing = licensed()
    licensing.server_lost(now=NOW)
    assert ["the licence server is away, so nothing new can be licensed"] == [
        p.text for p in licensing.tick("a", Feature.ESX, now=NOW)
    ]


# What VirtualCenter is told, and when to look again.


def test_all_that_is_lacking_at_once():
    assert () == evaluation().lacking_all(now=NOW)
    licensing = licensed(enterprise=2)
    tick_all(licensing, "a")
    licensing.tick("b", Feature.ESX, now=NOW)
    lacking = {(host, feature) for host, feature, _ in licensing.lacking_all(now=NOW)}
    rest = {("b", f) for f in (Feature.VMOTION, Feature.DRS, Feature.HA)}
    assert rest | {("c", f) for f in HOST_FEATURES} == lacking


def test_when_to_look_again():
    ends = NOW + EVALUATION_S
    assert ends == evaluation().ends_at(now=NOW)
    assert evaluation().ends_at(now=ends) is None
    licensing = licensed()
    assert licensing.ends_at(now=NOW) is None
    licensing.server_lost(now=NOW)
    assert NOW + GRACE_S == licensing.ends_at(now=NOW + GRACE_S - 1.0)
    assert licensing.ends_at(now=NOW + GRACE_S) is None


def test_licences_end_with_their_last_day():
    licensing = evaluation()
    file = bought(order(Product.ENTERPRISE, 4, days=10), order(Product.VIRTUALCENTER))
    assert [] == licensing.install(file, PUBLIC, now=NOW)
    tick_all(licensing, "a")
    midnight = datetime(2026, 6, 25, tzinfo=UTC).timestamp()
    assert midnight == licensing.ends_at(now=NOW)
    assert "" == licensing.lacking("a", Feature.ESX, now=midnight - 1.0)
    assert "there are too few ESX Server licences for a" == licensing.lacking(
        "a", Feature.ESX, now=midnight
    )


def test_how_long_a_feature_lasts():
    def left_s(licensing: Licensing) -> float:
        uses = {use.feature: use.left_s for use in licensing.status(now=NOW).uses}
        return uses[Feature.VMOTION]

    assert EVALUATION_S == left_s(evaluation())
    licensing = licensed()
    assert math.inf == left_s(licensing)
    licensing.server_lost(now=NOW - DAY_S)
    assert (13 * DAY_S, True) == (left_s(licensing), licensing.status(now=NOW).server_away)
    licensing = evaluation()
    file = bought(order(Product.ENTERPRISE, 4, days=1), order(Product.VIRTUALCENTER))
    licensing.install(file, PUBLIC, now=NOW)
    assert DAY_S / 2 == left_s(licensing)
