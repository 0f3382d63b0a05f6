"""`vmotion drs recommend`, `explain` and `check`, from files to text and exit status."""

import json

import pytest
from click.testing import CliRunner

from cluster.cli.main import main
from drs import AntiAffinity, HostState, Snapshot, VmHostAffinity


def drs(*arguments):
    said = CliRunner().invoke(main, ["drs", *map(str, arguments)], catch_exceptions=False)
    return said.exit_code, said.stdout, said.stderr


def cluster(**rest):
    return Snapshot.build(
        ["esx1", "esx2"],
        ["db", "web", "cache"],
        [10_000, 16_384],
        [[4_000, 4_096], [3_000, 4_096], [1_000, 1_024]],
        ["esx1", "esx1", "esx1"],
        **rest,
    )


@pytest.fixture
def snapshot(tmp_path):
    path = tmp_path / "snapshot.json"
    cluster().save(path)
    return path


def stuck(tmp_path):
    path = tmp_path / "stuck.json"
    cluster(
        host_states=[HostState.ENTERING_MAINTENANCE, HostState.CONNECTED],
        rules=[VmHostAffinity(name="stay", vms=("db",), hosts=("esx1",))],
    ).save(path)
    return path


@pytest.mark.parametrize("command", ["recommend", "explain", "check"])
def test_every_command_has_help_with_an_example(command):
    status, said, _ = drs(command, "--help")
    assert 0 == status
    assert "Examples:" in said


def test_a_plan_is_told_in_words_and_as_json_and_checks(snapshot, tmp_path):
    plan = tmp_path / "plan.json"
    status, said, _ = drs("recommend", snapshot, "--out", plan)
    assert 0 == status
    assert "to lower the imbalance" in said

    status, said, _ = drs("recommend", snapshot, "--json")
    document = json.loads(said)
    assert (0, "ok") == (status, document["status"])
    written = json.loads(plan.read_text())
    assert written["recommendations"] == document["recommendations"]
    assert document["imbalance"]["after"] < document["imbalance"]["before"]

    status, said, _ = drs("check", snapshot, plan, "--json")
    assert 0 == status
    assert [] == json.loads(said)["violations"]
    assert document["objective"] == json.loads(said)["objective"]


def test_a_policy_decides(snapshot, tmp_path):
    policy = tmp_path / "policy.toml"
    policy.write_text("migration_threshold = 1\n")
    status, said, _ = drs("recommend", snapshot, "--policy", policy, "--json")
    assert (0, "nothing_worth_doing") == (status, json.loads(said)["status"])
    status, said, _ = drs("recommend", snapshot, "--policy", policy, "--threshold", 5, "--json")
    assert (0, "ok") == (status, json.loads(said)["status"])


def test_the_greedy_is_there_as_a_baseline(snapshot):
    status, said, _ = drs("recommend", snapshot, "--greedy", "--json")
    assert 0 == status
    assert json.loads(said)["moves"] > 0


def test_seconds_bound_the_search(snapshot):
    status, said, _ = drs("recommend", snapshot, "--seconds", 5, "--json")
    assert (0, "ok") == (status, json.loads(said)["status"])


def test_what_cannot_leave_is_named_and_the_status_is_1(tmp_path):
    status, said, _ = drs("recommend", stuck(tmp_path))
    assert 1 == status
    assert "db must leave esx1 and no host can take it" in said
    status, said, _ = drs("explain", stuck(tmp_path))
    assert 1 == status
    assert "These cannot hold together: rule stay" in said


def test_a_vm_is_explained_host_by_host(snapshot, tmp_path):
    status, said, _ = drs("explain", snapshot, "--vm", "db")
    assert 0 == status
    assert "could go to: esx2" in said
    status, said, _ = drs("explain", stuck(tmp_path), "--vm", "db", "--json")
    assert 1 == status
    assert [{"host": "esx2", "obstacle": "rule", "detail": "stay"}] == json.loads(said)["blockers"]


def test_a_cluster_is_explained(snapshot):
    status, said, _ = drs("explain", snapshot)
    assert 0 == status
    assert "worth balancing" in said
    told = json.loads(drs("explain", snapshot, "--json")[1])
    assert {"cpu_mhz": 0.8, "memory_mib": 0.5625} == told["hosts"][0]["load"]
    assert 1.0 == told["happiness"]


def test_a_bad_plan_is_told_with_everything_that_is_wrong(tmp_path):
    path, plan = tmp_path / "snapshot.json", tmp_path / "plan.json"
    cluster(rules=[AntiAffinity(name="apart", vms=("db", "web"))]).save(path)
    move = {"source": "esx1", "destination": "esx2", "start_s": 0.0, "end_s": 1.0}
    plan.write_text(json.dumps({"actions": [{**move, "vm": "db"}, {**move, "vm": "web"}]}))
    status, said, _ = drs("check", path, plan, "--json")
    assert 1 == status
    assert {"apart"} == {v["rule"] for v in json.loads(said)["violations"]}
    plan.write_text(json.dumps({"actions": [{**move, "vm": "nobody"}]}))
    status, said, _ = drs("check", path, plan)
    assert 1 == status
    assert "unknown VM" in said


def test_a_problem_of_the_snapshot_is_told_by_check(tmp_path):
    path = tmp_path / "snapshot.json"
    cluster(rules=[AntiAffinity(name="apart", vms=("db", "nobody"))]).save(path)
    status, said, _ = drs("check", path)
    assert 1 == status
    assert "rule apart names unknown VMs: nobody" in said


def test_bad_input_is_status_2_and_names_every_file(snapshot, tmp_path):
    policy = tmp_path / "policy.toml"
    policy.write_text("treshold = 3\nmoves_max = -1.5\n")
    status, _, errors = drs("recommend", tmp_path / "none.json", "--policy", policy)
    assert 2 == status
    assert ["none.json", "treshold", "moves_max"] == [
        next(word for word in ("none.json", "treshold", "moves_max") if word in line)
        for line in errors.splitlines()
    ]
    assert 2 == drs("recommend", snapshot, "--steps", 5, "--seconds", 5)[0]
    assert 2 == drs("explain", snapshot, "--vm", "nobody")[0]
    assert 2 == drs("check", snapshot, tmp_path / "none.json")[0]
    assert 2 == drs("check", snapshot, snapshot)[0]


def test_a_broken_snapshot_is_status_2_and_all_of_it_is_told(tmp_path):
    path = tmp_path / "broken.json"
    Snapshot.build(["h"], ["a"], [10, 10], [[-1, float("nan")]], ["h"]).save(path)
    for command in ("recommend", "explain"):
        status, said, errors = drs(command, path)
        assert 2 == status
        assert "demand is negative for a" in said + errors
        assert "demand is not a finite number for a" in said + errors
