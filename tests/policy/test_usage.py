"""One tally of what hosts hold: made from the state, then told what is decided."""

from cluster.inventory.demand import Constant
from cluster.policy.usage import Usage
from tests.policy.building import Hand, host, scenario, vm


def cluster() -> Hand:
    vms = [
        vm("v", "a", cpu_reservation_mhz=200.0),
        vm("w", "a", demand=Constant(mhz=400.0)),
        vm("x", "b", memory_mib=512),
    ]
    return Hand(scenario("abc", vms)).up()


def test_what_is_free_with_and_without_the_vm_itself():
    hand = cluster()
    usage, spec = Usage(hand.state), hand.state.vms["v"].spec
    assert (512, 768) == (usage.free_mib("a"), usage.free_mib("a", but=spec))
    assert (800.0, 1000.0) == (
        usage.free_reserved_mhz("a"),
        usage.free_reserved_mhz("a", but=spec),
    )
    assert (512, 512) == (usage.free_mib("b"), usage.free_mib("b", but=spec))


def test_a_migrating_vm_is_held_by_both_hosts_once():
    hand = cluster()
    spec = hand.begun("v", "b")
    for _ in range(2):
        usage = Usage(hand.state)
        assert hand.state.occupancy() == {
            name: tuple(sorted(hosts)) for name, hosts in usage.held.items()
        }
        assert (512, 256) == (usage.free_mib("a"), usage.free_mib("b"))
        hand.commit(spec)


def test_what_is_decided_counts_at_once():
    hand = cluster()
    usage = Usage(hand.state)
    usage.hold(hand.state.vms["v"], "c")
    usage.hold(hand.state.vms["v"], "c")
    assert (768, 800.0, ("a", "c")) == (
        usage.free_mib("c"),
        usage.free_reserved_mhz("c"),
        usage.held["v"],
    )


def test_hosts_by_their_fuller_resource():
    """a: 500 of 1000 MHz and 512 of 1024 MiB; b: 100 MHz and 512 MiB; c: nothing."""
    hand = cluster()
    usage = Usage(hand.state)
    # With w: c has 0.4 and 0.25; a stays at 0.5 and 0.5; b gets 0.5 and 0.75.
    assert ["c", "a", "b"] == usage.emptiest(hand.state.vms["w"])
    usage.hold(hand.state.vms["x"], "c")
    assert ["a", "b", "c"] == usage.emptiest(hand.state.vms["w"])


def test_ties_go_by_name():
    hand = Hand(scenario([host("b"), host("c"), host("a")], [vm("v")])).up()
    assert {"v": "a"} == hand.where()


def test_residents_are_the_vms_of_each_host_at_every_step():
    hand = cluster()
    spec = hand.begun("v", "b")
    hand.commit(spec)
    for name, residents in hand.state.residents.items():
        assert [n for n, r in hand.state.vms.items() if r.host == name] == sorted(residents)
    assert {"v", "x"} == set(hand.state.residents["b"])
