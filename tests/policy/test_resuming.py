"""VirtualCenter died between writing down and saying: everything under way is said again."""

from cluster.inventory.demand import Constant
from cluster.inventory.model import TimedEvent, TimedKind
from cluster.policy.messages import (
    CancelMigration,
    CancelRequested,
    Discard,
    HostConnected,
    HostFailed,
    PowerOff,
    PowerOn,
    PowerOnRequested,
    Restarted,
    SetDemand,
    SetShares,
    StartMigration,
    TakeOver,
    TellPeerLost,
    Ticked,
    VmStarted,
)
from tests.policy.building import SLOW_CARD, Hand, host, scenario, vm


def cluster(**fields):
    hosts = [host(name, nic=SLOW_CARD) for name in "abc"]
    return Hand(scenario(hosts, [vm("x", "a"), vm("y", "b"), vm("z", "a")], **fields)).up()


def back(hand, name, **fields):
    """What a host is told when it answers a VirtualCenter that was restarted."""
    event = HostConnected(**{"host": name, "serves_faults": True, **fields})
    return hand.acts(event)


def test_nothing_is_said_again_where_nothing_is_under_way():
    hand = cluster()
    assert [] == hand.acts(Restarted())
    assert [] == back(hand, "a", running=(("x", 1), ("z", 1)))


def test_a_power_on_that_was_not_answered_is_said_again_at_the_same_epoch():
    fresh = Hand(scenario(["a"], [vm("w", "a")]))
    (order,) = fresh.acts(HostConnected(host="a", serves_faults=True))
    assert PowerOn(vm="w", host="a", epoch=1) == order

    assert [order] == back(fresh, "a")
    fresh.send(VmStarted(vm="w", epoch=1))
    assert [] == back(fresh, "a", running=(("w", 1),))


def test_a_migration_is_said_again_to_its_source_and_its_share_to_its_destination():
    hand = cluster()
    spec = hand.begun("x", "b")

    assert [StartMigration(spec=spec)] == back(hand, "a")
    (shares,) = back(hand, "b")
    assert SetShares(host="b", shares=((spec.id, spec.rate_bytes_per_second),)) == shares
    assert [] == back(hand, "c")


def test_one_that_was_to_be_cancelled_is_cancelled():
    hand = cluster()
    spec = hand.begun("x", "b")
    hand.send(CancelRequested(vm="x"))

    assert CancelMigration(migration=spec.id, source="a") in back(hand, "a")


def test_a_source_learns_that_its_destination_died_meanwhile():
    hand = cluster()
    spec = hand.begun("x", "b")
    hand.send(HostFailed(host="b", reason="died"))

    assert TellPeerLost(migration=spec.id, source="a") in back(hand, "a")


def test_a_committed_vm_whose_source_died_is_taken_over_until_that_is_answered():
    hand = cluster()
    spec = hand.begun("x", "b")
    hand.commit(spec)
    hand.send(HostFailed(host="a", reason="died"))
    order = TakeOver(migration=spec.id, vm="x", destination="b", epoch=spec.epoch)

    assert [order] == back(hand, "b", incoming=((spec.id, "x", spec.epoch),))
    hand.send(VmStarted(vm="x", epoch=spec.epoch))
    assert [] == back(hand, "b", running=(("x", spec.epoch),))


def test_a_host_forgets_what_was_rolled_back_and_keeps_what_goes_on():
    hand = cluster()
    spec = hand.begun("x", "b")
    told = back(hand, "b", incoming=((spec.id, "x", spec.epoch), ("m0099", "y", 7)))

    assert Discard(migration="m0099", destination="b") in told
    assert Discard(migration=spec.id, destination="b") not in told


def test_what_a_host_runs_without_owning_it_is_powered_off():
    assert [PowerOff(vm="x", host="c")] == back(cluster(), "c", running=(("x", 1),))


def test_a_changed_demand_is_told_again():
    demand = Constant(mhz=700.0)
    event = TimedEvent(at_s=1.0, kind=TimedKind.DEMAND, vms=("x",), demand=demand)
    hand = cluster(events=(event,))
    hand.send(Ticked(), at=1.0)

    assert [SetDemand(vm="x", host="a", demand=demand, from_s=1.0)] == back(hand, "a")


def test_a_vm_that_is_powered_on_by_hand_is_not_forgotten():
    hand = cluster()
    hand.send(HostFailed(host="b", reason="died"))
    hand.send(PowerOnRequested(vm="y", host="c"))

    (order,) = back(hand, "c")
    assert ("y", "c") == (order.vm, order.host)
