"""A cluster's licences while it runs: begun by the scenario, offered, ticked, ended, and said."""

from datetime import UTC, date, datetime

from cluster.inventory.licence_terms import Feature, Order, Product
from cluster.inventory.licences import LicenceSettings
from cluster.inventory.model import TimedEvent, TimedKind
from cluster.policy.licence_file import LicenceFile, combine, write
from cluster.policy.licence_vendor import activate, purchase
from cluster.policy.licences import begins_unix_s, begun
from cluster.policy.licensing import DAY_S, Mode
from cluster.policy.messages import (
    CalendarTold,
    FeaturesTicked,
    FeaturesUnticked,
    LicenceServerBack,
    LicenceServerLost,
    LicencesOffered,
    Record,
    Ticked,
)
from cluster.policy.signatures import public_key_of
from tests.policy.building import LICENCES, TODAY_S, Hand, host, scenario, vm

KEY = b"the vendor's private key".ljust(32)
PUBLIC = public_key_of(KEY)


def file_of(*orders: Order) -> LicenceFile:
    codes = purchase(orders, KEY, first_serial=1)
    file, _ = combine(activate(code, KEY, now=TODAY_S) for code in codes)
    return file


def enterprise(count: int, **fields) -> LicenceFile:
    return file_of(
        Order(product=Product.ENTERPRISE, count=count, **fields),
        Order(product=Product.VIRTUALCENTER, count=1),
    )


def hand_of(licences=LICENCES, hosts="abc", **fields) -> Hand:
    return Hand(scenario(hosts, [vm("v", "a")], licences=licences, **fields)).up()


def evaluating(**fields) -> Hand:
    hand = Hand(scenario("abc", [vm("v", "a")], **fields))
    hand.send(CalendarTold(unix_s=TODAY_S), at=0.0)
    return hand.up()


def problems_in(commands) -> list[str]:
    return [
        problem["text"]
        for c in commands
        if isinstance(c, Record)
        for problem in dict(c.fields).get("problems", ())
    ]


def may(hand: Hand, name: str, feature: Feature) -> bool:
    return feature not in hand.state.hosts[name].lacking


# How it begins.


def test_without_licences_it_is_an_evaluation_of_60_days_and_says_so():
    hand = Hand(scenario("a", []))
    assert ["licences: evaluation, 60 days left"] == hand.notes(CalendarTold(unix_s=TODAY_S), at=0)
    assert all(may(hand, "a", feature) for feature in Feature)


def test_nothing_is_known_before_the_calendar_is():
    hand = Hand(scenario("a", []))
    assert hand.center.licences(now=0.0) is None
    (note,) = hand.notes(LicenceServerLost())
    assert "the calendar is not known" in note


def test_when_the_evaluation_ends_nothing_may_be_used_any_more():
    hand = evaluating(licences=LicenceSettings(evaluation_days_left=1))
    assert DAY_S == hand.center.wake_at
    assert may(hand, "a", Feature.VMOTION)
    notes = hand.notes(Ticked(), at=DAY_S)
    assert "licences: expired" in notes
    assert not may(hand, "a", Feature.VMOTION)
    assert "refused, the evaluation has ended" in hand.request("v", "b")[0].text


def test_a_vm_is_not_powered_on_where_nothing_may_run():
    hand = evaluating(licences=LicenceSettings(evaluation_days_left=0))
    assert {"v": None} == hand.where()


def test_hosts_that_name_no_features_get_what_there_is_enough_for():
    licences = LicenceSettings(products=((Product.STANDARD, 2), (Product.VMOTION, 1)))
    hand = hand_of(licences)
    assert [True, True, False] == [may(hand, name, Feature.ESX) for name in "abc"]
    assert not may(hand, "a", Feature.VMOTION)  # it needs a VirtualCenter licence


def test_hosts_that_name_features_get_those():
    licensed = host("a", features=(Feature.VMOTION, Feature.ESX))
    hand = hand_of(hosts=[licensed, "b"])
    assert (Feature.ESX, Feature.VMOTION) == hand.state.licensing.ticked("a")
    assert 4 == len(hand.state.licensing.ticked("b"))


def test_what_a_scenario_wants_and_cannot_have_is_all_said():
    wants = {"features": (Feature.ESX, Feature.DRS), "sockets": 4}
    licences = LicenceSettings(products=((Product.STANDARD, 1),))
    _, shortages = begun(scenario([host("a", **wants)], [], licences=licences), unix_s=TODAY_S)
    assert {"a"} == {one.host for one in shortages}
    assert [
        "a takes 2 ESX Server licences, 1 of 1 are free",
        "DRS on a needs ESX Server there",
        "DRS on a needs VMotion there",
        "DRS needs a VirtualCenter licence",
        "a takes 2 DRS licences, 0 of 0 are free",
    ] == [one.problem.text for one in shortages]


def test_a_file_of_the_scenario_is_checked_with_the_vendors_key():
    text = write(enterprise(2))
    settings = LicenceSettings(file="lab.lic", text=text, vendor_key=PUBLIC)
    licensing, shortages = begun(scenario("ab", [], licences=settings), unix_s=TODAY_S)
    assert ([], Mode.LICENSED) == (shortages, licensing.mode(now=TODAY_S))
    edited = LicenceSettings(
        file="lab.lic", text=text.replace(" 2 VENDOR", " 9 VENDOR"), vendor_key=PUBLIC
    )
    _, shortages = begun(scenario("ab", [], licences=edited), unix_s=TODAY_S)
    assert 4 == len(shortages)
    assert {("", "signature")} == {(one.host, one.problem.check) for one in shortages}


def test_the_calendar_begins_on_the_scenarios_day_or_today():
    day = LicenceSettings(begins=date(2006, 6, 5))
    assert datetime(2006, 6, 5, tzinfo=UTC).timestamp() == begins_unix_s(
        scenario("a", [], licences=day), TODAY_S
    )
    assert TODAY_S == begins_unix_s(scenario("a", []), TODAY_S)


# What is done with them.


def test_an_offered_file_ends_the_evaluation_and_features_can_be_ticked():
    hand = evaluating()
    notes = hand.notes(LicencesOffered(file=enterprise(2), vendor_key=PUBLIC))
    assert "licences installed: 2 ESX Server, 1 VirtualCenter, 2 VMotion, 2 DRS, 2 HA" == notes[0]
    assert not may(hand, "a", Feature.ESX)
    wanted = (Feature.VMOTION, Feature.ESX)
    assert [
        "a, b: licensed for ESX Server, VMotion",
        "a is licensed for ESX Server, VMotion",
        "b is licensed for ESX Server, VMotion",
    ] == hand.notes(FeaturesTicked(hosts=("a", "b"), features=wanted))
    assert ["c takes 1 VMotion licences, 0 of 2 are free"] == [
        text
        for text in problems_in(hand.send(FeaturesTicked(hosts=("c",), features=wanted)))
        if text.startswith("c takes 1 VMotion")
    ]


def test_a_file_that_is_not_good_is_refused_with_every_reason_as_data():
    hand = evaluating()
    expired = enterprise(2, days=1)
    hand.send(CalendarTold(unix_s=TODAY_S + 3 * DAY_S))
    commands = hand.send(LicencesOffered(file=expired, vendor_key=public_key_of(b"x" * 32)))
    texts = problems_in(commands)
    assert 5 == sum("the signature does not fit" in text for text in texts)
    assert 4 == sum("expired on 2026-06-15" in text for text in texts)
    assert Mode.EVALUATION is hand.center.licences(now=hand.now).mode


def test_a_released_host_may_do_nothing_and_another_one_can():
    hand = hand_of(LicenceSettings(products=((Product.ENTERPRISE, 1), (Product.VIRTUALCENTER, 1))))
    assert not may(hand, "b", Feature.ESX)
    notes = hand.notes(FeaturesUnticked(hosts=("a",)))
    assert "licences given back by a: ESX Server, VMotion, DRS, HA" == notes[0]
    hand.send(FeaturesTicked(hosts=("b",), features=tuple(Feature)))
    assert may(hand, "b", Feature.VMOTION)
    assert not may(hand, "a", Feature.VMOTION)


def test_unknown_hosts_are_said():
    hand = hand_of()
    for wish in (FeaturesTicked(hosts=("x",), features=()), FeaturesUnticked(hosts=("x",))):
        assert ["there is no host x"] == problems_in(hand.send(wish))


def test_the_absence_of_the_server_is_said_with_the_days_that_are_left():
    events = (
        TimedEvent(at_s=5.0, kind=TimedKind.LICENCE_SERVER_LOST),
        TimedEvent(at_s=9.0, kind=TimedKind.LICENCE_SERVER_BACK),
    )
    hand = hand_of(events=events)
    assert ["licences: grace period, 14 days left"] == hand.notes(Ticked(), at=5.0)
    assert ["licences: licensed"] == hand.notes(Ticked(), at=9.0)
    hand.send(LicenceServerLost(), at=10.0)
    assert may(hand, "a", Feature.VMOTION)
    hand.send(Ticked(), at=10.0 + 14 * DAY_S)
    assert not may(hand, "a", Feature.VMOTION)
    assert "licences: licensed" == hand.notes(LicenceServerBack())[0]
    assert may(hand, "a", Feature.VMOTION)
