"""Every example is a scenario, satisfies the schema, and says what its comments claim."""

import tomllib
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from cluster.guests.base import Budget
from cluster.guests.memory_map import bind, make_guest
from cluster.guests.registry import load_guest
from cluster.inventory.model import MIB
from cluster.inventory.scenario import load, loads
from cluster.inventory.schema import schema

EXAMPLES = Path(__file__).parents[2] / "examples"
DOCS = Path(__file__).parents[2] / "docs"
SCENARIOS = sorted(EXAMPLES.glob("*.toml"))


def test_there_are_examples():
    assert {"minimal", "quickstart", "custom_guest"} <= {path.stem for path in SCENARIOS}


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_an_example_loads_and_satisfies_the_schema(path):
    assert path.stem == load(path).name
    jsonschema.Draft202012Validator(schema()).validate(tomllib.loads(path.read_text()))


def test_the_smallest_scenario_of_the_documentation_loads(tmp_path):
    text = (DOCS / "scenarios.md").read_text(encoding="utf-8")
    (tmp_path / "doc.toml").write_text(text.partition("```toml\n")[2].partition("```")[0])
    assert 2 == len(load(tmp_path / "doc.toml").vms)


def test_the_planetlab_extract_is_a_day_of_sixteen_machines_with_its_origin():
    scenario = (
        '[scenario]\nduration_s = 86400\n[[host]]\nname = "h"\ncpu_mhz = 1e5\nmemory_mib = 9999\n'
        '[[vm]]\nname = "p"\ncount = 16\nmemory_mib = 1\ncpu_mhz = 100\n'
        'demand = { trace = "traces/planetlab.csv", column = "each", unit = "percent" }\n'
    )
    path = EXAMPLES / "planetlab-day.toml"
    vms = loads(scenario, file=str(path), directory=EXAMPLES).vms
    means = [np.mean([vm.demand.at(300.0 * i) for i in range(288)]) for vm in vms]
    assert sorted(means) == means
    assert 5 < means[0] < 6 < 70 < means[-1] < 75
    assert "Beloglazov" in (EXAMPLES / "traces" / "ORIGIN.txt").read_text()


def test_the_guest_of_the_custom_example_counts_every_roll_in_its_memory():
    (vm,) = load(EXAMPLES / "custom_guest.toml").vms
    guest = make_guest(
        load_guest(vm.guest.program, vm.guest.file),
        dict(vm.guest.params),
        vm_memory_bytes=vm.memory_bytes,
        seed=vm.seed,
    )
    memory = np.zeros(vm.memory_mib * MIB, dtype=np.uint8)
    bind(guest, memory)
    guest.start()
    for _ in range(10):
        guest.step(Budget(seconds=0.01, cycles=1e7, demand_mhz=500))
    assert 500 == guest.handle(None)
    assert 500 == memory[4096:].view(np.uint64).sum()
