"""A run in virtual time beside live ones: rows become samples that Prometheus loads and answers."""

import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
from observe.prometheus_process import answer, needs_prometheus, promtool, serving

from cluster.inventory.scenario import load
from cluster.migration.spec import Result
from cluster.observe.metrics import BY_NAME, Kind
from cluster.observe.openmetrics import (
    UNTOLD,
    RunRows,
    openmetrics_lines,
    unmet_demand_ratio,
    write_openmetrics,
)
from cluster.observe.record import Engine, TimelineRow
from dashboards.expressions import every_expression

SCENARIO = load(Path(__file__).parents[2] / "examples" / "quickstart.toml")
START_S = 1_700_000_000.0


def rows_of(run, **changes):
    parts = {
        "scenario": SCENARIO,
        "engine": Engine.SIMULATED,
        "migrations": run.migrations,
        "timeline": run.timeline,
        "passes": run.passes,
    }
    return RunRows(**parts | changes)


LINE = re.compile(r'(\w+)\{((?:\w+="(?:[^"\\]|\\.)*",?)*)\} (\S+) (\d+\.\d{3})')


def samples(rows, run="threshold 3"):
    """Values by time in the run, of each series: {time_s: value} by sample name and labels.

    The Python library's parser takes no histogram with more than one timestamp; what
    Prometheus makes of the text is tested below.
    """
    found = {}
    for line in openmetrics_lines(rows, run=run, start_s=START_S):
        if line.startswith("#"):
            continue
        name, labels, value, at_s = LINE.fullmatch(line.rstrip("\n")).groups()
        pairs = re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels)
        key = name, frozenset(pairs)
        time_s = float(at_s) - START_S
        values = found.setdefault(key, {})
        assert not values or max(values) < time_s
        values[time_s] = float(value)
    return found


@pytest.fixture(scope="module")
def told(run):
    return samples(rows_of(run))


def series(told, name, **labels):
    labels |= {"cluster": "simulated", "run": "threshold 3"}
    return told[name, frozenset(labels.items())]


def test_counters_start_at_nothing_and_end_at_what_the_run_counted(told, run):
    completed = {}
    for (name, labels), values in told.items():
        if name == "vmotion_migrations_total" and ("result", "completed") in labels:
            for time_s, value in values.items():
                completed[time_s] = completed.get(time_s, 0) + value
    assert 0 == completed[0.0]
    expected = run.summary.migrations.completed
    assert expected == completed[run.summary.duration_s] == max(completed.values())
    assert sorted(completed.values()) == [completed[time_s] for time_s in sorted(completed)]


def test_a_migration_counts_from_the_sample_after_its_end(told, run):
    first = min(row.started_s + row.duration_s for row in run.migrations)
    counts = series(told, "vmotion_transfer_bytes_total", phase="precopy")
    assert {0.0} == {value for time_s, value in counts.items() if time_s < first}
    assert all(value > 0 for time_s, value in counts.items() if time_s >= first)


def test_gauges_are_the_timelines(told, run):
    expected = {row.time_s: row.cpu_load for row in run.timeline if row.host == "esx-2"}
    assert expected == series(told, "vmotion_host_cpu_load_ratio", host="esx-2")
    assert {row.time_s: row.imbalance for row in run.timeline} == series(
        told, "drs_imbalance_ratio"
    )


def test_migrations_are_under_way_while_they_run(told, run):
    counted = {}
    for (name, labels), values in told.items():
        if name == "vmotion_active_migrations" and ("direction", "out") in labels:
            for time_s, value in values.items():
                counted[time_s] = counted.get(time_s, 0) + value
    for time_s, count in counted.items():
        running = [
            row
            for row in run.migrations
            if row.started_s <= time_s < row.started_s + row.duration_s
        ]
        assert len(running) == count
    assert max(counted.values()) > 1


def test_only_what_rows_tell_is_told(told):
    names = {name for name, _ in told}
    assert not {name for name in names if name in UNTOLD or "vm" in name.split("_")[1:2]}
    stems = {
        name.removesuffix("_bucket").removesuffix("_count").removesuffix("_sum") for name in names
    }
    assert stems <= BY_NAME.keys() - UNTOLD


def test_a_histogram_of_what_never_happened_is_left_out(told):
    modes = {
        value
        for (name, labels) in told
        if name == "vmotion_downtime_seconds_count"
        for key, value in labels
        if key == "mode"
    }
    assert {"precopy"} == modes
    kinds = {
        metric.name
        for metric in BY_NAME.values()
        if metric.kind is Kind.COUNTER and metric.name not in UNTOLD
    }
    unlabelled_hosts = {name for name in kinds if "host" in BY_NAME[name].labels}
    assert kinds - unlabelled_hosts <= {name for name, _ in told}


def test_refused_migrations_are_counted_and_never_under_way(run, make_migration):
    refused = make_migration(
        result=Result.REFUSED, started_s=20.0, duration_s=0.0, sent_bytes=0, downtime_s=None
    )
    told = samples(rows_of(run, migrations=[refused]))
    labels = {"mode": "precopy", "trigger": "drs", "result": "refused"}
    counts = series(told, "vmotion_migrations_total", **labels)
    assert (0, 1) == (counts[19.0], counts[20.0])
    assert not [name for name, _ in told if name == "vmotion_active_migrations"]


def test_demand_above_a_hosts_capacity_is_unmet():
    def row(host, load):
        return TimelineRow(
            time_s=1.0,
            host=host,
            cpu_load=load,
            memory_load=0.0,
            vms=1,
            tx_bytes_per_second=0.0,
            rx_bytes_per_second=0.0,
            state="connected",
            imbalance=0.0,
        )

    capacity = {"small": 1000.0, "large": 3000.0}
    assert pytest.approx(500 / 3000) == unmet_demand_ratio(
        [row("small", 1.5), row("large", 0.5)], capacity
    )
    assert 0.0 == unmet_demand_ratio([row("small", 0.0)], capacity)


def test_names_with_quotes_and_lines_cannot_break_the_text(run):
    scenario = replace(SCENARIO, name='a "quoted"\nname\\')
    told = samples(rows_of(run, scenario=scenario), run='r"')
    (labels,) = (dict(labels) for name, labels in told if name == "vmotion_run_info")
    assert r"a \"quoted\"\nname\\" == labels["scenario"]
    assert r"r\"" == labels["run"]


def test_a_threshold_that_never_balances_has_no_end(run):
    drs = replace(SCENARIO.drs, threshold=1)
    told = samples(rows_of(run, scenario=replace(SCENARIO, drs=drs)))
    assert {math.inf} == set(series(told, "drs_imbalance_target_ratio").values())


def test_the_text_ends_as_the_standard_says(run):
    lines = list(openmetrics_lines(rows_of(run), run="r", start_s=START_S))
    assert "# EOF\n" == lines[-1]
    families = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(families) == len(set(families))
    assert "vmotion_migrations" in families
    assert not [
        line for line in lines if line.startswith("vmotion_downtime_prediction_error_ratio_sum")
    ]


@needs_prometheus
def test_prometheus_loads_two_policies_and_answers_what_the_dashboard_asks(
    run, make_made_up_run, tmp_path
):
    other = make_made_up_run(seed=2, migrations=40)
    for name, made in (("threshold 3", run), ("threshold 5", other)):
        path = tmp_path / f"{name}.txt"
        count = write_openmetrics(path, rows_of(made), run=name, start_s=START_S)
        assert count > 10_000
        status, said = promtool(
            "tsdb", "create-blocks-from", "openmetrics", path, tmp_path / "data"
        )
        assert 0 == status, said
        assert str(count) in said
    at_s = START_S + run.summary.duration_s
    asked = [one for one in every_expression() if one.where.startswith("policies: ")]
    panels = [one for one in asked if "annotation" not in one.where and "variable" not in one.where]
    assert len(panels) > 7
    with serving(tmp_path, tmp_path / "data", {"global": {"scrape_interval": "1h"}}) as url:
        for one in panels:
            runs = {labels["run"] for labels, _ in answer(url, one.text, at_s=at_s)}
            assert {"threshold 3", "threshold 5"} == runs, one.where
        (migrations,) = (one for one in panels if one.where == "policies: Migrations")
        found = {labels["run"]: value for labels, value in answer(url, migrations.text, at_s=at_s)}
    assert {
        "threshold 3": run.summary.migrations.completed,
        "threshold 5": other.summary.migrations.completed,
    } == found
