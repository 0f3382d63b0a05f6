"""Groups whose VMs differ by chance: drawn by the seed, and the same every time."""

from pathlib import Path

import numpy as np
import pytest

from cluster.inventory.scenario import ScenarioProblems, loads

TEXT = """
[scenario]
duration_s = 60
seed = 4
[[host]]
name = "esx"
cpu_mhz = 4000
memory_mib = 65536
[[vm]]
name = "web"
count = 200
memory_mib = 64
cpu_mhz = 2000
demand = { uniform = [200, 1500] }
"""


def demands(text):
    made = loads(text, file="u.toml", directory=Path())
    return [vm.demand.at(30.0) for vm in made.vms if vm.name.startswith("web")]


def test_each_vm_has_a_demand_of_its_own_for_the_whole_run():
    drawn = demands(TEXT)
    assert 200 == len(set(drawn))
    assert 200.0 <= min(drawn) < 300.0
    assert 1400.0 < max(drawn) <= 1500.0
    assert np.mean(drawn) == pytest.approx(850.0, abs=80.0)


def test_the_seed_decides_and_another_group_does_not():
    drawn = demands(TEXT)
    assert drawn == demands(TEXT)
    assert drawn != demands(TEXT.replace("seed = 4", "seed = 5"))
    more = '[[vm]]\nname = "db"\nmemory_mib = 64\ncpu_mhz = 2000\ndemand = { uniform = [1, 2] }\n'
    assert drawn == demands(TEXT + more)


def test_a_group_of_one():
    assert 1 == len(demands(TEXT.replace("count = 200", "count = 1")))


@pytest.mark.parametrize("bounds", ["[1500, 200]", "[200]", "[-1, 5]", '["a", 5]'])
def test_bounds_that_cannot_be(bounds):
    with pytest.raises(ScenarioProblems) as found:
        demands(TEXT.replace("[200, 1500]", bounds))
    assert all(problem.key.startswith("vm.web.demand.uniform") for problem in found.value.problems)
