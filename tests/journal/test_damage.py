"""Damage that SQLite itself does not see, or tells in a way of its own, is damage all the same."""

import pickle
import sqlite3

import pytest

from cluster.journal.database import JournalFailed
from cluster.journal.frozen import Unreadable, freeze, thaw
from cluster.journal.journal import Journal, Noted
from cluster.journal.replay import begin, restore
from cluster.policy.messages import CancelRequested, HostConnected
from tests.policy.building import scenario, vm


@pytest.fixture
def path(tmp_path):
    """A journal of one state, two events and a note."""
    journal = Journal(tmp_path / "vmotion.db")
    begin(journal, scenario(["alpha"], [vm("x", "alpha")]), seed=1, unix_s=10.0)
    note = Noted(number=1, kind="story", time_s=1.0, unix_s=2.0, note="once upon a time")
    for second in (1.0, 2.0):
        event = HostConnected(host="alpha", serves_faults=True)
        journal.hear(event, [note] if second == 1.0 else [], now_s=second)
    journal.checkpoint()
    journal.close()
    return journal.path


def read(path):
    journal = Journal(path, new=False)
    try:
        return restore(journal), journal.notes_since(0, count_max=9)
    finally:
        journal.abandon()


def replaced(path, old, new):
    whole = path.read_bytes()
    assert old in whole
    path.write_bytes(whole.replace(old, new))


@pytest.mark.parametrize("name", ["alpha", "once upon"])
def test_a_flipped_bit_in_what_was_kept_is_no_other_name(path, name):
    """SQLite has no checksums: without ours a host would be another one."""
    assert read(path)
    replaced(path, name.encode(), bytes([name.encode()[0] ^ 2]) + name.encode()[1:])
    with pytest.raises(JournalFailed, match=r"cannot be understood.*checksum.*Put a copy back"):
        read(path)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE states SET now_s = 7.0",
        "UPDATE states SET unix_s = 11.0",
        "UPDATE states SET number = 2; DELETE FROM events WHERE number = 2",
        "UPDATE events SET now_s = 1.5 WHERE number = 3",
        "UPDATE events SET unix_s = 0.0 WHERE number = 3",
        "UPDATE events SET number = 9 WHERE number = 3; UPDATE events SET number = 3 WHERE number = 2;"
        "UPDATE events SET number = 2 WHERE number = 9",
        "UPDATE notes SET number = 2",
    ],
)
def test_what_stands_beside_it_is_part_of_it(path, change):
    """A state of another time, or two events in each other's place."""
    other = sqlite3.connect(path)
    other.executescript(change)
    other.close()
    with pytest.raises(JournalFailed, match="checksum"):
        read(path)


def test_an_older_journal_without_checksums_is_read():
    whole = pickle.dumps(CancelRequested(vm="x"), protocol=5)
    assert CancelRequested(vm="x") == thaw(whole, 1, 2.0, 3.0)


def test_half_a_checksum_is_none(path):
    """Otherwise damage to its mark would switch it off."""
    whole = freeze(CancelRequested(vm="x"), 1, 2.0)
    assert CancelRequested(vm="x") == thaw(whole, 1, 2.0)
    for at in range(len(whole)):
        for data in (whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :], whole[:at]):
            if data == pickle.dumps(CancelRequested(vm="x"), protocol=5):
                continue  # all of it gone: what an older version wrote
            with pytest.raises(Unreadable):
                thaw(data, 1, 2.0)


def test_a_schema_with_a_name_that_is_no_text_is_damage(path):
    """Python cannot even say what SQLite says of it: that error is none of SQLite's."""
    replaced(path, b"indexnotes_by_kind", b"index\xeeotes_by_kind")
    for look in (lambda: Journal(path), lambda: read(path)):
        with pytest.raises(JournalFailed, match=r"damaged or no database.*Put a copy back"):
            look()


@pytest.mark.parametrize("wrong", [b"nunber INTEGER PRIMARY", b"number INTEGDR PRIMARY"])
def test_a_schema_of_other_columns_is_damage_and_no_want_of_room(path, wrong):
    """With a key that is none, the numbers are empty: no event would be after the kept state."""
    replaced(path, b"events (\n  number INTEGER PRIMARY", b"events (\n  " + wrong)
    with pytest.raises(JournalFailed, match=r"damaged.*Put a copy back"):
        read(path)


def test_a_state_of_something_else_is_damage(tmp_path):
    journal = Journal(tmp_path / "vmotion.db")
    journal.begin("test", {"a": 1}, unix_s=1.0)
    with pytest.raises(JournalFailed, match=r"no state of a cluster.*Put a copy back"):
        restore(journal)
    journal.close()


def test_a_file_that_somebody_else_writes_to_cannot_be_written_and_is_whole(path, monkeypatch):
    """Looks at it from another thread pass over that: the next one comes soon."""
    monkeypatch.setattr("cluster.journal.database._BUSY_S_MAX", 0.01)
    journal = Journal(path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(JournalFailed, match=r"cannot be written: database is locked"):
        journal.hear(CancelRequested(vm="x"), [], now_s=3.0)
    journal.checkpoint()
    journal.check()
    other.execute("ROLLBACK")
    other.close()
    journal.hear(CancelRequested(vm="y"), [], now_s=4.0)
    assert [4.0] == [one.now_s for one in journal.heard_since(3)]
    journal.close()


def test_what_a_closed_or_emptied_journal_is_asked_is_a_failure_in_words(path):
    journal = Journal(path)
    journal._database.execute("DROP TABLE states")
    for look in (journal.kept, lambda: journal.events_since_kept):
        with pytest.raises(JournalFailed, match="no such table"):
            look()
    journal._database.execute("DROP TABLE notes")
    with pytest.raises(JournalFailed, match="no such table"):
        journal.notes_since(0, count_max=1)
    journal.abandon()
    with pytest.raises(JournalFailed, match=str(path)):
        journal.note(())


def test_a_place_below_a_file_is_told_whether_it_is_to_be_made_or_found(tmp_path):
    (tmp_path / "file").write_text("")
    for new in (True, False):
        with pytest.raises(JournalFailed, match=r"cannot be opened.*name another file"):
            Journal(tmp_path / "file" / "vmotion.db", new=new)


def test_the_story_keeps_its_newest_notes(path, monkeypatch):
    """It is for people, and must not fill the disk."""
    monkeypatch.setattr("cluster.journal.journal._NOTES_MAX", 20)
    monkeypatch.setattr("cluster.journal.journal._PRUNE_EVERY", 10)
    journal = Journal(path)
    for _ in range(50):
        numbers = [journal.next_note() for _ in range(3)]
        journal.note(
            [Noted(number=n, kind="story", time_s=1.0, unix_s=2.0, note=n) for n in numbers]
        )
        found = [note.number for note in journal.notes_since(0, count_max=1000)]
        newest = numbers[-1]
        assert list(range(found[0], newest + 1)) == found
        assert min(newest, 20) <= len(found) <= 20 + 10 + 3
    journal.close()
