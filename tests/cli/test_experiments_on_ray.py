"""`vmotion sweep` and `tune` as a user runs them: in processes of their own, with a Ray each."""

import json
import subprocess
import sys

import pyarrow.parquet as pq
import pytest

SMALL = """
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
host = "esx-1"
[drs]
interval_s = 60
"""


def vmotion(*words):
    command = [sys.executable, "-m", "cluster.cli", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture
def scenario(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    return path


def test_a_sweep_with_mistakes_is_told_before_anything_starts(scenario, tmp_path):
    done = vmotion(
        "sweep", scenario, "--vary", "hsts.count=1", "--vary", "vm.count=0", "--out", tmp_path / "x"
    )
    assert 2 == done.returncode
    assert "did you mean host" in done.stderr
    assert "count: 0 is out of range" in done.stderr


@pytest.mark.ray
def test_a_search_and_a_sweep_end_with_their_files(scenario, tmp_path):
    out = tmp_path / "tuning"
    words = ("tune", scenario, "--space", "threshold=1..5", "--seeds", 2, "--out", out, "--json")
    first = vmotion(*words, "--trials", 2)
    assert 0 == first.returncode, first.stderr
    found = json.loads(first.stdout)
    assert [True] == [row["chosen"] for row in found["front"] if row["chosen"]]
    assert (2, found) == (found["trials"], json.loads((out / "front.json").read_text()))
    assert (out / "policy.toml").read_text().count("threshold = ") == 1
    # The same search goes on where it was; another one is refused there.
    more = vmotion(*words, "--trials", 2)
    assert (0, found) == (more.returncode, json.loads(more.stdout))
    assert "2 trials of an earlier search are there" in more.stderr
    other = vmotion("tune", scenario, "--space", "threshold=1..4", "--out", out)
    assert (2, True) == (other.returncode, "another search" in other.stderr)

    table = tmp_path / "sweep.parquet"
    done = vmotion("sweep", scenario, "--vary", "hosts=2,3", "--seeds", 2, "--out", table)
    assert 0 == done.returncode, done.stderr
    rows = pq.read_table(table).to_pylist()
    assert [(2, 0), (2, 1), (3, 0), (3, 1)] == [(row["hosts"], row["seed"]) for row in rows]
    assert all(row["migrations.completed"] >= 0 and row["failed"] == "" for row in rows)
