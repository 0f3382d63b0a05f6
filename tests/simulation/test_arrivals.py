"""VMs that come and go: when they are on, and that they ask for CPU from their first instant."""

import math
from dataclasses import replace

import numpy as np
import pytest

from cluster.inventory.demand import Constant
from cluster.inventory.model import TimedKind
from cluster.inventory.scenario import ScenarioProblems, loads
from cluster.observe.record import EventKind
from cluster.simulation.run import simulate

LAB = """
[scenario]
duration_s = 100
sample_s = 50
[[host]]
name = "a"
cpu_mhz = 1000
memory_mib = 1024
power_w = [100, 110, 120, 130, 140, 150, 160, 170, 180, 190, 200]
[[vm]]
name = "stays"
memory_mib = 64
cpu_mhz = 1000
demand = 100
"""


def lab(tmp_path, more=""):
    return loads(LAB + more, file="lab.toml", directory=tmp_path)


def vm(**fields) -> str:
    keys = "".join(f"{key} = {value}\n" for key, value in fields.items())
    return f'[[vm]]\nname = "late"\nmemory_mib = 64\ncpu_mhz = 1000\ndemand = 400\n{keys}'


def test_a_vm_is_on_from_its_arrival_to_its_departure(tmp_path):
    done = simulate(lab(tmp_path, vm(arrives_s=10, stays_s=50)))
    assert () == done.failures
    told = [(e.time_s, e.kind) for e in done.events if e.vm == "late"]
    assert [(10.0, EventKind.VM_POWERED_ON), (60.0, EventKind.VM_POWERED_OFF)] == told
    assert [2, 1] == [row.vms for row in done.timeline]


def test_a_vm_that_arrives_asks_for_cpu_from_its_first_instant(tmp_path):
    # 10 % of the host for 100 s, and 40 % more for the 75 s after the arrival.
    done = simulate(lab(tmp_path, vm(arrives_s=25)))
    watt_s = 110 * 100 + 40 * 75
    assert pytest.approx(watt_s / 3.6e6) == done.summary.power.energy_kwh


def test_each_vm_of_a_group_has_times_of_its_own_and_the_same_each_time(tmp_path):
    more = vm(arrives_s="[5, 90]", count=20)
    first, again = lab(tmp_path, more), lab(tmp_path, more)
    times = [one.arrives_s for one in first.vms if one.arrives_s is not None]
    assert 20 == len(set(times))
    assert all(5 <= at_s <= 90 for at_s in times)
    assert first == again


def departures(scenario) -> dict[str, float]:
    kinds = [e for e in scenario.events if e.kind is TimedKind.POWER_OFF]
    return {name: event.at_s for event in kinds for name in event.vms}


def test_stays_with_a_mean_are_exponentially_distributed(tmp_path):
    long = LAB.replace("duration_s = 100", "duration_s = 1000000").replace(" = 1024", " = 1000000")
    made = loads(
        long + vm(stays_s="{ mean_s = 500 }", count=1000), file="lab.toml", directory=tmp_path
    )
    stays = np.array(list(departures(made).values()))
    assert 1000 == stays.size
    # Mean and deviation are alike, and the share that stays for longer than t falls as exp(-t/mean).
    assert pytest.approx(500, rel=0.1) == stays.mean()
    assert pytest.approx(500, rel=0.1) == stays.std()
    for means in (0.5, 1, 2):
        assert pytest.approx(math.exp(-means), abs=0.04) == np.mean(stays > means * 500)


def test_a_drawn_stay_is_the_vms_own_and_the_seeds(tmp_path):
    more = vm(stays_s="{ mean_s = 30 }", count=10)
    first = departures(lab(tmp_path, more))
    assert len(first) == len(set(first.values())) > 1
    assert first == departures(lab(tmp_path, more))
    other = vm(stays_s="{ mean_s = 30 }", count=3).replace("late", "other")
    beside = departures(lab(tmp_path, other + more))
    assert first == {name: at_s for name, at_s in beside.items() if name in first}
    seeded = LAB.replace("[scenario]", "[scenario]\nseed = 1") + more
    assert first != departures(loads(seeded, file="lab.toml", directory=tmp_path))


def test_a_drawn_stay_begins_with_the_arrival_and_ends_in_the_run(tmp_path):
    """The same draw, 60 s later for who arrives 60 s later; who stays past the end has no event."""
    stay = "{ mean_s = 40 }"
    now = departures(lab(tmp_path, vm(stays_s=stay, count=15)))
    late = departures(lab(tmp_path, vm(arrives_s=60, stays_s=stay, count=15)))
    assert {name: pytest.approx(at_s + 60) for name, at_s in now.items() if at_s < 40} == late
    assert 0 < len(late) < len(now) < 15
    done = simulate(lab(tmp_path, vm(arrives_s=60, stays_s=stay, count=15)))
    told = {e.vm: e.time_s for e in done.events if e.kind is EventKind.VM_POWERED_OFF}
    assert pytest.approx(late) == told


@pytest.mark.parametrize(
    ("stay", "key", "says"),
    [
        ("{ mean_s = 0 }", "vm.late.stays_s.mean_s", "out of range"),
        ("{ mean_s = true }", "vm.late.stays_s.mean_s", "not a number"),
        ("{ mean = 5 }", "vm.late.stays_s.mean", "unknown key"),
        ("{ }", "vm.late.stays_s.mean_s", "is missing"),
        ("[1, 2, 3]", "vm.late.stays_s", "3 entries"),
        ('"long"', "vm.late.stays_s", "not a list"),
    ],
)
def test_a_stay_that_cannot_be_says_why(tmp_path, stay, key, says):
    with pytest.raises(ScenarioProblems) as found:
        lab(tmp_path, vm(stays_s=stay))
    assert [
        problem.wrong
        for problem in found.value.problems
        if problem.key == key and says in problem.wrong
    ]


def test_an_event_powers_a_vm_on_again(tmp_path):
    events = "".join(
        f'[[event]]\nat_s = {at}\nkind = "{kind}"\nvms = "stays"\n'
        for at, kind in ((10, "power-off"), (60, "power-on"))
    )
    done = simulate(lab(tmp_path, events))
    assert [0, 1] == [row.vms for row in done.timeline]


def test_times_that_cannot_be_are_all_told(tmp_path):
    more = vm(arrives_s="[90, 10]", stays_s="[5, 1]") + vm(
        arrives_s=100, clients="{ count = 1 }"
    ).replace("late", "later")
    with pytest.raises(ScenarioProblems) as found:
        lab(tmp_path, more)
    keys = [problem.key for problem in found.value.problems]
    assert {
        "vm.late.arrives_s",
        "vm.late.stays_s",
        "vm.later.arrives_s",
        "vm.later.clients",
    } == set(keys)


def test_a_host_has_room_for_what_is_there_together(tmp_path):
    crowd = vm(arrives_s="[10, 90]", stays_s=1, count=40)
    done = simulate(lab(tmp_path, crowd))
    on = [e for e in done.events if e.kind is EventKind.VM_POWERED_ON]
    assert 41 == len(on)


def test_demand_that_begins_later_is_the_scenarios_clock(tmp_path):
    made = lab(tmp_path, vm(arrives_s=10))
    vms = tuple(replace(v, demand=Constant(mhz=0.0)) for v in made.vms)
    assert 0.0 == simulate(replace(made, vms=vms)).summary.unmet_demand_ratio.max
