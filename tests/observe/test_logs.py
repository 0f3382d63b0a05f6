"""Structured lines: quiet by default, one a happening, all of a migration under its id."""

import io
import json

import pytest

from cluster.migration.messages import Begun, Prepare
from cluster.migration.spec import MigrationSpec, not_begun
from cluster.migration.state import Phase
from cluster.migration.story import Entry
from cluster.observe.logs import QUIET, Level, RunLog, level_of, open_log
from cluster.policy import notes
from cluster.policy.messages import Record, Topic

SPEC = MigrationSpec(
    id="m0001", vm="vm-1", source="esx-1", destination="esx-2", epoch=2, memory_bytes=1 << 24
)
OUTCOME = not_begun("the destination stalled", now=1.0)
STORY = (
    Entry(
        now_s=1.5,
        event=Begun(),
        before=Phase.CREATED,
        after=Phase.PREPARING,
        commands=(Prepare(seq=1),),
    ),
)


def lines(file):
    return [json.loads(line) for line in file.getvalue().splitlines()]


def test_what_happens_to_a_migration_is_found_by_its_id():
    file = io.StringIO()
    log = RunLog(file, Level.DEBUG)
    log.happened(1.0, notes.started(SPEC))
    log.migrated(SPEC, OUTCOME, STORY)
    log.happened(2.0, notes.ended(SPEC, OUTCOME))
    log.failed(3.0, "3 of 4096 pages differ", migration="m0001")
    told = lines(file)
    assert ["m0001"] * 5 == [line["migration"] for line in told]
    started, step, *_, failed = told
    assert {
        "event": "vm-1 esx-1 → esx-2: started",
        "level": "info",
        "topic": "migration",
        "what": "started",
        "time_s": 1.0,
        "source": "esx-1",
    }.items() <= started.items()
    assert started["timestamp"].endswith("Z")
    assert ("Begun", 1.5, "preparing", ["Prepare"]) == tuple(
        step[key] for key in ("event", "time_s", "phase", "commands")
    )
    assert "error" == failed["level"]


def test_steps_are_for_debugging_and_a_level_keeps_out_what_is_below():
    file = io.StringIO()
    log = RunLog(file, Level.WARNING)
    log.happened(1.0, notes.started(SPEC))
    log.migrated(SPEC, OUTCOME, STORY)
    log.happened(2.0, notes.refused(SPEC, "esx-2 is full"))
    assert ["refused"] == [line["what"] for line in lines(file)]


@pytest.mark.parametrize(
    ("topic", "what", "expected"),
    [
        (Topic.HOST, "failed", Level.ERROR),
        (Topic.MIGRATION, "lost", Level.ERROR),
        (Topic.MIGRATION, "aborted", Level.WARNING),
        (Topic.DRS, "solve_failed", Level.WARNING),
        (Topic.HOST, "maintenance_refused", Level.WARNING),
        (Topic.MIGRATION, "completed", Level.INFO),
    ],
)
def test_how_bad_it_is(topic, what, expected):
    assert expected is level_of(topic, what)


def test_it_is_quiet_unless_a_file_is_named(capfd):
    with open_log(None, Level.DEBUG) as log:
        assert log is QUIET
        log.happened(1.0, notes.started(SPEC))
        log.migrated(SPEC, OUTCOME, STORY)
        log.failed(1.0, "lost")
    assert ("", "") == capfd.readouterr()


def test_a_file_is_added_to_and_written_at_once(tmp_path):
    path = tmp_path / "run.log"
    for name in ("first", "second"):
        with open_log(str(path), Level.INFO) as log:
            record = Record(topic=Topic.CLUSTER, what="note", text=name, fields=(("x", {1}),))
            log.happened(1.0, record)
            assert name in path.read_text()
    assert ["first", "second"] == [
        json.loads(line)["event"] for line in path.read_text().splitlines()
    ]
