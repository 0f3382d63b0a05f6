"""Hosts connect, VMs are powered on where they should be, and end."""

import pytest

from cluster.inventory.demand import Constant
from cluster.inventory.model import RuleKind, RuleSpec
from cluster.policy.messages import HostConnected, HostFailed, PowerOn, VmEnded, VmStarted
from cluster.policy.ownership import Record as Owner
from cluster.policy.state import PowerState
from tests.policy.building import Hand, host, scenario, vm


def connected(name: str) -> HostConnected:
    return HostConnected(host=name, serves_faults=False)


def powered_on(commands) -> dict[str, str]:
    return {c.vm: c.host for c in commands if isinstance(c, PowerOn)}


def test_nothing_is_powered_on_before_every_host_is_known():
    hand = Hand(scenario(["a", "b"], [vm("v", "a")]))
    assert [] == hand.acts(connected("a"))
    assert [PowerOn(vm="v", host="a", epoch=1)] == hand.acts(connected("b"))


def test_a_host_that_fails_at_the_start_is_not_waited_for():
    hand = Hand(scenario(["a", "b"], [vm("v", "a"), vm("w", "b"), vm("x")]))
    hand.send(connected("a"))
    commands = hand.send(HostFailed(host="b", reason="no answer"))
    assert {"v": "a", "x": "a"} == powered_on(commands)
    assert "b is not responding" == hand.state.vms["w"].ended_reason


def test_vms_with_a_host_of_their_own_are_placed_first():
    hand = Hand(scenario(["a"], [vm("v", memory_mib=1024), vm("w", "a")]))
    commands = hand.send(connected("a"))
    assert {"w": "a"} == powered_on(commands)
    assert (PowerState.OFF, "no host can take it") == (
        hand.state.vms["v"].power,
        hand.state.vms["v"].ended_reason,
    )


def test_a_vm_that_could_not_be_powered_on_is_tried_again_when_a_host_comes():
    hand = Hand(scenario(["a", "b"], [vm("v", memory_mib=1024), vm("w", memory_mib=1024)]))
    hand.send(connected("a"))
    hand.send(HostFailed(host="b", reason="no answer"))
    assert PowerState.OFF is hand.state.vms["w"].power
    assert [PowerOn(vm="w", host="b", epoch=1)] == hand.acts(connected("b"))


def test_vms_are_spread_by_the_fuller_resource():
    vms = [vm("v", "a", demand=Constant(mhz=450.0)), vm("w", "b", memory_mib=384), vm("x")]
    commands = Hand(scenario(["a", "b"], vms)).send(connected("a"))
    assert {} == powered_on(commands)
    hand = Hand(scenario(["a", "b"], vms))
    hand.send(connected("a"))
    # On a: 550 of 1000 MHz; on b: 640 of 1024 MiB.
    assert {"v": "a", "w": "b", "x": "a"} == powered_on(hand.send(connected("b")))


@pytest.mark.parametrize(
    ("kind", "hosts", "placed"),
    [
        (RuleKind.ANTI_AFFINITY, (), {"v": "a", "w": "b"}),
        (RuleKind.AFFINITY, (), {"v": "a", "w": "a"}),
        (RuleKind.VM_HOST_MUST_NOT, ("b",), {"v": "a", "w": "a"}),
        (RuleKind.VM_HOST_SHOULD_NOT, ("b",), {"v": "a", "w": "b"}),
    ],
)
def test_must_rules_bind_placement(kind, hosts, placed):
    rule = RuleSpec(name="r", kind=kind, vms=("v", "w"), hosts=hosts)
    hand = Hand(scenario(["a", "b"], [vm("v", "a"), vm("w")], rules=(rule,)))
    hand.send(connected("a"))
    assert placed == powered_on(hand.send(connected("b")))


def test_each_vm_of_a_batch_counts_for_the_next():
    hand = Hand(scenario(["a", "b", "c"], [vm(f"v{i}", memory_mib=512) for i in range(7)]))
    hand.send(connected("a"))
    hand.send(connected("b"))
    placed = powered_on(hand.send(connected("c")))
    assert [2, 2, 2] == [list(placed.values()).count(name) for name in "abc"]
    assert PowerState.OFF is hand.state.vms["v6"].power


def test_a_vm_that_does_not_start_is_off_and_owned_by_nobody():
    hand = Hand(scenario(["a"], [vm("v", "a")]))
    hand.send(connected("a"))
    hand.send(VmEnded(vm="v", epoch=1, reason="no memory"))
    assert (PowerState.OFF, None) == (hand.state.vms["v"].power, hand.state.vms["v"].host)
    assert Owner(epoch=1, host=None) == hand.state.ownership.get("v")
    assert hand.center.all_up


def test_a_start_that_is_reported_after_the_host_died_starts_nothing():
    hand = Hand(scenario(["a", "b"], [vm("v", "a")]))
    hand.send(connected("a"))
    hand.send(connected("b"))
    hand.send(HostFailed(host="a", reason="died"))
    assert () == hand.send(VmStarted(vm="v", epoch=1))
    assert PowerState.OFF is hand.state.vms["v"].power


def test_a_second_report_of_the_same_end_says_nothing():
    hand = Hand(scenario(["a"], [vm("v", "a")])).up()
    assert 1 == len(hand.send(VmEnded(vm="v", epoch=1, reason="guest raised")))
    assert () == hand.send(VmEnded(vm="v", epoch=1, reason="guest raised"))


def test_a_host_fails_once():
    hand = Hand(scenario(["a", "b"], [vm("v", "a"), vm("w", "b")])).up()
    assert ["a failed: died", "v powered off: a failed"] == hand.notes(
        HostFailed(host="a", reason="died")
    )
    assert () == hand.send(HostFailed(host="a", reason="died"))
    assert {"v": None, "w": "b"} == hand.where()


def test_thousands_of_vms_are_placed_in_seconds():
    hosts = [host(f"h{i}", memory_mib=8192) for i in range(300)]
    hand = Hand(scenario(hosts, [vm(f"v{i}") for i in range(2000)]))
    for spec in hosts[:-1]:
        hand.send(connected(spec.name))
    placed = powered_on(hand.send(connected("h299")))
    assert 2000 == len(placed)
    assert {6, 7} == {list(placed.values()).count(spec.name) for spec in hosts}
