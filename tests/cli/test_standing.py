"""A cluster that stays, as an operator uses it: one for all of these, in the order of a day.

Each test leaves every VM on and every host connected; the last ones end the cluster.
"""

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from cli.commands import vmotion
from observe.collector import collecting

from cluster.actors import places
from cluster.actors.control import Control
from drs import Snapshot

pytestmark = [pytest.mark.ray, pytest.mark.long, pytest.mark.timeout(240)]
ROOT = Path(__file__).parents[2]
SILENCE_S_MAX = 90.0
HAS_OPENTELEMETRY = bool(
    importlib.util.find_spec("opentelemetry")
    and importlib.util.find_spec("opentelemetry.exporter.otlp.proto.http")
)
LAB = """
[scenario]
name = "lab"
duration_s = 3600
[[host]]
name = "esx"
count = 3
cpu_mhz = 4000
memory_mib = 256
[[vm]]
name = "vm"
count = 3
host = ["esx-1", "esx-2", "esx-3"]
memory_mib = 16
cpu_mhz = 1000
demand = 200
guest = "keyvalue"
clients = { count = 1, rate_hz = 20 }
[drs]
enabled = false
[ha]
enabled = true
failures_tolerated = 0
"""


@pytest.fixture(scope="module")
def traces():
    """Where a collector of traces is, and what it has received; None without OpenTelemetry."""
    if not HAS_OPENTELEMETRY:
        yield None
        return
    with collecting() as (url, received):
        yield url, received


@pytest.fixture(scope="module")
def lab(tmp_path_factory, traces):
    """The cluster's state directory and scenario; whatever happens it is down afterwards."""
    place = tmp_path_factory.mktemp("lab")
    scenario = place / "lab.toml"
    scenario.write_text(LAB)
    before = os.environ.get("VMOTION_STATE_DIR")
    os.environ["VMOTION_STATE_DIR"] = str(place / "state")
    command = [sys.executable, "-m", "cluster.cli", "up", scenario, "--database", place / "lab.db"]
    seen = ["--host-metrics", "--log", place / "lab.log", "--log-level", "debug"]
    try:
        # A process of its own: the keeper that it leaves behind is nobody's child then.
        said = subprocess.run(
            [*command, *seen],
            env={**os.environ, **({"OTEL_EXPORTER_OTLP_ENDPOINT": traces[0]} if traces else {})},
            capture_output=True,
            text=True,
            timeout=200,
        )
        assert 0 == said.returncode, said.stderr
        assert "cluster default is up: 3 hosts, 3 VMs" in said.stdout
        yield scenario
    finally:
        vmotion("down")
        if before is None:
            del os.environ["VMOTION_STATE_DIR"]
        else:
            os.environ["VMOTION_STATE_DIR"] = before


def told(*arguments):
    """What a command prints as JSON."""
    said = vmotion(*arguments, "--json")
    assert 0 == said.returncode, said.stderr
    return json.loads(said.stdout)


def where(vm):
    return told("vm", "show", vm)["host"]


def another(vm):
    return next(f"esx-{n}" for n in (1, 2, 3) if f"esx-{n}" != where(vm))


def until(true, what):
    end = time.monotonic() + SILENCE_S_MAX
    while time.monotonic() < end:
        if found := true():
            return found
        time.sleep(0.2)
    raise AssertionError(f"waited in vain for {what}: {told('status')}")


def all_on():
    return all(vm["power"] == "powered on" for vm in told("vm", "list"))


def fetched(url):
    with urllib.request.urlopen(url, timeout=30) as reply:
        return reply.read().decode()


def endpoints():
    """Where each host serves its own metrics, as Prometheus is told."""
    groups = json.loads(fetched(places.read("default").metrics.replace("/metrics", "/sd")))
    return {group["labels"]["__meta_vmotion_host"]: group["targets"] for group in groups}


def serves_its_own(host):
    [target] = endpoints()[host]
    with contextlib.suppress(OSError):
        return f'vmotion_host_memory_bytes{{host="{host}"}}' in fetched(f"http://{target}/metrics")
    return False


def pid_of(method="process"):
    standing = places.read("default")
    with Control(standing.control, standing.key.encode()) as control:
        return control.call("center", method)


def kill(pid):
    os.kill(pid, signal.SIGKILL)
    until(lambda: not places.began(pid), f"the end of process {pid}")


def test_a_second_up_of_the_same_name_is_refused_and_names_the_first(lab):
    said = vmotion("up", lab)
    assert 1 == said.returncode
    assert f"cluster default is up already, from {lab}" in said.stderr


def test_status_shows_hosts_their_state_and_the_tracker(lab):
    status = told("status")
    said = vmotion("status").stdout

    assert ["connected"] * 3 == [host["state"] for host in status["hosts"]]
    assert [] == status["problems"]
    assert "dirty tracking" in said
    assert "no problems" in said
    assert "licences: evaluation, " in said


def test_unknown_names_are_answered_with_the_nearest_ones(lab):
    for arguments, near in (
        (("migrate", "vn-1", "esx-2"), "vm-1"),
        (("migrate", "vm-1", "exs-2"), "esx-2"),
        (("vm", "show", "vm1"), "vm-1"),
        (("maintenance", "enter", "esx1"), "esx-1"),
    ):
        said = vmotion(*arguments)
        assert 2 == said.returncode
        assert f"did you mean {near}" in said.stderr or near in said.stderr


def test_names_are_completed_in_a_bash_that_is_set_up_as_the_page_says(lab):
    setup = 'eval "$(_VMOTION_COMPLETE=bash_source vmotion)"'
    assert setup in (ROOT / "docs" / "operating.md").read_text()
    typed = "COMP_WORDS=(vmotion migrate vm-1 esx); COMP_CWORD=3; _vmotion_completion vmotion"
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    said = subprocess.run(
        ["bash", "-c", f'{setup}; {typed}; echo "${{COMPREPLY[*]}}"'],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=SILENCE_S_MAX,
    )
    assert ("esx-1 esx-2 esx-3\n", "") == (said.stdout, said.stderr)


def test_migrate_lists_hosts_checks_and_migrates(lab):
    there = another("vm-1")
    hosts = told("migrate", "vm-1")
    assert 2 == len(hosts)
    assert {"duration_s", "downtime_s", "cpu_load", "memory_load"} < set(hosts[0])
    assert f"vm-1 can go to {there}\n" == vmotion("migrate", "vm-1", there, "--check").stdout
    task = told("migrate", "vm-1", there)

    assert ("done", "migrate", "vm-1") == (task["state"], task["kind"], task["subject"])
    assert there == where("vm-1")
    again = vmotion("migrate", "vm-1", there)
    assert 1 == again.returncode
    assert f"vm-1 runs on {there} already" in again.stderr


def test_each_host_serves_its_own_metrics_where_discovery_says(lab):
    served, targets = places.read("default").metrics, endpoints()
    assert {"esx-1", "esx-2", "esx-3"} == set(targets)
    assert serves_its_own("esx-1")
    assert 'host="esx-1"' not in "".join(
        line for line in fetched(served).splitlines() if line.startswith("vmotion_host_memory")
    )


def test_the_log_tells_a_migration_when_it_happens_step_by_step(lab):
    task = told("migrate", "vm-2", another("vm-2"))
    assert "done" == task["state"]

    def lines():
        read = [json.loads(line) for line in (lab.parent / "lab.log").read_text().splitlines()]
        mine = [one for one in read if one.get("vm") == "vm-2" and "migration" in one]
        return mine if any(one["event"] == "ended" for one in mine) else None

    found = until(lines, "the end of the migration in the log")
    assert 1 == len({one["migration"] for one in found})
    assert {"Begun", "ended"} <= {one["event"] for one in found}


def test_a_host_in_maintenance_is_empty_and_no_destination_until_it_leaves(lab):
    assert 0 == vmotion("maintenance", "enter", "esx-3").returncode
    assert [] == told("host", "show", "esx-3")["vm_names"]
    refused = vmotion("migrate", "vm-1", "esx-3")
    assert 1 == refused.returncode
    assert "esx-3 is in maintenance mode" in refused.stderr
    assert 0 == vmotion("maintenance", "exit", "esx-3").returncode


def test_rolling_maintenance_visits_every_host_and_no_vm_stops(lab):
    epochs = {vm["name"]: told("vm", "show", vm["name"])["epoch"] for vm in told("vm", "list")}
    tasks = told("maintenance", "rolling")
    entered = [task["subject"] for task in tasks if task["kind"] == "maintenance enter"]

    assert ["esx-1", "esx-2", "esx-3"] == entered
    assert all_on()
    assert all(told("vm", "show", name)["epoch"] >= epoch for name, epoch in epochs.items())
    assert not [e for e in vmotion("events", "--last", 500).stdout if "powered off" in e]


def test_a_vm_is_powered_off_and_on_where_it_is_wanted(lab):
    assert 0 == vmotion("vm", "power-off", "vm-2").returncode
    assert "as asked" == told("vm", "show", "vm-2")["off_because"]
    assert any("vm-2 is off" in line for line in told("status")["problems"])
    assert 0 == vmotion("vm", "power-on", "vm-2", "esx-2").returncode
    assert "esx-2" == where("vm-2")


def test_drs_is_set_while_it_runs_and_remembers_why(lab):
    assert 1 == vmotion("drs", "run").returncode
    assert 0 == vmotion("drs", "set", "--on", "--threshold", 5, "--automation", "manual").returncode
    status = told("drs", "status")
    assert (True, 5, "manual") == (status["enabled"], status["threshold"], status["automation"])
    assert 0 == vmotion("drs", "run").returncode
    assert "pass" in [entry["what"] for entry in told("drs", "history")]
    assert 0 == vmotion("drs", "set", "--off").returncode


def test_what_drs_decides_on_is_saved_and_decided_on_elsewhere(lab, tmp_path):
    snapshot, policy = tmp_path / "snapshot.parquet", tmp_path / "policy.json"
    done = vmotion("drs", "dump", snapshot, "--policy", policy)
    assert (0, "VMs on" in done.stdout) == (done.returncode, True)
    assert "vm-1" in Snapshot.load(snapshot).vms
    assert 0 < Snapshot.load(snapshot).taken_at_s
    assert 0 == vmotion("drs", "recommend", snapshot, "--policy", policy).returncode
    wrong = vmotion("drs", "dump", tmp_path / "snapshot.txt")
    assert (2, "a snapshot is saved as .json or .parquet" in wrong.stderr) == (
        wrong.returncode,
        True,
    )


def test_virtualcenter_killed_in_a_migration_comes_back_and_knows_everything(lab):
    there = another("vm-1")
    task = told("migrate", "vm-1", there, "--no-wait")
    kill(pid_of())
    assert all_on()  # the next life's answer
    said = vmotion("task", "show", task["id"], "--wait")
    known = [one["id"] for one in told("task", "list", "--last", 100)]

    assert "t0001" in known
    assert "VirtualCenter was restarted" in vmotion("events").stdout
    assert (0, there) == (said.returncode, where("vm-1")) or 1 == said.returncode
    assert 0 == vmotion("migrate", "vm-2", another("vm-2")).returncode


def test_a_killed_hosts_vms_run_elsewhere_and_it_is_named(lab):
    host = where("vm-3")
    kill(told("host", "show", host)["pid"])
    until(lambda: all_on() and where("vm-3") != host, "the restart of vm-3")

    assert any(f"{host} is not responding" in line for line in told("status")["problems"])


def test_a_lost_host_is_connected_again_empty_and_takes_vms(lab):
    host = next(one["name"] for one in told("host", "list") if one["state"] == "not responding")
    before = told("vm", "show", "vm-3")
    back = told("host", "connect", host)
    assert ("done", f"{host} connected") == (back["state"], back["text"])
    assert [] == told("host", "show", host)["vm_names"]
    until(lambda: serves_its_own(host), f"metrics of {host}'s new process")
    assert before["epoch"] == told("vm", "show", "vm-3")["epoch"]
    assert 0 == vmotion("migrate", "vm-3", host).returncode
    again = vmotion("host", "connect", host)
    assert (1, f"vmotion: {host}: it is connected\n") == (again.returncode, again.stderr)


def test_events_are_also_in_the_database_for_other_tools(lab):
    import sqlite3

    rows = sqlite3.connect(lab.parent / "lab.db").execute(
        "SELECT what FROM notes WHERE topic = 'host' AND kind = 'story'"
    )
    assert {"connected", "maintenance", "failed"} <= {what for (what,) in rows}


def test_a_damaged_database_is_told_with_the_cure_and_a_whole_one_put_back_is_taken(lab):
    """All of it is damaged: a single page is healed when VirtualCenter writes it again."""
    database, whole = lab.parent / "lab.db", lab.parent / "whole.db"
    _copy(database, whole)
    with database.open("r+b") as file:
        file.write(b"\xff" * database.stat().st_size)
    said = until(lambda: _failed(vmotion("vm", "list")), "the damage to be told")
    assert "is damaged" in said
    assert "Put a copy back" in said
    for left in ("lab.db-wal", "lab.db-shm"):
        (lab.parent / left).unlink(missing_ok=True)
    whole.replace(database)
    until(lambda: 0 == vmotion("vm", "list").returncode, "VirtualCenter's next life")
    assert all_on()


def test_an_emptied_database_is_not_a_new_one_and_what_runs_goes_on(lab):
    database, whole = lab.parent / "lab.db", lab.parent / "whole.db"
    epochs = [told("vm", "show", f"vm-{n}")["epoch"] for n in (1, 2, 3)]
    pid = pid_of()
    _copy(database, whole)
    os.kill(pid, signal.SIGSTOP)  # it writes no page into the empty file
    os.truncate(database, 0)
    kill(pid)
    said = until(lambda: _failed(vmotion("vm", "list")), "the loss to be told")
    assert "damaged or no database: it is empty" in said
    for left in ("lab.db-wal", "lab.db-shm"):
        (lab.parent / left).unlink(missing_ok=True)
    whole.replace(database)
    until(lambda: 0 == vmotion("vm", "list").returncode, "VirtualCenter's new beginning")
    assert all_on()
    assert epochs == [told("vm", "show", f"vm-{n}")["epoch"] for n in (1, 2, 3)]


def _copy(database: Path, to: Path) -> None:
    import sqlite3

    with (
        contextlib.closing(sqlite3.connect(database, timeout=SILENCE_S_MAX)) as source,
        contextlib.closing(sqlite3.connect(to)) as copy,
    ):
        source.backup(copy)


def _failed(said):
    return said.stderr if said.returncode == 1 and "database" in said.stderr else ""


def test_down_leaves_nothing(lab, traces):
    assert 0 == vmotion("migrate", "vm-2", another("vm-2")).returncode  # a span for the traces
    standing = places.read("default")
    said = vmotion("down")
    assert (0, "cluster default is down; nothing of it is left\n") == (said.returncode, said.stdout)
    assert "" == places.began(standing.keeper)
    assert not Path(standing.control).exists()
    assert not list(places.state_directory().glob("*"))
    assert Path(standing.database).exists()
    assert 1 == vmotion("status").returncode
    if traces:  # the last spans are sent on the way down
        assert any("/v1/traces" in path and b"migrate vm-2" in body for path, _, body in traces[1])
