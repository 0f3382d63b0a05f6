"""Bad input and bad usage: a message that names the thing and the cure, and no Ray started."""

import json
import socket
import subprocess
import sys

import pytest
from cli.commands import vmotion

from cluster.inventory.schema import schema

MINIMAL = """
[scenario]
duration_s = 2

[[host]]
name = "a"
cpu_mhz = 4000
memory_mib = 256

[[vm]]
name = "v"
memory_mib = 16
cpu_mhz = 1000
guest = "idle"
demand = 200
"""


def process(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "cluster.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=100,
    )


@pytest.fixture
def minimal(tmp_path):
    path = tmp_path / "minimal.toml"
    path.write_text(MINIMAL)
    return path


def test_every_command_has_help_with_an_example():
    assert "Examples:" in vmotion("--help").stdout
    for command in ("run", "simulate", "check", "schema", "report"):
        said = vmotion(command, "--help")
        assert 0 == said.returncode
        assert "Example" in said.stdout


def test_every_mistake_of_a_file_is_told_at_once_with_status_2(tmp_path):
    path = tmp_path / "wrong.toml"
    path.write_text(MINIMAL.replace("memory_mib = 16", "memory_mib = -16\nmemmory = 3"))
    said = process("run", path)

    assert 2 == said.returncode
    assert "vm.v.memory_mib" in said.stderr
    assert "memmory" in said.stderr
    assert "2 problems" in said.stderr
    assert "Traceback" not in said.stderr
    assert "" == said.stdout


def test_check_says_the_same_as_json(tmp_path):
    path = tmp_path / "wrong.toml"
    path.write_text(MINIMAL.replace("cpu_mhz = 4000", "cpu_mhz = 0"))
    said = vmotion("check", path, "--json")

    assert 2 == said.returncode
    assert ["host.a.cpu_mhz"] == [problem["key"] for problem in json.loads(said.stdout)]


def test_a_good_file_is_said_to_be_good(minimal):
    said = vmotion("check", minimal)

    assert (0, "") == (said.returncode, said.stderr)
    assert "1 hosts, 1 VMs, nothing wrong" in said.stdout


def test_a_file_that_is_not_there(tmp_path):
    said = vmotion("run", tmp_path / "nowhere.toml")

    assert 2 == said.returncode
    assert "nowhere.toml" in said.stderr
    assert "Traceback" not in said.stderr


def test_schema_is_the_schema():
    assert schema() == json.loads(vmotion("schema").stdout)


def test_a_port_that_was_named_and_is_taken_is_an_error(minimal):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = vmotion("run", minimal, "--metrics-port", port)

    assert 2 == said.returncode
    assert str(port) in said.stderr
    assert "Traceback" not in said.stderr


def test_ray_client_addresses_are_refused_with_the_cure(minimal):
    said = vmotion("run", minimal, "--ray-address", "ray://127.0.0.1:10001")

    assert 1 == said.returncode
    assert "--ray-address HOST:PORT" in said.stderr
    assert "Traceback" not in said.stderr


def test_an_address_where_no_ray_answers(minimal):
    with socket.create_server(("127.0.0.1", 0)) as quiet:
        port = quiet.getsockname()[1]
    said = vmotion("run", minimal, "--ray-address", f"127.0.0.1:{port}")

    assert 1 == said.returncode
    assert f"no Ray answers at 127.0.0.1:{port}" in said.stderr
    assert "Traceback" not in said.stderr


def test_an_output_path_that_cannot_be(minimal, tmp_path):
    (tmp_path / "file").write_text("")
    said = vmotion("run", minimal, "--out", tmp_path / "file" / "out")

    assert 1 == said.returncode
    assert "Traceback" not in said.stderr
    assert "file" in said.stderr


def test_a_report_of_what_is_no_run(tmp_path):
    said = vmotion("report", tmp_path)

    assert 2 == said.returncode
    assert "Traceback" not in said.stderr


def test_a_cluster_that_stays_does_not_start_without_the_port_that_was_named(
    minimal, tmp_path, monkeypatch
):
    """Its keeper looks for the port before it starts Ray."""
    monkeypatch.setenv("VMOTION_STATE_DIR", str(tmp_path / "state"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = vmotion("up", minimal, "--metrics-port", port)

    assert 1 == said.returncode
    assert f"metrics cannot be served on port {port}" in said.stderr
    assert not list((tmp_path / "state").glob("*/cluster.json"))
