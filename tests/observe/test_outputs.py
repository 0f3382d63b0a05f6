"""The files of a run: names are an interface, and what is written can be read."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster.migration.spec import Downtime, MigrationSpec, Outcome, Result, Round
from cluster.observe.outputs import (
    read_events,
    read_migrations,
    read_rounds,
    read_summary,
    read_timeline,
    rewrite_report,
    write_comparison,
    write_run,
)
from cluster.observe.record import EventKind, EventRow, downtime_parts, migration_row
from cluster.observe.rounds import round_rows
from cluster.observe.rows import to_json

SUMMARY_KEYS = {
    "scenario": None,
    "engine": None,
    "seed": None,
    "hosts": None,
    "vms": None,
    "duration_s": None,
    "migrations": ["started", "completed", "aborted", "lost", "refused"],
    "downtime_s": ["p50", "p99", "max"],
    "client_blackout_s": ["p50", "p99", "max"],
    "sent_bytes": None,
    "bandwidth_bytes_per_second": ["mean", "max"],
    "imbalance": ["start", "end", "mean", "max"],
    "drs": ["passes", "recommended", "applied", "solve_s"],
    "unmet_demand_ratio": ["mean", "max"],
    "rule_violations": None,
    "integrity": ["vms_checked", "mismatched_pages", "lost_requests", "duplicated_requests"],
    "power": None,
}
MIGRATION_COLUMNS = [
    "vm",
    "source",
    "destination",
    "mode",
    "trigger",
    "reason",
    "result",
    "error",
    "started_s",
    "duration_s",
    "rounds",
    "memory_bytes",
    "sent_bytes",
    "precopy_bytes",
    "downtime_bytes",
    "postcopy_bytes",
    "zero_pages",
    "downtime_s",
    "predicted_downtime_s",
    "downtime_quiesce_s",
    "downtime_scan_s",
    "downtime_copy_s",
    "downtime_state_s",
    "downtime_commit_s",
    "downtime_resume_s",
    "client_blackout_s",
    "demand_faults",
    "survives_process_s",
    "survives_node_s",
    "throttle_max",
    "dirty_rate_bytes_per_second",
    "bandwidth_bytes_per_second",
]
ROUND_COLUMNS = [
    "vm",
    "started_s",
    "round",
    "duration_s",
    "sent_pages",
    "zero_pages",
    "sent_bytes",
    "dirty_pages",
]
TIMELINE_COLUMNS = [
    "time_s",
    "host",
    "cpu_load",
    "memory_load",
    "vms",
    "tx_bytes_per_second",
    "rx_bytes_per_second",
    "state",
    "imbalance",
]


@pytest.fixture(scope="module")
def written(run, tmp_path_factory):
    directory = tmp_path_factory.mktemp("run") / "not" / "there" / "yet"
    write_run(directory, run.summary, run.migrations, run.timeline, run.events, run.rounds)
    return directory


def test_a_run_leaves_six_files_and_nothing_half_written(written):
    assert [
        "events.jsonl",
        "migrations.parquet",
        "report.html",
        "rounds.parquet",
        "summary.json",
        "timeline.parquet",
    ] == sorted(path.name for path in written.iterdir())


def test_the_summarys_keys_are_the_interface(written):
    summary = json.loads((written / "summary.json").read_text(encoding="utf-8"))
    assert list(SUMMARY_KEYS) == list(summary)
    for key, inner in SUMMARY_KEYS.items():
        if inner is not None:
            assert inner == list(summary[key])
    assert ["p50", "max"] == list(summary["drs"]["solve_s"])
    assert "live" == summary["engine"]


def test_the_columns_are_the_interface(written):
    assert MIGRATION_COLUMNS == pq.read_schema(written / "migrations.parquet").names
    assert ROUND_COLUMNS == pq.read_schema(written / "rounds.parquet").names
    assert TIMELINE_COLUMNS == pq.read_schema(written / "timeline.parquet").names


def test_what_is_written_is_read_back(written, run):
    assert run.migrations == read_migrations(written)
    assert run.rounds == read_rounds(written)
    assert run.timeline == read_timeline(written)
    assert run.events == read_events(written)
    assert run.summary == read_summary(written)


def test_a_report_is_made_again_from_the_other_files(run, tmp_path):
    write_run(tmp_path, run.summary, run.migrations, run.timeline, run.events, run.rounds)
    first = (tmp_path / "report.html").read_text(encoding="utf-8")
    (tmp_path / "report.html").unlink()
    assert tmp_path / "report.html" == rewrite_report(tmp_path)
    assert first == (tmp_path / "report.html").read_text(encoding="utf-8")


def test_a_directory_without_a_run_has_no_report(tmp_path):
    with pytest.raises(FileNotFoundError):
        rewrite_report(tmp_path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("summary.json", "[]"),
        ("summary.json", '{"scenario": "x"}'),
        ("summary.json", "{"),
        ("migrations.parquet", "no parquet"),
        ("events.jsonl", '{"time_s": 0, "kind": "no such kind", "text": ""}'),
    ],
)
def test_files_that_are_no_runs_are_refused(run, tmp_path, name, content):
    write_run(tmp_path, run.summary, run.migrations, run.timeline, run.events)
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError):  # noqa: PT011  # each library has its own words
        rewrite_report(tmp_path)


def test_each_line_of_events_is_json_with_its_words(written, run):
    lines = (written / "events.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(run.events) == len(lines)
    assert {"time_s": 0.0, "kind": "run-started", "text": run.events[0].text} == json.loads(
        lines[0]
    )


def test_a_run_without_rows_keeps_its_columns_and_their_types(run, tmp_path):
    """A reader that joins many runs must not stumble over one in which nothing happened."""
    write_run(tmp_path, run.summary, [], [], [])
    assert [] == read_migrations(tmp_path)
    schema = pq.read_schema(tmp_path / "migrations.parquet")
    assert MIGRATION_COLUMNS == schema.names
    assert pa.float64() == schema.field("client_blackout_s").type
    assert schema.field("client_blackout_s").nullable
    assert not schema.field("sent_bytes").nullable


def test_a_later_run_replaces_an_earlier_one(run, tmp_path):
    for events in (run.events, run.events[:1]):
        write_run(tmp_path, run.summary, run.migrations, run.timeline, events)
    assert run.events[:1] == read_events(tmp_path)


def test_what_is_no_number_is_null():
    assert [None, None, 1.5] == to_json([float("nan"), float("inf"), 1.5])
    with pytest.raises(TypeError, match="no data of a row"):
        to_json(object())


def test_an_event_keeps_its_details(run, tmp_path):
    event = EventRow(
        time_s=1.5,
        kind=EventKind.NOTE,
        text="tab\tand “quotes”\nand a line",
        vm="web-1",
        details={"pages": [1, 2]},
    )
    write_run(tmp_path, run.summary, [], [], [event])
    assert [event] == read_events(tmp_path)


SPEC = MigrationSpec(
    id="m-1", vm="web-1", source="esx-1", destination="esx-2", epoch=2, memory_bytes=1 << 20
)
OUTCOME = Outcome(
    result=Result.COMPLETED,
    error="",
    started_s=3.0,
    duration_s=1.0,
    rounds=(
        Round(round=0, duration_s=0.5, pages_sent=256, zero_pages=6, sent_bytes=900, pages_dirty=4),
    ),
    downtime=Downtime(quiesce_s=0.001, copy_s=0.002, resume_s=0.003),
    predicted_downtime_s=0.005,
    precopy_bytes=900,
    downtime_bytes=80,
    postcopy_bytes=7,
    zero_pages=6,
    throttle_max=0.2,
    dirty_rate_bytes_per_second=10.0,
    bandwidth_bytes_per_second=20.0,
)


def test_a_row_is_made_of_what_was_asked_and_what_came_out():
    row = migration_row(SPEC, OUTCOME, client_blackout_s=0.009)
    assert 987 == row.sent_bytes
    assert 1 == row.rounds
    assert (
        pytest.approx(0.006) == row.downtime_s == pytest.approx(sum(downtime_parts(row).values()))
    )
    assert 0.009 == row.client_blackout_s


def test_a_row_of_a_round_names_its_migrations_row():
    (row,) = round_rows(SPEC, OUTCOME)
    whole = migration_row(SPEC, OUTCOME)
    assert (whole.vm, whole.started_s) == (row.vm, row.started_s)
    assert (0, 256, 6, 900, 4) == (
        row.round,
        row.sent_pages,
        row.zero_pages,
        row.sent_bytes,
        row.dirty_pages,
    )


def test_runs_of_one_name_are_told_apart_by_their_paths(run, tmp_path):
    places = [tmp_path / "a" / "out", tmp_path / "b" / "out", tmp_path / "b" / "other"]
    for place in places:
        write_run(place, run.summary, run.migrations, run.timeline, run.events)
    write_comparison(places[1:], tmp_path / "new" / "named.html")
    named = (tmp_path / "new" / "named.html").read_text(encoding="utf-8")
    assert ">out<" in named
    assert ">other<" in named
    write_comparison(places[:2], tmp_path / "paths.html")
    assert f">{places[0]}<" in (tmp_path / "paths.html").read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="between 2 and 12"):
        write_comparison(places[:1], tmp_path / "one.html")
    assert not (tmp_path / "one.html").exists()
