"""A real Prometheus on a cluster that stays: every expression has data, through VirtualCenter's death."""

import itertools
import json
import os
import signal
from contextlib import contextmanager

import pytest
from cli.commands import vmotion
from observe.prometheus_process import (
    answer,
    free_port,
    needs_prometheus,
    scraping,
    until,
    until_all_have_data,
)

from cluster.cli.groups.common import CENTER, reach
from dashboards.expressions import every_expression

pytestmark = [pytest.mark.ray, pytest.mark.long, pytest.mark.timeout(600), needs_prometheus]
SCENARIO = """
[scenario]
name = "watched"
duration_s = 3600
[[host]]
name = "esx"
count = 3
cpu_mhz = 4000
memory_mib = 256
nic = "1GbE"
[[vm]]
name = "kv"
count = 2
host = "esx-1"
memory_mib = 16
cpu_mhz = 2500
demand = 2200
guest = "keyvalue"
clients = { count = 1, rate_hz = 20 }
[[vm]]
name = "writer"
host = "esx-2"
memory_mib = 32
cpu_mhz = 1000
demand = 400
guest = "writer"
clients = { count = 1, rate_hz = 20 }
[vm.params]
rate_mb_s = 20
working_set_mib = 16
[drs]
interval_s = 4
window_s = 4
[ha]
enabled = true
failures_tolerated = 0
[licences]
products = { enterprise = 6, virtualcenter = 1 }
"""
COMPLETED = 'sum(vmotion_migrations_total{result="completed"})'


@contextmanager
def standing(place, port):
    """A cluster that is down afterwards, whatever happens."""
    scenario = place / "watched.toml"
    scenario.write_text(SCENARIO)
    before = os.environ.get("VMOTION_STATE_DIR")
    os.environ["VMOTION_STATE_DIR"] = str(place / "state")
    try:
        said = vmotion("up", scenario, "--metrics-port", port)
        assert 0 == said.returncode, said.stderr
        assert f"metrics: http://127.0.0.1:{port}/metrics" in said.stdout
        yield
    finally:
        vmotion("down")
        if before is None:
            del os.environ["VMOTION_STATE_DIR"]
        else:
            os.environ["VMOTION_STATE_DIR"] = before


def status():
    said = vmotion("status", "--json")
    assert 0 == said.returncode, said.stderr
    return json.loads(said.stdout)


def value(url, text):
    return sum(found for _, found in answer(url, text))


HOSTS = itertools.cycle(("esx-3", "esx-2"))


def go_on():
    """Move a VM so that it touches pages before they have arrived; DRS may have moved it there."""
    vmotion("migrate", "writer", next(HOSTS), "--mode", "postcopy")


def test_a_standing_cluster_is_seen_whatever_dies(tmp_path):
    port = free_port()
    usual = [one for one in every_expression() if not one.on_fault]
    in_maintenance = [one for one in every_expression() if "Hosts in maintenance" in one.where]
    lost = [
        one
        for one in every_expression()
        if one.where.endswith(("EsxHostLost", "annotation Hosts lost"))
    ]
    with standing(tmp_path, port), scraping(tmp_path, f"127.0.0.1:{port}") as url:
        assert [] == until_all_have_data(url, usual, go_on, silence_s_max=120.0)

        moved = value(url, COMPLETED)
        with reach(None) as control:
            os.kill(control.call(CENTER, "process"), signal.SIGKILL)
        until(lambda: value(url, "vmotion_virtualcenter_restarts_total") == 1)
        go_on()
        go_on()
        until(lambda: value(url, COMPLETED) > moved > 0)
        until(lambda: value(url, "vmotion_virtualcenter_up") == 1)  # as of the newest scrape

        vmotion("maintenance", "enter", "esx-3")
        assert [] == until_all_have_data(url, in_maintenance, status, silence_s_max=120.0)
        vmotion("maintenance", "exit", "esx-3")

        victim = next(host for host in status()["hosts"] if host["name"] == "esx-2")
        os.kill(victim["pid"], signal.SIGKILL)
        assert [] == until_all_have_data(url, lost, status, silence_s_max=120.0)
        assert 1 == value(url, "vmotion_hosts_lost_total")

        vmotion("down")
        until(lambda: answer(url, 'up{job="vmotion"} == 0'))
