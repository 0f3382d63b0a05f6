"""Scenario files: what a right one becomes."""

import pickle
from pathlib import Path

import pytest

from cluster.inventory.demand import Constant, Series, Sine, Steps
from cluster.inventory.model import Automation, ClientsSpec, Mode, Profile, Scenario, TimedKind
from cluster.inventory.scenario import ScenarioProblems, load, loads


@pytest.fixture
def read(tmp_path):
    def read_text(text: str) -> Scenario:
        return loads(text, file="my test.toml", directory=tmp_path)

    return read_text


def test_groups_are_expanded_and_everything_else_has_its_default(read, right):
    scenario = read(right)
    assert "my-test" == scenario.name
    assert ("esx-1", "esx-2") == tuple(host.name for host in scenario.hosts)
    assert ("web-1", "web-2", "web-3") == tuple(vm.name for vm in scenario.vms)
    assert Profile.VI3 is scenario.profile
    assert scenario.hosts[0].nic.rate_bytes_per_second is None
    assert Constant(mhz=500) == scenario.vms[2].demand
    assert scenario.vms[0].host is None


def test_a_scenario_can_be_compared_hashed_and_sent_to_another_process(read, right):
    scenario = read(right + '[vm.params]\n[[event]]\nat_s = 1\nkind = "migrate"\nvms = "*"\n')
    assert scenario == read(
        right + '[vm.params]\n[[event]]\nat_s = 1.0\nkind = "migrate"\nvms = ["*"]'
    )
    assert scenario == pickle.loads(pickle.dumps(scenario))
    assert hash(scenario) == hash(pickle.loads(pickle.dumps(scenario)))


@pytest.mark.parametrize(
    ("nic", "rate"),
    [
        ('"1GbE"', 125e6),
        ('"10GbE"', 1.25e9),
        ('"unlimited"', None),
        ("{ rate_mbit_s = 100 }", 12.5e6),
        ('{ name = "vmnic7" }', None),
    ],
)
def test_a_network_card_is_named_by_its_kind_or_by_its_rate(read, right, nic, rate):
    scenario = read(right.replace("cpu_mhz = 4000", f"cpu_mhz = 4000\nnic = {nic}"))
    assert {rate} == {host.nic.rate_bytes_per_second for host in scenario.hosts}


@pytest.mark.parametrize(
    ("demand", "wanted"),
    [
        ("7", Constant(mhz=7)),
        ("{ constant = 7 }", Constant(mhz=7)),
        ("{ steps = [[0, 1], [5, 2.5]] }", Steps(points=((0, 1), (5, 2.5)))),
        (
            "{ sine = { mean_mhz = 5, amplitude_mhz = 3, period_s = 20 } }",
            Sine(mean_mhz=5, amplitude_mhz=3, period_s=20),
        ),
    ],
)
def test_demand_has_four_shapes(read, right, demand, wanted):
    assert wanted == read(right.replace("demand = 500", f"demand = {demand}")).vms[0].demand


def test_each_vm_of_a_group_may_have_its_own_column_of_a_trace(read, right, tmp_path):
    (tmp_path / "t.csv").write_text("a,b,c\n10,20,30\n40,50,60\n")
    demand = '{ trace = "t.csv", column = "each", unit = "percent", interval_s = 30 }'
    vms = read(right.replace("demand = 500", f"demand = {demand}")).vms
    assert [(200.0, 800.0), (400.0, 1000.0), (600.0, 1200.0)] == [
        vm.demand.values_mhz for vm in vms if isinstance(vm.demand, Series)
    ]


def test_an_event_with_a_trace_gives_each_vm_its_own_demand(read, right, tmp_path):
    (tmp_path / "t.csv").write_text("time_s,a,b,c\n0,1,2,3\n25,4,5,6\n50,1,1,1\n")
    scenario = read(
        right + '[[event]]\nat_s = 10\nkind = "demand"\nvms = ["web-3", "web-1"]\n'
        'demand = { trace = "t.csv", column = "each" }\n'
    )
    assert [("web-3",), ("web-1",)] == [event.vms for event in scenario.events]
    assert [1.0, 2.0] == [event.demand.at(0) for event in scenario.events if event.demand]


def test_a_group_is_dealt_out_over_its_hosts(read, right):
    several = read(right.replace("demand =", 'host = ["esx-2", "esx-1"]\ndemand ='))
    assert ["esx-2", "esx-1", "esx-2"] == [vm.host for vm in several.vms]
    pattern = read(right.replace("demand =", 'host = "esx-*"\ndemand ='))
    assert ["esx-1", "esx-2", "esx-1"] == [vm.host for vm in pattern.vms]


def test_seeds_come_from_the_scenarios_seed_and_the_name_unless_they_are_given(read, right):
    plain = read(right)
    assert 3 == len({vm.seed for vm in plain.vms})
    more = read(right.replace("count = 3", "count = 4"))
    assert plain.vms[0].seed == more.vms[0].seed
    other = read(right.replace("duration_s", "seed = 9\nduration_s"))
    assert plain.vms[0].seed != other.vms[0].seed
    given = read(right.replace("demand =", "seed = 5\ndemand ="))
    assert [5, 6, 7] == [vm.seed for vm in given.vms]


def test_settings_clients_and_events_arrive_as_they_were_written(read, right):
    scenario = read(
        right.replace("demand =", 'automation = "manual"\nclients = { count = 2 }\ndemand =')
        + '[drs]\nthreshold = 5\nautomation = "partially"\n[migration]\nmode = "hybrid"\n'
        '[[event]]\nat_s = 9\nkind = "cancel"\nvms = "web-1"\n'
        '[[event]]\nat_s = 5\nkind = "migrate"\nvms = "web-*"\ndestination = "esx-2"\n'
    )
    assert Automation.MANUAL is scenario.vms[0].automation
    assert ClientsSpec(count=2) == scenario.vms[0].clients
    assert (5, Automation.PARTIALLY) == (scenario.drs.threshold, scenario.drs.automation)
    assert Mode.HYBRID is scenario.migration.mode
    assert [TimedKind.MIGRATE, TimedKind.CANCEL] == [event.kind for event in scenario.events]
    assert ("web-1", "web-2", "web-3") == scenario.events[0].vms


def test_a_file_is_read_from_its_path_and_remembers_its_directory(tmp_path, right):
    path = tmp_path / "lab.toml"
    path.write_text(right)
    assert ("lab", str(tmp_path)) == (load(path).name, load(path).directory)


def test_a_file_of_a_windows_editor_is_read_like_any_other(tmp_path, right):
    path = tmp_path / "lab.toml"
    path.write_bytes(b"\xef\xbb\xbf" + right.replace("\n", "\r\n").encode())
    assert 3 == len(load(path).vms)


@pytest.mark.parametrize("content", [None, b"\xff\xfe", b"[scenario\n", b"a = " + b"[" * 5000])
def test_a_file_that_is_none_is_one_problem(tmp_path, content):
    path = tmp_path / "lab.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ScenarioProblems) as found:
        load(path)
    (problem,) = found.value.problems
    assert str(path) == problem.file


def test_a_directory_is_no_scenario():
    with pytest.raises(ScenarioProblems, match="not there"):
        load(Path("/"))
