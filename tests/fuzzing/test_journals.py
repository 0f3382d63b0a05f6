"""Whatever is done to a journal's file: it is told as damage, or all that was heard is known.

Nothing else: no other error, no hang, no new life, and no state that never was. Only of a
write-ahead log may the end be missing, which nobody can tell from one that was never written.
"""

import contextlib
import copy
import io
import os
import shutil
import zipfile
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.journal.database import ASIDE, WRITABLE, JournalFailed
from cluster.journal.journal import Journal, Noted
from cluster.journal.replay import begin, go_on
from cluster.policy.messages import (
    CalendarTold,
    HostConnected,
    MaintenanceRequested,
    PassRequested,
    Record,
    Started,
    Ticked,
    Topic,
)
from tests.fuzzing.damage import damaged
from tests.fuzzing.test_files import FEW as ANY
from tests.journal.test_replay import seen
from tests.policy.building import TODAY_S
from tests.policy.test_laws import HOSTS, small_cluster

PAGE = 4096
# The same examples each time, also where there are many of them.
FEW = settings(ANY, derandomize=True)


@dataclass
class Life:
    """What a life has left: its file closed; or, while it lived, an older file and a log."""

    closed: bytes
    file: bytes
    log: bytes
    moments: list[object]  # what was known, first after nothing and then after each event


def known_of(known):
    return copy.deepcopy((known.now_s, seen(known.center), known.rng.bit_generator.state))


def noted(journal, text):
    record = Record(topic=Topic.HOST, what="said", text=text)
    number = journal.next_note()
    return Noted(number=number, kind="story", time_s=1.0, unix_s=2.0, note=record, text=text)


@pytest.fixture(scope="module")
def life(tmp_path_factory):
    """States, events and a story: most in the file, the last ones only in the write-ahead log."""
    path = tmp_path_factory.mktemp("whole") / "vmotion.db"
    journal = Journal(path)
    known = begin(journal, small_cluster(), seed=1, unix_s=TODAY_S)
    moments = [known_of(known)]

    def hear(*events):
        for event in events:
            known.now_s += 0.5
            known.center.handle(event, now=known.now_s, rng=known.rng)
            journal.hear(event, [noted(journal, f"{event}" * 3)], now_s=known.now_s)
            moments.append(known_of(known))

    hear(CalendarTold(unix_s=TODAY_S), *[HostConnected(host=n, serves_faults=True) for n in HOSTS])
    journal.keep((known.center, known.rng), now_s=known.now_s)
    hear(Started(), MaintenanceRequested(host="a"), *[Ticked()] * 20)
    journal.checkpoint()
    file = path.read_bytes()
    hear(PassRequested(), *[Ticked()] * 5)
    log = log_of(path).read_bytes()
    journal.close()
    return Life(closed=path.read_bytes(), file=file, log=log, moments=moments)


def log_of(path):
    return path.with_name(f"{path.name}-wal")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("damaged")


def put(place, file, log=b""):
    """A directory in which only this is left, and no memory of it (the -shm)."""
    shutil.rmtree(place)
    place.mkdir()
    path = place / "vmotion.db"
    path.write_bytes(file)
    if log:
        log_of(path).write_bytes(log)
    return path


def tried(path):
    """What a next life knows; None if it is told that there is none to be had, with a cure."""
    with contextlib.ExitStack() as after:
        try:
            journal, known = go_on(path, name="test")
            after.callback(journal.abandon)
            journal.notes_since(0, count_max=1000)
        except JournalFailed as error:
            said = str(error)
        else:
            assert known.restarted
            return known_of(known)
    assert str(path) in said
    assert said.endswith((ASIDE, WRITABLE))
    return None


# A file that nobody has open: all of it is known, or nothing.


def scribbled(whole):
    """Some of its pages overwritten: with nothing, noise, or another of its pages."""
    pages = st.integers(0, len(whole) // PAGE - 1)
    starts = st.sampled_from([0, 0, 100, 512, PAGE // 2])
    news = st.one_of(
        st.just(bytes(PAGE)),
        st.just(b"\xff" * PAGE),
        st.binary(min_size=8, max_size=8).map(lambda noise: noise * (PAGE // 8)),
        pages.map(lambda other: whole[PAGE * other : PAGE * other + PAGE]),
    )

    def over(places):
        data = bytearray(whole)
        for page, start, new in places:
            data[PAGE * page + start : PAGE * page + PAGE] = new[start:]
        return bytes(data)

    return st.lists(st.tuples(pages, starts, news), min_size=1, max_size=3).map(over)


def flipped(whole):
    """A few bits of it are others, as on a bad disk."""
    places = st.tuples(st.integers(0, len(whole) - 1), st.integers(0, 7))

    def over(bits):
        data = bytearray(whole)
        for at, bit in bits:
            data[at] ^= 1 << bit
        return bytes(data)

    return st.lists(places, min_size=1, max_size=3).map(over)


@st.composite
def cut(draw, whole):
    """Its end is missing: at any byte, or at a page's."""
    size = draw(st.integers(0, len(whole) - 1))
    return whole[: size // PAGE * PAGE if draw(st.booleans()) else size]


WAYS = [scribbled, flipped, cut, damaged]


@pytest.mark.parametrize("way", WAYS)
@FEW
@given(data=st.data())
def test_a_damaged_file_is_told_or_all_of_it_is_known(life, place, way, data):
    path = put(place, data.draw(way(life.closed)))
    first = tried(path)
    assert first in (None, life.moments[-1])
    assert first == tried(path)  # the first try must not make what the second one then takes


# A file whose life was killed: SQLite drops what follows damage in a log, as after a power failure.


@pytest.mark.parametrize("way", WAYS)
@FEW
@given(data=st.data())
def test_a_damaged_log_is_told_or_leads_to_what_once_was(life, place, way, data):
    known = tried(put(place, life.file, data.draw(way(life.log))))
    assert known is None or known in life.moments


@FEW
@given(st.data())
def test_a_damaged_file_with_its_log_is_told_or_leads_to_what_once_was(life, place, data):
    way = data.draw(st.sampled_from([scribbled, flipped, cut]))
    known = tried(put(place, data.draw(way(life.file)), life.log))
    assert known is None or known in life.moments


def test_a_whole_file_and_its_log_lead_to_all_of_it(life, place):
    """Else the tests above would hold for a life that lost everything."""
    assert life.moments[-1] == tried(put(place, life.file, life.log))
    assert life.moments[-1] == tried(put(place, life.closed))
    assert tried(put(place, life.file)) in life.moments[:-1]


# Something else in its place.


def archive():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        made.writestr("vmotion.db", "x" * 5000)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        *(b"\n", b"SQLite format 3\0", bytes(PAGE), bytes(3 * PAGE), b"\xff" * PAGE),
        *(b"name = 'test'\n" * 400, "päge\r\n".encode("utf-16") * 500, archive()),
    ],
    ids=["line", "magic", "zeros", "more zeros", "ones", "toml", "utf-16", "zip"],
)
@pytest.mark.parametrize("logged", [False, True])
def test_another_kind_of_file_is_told_and_kept(life, place, content, logged):
    """With the log of a journal beside it SQLite may take the first page from there."""
    path = put(place, content, life.log if logged else b"")
    assert tried(path) in ((None, *life.moments) if logged else (None,))
    assert logged or content == path.read_bytes()


def a_directory(path):
    path.mkdir()


def below_a_file(path):
    path.parent.rmdir()
    path.parent.write_bytes(b"")


def a_link_to_itself(path):
    path.symlink_to(path)


def a_pipe(path):
    os.mkfifo(path)


@pytest.mark.parametrize("make", [a_directory, below_a_file, a_link_to_itself, a_pipe])
def test_what_is_no_file_is_told_at_once(tmp_path, make):
    path = tmp_path / "place" / "vmotion.db"
    path.parent.mkdir()
    make(path)
    assert tried(path) is None


@FEW
@given(st.data())
def test_what_is_written_after_damage_that_was_not_seen_is_known_again(life, place, data):
    """A life that goes on with a file goes on with all of it, and the next one too."""
    path = put(place, data.draw(flipped(life.closed)))
    try:
        journal, known = go_on(path, name="test")
    except JournalFailed:
        return
    with contextlib.closing(journal):
        known.now_s += 1.0
        known.center.handle(Ticked(), now=known.now_s, rng=known.rng)
        journal.hear(Ticked(), [noted(journal, "after")], now_s=known.now_s)
    assert tried(path) in (None, known_of(known))
