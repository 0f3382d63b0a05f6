"""VirtualCenter's journal: every event it heard, in order, and the story that came of them.

The journal is the events; the state is what they lead to. A kept state now and then bounds
how many are heard again after a restart.
"""

import contextlib
import sqlite3
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.journal.database import (
    ASIDE,
    ERRORS,
    JournalFailed,
    damaged,
    failure,
    must_be_there,
    open_database,
)
from cluster.journal.frozen import Unreadable, freeze, thaw

# The story's newest entries are kept; they are for people.
_NOTES_MAX = 100_000
_PRUNE_EVERY = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """An event as it was heard. `now_s` is VirtualCenter's time, `unix_s` the world's."""

    number: int
    now_s: float
    unix_s: float
    event: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """Something for people: an entry of the story, a migration's end.

    Attributes:
        kind: Of the note, as its writer names kinds.
        topic, what, text: For those who read the database with other tools.
    """

    number: int
    kind: str
    time_s: float
    unix_s: float
    note: Any
    topic: str = ""
    what: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A state, and the number of the last event that is in it."""

    number: int
    now_s: float
    unix_s: float
    state: Any


class Journal:
    """One cluster's journal. For one writer; others may read the file meanwhile."""

    def __init__(self, path: Path, *, new: bool = True) -> None:
        """Open it, or make it; unless `new` it has to be there.

        Raises:
            JournalFailed: If there is no journal to be had at `path`.
        """
        self.path = path
        self._database = open_database(path, new=new)
        self._waiting: list[Heard] = []
        try:
            self._event = self._last("events", "states")
            self._note = self._last("notes")
        except ERRORS as error:
            self._database.close()
            raise failure(path, error) from error

    @property
    def events_since_kept(self) -> int:
        """How many events a restart would hear again."""
        try:
            (kept,) = self._database.execute("SELECT max(number) FROM states").fetchone()
        except ERRORS as error:
            raise failure(self.path, error) from error
        return self._event - (kept or 0)

    def begin(self, name: str, state: object, *, unix_s: float) -> None:
        """Begin a cluster's life here; the story of an earlier one stays to be read.

        Raises:
            JournalFailed: If it cannot be written.
        """
        row = _state(self._event + 1, 0.0, unix_s, state)
        with _transaction(self):
            self._database.execute("DELETE FROM events")
            self._database.execute("DELETE FROM states")
            self._database.execute("INSERT OR REPLACE INTO facts VALUES ('cluster', ?)", (name,))
            self._database.execute("INSERT INTO states VALUES (?, ?, ?, ?)", row)
        self._event += 1  # only now: a number that was never written is a missing event

    def hear_later(self, event: object, *, now_s: float) -> None:
        """Note an event that nothing is done about; it is written with the next that is."""
        self._event += 1
        self._waiting.append(
            Heard(number=self._event, now_s=now_s, unix_s=time.time(), event=event)
        )

    def hear(self, event: object, notes: Sequence[Noted], *, now_s: float) -> None:
        """Write an event down with what is noted of it; when this returns it outlives us.

        Raises:
            JournalFailed: If it cannot be written; the journal is as it was.
        """
        self.hear_later(event, now_s=now_s)
        try:
            with _transaction(self):
                self._flush()
                self._write(notes)
        except BaseException:
            self._waiting.pop()  # or the next write would write it down after all
            self._event -= 1
            raise

    def note(self, notes: Sequence[Noted]) -> None:
        """Write notes that belong to no event.

        Raises:
            JournalFailed: If they cannot be written.
        """
        with _transaction(self):
            self._flush()
            self._write(notes)

    def next_note(self) -> int:
        """Return the number for a new note."""
        self._note += 1
        return self._note

    def keep(self, state: object, *, now_s: float) -> None:
        """Keep a state that all events so far have led to, and forget those.

        Raises:
            JournalFailed: If it cannot be written.
        """
        row = _state(self._event, now_s, time.time(), state)
        with _transaction(self):
            self._flush()
            self._database.execute("INSERT OR REPLACE INTO states VALUES (?, ?, ?, ?)", row)
            self._database.execute("DELETE FROM states WHERE number < ?", (self._event,))
            self._database.execute("DELETE FROM events WHERE number <= ?", (self._event,))

    def kept(self) -> Kept | None:
        """Return the newest state; None if nothing has begun here.

        Raises:
            JournalFailed: If it cannot be read.
        """
        row = self._one("SELECT * FROM states ORDER BY number DESC LIMIT 1")
        if row is None:
            return None
        *beside, state = row
        number, now_s, unix_s = beside
        return Kept(number=number, now_s=now_s, unix_s=unix_s, state=self._thaw(state, *beside))

    def heard_since(self, number: int) -> Iterator[Heard]:
        """Return the events after a number, in order.

        Raises:
            JournalFailed: If they cannot be read, or one is missing.
        """
        sql = "SELECT number, now_s, unix_s, event FROM events WHERE number > ? ORDER BY number"
        for expected, row in enumerate(self._all(sql, number), start=number + 1):
            if row[0] != expected:
                raise JournalFailed(f"{self.path} is damaged: event {expected} is missing. {ASIDE}")
            event = self._thaw(row[3], *row[:3])
            yield Heard(number=row[0], now_s=row[1], unix_s=row[2], event=event)

    def notes_since(self, number: int, *, kind: str = "", count_max: int) -> list[Noted]:
        """Return the newest notes after a number, in order, at most so many.

        Raises:
            JournalFailed: If they cannot be read.
        """
        chosen = "AND kind = ?" if kind else ""
        sql = f"SELECT * FROM notes WHERE number > ? {chosen} ORDER BY number DESC LIMIT ?"
        rows = self._all(sql, number, *([kind] if kind else []), count_max)
        return [
            Noted(
                number=row[0],
                kind=row[1],
                time_s=row[2],
                unix_s=row[3],
                topic=row[4],
                what=row[5],
                text=row[6],
                note=self._thaw(row[7], row[0], row[2], row[3]),
            )
            for row in reversed(rows)
        ]

    def checkpoint(self) -> None:
        """Bring what is written to the disk; waits for it, so not on a loop that others wait for.

        From another thread too: it uses a connection of its own.
        """
        try:
            with contextlib.closing(self._another()) as connection:
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        except sqlite3.OperationalError:
            return  # the next one does it; a write that fails is told where it fails
        except ERRORS as error:
            raise failure(self.path, error) from error

    def check(self) -> None:
        """Look whether the file is still there and whole; from another thread too.

        A damaged page that we have written again since, and `checkpoint` has brought to the
        file, is whole.

        Raises:
            JournalFailed: If it is not.
        """
        must_be_there(self.path)
        try:
            with contextlib.closing(self._another()) as connection:
                (said,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        except sqlite3.OperationalError:
            return  # held by somebody for a moment
        except ERRORS as error:
            raise failure(self.path, error) from error
        if said != "ok":
            raise damaged(self.path, said)

    def close(self) -> None:
        """Write what waits, and close the file."""
        with _transaction(self):
            self._flush()
        self._database.close()

    def abandon(self) -> None:
        """Close the file without a word more in it."""
        self._database.close()

    # Inside.

    def _another(self) -> sqlite3.Connection:
        """Return a connection that never makes a file which is gone."""
        uri = f"{self.path.absolute().as_uri()}?mode=rw"
        return sqlite3.connect(uri, uri=True, isolation_level=None, timeout=0.0)

    def _last(self, *tables: str) -> int:
        found = [self._database.execute(f"SELECT max(number) FROM {t}").fetchone() for t in tables]
        return max((row[0] or 0 for row in found), default=0)

    def _flush(self) -> None:
        self._database.executemany(
            "INSERT INTO events VALUES (?, ?, ?, ?, ?)",
            [
                (*beside, type(one.event).__name__, freeze(one.event, *beside))
                for one in self._waiting
                for beside in [(one.number, one.now_s, one.unix_s)]
            ],
        )

    def _write(self, notes: Sequence[Noted]) -> None:
        self._database.executemany(
            "INSERT INTO notes VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (n.number, n.kind, n.time_s, n.unix_s, n.topic, n.what, n.text, frozen)
                for n in notes
                for frozen in [freeze(n.note, n.number, n.time_s, n.unix_s)]
            ],
        )
        if notes and notes[-1].number % _PRUNE_EVERY < len(notes):
            oldest = notes[-1].number - _NOTES_MAX
            self._database.execute("DELETE FROM notes WHERE number <= ?", (oldest,))

    def _one(self, sql: str, *values: object) -> Any:
        try:
            return self._database.execute(sql, values).fetchone()
        except ERRORS as error:
            raise failure(self.path, error) from error

    def _all(self, sql: str, *values: object) -> list[Any]:
        try:
            return self._database.execute(sql, values).fetchall()
        except ERRORS as error:
            raise failure(self.path, error) from error

    def _thaw(self, data: bytes, *beside: float) -> Any:
        try:
            return thaw(data, *beside)
        except Unreadable as error:
            raise JournalFailed(f"{self.path} cannot be understood: {error}. {ASIDE}") from error


def _state(number: int, now_s: float, unix_s: float, state: object) -> tuple[Any, ...]:
    return number, now_s, unix_s, freeze(state, number, now_s, unix_s)


class _transaction:
    """All of a block is written, or nothing; what waited is waiting still if it fails."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def __enter__(self) -> None:
        try:
            self._journal._database.execute("BEGIN IMMEDIATE")
        except ERRORS as error:
            raise failure(self._journal.path, error) from error

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        journal = self._journal
        if error is None:
            try:
                journal._database.execute("COMMIT")
            except sqlite3.Error as failed:
                self._roll_back()
                raise failure(journal.path, failed) from failed
            journal._waiting = []
        else:
            self._roll_back()
            if isinstance(error, ERRORS):
                raise failure(journal.path, error) from error

    def _roll_back(self) -> None:
        """Undo it; SQLite has done so by itself where a disk is full."""
        database = self._journal._database
        if database.in_transaction:
            with contextlib.suppress(sqlite3.Error):  # the first error is what is told
                database.execute("ROLLBACK")
