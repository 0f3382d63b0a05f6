"""`vmotion simulate --openmetrics`: what the command writes, and Prometheus loads."""

import json
from datetime import datetime, timedelta, timezone

import pytest
from cli.commands import vmotion
from observe.prometheus_process import answer, needs_prometheus, promtool, serving

from cluster.cli.samples import begin_s

SCENARIO = """
[scenario]
duration_s = 90
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
demand = { constant = 800 }
guest = "writer"

[drs]
interval_s = 10
window_s = 10
threshold = 5
cooldown_s = 5
"""
DAY_S = 86_400.0


def simulated(*arguments):
    return vmotion("simulate", *arguments)


@needs_prometheus
def test_prometheus_answers_with_the_figures_of_the_simulation(tmp_path):
    scenario, text = tmp_path / "small.toml", tmp_path / "policies" / "eager.txt"
    scenario.write_text(SCENARIO)
    said = simulated(
        *(scenario, "--json", "--openmetrics", text),
        *("--begin", "2026-01-01T12:00:00", "--run-label", "threshold 5"),
    )
    assert 0 == said.returncode, said.stderr
    summary = json.loads(said.stdout)
    assert summary["migrations"]["completed"] > 0
    assert 'run="threshold 5", from 2026-01-01 12:00:00' in said.stderr
    status, loaded = promtool("tsdb", "create-blocks-from", "openmetrics", text, tmp_path / "data")
    assert 0 == status, loaded
    end_s = datetime.fromisoformat("2026-01-01T12:01:30+00:00").timestamp()
    with serving(tmp_path, tmp_path / "data", {"global": {"scrape_interval": "1h"}}) as url:
        found = answer(
            url, 'sum by (run) (vmotion_migrations_total{result="completed"})', at_s=end_s
        )
        assert [({"run": "threshold 5"}, summary["migrations"]["completed"])] == found
        ((_, imbalance),) = answer(url, "drs_imbalance_ratio", at_s=end_s)
    assert pytest.approx(summary["imbalance"]["end"], abs=1e-9) == imbalance


def test_options_of_samples_without_samples_are_bad_usage(tmp_path):
    said = simulated(tmp_path / "none.toml", "--run-label", "eager")
    assert 2 == said.returncode
    assert "name --openmetrics FILE" in said.stderr


def test_samples_begin_when_it_is_said_or_at_a_midnight_that_is_past():
    noon = 20_000 * DAY_S + 43_200.0
    assert 20_000 * DAY_S == begin_s(None, duration_s=3600.0, now_s=noon)
    assert 19_999 * DAY_S == begin_s(None, duration_s=43_201.0, now_s=noon)
    assert 0.0 == begin_s(None, duration_s=1e12, now_s=noon)
    at = datetime(2026, 1, 1, 12)
    zone = timezone(timedelta(hours=2))
    utc_s = begin_s(at, duration_s=1.0, now_s=noon)
    assert 1_767_268_800.0 == utc_s
    assert utc_s - 7200.0 == begin_s(at.replace(tzinfo=zone), duration_s=1.0, now_s=noon)
