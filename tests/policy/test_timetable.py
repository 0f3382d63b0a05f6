"""What a scenario lets happen to hosts, as if somebody had asked for it."""

from cluster.inventory.model import TimedEvent, TimedKind
from cluster.policy.messages import FailHost, Solve, Ticked
from cluster.policy.state import HostState
from tests.policy.building import Hand, scenario, vm


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
