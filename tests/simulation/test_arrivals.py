"""VMs that come and go: when they are on, and that they ask for CPU from their first instant."""

from dataclasses import replace

import pytest

from cluster.inventory.demand import Constant
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
