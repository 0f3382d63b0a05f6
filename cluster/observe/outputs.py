"""The files of a run, written and read: JSON, JSON lines and Parquet.

Each file is written beside its place and moved there when it is complete, summary.json
last: a directory that has a summary has everything.
"""

import json
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from cluster.inventory.model import Mode
from cluster.migration.spec import Result, Trigger
from cluster.observe.comparison import comparison_html
from cluster.observe.comparison_figures import ComparedRun
from cluster.observe.record import EventKind, EventRow, MigrationRow, Summary, TimelineRow
from cluster.observe.report import report_html
from cluster.observe.rounds import RoundRow
from cluster.observe.rows import from_json, to_json

SUMMARY = "summary.json"
MIGRATIONS = "migrations.parquet"
ROUNDS = "rounds.parquet"
TIMELINE = "timeline.parquet"
EVENTS = "events.jsonl"
REPORT = "report.html"

_ARROW_TYPES = {float: pa.float64(), int: pa.int64(), str: pa.string()}
_Row = TypeVar("_Row", MigrationRow, RoundRow, TimelineRow)


def write_run(
    directory: Path,
    summary: Summary,
    migrations: Sequence[MigrationRow],
    timeline: Sequence[TimelineRow],
    events: Sequence[EventRow],
    rounds: Sequence[RoundRow] = (),
) -> None:
    """Write all files of a run; the directory is made if it is missing.

    Raises:
        OSError: If it cannot be written to.
    """
    directory.mkdir(parents=True, exist_ok=True)
    _write_parquet(directory / MIGRATIONS, MigrationRow, migrations)
    _write_parquet(directory / ROUNDS, RoundRow, rounds)
    _write_parquet(directory / TIMELINE, TimelineRow, timeline)
    _write_text(directory / EVENTS, "".join(event_line(event) + "\n" for event in events))
    _write_text(directory / REPORT, report_html(summary, migrations, timeline, events, rounds))
    _write_text(directory / SUMMARY, json.dumps(to_json(summary), indent=2) + "\n")


def event_line(event: EventRow) -> str:
    """One line of events.jsonl, without its end; keys that are None are left out."""
    return json.dumps(
        {key: value for key, value in to_json(event).items() if value not in (None, {})},
        ensure_ascii=False,
    )


def rewrite_report(directory: Path) -> Path:
    """Make report.html again from the other files of a run; return its path.

    Raises:
        OSError: If a file is missing or cannot be written.
        ValueError: If a file is not what a run leaves.
    """
    page = report_html(
        read_summary(directory),
        read_migrations(directory),
        read_timeline(directory),
        read_events(directory),
        read_rounds(directory),
    )
    _write_text(directory / REPORT, page)
    return directory / REPORT


def write_comparison(directories: Sequence[Path], path: Path) -> None:
    """Write a page that sets runs side by side, made from their files.

    A run is called what its directory is, or by its whole path where two are called the same.

    Raises:
        OSError: If a file is missing or cannot be written.
        ValueError: If a file is not what a run leaves, or there is nothing to compare.
    """
    names = [directory.name for directory in directories]
    unique = len(set(names)) == len(names)
    runs = [
        ComparedRun(
            name=directory.name if unique else str(directory),
            summary=read_summary(directory),
            migrations=read_migrations(directory),
            timeline=read_timeline(directory),
        )
        for directory in directories
    ]
    page = comparison_html(runs)
    path.parent.mkdir(parents=True, exist_ok=True)
    _write_text(path, page)


def read_summary(directory: Path) -> Summary:
    """Read summary.json."""
    return from_json(Summary, json.loads((directory / SUMMARY).read_text(encoding="utf-8")))


def read_migrations(directory: Path) -> list[MigrationRow]:
    """Read migrations.parquet."""
    return _read_parquet(
        directory / MIGRATIONS, MigrationRow, {"mode": Mode, "trigger": Trigger, "result": Result}
    )


def read_rounds(directory: Path) -> list[RoundRow]:
    """Read rounds.parquet."""
    return _read_parquet(directory / ROUNDS, RoundRow, {})


def read_timeline(directory: Path) -> list[TimelineRow]:
    """Read timeline.parquet."""
    return _read_parquet(directory / TIMELINE, TimelineRow, {})


def read_events(directory: Path) -> list[EventRow]:
    """Read events.jsonl."""
    lines = (directory / EVENTS).read_text(encoding="utf-8").splitlines()
    return [_event(json.loads(line)) for line in lines]


def _event(row: dict[str, Any]) -> EventRow:
    return EventRow(
        time_s=row["time_s"],
        kind=EventKind(row["kind"]),
        text=row["text"],
        vm=row.get("vm"),
        host=row.get("host"),
        details=row.get("details", {}),
    )


def _schema(row_type: type[_Row]) -> pa.Schema:
    """Arrow's types from the dataclass's: enums are strings, optional fields nullable."""
    hints = typing.get_type_hints(row_type)
    columns = []
    for one in fields(row_type):
        hint = hints[one.name]
        optional = isinstance(hint, types.UnionType)
        plain = typing.get_args(hint)[0] if optional else hint
        arrow = pa.string() if issubclass(plain, Enum) else _ARROW_TYPES[plain]
        columns.append(pa.field(one.name, arrow, nullable=optional))
    return pa.schema(columns)


def _write_parquet(path: Path, row_type: type[_Row], rows: Sequence[_Row]) -> None:
    schema = _schema(row_type)
    columns = {name: [to_json(getattr(row, name)) for row in rows] for name in schema.names}
    table = pa.Table.from_pydict(columns, schema=schema)
    partial = path.with_name(path.name + ".partial")
    pq.write_table(table, partial)
    partial.replace(path)


def _read_parquet(
    path: Path, row_type: type[_Row], enums: Mapping[str, Callable[[str], Enum]]
) -> list[_Row]:
    found: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    for row in found:
        row.update({key: enums[key](row[key]) for key in enums})
    return [row_type(**row) for row in found]


def _write_text(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
