"""The SQLite file that VirtualCenter's journal is in: opened, checked, and told apart from others."""

import contextlib
import sqlite3
from functools import cache
from pathlib import Path

_FORMAT = 1
_APPLICATION = 0x764D6F74  # "vMot": SQLite's own mark of whose file this is
# A reader (a copy, somebody's sqlite3) may hold the file for so long.
_BUSY_S_MAX = 5.0
_TABLES = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE states (
  number INTEGER PRIMARY KEY,   -- of the last event that is in it
  now_s REAL NOT NULL, unix_s REAL NOT NULL, state BLOB NOT NULL
);
CREATE TABLE events (
  number INTEGER PRIMARY KEY, now_s REAL NOT NULL, unix_s REAL NOT NULL,
  kind TEXT NOT NULL, event BLOB NOT NULL
);
CREATE TABLE notes (            -- the story, and what only people read
  number INTEGER PRIMARY KEY, kind TEXT NOT NULL, time_s REAL NOT NULL, unix_s REAL NOT NULL,
  topic TEXT NOT NULL, what TEXT NOT NULL, text TEXT NOT NULL, note BLOB NOT NULL
);
CREATE INDEX notes_by_kind ON notes (kind, number);
"""


# What reading a damaged file may raise: Python cannot say what SQLite says of a name that is no text.
ERRORS = (sqlite3.Error, UnicodeDecodeError)


class JournalFailed(Exception):
    """The journal cannot be read or written; the message says why, and what cures it."""


def open_database(path: Path, *, new: bool = True) -> sqlite3.Connection:
    """Open the file, or make it; readable by its owner alone. Unless `new` it has to be there.

    A commit is in the operating system's hands when it returns (`synchronous=NORMAL`), so
    it outlives any death of a process, by SIGKILL too. A power failure may take the last
    second. `FULL`, an fsync for each commit, costs every blackout some milliseconds
    (`benchmarks/journal.py`), for a case in which the hosts of that machine are gone as well.

    Raises:
        JournalFailed: If it is no journal, is damaged, or cannot be written.
    """
    if not new:
        must_be_there(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600, exist_ok=True)
        connection = sqlite3.connect(
            path, isolation_level=None, timeout=_BUSY_S_MAX, check_same_thread=False
        )
    except (OSError, sqlite3.Error) as error:
        raise JournalFailed(f"{path} cannot be opened: {error}. {WRITABLE}") from error
    try:
        _prepare(connection, path, new=new)
    except ERRORS as error:
        connection.close()
        raise failure(path, error) from error
    except JournalFailed:
        connection.close()
        raise
    return connection


def must_be_there(path: Path) -> None:
    """Refuse a file that has gone, or has been emptied: SQLite takes both for a new database.

    It also removes the write-ahead log of an empty one, so this is to be asked first.

    Raises:
        JournalFailed: If it is so.
    """
    try:
        empty = path.stat().st_size == 0
    except FileNotFoundError:
        raise lost(path, "it is gone") from None
    except OSError as error:
        raise JournalFailed(f"{path} cannot be opened: {error}. {WRITABLE}") from error
    if empty:
        raise lost(path, "it is empty")


def lost(path: Path, why: str) -> JournalFailed:
    """Return that a cluster's journal was in this file, and is there no more."""
    return JournalFailed(f"{path} is damaged or no database: {why}. {ASIDE}")


def damaged(path: Path, said: str) -> JournalFailed:
    """Return what SQLite says of a damaged file as an error of ours."""
    return JournalFailed(f"{path} is damaged: {' '.join(said.split())}. {ASIDE}")


def failure(path: Path, error: sqlite3.Error | UnicodeDecodeError) -> JournalFailed:
    """Return an error of SQLite as what a user can do something with.

    Our statements are right, so one that SQLite does not understand is for a schema that is
    not ours any more; and text that is none was not written by us.
    """
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    if isinstance(error, sqlite3.OperationalError) and code != sqlite3.SQLITE_ERROR:
        return JournalFailed(f"{path} cannot be written: {error}. {WRITABLE}")
    said = "a name in it is no text" if isinstance(error, UnicodeDecodeError) else error
    return JournalFailed(f"{path} is damaged or no database: {said}. {ASIDE}")


WRITABLE = "Make room on its disk, or make it writable; or name another file with --database."
ASIDE = (
    "Nothing was changed in it. Put a copy back, and remove its old -wal and -shm; "
    "or, for a cluster that is to begin anew, move it aside or name another file with --database."
)


def _prepare(connection: sqlite3.Connection, path: Path, *, new: bool) -> None:
    (mark,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if tables and mark != _APPLICATION:
        raise JournalFailed(f"{path} is the database of another program. {ASIDE}")
    if not tables and not new:
        raise lost(path, "there is nothing in it")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    # Done now and then by somebody who may wait for the disk; see `Journal.checkpoint`.
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    if not tables:
        connection.execute(f"PRAGMA application_id = {_APPLICATION}")
        connection.execute(f"PRAGMA user_version = {_FORMAT}")
        connection.executescript(f"BEGIN; {_TABLES} COMMIT;")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version != _FORMAT:
        text = f"{path} is of format {version}, and this version of vmotion reads {_FORMAT}"
        raise JournalFailed(f"{text}. {ASIDE}")
    (said,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if said != "ok":
        raise damaged(path, said)
    if _columns(connection) != _our_columns():
        raise damaged(path, "its tables are not ours")
    # A write now finds a full disk, or a file that may only be read, before anybody relies on it.
    connection.execute("INSERT OR REPLACE INTO facts VALUES ('opened', datetime())")


def _columns(connection: sqlite3.Connection) -> list[tuple[str | int | None, ...]]:
    """Return all columns of all tables: their names and types, and which are keys.

    The schema is text in the file. A letter of INTEGER that has flipped makes the numbers of
    events a column that is empty, and a search for events then finds none.
    """
    sql = (
        "SELECT tables.name, columns.* FROM sqlite_master AS tables, "
        "pragma_table_info(tables.name) AS columns WHERE tables.type = 'table' ORDER BY 1, 2"
    )
    return connection.execute(sql).fetchall()


@cache
def _our_columns() -> list[tuple[str | int | None, ...]]:
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(_TABLES)
        return _columns(connection)
