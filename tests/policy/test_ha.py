"""Hosts that are lost or only slow, VMs that restart, and the room kept free for them."""

import pytest

from cluster.inventory.licence_terms import Feature
from cluster.inventory.model import HaSettings, RestartPriority
from cluster.migration.spec import Result
from cluster.policy.ha import Suspicion, failover_slots, restart_order
from cluster.policy.messages import (
    FeaturesUnticked,
    HostConnected,
    HostConnectRequested,
    HostFailed,
    MigrationEnded,
    NodeLost,
    PowerOff,
    PowerOn,
    StartHost,
    Ticked,
    VmEnded,
    VmStarted,
)
from cluster.policy.ownership import Record as Owner
from cluster.policy.state import HostState, PowerState
from tests.policy.building import LICENCES, Hand, host, outcome, scenario, vm

HA = HaSettings(enabled=True, failures_tolerated=0, isolation_s_max=15.0)


def protected(*vms, hosts="abc", **fields) -> Hand:
    return Hand(scenario(hosts, vms, **{"ha": HA, **fields})).up()


def fails(hand: Hand, name: str):
    return hand.send(HostFailed(host=name, reason="died"))


def restarts(commands) -> dict[str, tuple[str, int]]:
    return {c.vm: (c.host, c.epoch) for c in commands if isinstance(c, PowerOn)}


# Which first.


def test_priority_then_size_then_name():
    vms = [
        vm("low", restart_priority=RestartPriority.LOW, memory_mib=999),
        vm("small"),
        vm("large", memory_mib=512),
        vm("also-small"),
        vm("never", restart_priority=RestartPriority.DISABLED),
        vm("high", restart_priority=RestartPriority.HIGH, memory_mib=1),
    ]
    assert ["high", "large", "also-small", "small", "low"] == [v.name for v in restart_order(vms)]


# Lost or slow.


def test_a_lost_node_is_a_lost_host_after_the_isolation_time():
    suspicion = Suspicion(15.0)
    suspicion.node_lost("a", "node died", now=10.0)
    assert 25.0 == suspicion.wake_at
    assert [] == suspicion.lost(now=24.9)
    assert [("a", "node died")] == suspicion.lost(now=25.0)
    assert [] == suspicion.lost(now=26.0)
    assert suspicion.wake_at is None


def test_a_second_report_does_not_begin_the_wait_again():
    suspicion = Suspicion(15.0)
    suspicion.node_lost("a", "node died", now=10.0)
    suspicion.node_lost("a", "node died", now=20.0)
    assert 25.0 == suspicion.wake_at


def test_a_host_that_speaks_is_not_lost():
    suspicion = Suspicion(15.0)
    suspicion.node_lost("a", "node died", now=10.0)
    suspicion.heard("a")
    assert [] == suspicion.lost(now=99.0)


def test_the_center_waits_for_the_isolation_time_before_it_restarts():
    hand = protected(vm("v", "a"))
    hand.send(NodeLost(host="a", reason="node died"), at=10.0)
    assert 25.0 == hand.center.wake_at
    assert {} == restarts(hand.send(Ticked(), at=24.0))
    assert {"v": ("b", 2)} == restarts(hand.send(Ticked(), at=25.0))


def test_a_sample_of_a_suspected_host_clears_it():
    hand = protected(vm("v", "a"))
    hand.send(NodeLost(host="a", reason="node died"), at=10.0)
    hand.load("a", v=100.0)
    assert hand.center.wake_at is None
    assert HostState.CONNECTED is hand.state.hosts["a"].state


def test_a_dead_process_is_a_lost_host_at_once():
    assert {"v": ("b", 2)} == restarts(fails(protected(vm("v", "a")), "a"))


# Restarting.


def test_vms_restart_in_order_while_there_is_room():
    vms = [
        vm("v", "a", memory_mib=400),
        vm("w", "a", memory_mib=500, restart_priority=RestartPriority.HIGH),
        vm("x", "b", memory_mib=600),
    ]
    hand = protected(*vms, hosts="ab")
    hand.send(VmEnded(vm="x", epoch=1, reason="shut down"))
    assert {"w": ("b", 2), "v": ("b", 2)} == restarts(fails(hand, "a"))
    hand = protected(*vms, hosts="ab")
    assert {"v": ("b", 2)} == restarts(fails(hand, "a"))
    assert (PowerState.OFF, True) == (
        hand.state.vms["w"].power,
        hand.state.vms["w"].restart_wanted,
    )


def test_what_found_no_room_restarts_when_a_host_comes():
    hand = protected(vm("v", "a", memory_mib=800), vm("w", "b", memory_mib=800), hosts="ab")
    assert {} == restarts(fails(hand, "a"))
    commands = hand.send(HostConnected(host="a", serves_faults=False))
    assert {"v": ("a", 2)} == restarts(commands)
    assert Owner(epoch=2, host="a") == hand.state.ownership.get("v")


@pytest.mark.parametrize(
    ("settings", "priority"),
    [(HaSettings(enabled=False), RestartPriority.HIGH), (HA, RestartPriority.DISABLED)],
)
def test_what_is_not_protected_stays_off(settings, priority):
    hand = protected(vm("v", "a", restart_priority=priority), ha=settings)
    assert {} == restarts(fails(hand, "a"))


def test_a_host_without_a_licence_for_ha_is_not_protected():
    hand = protected(vm("v", "a"), licences=LICENCES)
    hand.send(FeaturesUnticked(hosts=("a",), features=(Feature.HA,)))
    assert {} == restarts(fails(hand, "a"))


def test_a_guest_that_raised_is_not_restarted():
    hand = protected(vm("v", "a"))
    assert {} == restarts(hand.send(VmEnded(vm="v", epoch=1, reason="guest raised")))


def test_a_host_that_comes_back_may_not_run_what_was_restarted_elsewhere():
    hand = protected(vm("v", "a"), vm("w", "b"))
    fails(hand, "a")
    event = HostConnected(host="a", serves_faults=False, running=(("v", 1), ("ghost", 1)))
    ends = [PowerOff(vm="v", host="a"), PowerOff(vm="ghost", host="a")]
    assert ends == [c for c in hand.send(event) if isinstance(c, PowerOff)]
    event = HostConnected(host="b", serves_faults=False, running=(("w", 1),))
    assert [] == hand.acts(event)


def test_a_vm_lost_with_its_migration_restarts():
    hand = protected(vm("v", "a"))
    spec = hand.begun("v", "b")
    hand.commit(spec)
    lost = MigrationEnded(migration=spec.id, outcome=outcome(Result.LOST, "Resume refused"))
    ((_, epoch),) = restarts(hand.send(lost)).values()
    assert 3 == epoch


def test_a_vm_lost_with_its_destination_restarts_when_its_migration_has_ended():
    """Until then the source still holds its memory."""
    hand = protected(vm("v", "a"))
    spec = hand.begun("v", "b")
    hand.commit(spec)
    assert {} == restarts(fails(hand, "b"))
    lost = MigrationEnded(migration=spec.id, outcome=outcome(Result.LOST, "b died"))
    assert {"v": ("a", 3)} == restarts(hand.send(lost))


# Room kept free.


def test_slots_are_as_large_as_the_largest_vm():
    hosts = {name: host(name) for name in "abc"}
    vms = [vm("v", memory_mib=512, cpu_reservation_mhz=100.0), vm("w", memory_mib=100)]
    slots = failover_slots(hosts, vms, failures_tolerated=1)
    assert (512, 100.0, 4, 2, True) == (
        slots.memory_mib,
        slots.cpu_mhz,
        slots.left,
        slots.needed,
        slots.enough,
    )


def test_the_largest_hosts_are_those_that_fail():
    hosts = {"a": host("a", memory_mib=4096), "b": host("b"), "c": host("c")}
    assert 8 == failover_slots(hosts, [vm("v")], failures_tolerated=1).left
    assert 4 == failover_slots(hosts, [vm("v")], failures_tolerated=2).left
    assert 0 == failover_slots(hosts, [vm("v")], failures_tolerated=4).left


def test_reservations_bound_slots_too():
    slots = failover_slots(
        {"a": host("a")}, [vm("v", cpu_reservation_mhz=300.0)], failures_tolerated=0
    )
    assert 3 == slots.left


def test_admission_control_keeps_the_room_of_a_host_free():
    vms = [vm(f"v{i}", memory_mib=512) for i in range(4)]
    settings = HaSettings(enabled=True, failures_tolerated=1)
    hand = protected(*vms, hosts="ab", ha=settings)
    on = [record.power for record in hand.state.vms.values()]
    assert [PowerState.ON] * 2 + [PowerState.OFF] * 2 == on
    assert "2 slots of 512 MiB are left, 3 are needed" in hand.state.vms["v2"].ended_reason
    # What it was kept for: a restart does not ask.
    assert 1 == len(restarts(fails(hand, "a")))


# A host that comes back.


def lost_and_restarted() -> Hand:
    hand = protected(vm("v", "a"))
    fails(hand, "a")
    hand.send(VmStarted(vm="v", epoch=2))
    return hand


def test_a_lost_host_is_begun_anew_when_somebody_asks():
    hand = lost_and_restarted()
    assert [StartHost(host="a")] == hand.acts(HostConnectRequested(host="a"))
    assert HostState.STARTING is hand.state.hosts["a"].state
    hand.send(HostConnected(host="a", serves_faults=True))
    assert (HostState.CONNECTED, "b") == (hand.state.hosts["a"].state, hand.where()["v"])


def test_a_host_that_does_not_come_is_lost_again_and_may_be_asked_for_again():
    hand = lost_and_restarted()
    hand.send(HostConnectRequested(host="a"))
    assert ["a: it is starting"] == hand.notes(HostConnectRequested(host="a"))
    assert ["a failed: died"] == hand.notes(HostFailed(host="a", reason="died"))
    assert [StartHost(host="a")] == hand.acts(HostConnectRequested(host="a"))


def test_a_host_that_is_there_is_not_begun_anew():
    assert ["b: it is connected"] == lost_and_restarted().notes(HostConnectRequested(host="b"))


def test_what_runs_on_a_host_that_is_back_under_an_older_epoch_is_ended_there():
    hand = lost_and_restarted()
    back = HostConnected(host="a", serves_faults=True, running=(("v", 1),))
    assert [PowerOff(vm="v", host="a")] == hand.acts(back)
    assert ("b", 2) == (hand.where()["v"], hand.state.vms["v"].epoch)


def test_a_lost_vm_that_found_no_room_restarts_on_the_host_that_is_back():
    hand = protected(vm("v", "a", memory_mib=600), vm("w", "b", memory_mib=600), hosts="ab")
    assert {} == restarts(fails(hand, "a"))
    hand.send(HostConnectRequested(host="a"))
    assert {"v": ("a", 2)} == restarts(hand.send(HostConnected(host="a", serves_faults=True)))


@pytest.mark.parametrize("taken_over", [True, False])
def test_a_vm_whose_memory_went_with_its_source_after_the_commit_is_restarted(taken_over):
    """Its host lives, and still it was a host's loss: unlike a guest that ends by itself."""
    hand = protected(vm("v", "a"), hosts="abc")
    spec = hand.begun("v", "b")
    hand.commit(spec)
    if taken_over:
        hand.send(HostFailed(host="a", reason="died"))
    hand.send(VmEnded(vm="v", epoch=2, reason="lost with 9 pages that had not arrived"))
    hand.send(Ticked())

    assert taken_over == (PowerState.STARTING is hand.state.vms["v"].power)
    assert taken_over == (hand.state.vms["v"].epoch == 3)
