"""Facts that change while the cluster runs, and stop a migration up to its commit."""

from dataclasses import replace

import pytest

from cluster.inventory.licence_terms import Feature
from cluster.inventory.licences import LicenceSettings
from cluster.inventory.model import DrsSettings
from cluster.inventory.switches import PortGroup, VirtualSwitch
from cluster.policy.messages import (
    FeaturesTicked,
    FeaturesUnticked,
    GrantCommit,
    HostFailed,
    HostReconfigured,
    MaintenanceRequested,
    MigrationEnded,
    RefuseCommit,
    StartMigration,
    Ticked,
    VMotionConfigured,
    VmReconfigured,
)
from cluster.policy.networking import VMotionSetup
from cluster.policy.snapshot import snapshot_of
from drs import Automation
from tests.policy.building import LICENCES, LIMITS_OF_ONE, Hand, host, outcome, scenario, vm


def hand_of(*vms, **fields) -> Hand:
    return Hand(scenario("abc", vms or [vm("v", "a")], licences=LICENCES, **fields)).up()


def vm_with(_: Hand, name: str = "v", **fields) -> VmReconfigured:
    return VmReconfigured(vm=name, changes=tuple(fields.items()))


def host_with(hand: Hand, name: str, **fields) -> HostReconfigured:
    return HostReconfigured(spec=replace(hand.state.hosts[name].spec, **fields))


def unlicensed(name: str, feature: Feature = Feature.VMOTION) -> FeaturesUnticked:
    return FeaturesUnticked(hosts=(name,), features=(feature,))


CHANGES = {
    "an ISO attached": (
        lambda h: vm_with(h, local_devices=("CD/DVD drive 1",)),
        "CD/DVD drive 1",
    ),
    "affinity set": (lambda h: vm_with(h, cpu_affinity=(0,)), "bound to CPU 0"),
    "licence revoked at the source": (lambda _: unlicensed("a"), "a is not licensed"),
    "licence revoked at the destination": (lambda _: unlicensed("b"), "b is not licensed"),
    "destination entering maintenance": (
        lambda _: MaintenanceRequested(host="b"),
        "b is entering maintenance mode",
    ),
    "datastore gone": (lambda h: host_with(h, "b", datastores=()), "b does not reach shared"),
    "VMotion off": (lambda h: host_with(h, "b", vmotion=False), "VMotion is off on b"),
    "port group gone": (
        lambda h: host_with(h, "b", switches=(VirtualSwitch(name="vSwitch0"),)),
        "b has no VMkernel port group for VMotion",
    ),
}
each_change = pytest.mark.parametrize(("change", "reason"), CHANGES.values(), ids=list(CHANGES))


@each_change
def test_a_change_after_the_start_stops_the_migration_before_its_commit(change, reason):
    hand = hand_of()
    spec = hand.begun("v", "b")
    hand.send(change(hand))
    answer = hand.commit(spec)
    assert isinstance(answer, RefuseCommit)
    assert reason in answer.reason
    assert "a" == hand.where()["v"]


def test_licences_that_expire_after_the_start_stop_it_before_its_commit():
    licences = LicenceSettings(evaluation_days_left=1)
    hand = Hand(scenario("ab", [vm("v", "a")], licences=licences)).up()
    spec = hand.begun("v", "b")
    hand.send(Ticked(), at=hand.center.wake_at)
    answer = hand.commit(spec)
    assert isinstance(answer, RefuseCommit)
    assert "the evaluation has ended" in answer.reason


def test_a_source_that_enters_maintenance_after_the_start_lets_its_vm_go():
    hand = hand_of()
    spec = hand.begun("v", "b")
    hand.send(MaintenanceRequested(host="a"))
    assert isinstance(hand.commit(spec), GrantCommit)


@each_change
def test_a_change_while_it_waits_keeps_it_from_starting(change, reason):
    hand = hand_of(vm("first", "a"), vm("v", "a"), vm("other", "b"), migration=LIMITS_OF_ONE)
    first = hand.begun("first", "c")
    hand.request("v", "b")
    told = hand.notes(change(hand))
    hand.commit(first)
    ended = hand.send(MigrationEnded(migration=first.id, outcome=outcome()))
    assert [] == [c for c in ended if isinstance(c, StartMigration)]
    assert any(text.startswith("v → b: refused") and reason in text for text in told)


def test_a_change_after_the_commit_comes_too_late():
    hand = hand_of()
    spec = hand.begun("v", "b")
    hand.commit(spec)
    hand.send(unlicensed("b"))
    assert isinstance(hand.commit(spec), GrantCommit)


def test_a_change_while_it_waits_is_refused_at_once():
    hand = hand_of(vm("v", "a"), vm("w", "a"), migration=LIMITS_OF_ONE)
    hand.begun("v", "b")
    hand.request("w", "c")
    notes = hand.notes(vm_with(hand, "w", clustered=True))
    assert "w → c: refused, w shares a disk with another VM of a cluster" in notes


def test_a_change_to_the_better_lets_it_go():
    hand = hand_of(vm("v", "a", cpu_affinity=(0,)))
    assert "refused" in hand.request("v", "b")[0].text
    assert ["v is configured anew"] == hand.notes(vm_with(hand, cpu_affinity=()))
    assert "b" == hand.begun("v", "b").destination


def test_licences_that_go_and_come_are_said_once():
    hand = hand_of()
    assert ["licences given back by a: HA", "a is not licensed for HA"] == hand.notes(
        unlicensed("a", Feature.HA)
    )
    assert ["licences given back by a: nothing"] == hand.notes(unlicensed("a", Feature.HA))
    assert ["a: licensed for HA", "a is licensed for HA"] == hand.notes(
        FeaturesTicked(hosts=("a",), features=(Feature.HA,))
    )


@pytest.mark.parametrize("feature", [Feature.VMOTION, Feature.DRS])
def test_drs_moves_nothing_from_or_to_a_host_that_is_not_licensed(feature):
    hand = hand_of(vm("v", "a"), vm("w", "b"), drs=DrsSettings())
    hand.send(unlicensed("b", feature))
    snapshot = snapshot_of(hand.state)
    assert [[True, False, True]] * 2 == snapshot.allowed.tolist()
    assert (None, Automation.DISABLED) == snapshot.automation


def test_two_who_change_a_vm_at_once_both_have_what_they_asked_for():
    hand = hand_of()
    for change in (vm_with(hand, local_devices=("CD",)), vm_with(hand, cpu_affinity=(0,))):
        hand.send(change)
    spec = hand.state.vms["v"].spec
    assert (("CD",), (0,)) == (spec.local_devices, spec.cpu_affinity)


def test_a_running_vm_keeps_its_memory():
    hand = hand_of()
    assert ["v: the memory of a VM that is on cannot change"] == hand.notes(
        vm_with(hand, memory_mib=512)
    )
    assert 256 == hand.state.vms["v"].spec.memory_mib
    hand.send(HostFailed(host="a", reason="died"))
    hand.send(vm_with(hand, memory_mib=512))
    assert 512 == hand.state.vms["v"].spec.memory_mib


def test_a_host_keeps_room_for_its_vms():
    hand = hand_of()
    assert ["a: its VMs hold 256 MiB, more than 255"] == hand.notes(
        host_with(hand, "a", memory_mib=255)
    )
    assert ["a is configured anew"] == hand.notes(host_with(hand, "a", memory_mib=256))


def test_unknown_names_are_refused():
    hand = hand_of()
    assert ["there is no VM ghost"] == hand.notes(vm_with(hand, "ghost", cpu_affinity=(0,)))
    assert ["v: a VM keeps its name"] == hand.notes(
        VmReconfigured(vm="v", changes=(("name", "w"),))
    )
    nowhere = replace(hand.state.hosts["a"].spec, name="nowhere")
    assert ["there is no host nowhere"] == hand.notes(HostReconfigured(spec=nowhere))


def test_vmotion_is_turned_on_only_with_a_licence():
    hand = hand_of()
    hand.send(host_with(hand, "a", vmotion=False))
    hand.send(unlicensed("a"))
    assert ["a: VMotion is not turned on, a is not licensed for VMotion"] == hand.notes(
        host_with(hand, "a", vmotion=True)
    )
    hand.send(FeaturesTicked(hosts=("a",), features=(Feature.VMOTION,)))
    hand.send(host_with(hand, "a", vmotion=True))
    assert hand.state.hosts["a"].spec.vmotion


# VMotion, as the how-to configures it.


def setup(number: int, **fields) -> VMotionSetup:
    made = {"ip_address": f"10.0.0.{number}", "subnet_mask": "255.255.255.0", "nic": "vmnic1"}
    return VMotionSetup(**{**made, **fields})


def with_cards(**fields) -> Hand:
    hosts = [host(name, other_nics=("vmnic1",), **fields) for name in "abc"]
    return Hand(scenario(hosts, [vm("v", "a")], licences=LICENCES)).up()


def test_a_port_group_and_vmotion_are_configured_together():
    hand = with_cards(vmotion=False)
    assert ["a: VMotion is on, VMotion at 10.0.0.1"] == hand.notes(
        VMotionConfigured(host="a", setup=setup(1), vmotion=True)
    )
    assert ["a: VMotion is off, VMotion at 10.0.0.1"] == hand.notes(
        VMotionConfigured(host="a", vmotion=False)
    )


def test_everything_against_it_is_said_and_nothing_is_changed():
    hand = with_cards(vmotion=False)
    hand.send(unlicensed("b"))
    hand.send(VMotionConfigured(host="a", setup=setup(1)))
    before = hand.state.hosts["b"].spec
    wrong = setup(1, vlan_id=7, gateway="10.0.0.254", nic="vmnic9")
    (note,) = hand.send(VMotionConfigured(host="b", setup=wrong, vmotion=True))
    assert ["licence", "vlan", "gateway", "switch", "ip address"] == [
        problem["check"] for problem in dict(note.fields)["problems"]
    ]
    assert before is hand.state.hosts["b"].spec


def test_a_warning_is_said_and_forbids_nothing():
    hand = with_cards()
    port = PortGroup(label="Production", network="VM Network")
    switch = VirtualSwitch(name="vSwitch0", nics=("vmnic0",), port_groups=(port,))
    hand.send(host_with(hand, "a", switches=(switch,)))
    event = VMotionConfigured(host="a", setup=setup(1, nic=None, switch="vSwitch0"))
    (text,) = hand.notes(event)
    assert text.endswith("warning: vSwitch0 on a carries other traffic too")


def test_vmotion_is_configured_on_hosts_that_there_are():
    assert ["x is not configured: there is no host x"] == hand_of().notes(
        VMotionConfigured(host="x", vmotion=True)
    )
