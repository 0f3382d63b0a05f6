"""What a user is told: hosts to choose from, and who waits for what and how long."""

import pytest

from cluster.inventory.model import MigrationSettings
from cluster.policy.forecast import candidates, queue
from drs.cost import durations_s
from tests.policy.building import GIGABIT, LIMITS_OF_ONE, SLOW_CARD, Hand, host, scenario, vm


def lasts_s(memory_mib: int, rate: float = GIGABIT) -> float:
    return float(durations_s([memory_mib * 2**20], [0.0], rate_bytes_per_second=rate)[0])


def test_hosts_that_can_take_it_first_and_of_those_the_emptiest():
    hosts = ["a", "b", "c", host("alien", cpu_family="other")]
    hand = Hand(scenario(hosts, [vm("v", "a"), vm("w", "b")])).up()
    found = candidates(hand.state, "v")
    assert ["c", "b", "alien"] == [one.host for one in found]
    assert [[], [], ["cpu"]] == [[p.check for p in one.problems] for one in found]
    assert [(0.1, 0.25), (0.2, 0.5)] == [(one.cpu_load, one.memory_load) for one in found[:2]]


def test_the_slower_card_decides_how_long_it_takes():
    hand = Hand(scenario(["a", host("b", nic=SLOW_CARD)], [vm("v", "a")])).up()
    (found,) = candidates(hand.state, "v")
    assert lasts_s(256) == found.duration_s
    assert 0.01 == found.downtime_s


def test_a_vm_that_is_off_is_asked_where_it_could_be_powered_on():
    hand = Hand(scenario("ab", [vm("v", memory_mib=2048)])).up()
    assert [["size"], ["size"]] == [
        [p.check for p in c.problems] for c in candidates(hand.state, "v")
    ]


def slow_cluster(*vms, **settings) -> Hand:
    hosts = [host(name, nic=SLOW_CARD) for name in "abcd"]
    return Hand(scenario(hosts, vms, migration=MigrationSettings(**settings))).up()


def test_an_empty_queue():
    assert () == queue(slow_cluster(vm("v", "a")).state, now=0.0)


def test_who_waits_for_a_slot_starts_when_the_one_before_ends():
    hand = slow_cluster(vm("v", "a"), vm("w", "a"), vm("x", "a"), per_host_max=1)
    hand.begun("v", "b")
    began = hand.now
    hand.request("w", "c")
    hand.request("x", "d")
    first, second = queue(hand.state, now=began + 1.0)
    assert (1, "w", "a slot at a") == (first.position, first.spec.vm, first.waiting_for)
    assert pytest.approx(lasts_s(256) - 1.0) == first.starts_in_s
    assert pytest.approx(2 * lasts_s(256) - 1.0) == second.starts_in_s


def test_one_that_should_have_ended_is_expected_at_any_moment():
    hand = Hand(scenario("abc", [vm("v", "a"), vm("w", "a")], migration=LIMITS_OF_ONE)).up()
    hand.begun("v", "b")
    hand.request("w", "c")
    (waiting,) = queue(hand.state, now=hand.now + 1e6)
    assert 0.0 == waiting.starts_in_s


def test_who_waits_for_room_starts_when_somebody_has_left():
    hand = slow_cluster(vm("v", "a", memory_mib=800), vm("w", "b", memory_mib=800))
    hand.begun("v", "c")
    hand.request("w", "a")
    (waiting,) = queue(hand.state, now=hand.now - 1.0)
    assert pytest.approx(lasts_s(800)) == waiting.starts_in_s
