"""Which hosts stand by: never one that is needed, and the one that a Watt buys the least on first."""

from dataclasses import replace

import pytest

from cluster.inventory.model import HaSettings, PowerPlanner, PowerSettings, RuleKind, RuleSpec
from cluster.policy.center import Center
from cluster.policy.standby import Standby, seen
from cluster.policy.state import HostState
from tests.policy.building import LIMITS_OF_ONE, Hand, host, scenario, vm
from tests.policy.test_balancing import plan

# Of the same size, from the one that a Watt buys the most on.
HOSTS = [
    host(name, power_w=(watts / 2, watts))
    for name, watts in zip("abcd", (100, 200, 300, 400), strict=True)
]


def up(vms=(), *, hosts=HOSTS, ha=None, rules=(), **power):
    settings = PowerSettings(**{"enabled": True, **power})
    made = scenario(hosts, vms, power=settings, ha=ha or HaSettings(), rules=rules)
    return Hand(made).up().state


def in_state(state, wanted):
    return "".join(name for name, one in state.hosts.items() if one.state is wanted)


def dark(state):
    return in_state(state, HostState.STANDBY)


def test_whoever_has_no_vm_stands_by_when_everything_is_up():
    assert "abd" == dark(up([vm("x", "c")]))
    assert "" == dark(up([vm("x", "c")], enabled=False))


def test_what_stays_on_is_the_most_efficient():
    assert "bcd" == dark(up())
    assert "cd" == dark(up(hosts_on_min=2))
    assert "" == dark(up(hosts_on_min=9))


def test_a_host_with_vms_is_one_of_those_that_stay_on():
    assert "bd" == dark(up([vm("x", "c")], hosts_on_min=2))


def test_hosts_whose_power_nobody_knows_go_by_their_size():
    big = [host("a", cpu_mhz=500.0), host("b"), host("c", cpu_mhz=750.0)]
    assert "ac" == dark(up(hosts=big))


@pytest.mark.parametrize(("tolerated", "expected"), [(0, "bcd"), (1, "cd"), (2, "d"), (3, "")])
def test_as_many_stay_on_as_ha_needs_after_its_losses(tolerated, expected):
    ha = HaSettings(enabled=True, failures_tolerated=tolerated)
    assert expected == dark(up([vm("x", "a")], ha=ha))


def test_without_ha_no_losses_are_counted():
    ha = HaSettings(enabled=False, failures_tolerated=3)
    assert "bcd" == dark(up([vm("x", "a")], ha=ha))


def test_a_plan_powers_hosts_on_and_lets_others_enter_standby_once():
    state = up([vm("x", "a"), vm("y", "b")])
    standby = Standby(state)
    wanted = replace(plan(), power_on=("c", "a"), stand_by=("b", "d"))
    said = [note.text for note in standby.planned(wanted)]

    assert ["c is powered on", "b is entering standby"] == said
    assert "ac" == in_state(state, HostState.CONNECTED)
    assert "b" == in_state(state, HostState.ENTERING_STANDBY)
    assert [] == standby.planned(wanted)


def test_a_plan_may_call_back_a_host_that_is_entering_standby():
    state = up([vm("x", "a"), vm("y", "b")])
    standby = Standby(state)
    standby.planned(replace(plan(), stand_by=("b",)))
    standby.planned(replace(plan(), power_on=("b",)))

    assert "ab" == in_state(state, HostState.CONNECTED)


def test_a_host_stands_by_when_its_last_vm_has_left_and_nothing_is_on_its_way():
    hand = Hand(scenario(HOSTS, [vm("x", "a"), vm("y", "b")], power=PowerSettings(enabled=True)))
    hand.up()
    standby = Standby(hand.state)
    standby.planned(replace(plan(), stand_by=("b",)))
    assert [] == standby.arrived()

    spec = hand.begun("y", "a")
    hand.commit(spec)
    assert "cd" == dark(hand.state)  # its memory may still follow from there
    hand.complete(spec)
    assert "bcd" == dark(hand.state)


@pytest.mark.parametrize(
    ("planner", "expected"),
    [(PowerPlanner.DPM, "cd"), (PowerPlanner.DVFS, "bcd"), (PowerPlanner.THR_MMT, "bcd")],
)
def test_an_empty_host_that_no_plan_sends_stands_by_only_with_a_baseline(planner, expected):
    state = up([vm("x", "a")], planner=planner)
    state.hosts["b"].state = HostState.CONNECTED
    assert "cd" == dark(state)
    Standby(state).arrived()
    assert expected == dark(state)


def test_nobody_stands_by_before_everything_is_up():
    center = Center(scenario(HOSTS, [], power=PowerSettings(enabled=True)))
    assert [] == Standby(center.state).arrived()


def test_a_pass_is_asked_about_power_as_the_planner_wants_it():
    vms = [vm("x", "a")]
    assert Standby(up(vms, enabled=False)).request([], "abcd") is None
    assert Standby(up(vms, planner=PowerPlanner.DVFS)).request([], "abcd") is None
    state = up(vms, hosts_on_min=2, high_ratio=0.9)
    asked = Standby(state).request(list(state.vms.values()), "abcd")
    assert (2, 0.9, None) == (
        asked.headroom.hosts_on_min,
        asked.headroom.high_ratio,
        asked.baseline,
    )
    asked = Standby(up(vms, planner=PowerPlanner.THR_MMT)).request([], "ab")
    assert [[50, 100], [100, 200]] == asked.baseline.power_w.tolist()


def test_the_demand_of_a_vm_varies_by_its_standard_deviation():
    hand = Hand(scenario(HOSTS, [vm("x", "a")], power=PowerSettings(enabled=True))).up()
    (record,) = hand.state.vms.values()
    hand.load("a", x=100.0)
    assert 0.0 == record.deviation_mhz()
    hand.load("a", x=300.0)
    asked = Standby(hand.state).request([record], "abcd")
    assert [100.0] == asked.deviation_mhz.tolist()


def test_drs_looks_at_all_that_are_on_and_at_the_best_of_those_in_standby():
    many = [host(f"h{n:02}", power_w=(10.0, 1000.0 - n)) for n in range(20)]
    state = up([vm("x", "h03")], hosts=many)
    assert ["h03", *[f"h{n}" for n in range(19, 11, -1)]] == seen(state)
    for change in ({"enabled": False}, {"planner": PowerPlanner.THR_MMT}):
        assert 20 == len(seen(up([vm("x", "h03")], hosts=many, **change)))
    rule = RuleSpec(name="apart", kind=RuleKind.ANTI_AFFINITY, vms=("x", "y"))
    vms = [vm("x", "h03"), vm("y", "h04")]
    assert 20 == len(seen(up(vms, hosts=many, rules=(rule,))))


@pytest.mark.parametrize(("enabled", "expected"), [(True, "b"), (False, "a")])
def test_vms_are_packed_on_the_best_host_only_with_power_management(enabled, expected):
    hosts = [host("a", power_w=(1.0, 400.0)), host("b", power_w=(1.0, 100.0))]
    vms = [vm("x", "b"), vm("new")]
    power = PowerSettings(enabled=enabled, hosts_on_min=2)
    assert expected == Hand(scenario(hosts, vms, power=power)).up().where()["new"]


def test_a_host_is_packed_up_to_the_low_ratio_only():
    hosts = [host("a", power_w=(1.0, 400.0)), host("b", power_w=(1.0, 100.0))]
    vms = [vm("x", "b"), vm("new")]  # 512 of 1024 MiB are half of it
    power = PowerSettings(enabled=True, low_ratio=0.45, hosts_on_min=2)
    assert "a" == Hand(scenario(hosts, vms, power=power)).up().where()["new"]


def test_where_a_vm_is_on_its_way_to_nobody_stands_by():
    """Waiting migrations count too: their host would be dark when their turn comes."""
    power = PowerSettings(enabled=True, planner=PowerPlanner.DVFS)
    vms = [vm("x", "a"), vm("y", "a")]
    hand = Hand(scenario(HOSTS, vms, power=power, migration=LIMITS_OF_ONE)).up()
    for name in "bc":
        hand.state.hosts[name].state = HostState.CONNECTED
    hand.begun("x", "b")
    hand.request("y", "c")
    Standby(hand.state).arrived()

    assert "d" == dark(hand.state)
