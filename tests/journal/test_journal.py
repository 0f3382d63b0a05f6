"""The journal as a file: what was written is there after any death, and damage is said in words."""

import importlib
import operator
import os
import pickle
import signal
import sqlite3
import subprocess
import sys
import time

import pytest

from cluster.journal.database import JournalFailed
from cluster.journal.frozen import Unreadable, freeze, thaw
from cluster.journal.journal import Journal, Noted
from cluster.policy.messages import CancelRequested, Record, Ticked, Topic


def note(journal, text, kind="story"):
    record = Record(topic=Topic.HOST, what="said", text=text)
    number = journal.next_note()
    return Noted(number=number, kind=kind, time_s=1.0, unix_s=2.0, note=record, text=text)


@pytest.fixture
def journal(tmp_path):
    made = Journal(tmp_path / "vmotion.db")
    made.begin("lab", {"a": 1}, unix_s=5.0)
    return made


def heard(journal, number=0):
    return [(one.now_s, one.event) for one in journal.heard_since(number)]


def test_what_was_heard_is_there_in_order_for_the_next_life(journal):
    start = journal.kept().number
    journal.hear_later(Ticked(), now_s=1.0)
    journal.hear(CancelRequested(vm="x"), [note(journal, "one")], now_s=2.0)
    again = Journal(journal.path)

    assert {"a": 1} == again.kept().state
    assert [(1.0, Ticked()), (2.0, CancelRequested(vm="x"))] == heard(again, start)
    assert ["one"] == [one.text for one in again.notes_since(0, count_max=10)]


def test_what_only_waits_is_written_with_a_note(journal):
    start = journal.kept().number
    journal.hear_later(Ticked(), now_s=1.0)
    journal.note(())

    assert [(1.0, Ticked())] == heard(Journal(journal.path), start)


def test_a_kept_state_replaces_the_events_that_led_to_it(journal):
    for second in range(5):
        journal.hear(Ticked(), [], now_s=float(second))
    journal.keep({"a": 2}, now_s=4.0)
    journal.hear(Ticked(), [], now_s=5.0)
    again = Journal(journal.path)
    kept = again.kept()

    assert ({"a": 2}, 4.0) == (kept.state, kept.now_s)
    assert [(5.0, Ticked())] == heard(again, kept.number)
    assert 1 == again.events_since_kept


def test_a_new_life_forgets_the_old_ones_events_and_leaves_its_story(journal):
    journal.hear(Ticked(), [note(journal, "of old")], now_s=1.0)
    again = Journal(journal.path)
    again.begin("lab", {"b": 1}, unix_s=9.0)

    assert [] == heard(again, again.kept().number)
    assert ["of old"] == [one.text for one in again.notes_since(0, count_max=10)]


def test_notes_are_counted_on_and_chosen_by_kind(journal):
    journal.note([note(journal, "one"), note(journal, "two", kind="problem")])
    again = Journal(journal.path)
    again.note([note(again, "three")])

    assert ["one", "three"] == [n.text for n in again.notes_since(0, kind="story", count_max=9)]
    assert ["three"] == [n.text for n in again.notes_since(2, count_max=9)]
    assert ["two", "three"] == [n.text for n in again.notes_since(0, count_max=2)]


WRITER = """
import sys
from pathlib import Path
from cluster.journal.journal import Journal
from cluster.policy.messages import CancelRequested
journal = Journal(Path(sys.argv[1]))
for number in range(1_000_000):
    journal.hear(CancelRequested(vm=str(number)), [], now_s=float(number))
    print(number, flush=True)
"""


def test_what_was_acknowledged_outlives_a_kill(journal):
    """Killed in the middle of writing: everything it had said was written is there, in order."""
    start = journal.kept().number
    journal.close()
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(journal.path)], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    for _ in range(100):
        writer.stdout.readline()
    os.kill(writer.pid, signal.SIGKILL)
    acknowledged = 100 + writer.stdout.read().count("\n")
    writer.stdout.close()
    writer.wait(60)
    found = [event.vm for _, event in heard(Journal(journal.path), start)]

    assert found == [str(number) for number in range(len(found))]
    assert acknowledged <= len(found) <= acknowledged + 1


def test_a_file_that_is_no_database_is_named_with_a_cure_and_not_touched(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("dear diary, " * 100)
    with pytest.raises(JournalFailed, match=r"notes.txt is damaged or no database.*move it aside"):
        Journal(path)
    assert "dear diary, " * 100 == path.read_text()


def test_another_programs_database_is_not_touched(tmp_path):
    path = tmp_path / "other.db"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE things (name TEXT)")
    other.commit()
    with pytest.raises(JournalFailed, match="of another program"):
        Journal(path)
    assert [("things",)] == other.execute("SELECT name FROM sqlite_master").fetchall()


def test_a_later_format_is_refused(journal):
    journal._database.execute("PRAGMA user_version = 99")
    journal.close()
    with pytest.raises(JournalFailed, match="format 99"):
        Journal(journal.path)


def test_a_damaged_database_is_found_when_it_is_opened_and_when_it_is_checked(journal):
    for number in range(300):
        journal.hear(CancelRequested(vm="x" * 500), [note(journal, f"{number}")], now_s=1.0)
    journal.checkpoint()
    journal.close()
    whole = journal.path.read_bytes()
    journal.path.write_bytes(whole[:8192] + b"\xff" * 8192 + whole[16384:])
    with pytest.raises(JournalFailed, match=r"damaged.*Put a copy back"):
        Journal(journal.path)


def overwrite(path, count):
    with path.open("r+b") as file:
        file.write(b"\xff" * count)


def test_damage_under_a_life_is_told_by_the_next_look(journal):
    journal.hear(Ticked(), [], now_s=1.0)
    journal.checkpoint()
    overwrite(journal.path, 64)
    for look in (journal.check, journal.checkpoint):
        with pytest.raises(JournalFailed, match=r"damaged or no database.*Put a copy back"):
            look()


def test_a_damaged_page_that_is_written_again_is_whole(journal):
    """A growing file's first page is: then nothing is wrong, and nothing is told."""
    journal.checkpoint()
    overwrite(journal.path, 64)
    journal.hear(CancelRequested(vm="x" * 100_000), [], now_s=1.0)
    journal.checkpoint()
    journal.check()
    assert {"a": 1} == Journal(journal.path).kept().state


def test_damage_of_the_whole_file_is_told_whatever_is_written_again(journal):
    for number in range(30):
        journal.note([note(journal, f"{number}" * 2000)])
    journal.checkpoint()
    overwrite(journal.path, journal.path.stat().st_size)
    journal.hear(CancelRequested(vm="x" * 100_000), [], now_s=1.0)
    for look in (lambda: (journal.checkpoint(), journal.check()), lambda: Journal(journal.path)):
        with pytest.raises(JournalFailed, match="is damaged"):
            look()


def test_a_database_that_goes_away_is_noticed(journal):
    journal.path.unlink()
    with pytest.raises(JournalFailed, match="it is gone"):
        journal.check()


@pytest.mark.parametrize("harm", [lambda path: os.truncate(path, 0), os.unlink])
def test_a_database_that_is_lost_under_a_life_is_damage_and_no_beginning(journal, harm):
    """SQLite takes an empty file for a new one, and removes its write-ahead log."""
    log = journal.path.with_name(f"{journal.path.name}-wal")
    journal.hear(Ticked(), [], now_s=1.0)
    harm(journal.path)
    size = log.stat().st_size
    for look in (journal.check, lambda: Journal(journal.path, new=False)):
        with pytest.raises(JournalFailed, match=r"damaged or no database.*Put a copy back"):
            look()
    assert size == log.stat().st_size > 0
    assert not journal.path.exists() or 0 == journal.path.stat().st_size


def test_a_database_without_tables_is_no_journal_to_go_on_with(tmp_path):
    path = tmp_path / "vmotion.db"
    empty = sqlite3.connect(path)
    empty.execute("PRAGMA user_version = 1")
    empty.close()
    with pytest.raises(JournalFailed, match=r"damaged or no database.*Put a copy back"):
        Journal(path, new=False)


def test_a_missing_event_is_damage(journal):
    start = journal.kept().number
    for _ in range(3):
        journal.hear(Ticked(), [], now_s=1.0)
    journal._database.execute("DELETE FROM events WHERE number = ?", (start + 2,))
    with pytest.raises(JournalFailed, match=rf"event {start + 2} is missing"):
        heard(journal, start)


def test_a_full_disk_fails_the_write_and_keeps_what_was_there(journal):
    """SQLite's own limit on a file's pages stands for the disk's."""
    start = journal.kept().number
    (pages,) = journal._database.execute("PRAGMA page_count").fetchone()
    journal._database.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(JournalFailed, match=r"cannot be written.*Make room"):
        journal.hear(CancelRequested(vm="x" * 100_000), [], now_s=1.0)
    assert [] == heard(Journal(journal.path), start)


def test_a_directory_that_is_not_there_is_made_and_the_file_is_its_owners(tmp_path):
    path = tmp_path / "deep" / "er" / "vmotion.db"
    Journal(path).close()

    assert 0o600 == path.stat().st_mode & 0o777


class Evil:
    def __reduce__(self):
        return os.system, ("true",)


def test_bytes_that_name_something_foreign_are_refused():
    for data in (pickle.dumps(Evil()), b"nonsense", freeze(time.struct_time)):
        with pytest.raises(Unreadable):
            thaw(data)


@pytest.mark.parametrize(
    "name",
    [
        "cluster.memory.tracker\nos.system",  # by way of a module that imports it
        "cluster.memory.pagers\n_Process",  # starts a process when it is made
        "cluster.inventory.trace\nPath",  # not of that room, only imported there
        "cluster.policy.licence_file\nread",  # a function: nothing that was kept
        "drs.files\nload",
    ],
)
def test_only_classes_come_back_and_only_from_their_own_rooms(name):
    module, attribute = name.split("\n")
    whole = importlib.import_module(module)
    assert operator.attrgetter(attribute)(whole)  # else this would test a wrong name
    with pytest.raises(Unreadable, match="does not belong"):
        thaw(f"\x80\x04c{name}\n.".encode("latin-1"))


def test_plain_things_and_the_projects_own_come_back():
    things = [{"a": (1, 2.5, None)}, {3}, CancelRequested(vm="x"), Topic.HOST]
    assert things == [thaw(freeze(thing)) for thing in things]


def test_older_journals_name_all_messages_in_one_place():
    """Their classes have moved since into rooms of their own."""
    for name in ("CancelRequested", "Restarted", "Record", "Topic"):
        found = thaw(f"ccluster.policy.messages\n{name}\n.".encode())
        assert name == found.__name__


class Attribute:
    """Pickles as `getattr` of something, as a member of an enumeration does up to Python 3.11.3."""

    def __init__(self, of, name):
        self.way = getattr, (of, name)

    def __reduce__(self):
        return self.way


def test_a_member_of_an_enumeration_may_come_as_an_attribute_and_nothing_else_may():
    assert Topic.HOST is thaw(pickle.dumps(Attribute(Topic, "HOST")))
    for of, name in ((set, "pop"), (Topic, "mro"), (Topic, "__init__")):
        with pytest.raises(Unreadable):
            thaw(pickle.dumps(Attribute(of, name)))
