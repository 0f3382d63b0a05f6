"""`vmotion simulate`: its files and statuses, the same bytes twice, and what an interrupt leaves."""

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys

import pytest
from cli.commands import vmotion

from cluster.cli.simulate import replay
from cluster.cli.virtual_progress import progress_text
from cluster.observe.outputs import read_events, read_migrations, read_rounds, read_timeline

SCENARIO = """
[scenario]
duration_s = 60
seed = 3

[[host]]
name = "esx"
count = 3
cpu_mhz = 4000
memory_mib = 1024
nic = "1GbE"

[[vm]]
name = "vm"
count = 8
host = ["esx-1", "esx-2"]
memory_mib = 64
cpu_mhz = 2000
demand = { sine = { mean_mhz = 800, amplitude_mhz = 600, period_s = 40 } }
guest = "writer"

[vm.params]
rate_mb_s = 20
working_set_mib = 8

[drs]
interval_s = 10
window_s = 10
threshold = 5
cooldown_s = 5

[[event]]
at_s = 5
kind = "migrate"
vms = "vm-1"
destination = "esx-3"
"""


@pytest.fixture
def scenario(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(SCENARIO)
    return path


def command(*arguments):
    return [sys.executable, "-m", "cluster.cli", "simulate", *map(str, arguments)]


def simulated(*arguments):
    return vmotion("simulate", *arguments)


def test_it_leaves_the_files_of_a_run(scenario, tmp_path):
    said = simulated(scenario, "--out", tmp_path / "out", "--json")

    # On a slow machine stderr has lines of progress too; a complaint begins with the command's name.
    assert (0, False) == (said.returncode, "vmotion:" in said.stderr)
    summary = json.loads(said.stdout)
    assert ("simulated", 3, 60.0) == (summary["engine"], summary["seed"], summary["duration_s"])
    assert summary == json.loads((tmp_path / "out" / "summary.json").read_text())
    migrations = read_migrations(tmp_path / "out")
    assert summary["migrations"]["started"] == len(migrations) > 0
    assert sum(row.rounds for row in migrations) == len(read_rounds(tmp_path / "out"))
    assert 3 * 60 == len(read_timeline(tmp_path / "out"))
    assert "small has ended" == read_events(tmp_path / "out")[-1].text
    assert (tmp_path / "out" / "report.html").exists()


def test_the_same_seed_in_two_processes_gives_the_same_bytes(scenario, tmp_path):
    # The hash seed differs, so that an order taken from a set of texts would show.
    for number in (1, 2):
        said = subprocess.run(
            command(scenario, "--out", tmp_path / str(number)),
            capture_output=True,
            timeout=100,
            env={**os.environ, "PYTHONHASHSEED": str(number)},
        )
        assert 0 == said.returncode, said.stderr

    first, second = ((tmp_path / run / "events.jsonl").read_bytes() for run in ("1", "2"))
    assert len(first) > 1000
    assert first == second


def test_another_seed_and_a_shorter_time(scenario):
    said = simulated(scenario, "--seed", "9", "--duration", "7.5", "--json")
    summary = json.loads(said.stdout)

    assert (9, 7.5) == (summary["seed"], summary["duration_s"])


def test_a_vm_without_room_fails_the_run(scenario, tmp_path):
    # Four VMs, three hosts, and on each room for one.
    text = SCENARIO.replace(
        'count = 8\nhost = ["esx-1", "esx-2"]\nmemory_mib = 64', "count = 4\nmemory_mib = 700"
    )
    scenario.write_text(text)
    said = simulated(scenario, "--out", tmp_path / "out")

    assert 1 == said.returncode
    assert "not powered on: vm-4" in said.stderr
    assert "Traceback" not in said.stderr
    assert (tmp_path / "out" / "summary.json").exists()


def test_an_interrupt_leaves_what_there_is(scenario, tmp_path):
    scenario.write_text(SCENARIO.replace("duration_s = 60", "duration_s = 5e6"))
    with subprocess.Popen(
        command(scenario, "--out", tmp_path / "out"), stderr=subprocess.PIPE, stdout=subprocess.PIPE
    ) as run:
        assert run.stdout is not None
        run.stdout.readline()  # the first line of progress: it is under way
        run.send_signal(signal.SIGINT)
        _, stderr = run.communicate(timeout=100)

    assert 130 == run.returncode
    assert b"interrupted" in stderr
    assert "small was interrupted" == read_events(tmp_path / "out")[-1].text


def test_on_a_terminal_there_is_the_live_view(scenario):
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        command(scenario),
        stdout=theirs,
        stderr=subprocess.PIPE,
        env={**os.environ, "COLUMNS": "110"},
    ) as run:
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # the end of a terminal whose program has ended
            while part := os.read(ours, 1 << 16):
                shown += part
        os.close(ours)
        _, stderr = run.communicate(timeout=100)
    last = shown.decode().rpartition("01:00 / 01:00")[2]

    assert 0 == run.returncode, stderr
    for words in ("esx-3", "imbalance", "6 passes", "0:01:00 of 0:01:00 (100 %)"):
        assert words in last


def test_progress_says_time_speed_and_end():
    assert "1:00:00 of 24:00:00 (4 %), 1,800 times real time, 46 s left" == progress_text(
        3600.0, 86400.0, 2.0
    )


def test_the_replaying_command_survives_a_shell():
    expected = "vmotion simulate 'my lab.toml' --seed 7 --duration 12.5"
    assert expected == replay("my lab.toml", seed=7, duration_s=12.5)


def test_a_calibration_file_changes_what_steps_take(scenario, tmp_path):
    slow, wrong = tmp_path / "slow.json", tmp_path / "wrong.json"
    slow.write_text('{"prepare_s": 5.0}')
    wrong.write_text('{"prepare_s": "long", "spare": 1}')
    for number, more in enumerate(((), ("--calibration", slow))):
        simulated(scenario, "--out", tmp_path / str(number), *more)
    quick, late = (read_migrations(tmp_path / str(number))[0].duration_s for number in (0, 1))
    assert late > quick + 4
    said = simulated(scenario, "--calibration", wrong)
    assert 2 == said.returncode
    assert all(name in said.stderr for name in ("prepare_s", "spare"))
    assert 2 == simulated(scenario, "--calibration", tmp_path / "none.json").returncode
