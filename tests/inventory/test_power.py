"""The [power] table and what must hold in it."""

import pytest

from cluster.inventory.model import PowerPlanner
from cluster.inventory.scenario import ScenarioProblems, loads

BASE = """
[scenario]
duration_s = 10
[[host]]
name = "a"
cpu_mhz = 1000
memory_mib = 512
power_w = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]
[[vm]]
name = "v"
memory_mib = 16
cpu_mhz = 100
demand = 10
"""


def test_power_management_is_off_unless_it_is_asked_for(tmp_path):
    scenario = loads(BASE, file="a.toml", directory=tmp_path)
    assert not scenario.power.enabled
    assert 11 == len(scenario.hosts[0].power_w)


def test_its_keys_are_read(tmp_path):
    text = BASE + '[power]\nenabled = true\nplanner = "dvfs"\ndeviations = 2\n'
    power = loads(text, file="a.toml", directory=tmp_path).power
    assert (True, PowerPlanner.DVFS, 2.0) == (power.enabled, power.planner, power.deviations)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("[power]\ntarget_ratio = 0.99\n", "target_ratio"),
        ("[power]\nlow_ratio = 0.9\n", "low_ratio"),
        ("[power]\nenabled = true\n[drs]\nenabled = false\n", "DRS"),
        ('[power]\nplanner = "dpn"\n', "did you mean dpm"),
        (
            '[power]\nenabled = true\nplanner = "thr-mmt"\n[[host]]\nname = "dark"\n'
            "cpu_mhz = 1\nmemory_mib = 64\n",
            "dark has no power_w",
        ),
    ],
)
def test_what_cannot_hold_is_said(tmp_path, more, says):
    with pytest.raises(ScenarioProblems) as found:
        loads(BASE + more, file="a.toml", directory=tmp_path)
    assert says in str(found.value.problems[0])
