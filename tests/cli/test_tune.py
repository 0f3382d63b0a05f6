"""`vmotion tune` and `compare` from the command line."""

import json

import pytest
from click.testing import CliRunner

from cluster.cli.main import main

SCENARIO = """
[scenario]
duration_s = 120
sample_s = 10
[[host]]
name = "esx"
count = 2
cpu_mhz = 2000
memory_mib = 1024
nic = "1GbE"
[[vm]]
name = "vm"
count = 4
memory_mib = 64
cpu_mhz = 1000
demand = { uniform = [100, 900] }
host = "esx-*"
[drs]
interval_s = 60
"""


@pytest.fixture
def scenario(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(SCENARIO)
    return path


def vmotion(*words):
    return CliRunner().invoke(main, [str(word) for word in words])


def test_a_space_with_mistakes_is_told_before_anything_starts(scenario, tmp_path):
    out = tmp_path / "out"
    done = vmotion(
        "tune", scenario, "--space", "thresold=1..5", "--space", "interval_s=0,1", "--out", out
    )
    assert 2 == done.exit_code
    assert ["there is no parameter thresold", "drs.interval_s=0"] == [
        line.removeprefix("vmotion: ").partition(":")[0] for line in done.stderr.splitlines()
    ]
    assert not out.exists()


def test_what_is_wrong_with_the_scenario_and_the_space_is_told_at_once(tmp_path):
    broken, bad = tmp_path / "broken.toml", tmp_path / "bad.toml"
    broken.write_text(SCENARIO.replace("cpu_mhz = 2000", "cpu_mhz = 0"))
    bad.write_text("[drs]\nthreshhold = 1\n")
    done = vmotion("tune", broken, "--space", "thresold=1..5")
    assert 2 == done.exit_code
    assert all(word in done.stderr for word in ("cpu_mhz", "thresold"))
    done = vmotion("compare", bad, broken)
    assert 2 == done.exit_code
    assert all(word in done.stderr for word in ("cpu_mhz", "threshhold"))


def test_a_trace_hosts_times_and_a_space_that_cannot_be_are_told_at_once(tmp_path):
    """Each with its file and line where it has one; nothing is simulated and nothing written."""
    (tmp_path / "load.csv").write_text("a,b,c\n100,200,\n100,,300\n")
    broken = tmp_path / "broken.toml"
    broken.write_text(
        SCENARIO.replace("count = 2", "count = 0").replace(
            "{ uniform = [100, 900] }", '{ trace = "load.csv", column = "each", interval_s = 60 }'
        )
        + "[faults]\nuntil_s = 121\n"
        + '[[event]]\nat_s = 120\nkind = "host-failure"\nhosts = "esx-*"\n'
    )
    out = tmp_path / "out"
    space = ("--space", "thresold=1..5", "--space", "interval_s=300..60")
    done = vmotion("tune", broken, *space, "--out", out)
    assert (2, "") == (done.exit_code, done.stdout)
    for said in (
        "broken.toml:7: host.esx.count: 0 is out of range; at least 1",
        "vm.vm.demand.column: 4 VMs and 3 columns in load.csv",
        'column "b" of load.csv has 1 gap in 2 samples, the first at sample 2',
        'column "c" of load.csv has 1 gap in 2 samples, the first at sample 1',
        "faults.until_s: 121 s is past the end of the run at 120 s",
        "event[0].at_s: 120 s is not before the end of the run at 120 s",
        "6 problems",
        "vmotion: there is no parameter thresold: did you mean",
        "vmotion: 'interval_s=300..60': the lowest comes first",
    ):
        assert said in done.stderr
    assert not out.exists()


@pytest.mark.parametrize("command", ["check", "simulate", "run"])
def test_every_command_that_reads_a_scenario_tells_all_of_a_bad_trace(scenario, command):
    (scenario.parent / "load.csv").write_text("time_s,a,b\n0,100,\n60,100,300\n180,100,300\n")
    demand = '{ trace = "load.csv", column = "each" }'
    scenario.write_text(SCENARIO.replace("{ uniform = [100, 900] }", demand))
    done = vmotion(command, scenario)
    assert 2 == done.exit_code
    for said in ("4 VMs and 2 columns in load.csv", 'column "b" of load.csv', "from 60 to 180"):
        assert said in done.stderr
    assert "3 problems" in done.stderr


def test_objectives_that_say_nothing_are_refused(scenario):
    done = vmotion(
        "tune",
        scenario,
        *("--space", "window_s=60,300", "--objective", "imbalance", "--objective", "energy_kwh"),
    )
    assert 2 == done.exit_code
    assert "esx-1 has no power_w" in done.stderr
    assert "does not compare two windows" in done.stderr


def test_compare_shows_the_scenarios_own_policy_beside_the_others(scenario, tmp_path):
    calm = tmp_path / "calm.toml"
    calm.write_text("[drs]\nthreshold = 1\n")
    done = vmotion("compare", calm, scenario, "--seeds", 2, "--json")
    assert 0 == done.exit_code
    found = json.loads(done.stdout)
    assert ["as in the scenario", str(calm)] == list(found)
    assert 0.0 == found[str(calm)]["migrations"]["mean"]


def test_a_policy_file_with_mistakes_is_named(scenario, tmp_path):
    bad = tmp_path / "bad.toml"
    bad.write_text("[drs]\nthreshhold = 1\n")
    for words in (("compare", bad, scenario), ("simulate", scenario, "--policy", bad)):
        done = vmotion(*words)
        assert 2 == done.exit_code
        assert "drs.threshhold" in done.stderr


def test_a_simulation_runs_under_a_policy(scenario, tmp_path):
    off = tmp_path / "off.toml"
    off.write_text("[drs]\nenabled = false\n")
    done = vmotion("simulate", scenario, "--policy", off, "--json")
    assert (0, 0) == (done.exit_code, json.loads(done.stdout)["drs"]["passes"])
