"""One scenario in both engines: what is decided must be the same, however long it takes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cluster.inventory.scenario import load
from cluster.observe.rows import to_json
from cluster.simulation.run import simulate

HERE = Path(__file__).parent
# What was decided; not when, how fast, or in which order hosts came up.
TOLD = ("migration", "source", "destination", "trigger", "mode", "reason", "rounds", "error")


def decisions(events):
    """The story without times and figures, hosts' and VMs' start-up and clients aside."""
    return [
        (
            event["kind"],
            event.get("vm"),
            event.get("host"),
            {name: value for name, value in event.get("details", {}).items() if name in TOLD},
            event["text"].split(", downtime")[0],
        )
        for event in events
        if event["time_s"] > 0
        and not event["kind"].startswith("run-")
        and "its clients" not in event["text"]
    ]


def simulated(path, *, serves_faults):
    run = simulate(load(path), serves_faults=serves_faults)
    return decisions([json.loads(json.dumps(to_json(event))) for event in run.events])


def by_vm(told):
    """Each VM's story in its order; two VMs' migrations may overlap, or not on a faster machine."""
    return sorted(told, key=lambda decision: decision[1] or "")


def serves_faults(live):
    """Whether the live hosts carried post-copy: then the one asked for was not refused."""
    return any(details.get("mode") == "postcopy" for _, _, _, details, _ in live)


@pytest.mark.ray
@pytest.mark.long
@pytest.mark.timeout(240)
def test_both_engines_decide_the_same(tmp_path):
    path = HERE / "engines.toml"
    command = [sys.executable, "-m", "cluster.cli", "run", str(path), "--out", str(tmp_path)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert 0 == ran.returncode, ran.stderr
    lines = (tmp_path / "events.jsonl").read_text(encoding="utf-8").splitlines()
    live = decisions(map(json.loads, lines))
    assert by_vm(live) == by_vm(simulated(path, serves_faults=serves_faults(live)))


def test_the_scenario_decides_something_of_every_kind():
    told = simulated(HERE / "engines.toml", serves_faults=False)
    expected = [
        "vm-1 esx-1 → esx-2: started",
        "vm-1 esx-1 → esx-2: completed",
        "vm-1 → esx-2: refused",
        "vm-2 → esx-3: refused",
        "vm-3: hybrid becomes precopy",
        "vm-3 esx-3 → esx-1: started",
        "vm-3 esx-3 → esx-1: completed",
        "vm-3 powered off: by the scenario",
        "vm-3 → esx-2: refused",
        "vm-2 is not migrating",
    ]
    texts = [text for *_, text in told]
    assert expected == [text[: len(start)] for start, text in zip(expected, texts, strict=True)]
