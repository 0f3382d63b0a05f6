"""What a scenario lets happen to hosts, as if somebody had asked for it."""

from cluster.inventory.demand import Constant
from cluster.inventory.model import TimedEvent, TimedKind
from cluster.policy.messages import FailHost, PowerOff, PowerOn, Solve, Ticked
from cluster.policy.state import HostState
from tests.policy.building import LIMITS_OF_ONE, Hand, scenario, vm


def timed(*events: TimedEvent) -> Hand:
    return Hand(scenario("abc", [vm("v", "a")], events=events)).up()


def test_maintenance_mode_is_entered_and_left():
    hand = timed(
        TimedEvent(at_s=5.0, kind=TimedKind.MAINTENANCE, hosts=("b", "a")),
        TimedEvent(at_s=9.0, kind=TimedKind.END_MAINTENANCE, hosts=("b",)),
    )
    commands = hand.acts(Ticked(), at=5.0)
    assert any(isinstance(c, Solve) for c in commands)
    states = [hand.state.hosts[name].state for name in "ab"]
    assert [HostState.ENTERING_MAINTENANCE, HostState.MAINTENANCE] == states
    hand.send(Ticked(), at=9.0)
    assert HostState.CONNECTED is hand.state.hosts["b"].state


def test_a_host_that_is_to_fail_is_told_to_the_driver():
    hand = timed(TimedEvent(at_s=5.0, kind=TimedKind.HOST_FAILURE, hosts=("a", "c")))
    assert [FailHost(host="a"), FailHost(host="c")] == hand.acts(Ticked(), at=5.0)


def test_a_vm_arrives_when_the_scenario_says():
    arrival = TimedEvent(at_s=5.0, kind=TimedKind.POWER_ON, vms=("v",))
    hand = Hand(scenario("ab", [vm("v", "a", arrives_s=5.0)], events=(arrival,))).up()
    assert "it arrives at 5 s" == hand.state.vms["v"].ended_reason
    assert [PowerOn(vm="v", host="a", epoch=1)] == hand.acts(Ticked(), at=5.0)


def test_the_demand_of_a_vm_that_is_off_is_what_it_comes_with():
    change = TimedEvent(at_s=5.0, kind=TimedKind.DEMAND, vms=("v",), demand=Constant(mhz=700.0))
    hand = Hand(scenario("ab", [vm("v", "a", arrives_s=9.0)], events=(change,))).up()
    (note,) = hand.send(Ticked(), at=5.0)
    assert "v: demand is 700 MHz now" == note.text
    assert Constant(mhz=700.0) == hand.state.vms["v"].demand


def test_a_vm_that_has_not_arrived_is_not_powered_off():
    off = TimedEvent(at_s=5.0, kind=TimedKind.POWER_OFF, vms=("v",))
    hand = Hand(scenario("ab", [vm("v", "a", arrives_s=9.0)], events=(off,))).up()
    assert () == hand.send(Ticked(), at=5.0)


def test_a_vm_whose_migration_only_waits_is_powered_off_at_once():
    off = TimedEvent(at_s=5.0, kind=TimedKind.POWER_OFF, vms=("w",))
    vms = [vm("v", "a"), vm("w", "a")]
    hand = Hand(scenario("abc", vms, events=(off,), migration=LIMITS_OF_ONE)).up()
    hand.begun("v", "b")
    hand.request("w", "c")
    assert [PowerOff(vm="w", host="a")] == hand.acts(Ticked(), at=5.0)
    assert ["v"] == [record.spec.vm for record in hand.state.migrations.values()]
