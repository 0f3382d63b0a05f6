"""`vmotion run` as a user runs it: real processes, real signals, and nothing left behind."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
FILES = {
    *("summary.json", "migrations.parquet", "rounds.parquet", "timeline.parquet"),
    *("events.jsonl", "report.html"),
}
QUICK = """
[scenario]
duration_s = 6
[[host]]
name = "esx-{}"
count = 2
cpu_mhz = 4000
memory_mib = 256
[[vm]]
name = "kv"
host = "esx-1"
memory_mib = 16
cpu_mhz = 1000
demand = 200
guest = "keyvalue"
clients = { count = 2, rate_hz = 50 }
[drs]
enabled = false
[[event]]
at_s = 1
kind = "migrate"
vms = "kv"
"""

pytestmark = pytest.mark.ray


@pytest.fixture
def quick(tmp_path):
    path = tmp_path / "quick.toml"
    path.write_text(QUICK)
    return path


@pytest.fixture
def home(tmp_path):
    """A place of its own for temporary files, so that leftovers can be told from others'."""
    made = Path("/tmp") / f"vm{os.getpid()}"  # short: Ray's sockets lie below
    made.mkdir()
    yield made
    left = [path for path in made.rglob("*") if path.is_file()]
    shutil.rmtree(made)
    assert [] == left


def start(*arguments, home, **environment):
    return subprocess.Popen(
        [sys.executable, "-m", "cluster.cli", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # so that signals reach it alone, as from a supervisor
        env={**os.environ, "TMPDIR": str(home), **environment},
    )


def processes_of(home):
    """The processes whose environment names `home`: the run's and all that it started."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            environment = (entry / "environ").read_bytes()
            state = (entry / "stat").read_text().rsplit(")", 1)[1].split()[0]
        except OSError:
            continue
        if f"TMPDIR={home}".encode() in environment and state != "Z":
            found.append((int(entry.name), (entry / "cmdline").read_bytes()[:80]))
    return found


def gone(home, within_s):
    end = time.monotonic() + within_s
    while processes_of(home) and time.monotonic() < end:
        time.sleep(0.2)
    return processes_of(home)


def until_line(process, part):
    for line in process.stderr:
        if part in line:
            return line
    raise AssertionError(f"no line with {part!r}; status {process.wait()}")


def test_a_run_leaves_its_files_and_nothing_else(quick, home, tmp_path):
    """Stdout is the summary alone; metrics are served meanwhile; a stale address does not matter."""
    shm = set(os.listdir("/dev/shm"))
    counted = 'vmotion_downtime_seconds_count{mode="hybrid"} 1.0'
    out = tmp_path / "out"
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind(("127.0.0.1", 9400))
            taken.listen()
        except OSError:
            pass  # taken already, which is as good
        process = start("run", quick, "--out", out, "--json", home=home, RAY_ADDRESS="127.0.0.1:1")
        url = until_line(process, "metrics: ").split()[-1]
        until_line(process, "kv esx-1 → esx-2: completed")
        deadline = time.monotonic() + 10
        while True:
            text = urllib.request.urlopen(url).read().decode()
            if counted in text or time.monotonic() > deadline:
                break
            time.sleep(0.2)
        stdout, stderr = process.communicate(timeout=60)
    summary = json.loads(stdout)

    assert (0, []) == (process.returncode, gone(home, 5)), stderr
    assert ":9400/" not in url
    assert counted in text
    assert 1 == summary["migrations"]["completed"]
    assert {
        "vms_checked": 1,
        "mismatched_pages": 0,
        "lost_requests": 0,
        "duplicated_requests": 0,
    } == summary["integrity"]
    assert summary["client_blackout_s"]["max"] >= summary["downtime_s"]["max"] * 0.5
    assert FILES == {path.name for path in out.iterdir()}
    assert summary == json.loads((out / "summary.json").read_text())
    assert shm == set(os.listdir("/dev/shm"))


ENDINGS = [
    signal.SIGINT,
    pytest.param(signal.SIGTERM, marks=pytest.mark.long),
    pytest.param(signal.SIGHUP, marks=pytest.mark.long),
]


@pytest.mark.parametrize("number", ENDINGS, ids=lambda number: number.name)
def test_an_interrupted_run_cleans_up_and_keeps_what_it_has(quick, home, tmp_path, number):
    out = tmp_path / "out"
    process = start("run", quick, "--out", out, "--json", "--duration", 600, home=home)
    until_line(process, "kv esx-1 → esx-2: completed")
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=30)

    assert 130 == process.returncode
    assert "interrupted; nothing is left running" in stderr
    assert "Traceback" not in stderr
    assert [] == gone(home, 5)
    assert json.loads(stdout)["integrity"] is None
    assert FILES == {path.name for path in out.iterdir()}


@pytest.mark.long
def test_an_interrupt_while_the_cluster_starts_cleans_up(quick, home):
    process = start("run", quick, home=home)
    time.sleep(3.0)  # whatever it is doing then
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=30)

    assert 130 == process.returncode, stderr
    assert [] == gone(home, 5)


@pytest.mark.long
def test_a_killed_run_takes_its_ray_with_it(quick, home):
    """Its processes and its files: the reaper outlives the run."""
    process = start("run", quick, "--duration", 600, "--json", home=home)
    until_line(process, "kv esx-1 → esx-2: completed")
    process.kill()
    process.communicate()

    assert [] == gone(home, 30)


@pytest.mark.long
def test_a_guest_that_does_not_import_fails_the_run_in_words(quick, home, tmp_path):
    (tmp_path / "mine.py").write_text(
        "import nothing_of_this_name\nfrom cluster.guests.base import Guest\nclass Mine(Guest): ...\n"
    )
    quick.write_text(QUICK.replace('"keyvalue"', '"mine.py:Mine"'))
    process = start("run", quick, "--json", home=home)
    _, stderr = process.communicate(timeout=60)

    assert 1 == process.returncode
    assert "nothing_of_this_name" in stderr
    assert "not powered on: kv" in stderr
    assert "Traceback" not in stderr
    assert [] == gone(home, 5)


@pytest.mark.long
def test_an_existing_ray_cluster_is_used_and_left_as_it_was(home, tmp_path):
    """The user's guest and this project travel there by the runtime environment."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "a" * 32}
    environment = {**os.environ, "TMPDIR": str(home), **token, "PYTHONPATH": ""}
    ray = Path(sys.executable).parent / "ray"
    head = subprocess.Popen(
        [
            *(str(ray), "start", "--head", "--block", f"--port={port}", "--num-cpus=4"),
            *("--include-dashboard=false", f"--temp-dir={home}/r", "--disable-usage-stats"),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
        cwd=tmp_path,
    )
    try:
        end = time.monotonic() + 30
        while time.monotonic() < end:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.2)
        scenario = ROOT / "examples" / "custom_guest.toml"
        process = start(
            *("run", scenario, "--json", "--duration", "6", "--ray-address", f"127.0.0.1:{port}"),
            home=home,
            **token,
        )
        stdout, stderr = process.communicate(timeout=100)
        assert 0 == process.returncode, stderr
        assert 0 == json.loads(stdout)["integrity"]["lost_requests"]
        assert head.poll() is None
    finally:
        head.terminate()
        head.wait(30)
        gone(home, 20)
        subprocess.run(["rm", "-rf", f"{home}/r"], check=True)
