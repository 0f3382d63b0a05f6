"""Structured log lines of a run while it runs: one a happening, with the migration's id.

Quiet unless somebody names a file. `events.jsonl` tells the same at the end of a run; a log
tells it at once, and on the level `debug` each step of every migration's machine, too.
"""

import contextlib
import sys
from collections.abc import Iterable, Iterator
from enum import Enum
from typing import TextIO

import structlog

from cluster.migration.messages import Command, Event
from cluster.migration.spec import MigrationSpec, Outcome
from cluster.migration.story import Entry
from cluster.policy.messages import Record, Topic

STDERR = "-"


class Level(Enum):
    """What is worth a line; the values are those of Python's logging."""

    DEBUG = 10
    INFO = 20
    WARNING = 30
    ERROR = 40


class RunLog:
    """Writes a run's lines, or nothing."""

    def __init__(self, file: TextIO | None = None, level: Level = Level.INFO) -> None:
        """Without a file it is quiet."""
        self._level = level
        self._log = None
        if file is not None:
            self._log = structlog.wrap_logger(
                structlog.WriteLogger(file),
                processors=[
                    structlog.processors.add_log_level,
                    structlog.processors.TimeStamper(fmt="iso", utc=True),
                    structlog.processors.JSONRenderer(ensure_ascii=False, default=str),
                ],
                wrapper_class=structlog.make_filtering_bound_logger(level.value),
                cache_logger_on_first_use=False,
            )

    def happened(self, time_s: float, record: Record) -> None:
        """Tell an entry of VirtualCenter's story; `time_s` is the run's time, `timestamp` the wall's."""
        if self._log is not None:
            named = {"time_s": time_s, "topic": record.topic.value, "what": record.what}
            level = level_of(record.topic, record.what)
            self._log.log(level.value, record.text, **{**dict(record.fields), **named})

    def failed(self, time_s: float, text: str, **named: object) -> None:
        """Tell what fails the run."""
        if self._log is not None:
            self._log.error(text, time_s=time_s, **named)

    def migrated(self, spec: MigrationSpec, outcome: Outcome, story: Iterable[Entry]) -> None:
        """Tell each step of a migration's machine, once it has ended."""
        if self._log is None or self._level is not Level.DEBUG:
            return
        bound = self._log.bind(migration=spec.id, vm=spec.vm)
        for entry in story:
            bound.debug(
                _name(entry.event),
                time_s=entry.now_s,
                phase=entry.after.value,
                commands=[_name(command) for command in entry.commands],
                note=entry.note,
            )
        bound.debug("ended", result=outcome.result.value)


QUIET = RunLog()


@contextlib.contextmanager
def open_log(path: str | None, level: Level) -> Iterator[RunLog]:
    """Open a log on a file, which is added to; "-" is stderr, None is quiet.

    Raises:
        OSError: If the file cannot be written.
    """
    if path is None:
        yield QUIET
    elif path == STDERR:
        yield RunLog(sys.stderr, level)
    else:
        with open(path, "a", encoding="utf-8", buffering=1) as file:
            yield RunLog(file, level)


def level_of(topic: Topic, what: str) -> Level:
    """Return how bad it is: what is lost is an error, what was not done is a warning."""
    if (topic, what) in _LOSSES:
        return Level.ERROR
    return Level.WARNING if what.endswith(_UNDONE) else Level.INFO


_LOSSES = frozenset(
    {
        (Topic.HOST, "failed"),
        (Topic.VM, "failed"),
        (Topic.VM, "power_on_failed"),
        (Topic.MIGRATION, "lost"),
    }
)
_UNDONE = ("aborted", "refused", "failed", "dropped", "blocked", "replaced")


def _name(message: Event | Command) -> str:
    return type(message).__name__
