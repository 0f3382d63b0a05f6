"""[faults] of a scenario file: they happen, they replay, and a broken promise says how."""

from dataclasses import replace
from pathlib import Path

import pytest

from cluster.cli.simulate import simulate_command
from cluster.inventory.faults import NO_FAULTS, Faults
from cluster.inventory.scenario import ScenarioProblems, load, loads
from cluster.migration import steps, table
from cluster.migration.state import Phase
from cluster.migration.table import Edge, Kind
from cluster.simulation.run import simulate
from tests.simulation.scenarios import QUICK, host, scenario, vm

FAULTY = Path(__file__).parents[2] / "examples" / "faulty.toml"


def texts(run):
    return [event.text for event in run.events]


def test_the_example_has_what_it_declares():
    declared = load(FAULTY)
    run = simulate(declared, budget=QUICK)
    told = texts(run)
    assert (
        Faults(
            lose=0.01,
            duplicate=0.05,
            delay=0.05,
            fail=0.01,
            link_slow=0.3,
            host_mtbf_s=2400.0,
            host_repair_s=300.0,
        )
        == declared.faults
    )
    assert any("failed: it crashed" in text for text in told)
    assert run.summary.migrations.completed > 0
    assert run.summary.migrations.aborted > 0
    assert told != texts(simulate(declared, budget=QUICK, faults=NO_FAULTS))


def test_a_host_that_was_repaired_takes_vms_again():
    faults = Faults(host_mtbf_s=15.0, host_repair_s=5.0, until_s=60.0, seed=1)
    hosts = [host("a"), host("b")]
    told = texts(simulate(scenario(hosts, [vm("v")], faults=faults, duration_s=100.0)))
    crashes = [text for text in told if "it crashed" in text]
    comebacks = [text for text in told if text.endswith(" connected")][len(hosts) :]
    assert len(crashes) > 1
    assert len(crashes) == len(comebacks)


def test_a_host_without_repair_fails_once():
    faults = Faults(host_mtbf_s=1.0, seed=1)
    told = texts(simulate(scenario([host("a"), host("b")], [vm("v")], faults=faults)))
    assert 2 == len([text for text in told if "it crashed" in text])


def test_the_faults_seed_gives_the_same_faults_under_another_seed_of_the_run():
    faults = Faults(host_mtbf_s=30.0, host_repair_s=5.0, seed=5)
    one = scenario([host("a"), host("b")], [vm("v")], faults=faults, seed=1)
    told = [simulate(replace(one, seed=seed)).events for seed in (1, 2)]
    crashes = [[e.time_s for e in events if "crashed" in e.text] for events in told]
    assert crashes[0] == crashes[1] != []


def test_a_broken_promise_ends_with_the_command_that_replays_it(tmp_path, monkeypatch, capsys):
    """A source that takes an unanswered commit for a no goes on running a VM that it gave away."""
    edge = Edge(steps.commit_refused, frozenset({Phase.ROLLING_BACK, Phase.LOST}))
    monkeypatch.setitem(table.TABLE, (Phase.COMMITTING, Kind.FAILED), edge)
    path = tmp_path / "faulty.toml"
    path.write_text(FAULTY.read_text().split("[faults]")[0] + "[faults]\nfail = 0.2\n")

    status = simulate_command(
        str(path), out=None, as_json=False, seed=3, duration_s=None, plain=True
    )

    said = capsys.readouterr().err
    assert 1 == status
    assert "a promise was broken" in said
    assert said.endswith(f"replay: vmotion simulate {path} --seed 3\n")


def test_every_mistake_in_the_table_is_told():
    text = FAULTY.read_text().split("[faults]")[0]
    wrong = "[faults]\nlose = 1.5\nhost_repair_s = 3\nuntil_s = 9000\nloose = 1\n"
    with pytest.raises(ScenarioProblems) as found:
        loads(text + wrong, file="f.toml", directory=Path())
    assert {
        "faults.lose",
        "faults.host_repair_s",
        "faults.until_s",
        "faults.loose",
    } == {problem.key for problem in found.value.problems}
