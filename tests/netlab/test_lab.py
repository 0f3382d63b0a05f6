"""A cluster over three nodes with a network between them: real Ray, real cables, nothing left."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.netlab.lab import ROOT, inhabitants, netlab, why_not

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(400),
    pytest.mark.skipif(bool(why_not()), reason=why_not() or "there is a lab"),
]
SILENCE_S_MAX = 120.0


@pytest.fixture(scope="module")
def lab():
    with netlab() as started:
        namespaces = started.namespaces()
        yield started
    until_empty(namespaces)


def until_empty(namespaces):
    end = time.monotonic() + SILENCE_S_MAX
    while inhabitants(namespaces):
        assert time.monotonic() < end, "processes of the lab are left"
        time.sleep(0.1)


def children(pid):
    try:
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:  # it has ended meanwhile
        return []


def vmotion(lab, *arguments):
    """Run a command on the first node to its end."""
    process = lab.run([sys.executable, "-m", "cluster.cli", *map(str, arguments)])
    out, err = process.communicate(timeout=SILENCE_S_MAX * 2)
    return process.returncode, out, err


MOVING = """
[scenario]
duration_s = 8
[[host]]
name = "esx-{}"
count = 3
cpu_mhz = 8000
memory_mib = 512
[[vm]]
name = "kv"
host = "esx-1"
memory_mib = 32
cpu_mhz = 2000
demand = 500
guest = "keyvalue"
clients = { count = 2, rate_hz = 20 }
[[vm]]
name = "w"
host = "esx-2"
memory_mib = 64
cpu_mhz = 2000
demand = 500
guest = "writer"
[vm.params]
rate_mb_s = 5.0
[drs]
enabled = false
[[event]]
at_s = 1
kind = "migrate"
vms = ["kv", "w"]
destination = "esx-3"
"""


def test_vms_move_between_nodes_with_every_page_and_request(lab, tmp_path):
    path = tmp_path / "moving.toml"
    path.write_text(MOVING)
    status, out, err = vmotion(lab, "run", path, "--ray-address", lab.ray_address, "--json")
    assert 0 == status, err
    summary = json.loads(out)
    assert 2 == summary["migrations"]["completed"], err
    integrity = summary["integrity"]
    assert 2 == integrity.pop("vms_checked")
    assert {0} == set(integrity.values())
    assert "network between nodes:" in err


def test_a_label_that_no_node_has_is_refused_before_anything_starts(lab, tmp_path):
    text = (ROOT / "examples" / "minimal.toml").read_text()
    path = tmp_path / "labelled.toml"
    path.write_text(text.replace('name = "esx"', 'name = "esx"\nnode_labels = { rack = "r9" }'))
    status, _, err = vmotion(lab, "run", path, "--ray-address", lab.ray_address, "--plain")
    assert 1 == status
    assert "esx-1 needs a Ray node with rack=r9" in err
    assert "vmlab-node=vmlab-1" in err


def test_a_lab_that_is_killed_leaves_nothing():
    lab = subprocess.Popen(
        [sys.executable, "-m", "tests.netlab.lab"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert lab.stdout is not None
    held: set[str] = set()
    while len(held) < 4:  # a node's first process is there before Ray is
        assert lab.poll() is None, "it did not start"
        held = {
            os.readlink(f"/proc/{inner}/ns/net")
            for pid in children(lab.pid)
            for inner in children(pid)
        }
        held.discard(os.readlink("/proc/self/ns/net"))
        time.sleep(0.05)
    lab.send_signal(signal.SIGKILL)
    lab.wait()
    lab.stdout.close()
    until_empty(held)
