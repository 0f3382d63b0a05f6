"""Where clusters are written down, and the socket that commands reach them by. No Ray."""

import os
import threading
import time

import pytest

from cluster.actors import places
from cluster.actors.control import AWAY, DONE, FAILED, Control, Failed, NotReached, Switchboard


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("VMOTION_STATE_DIR", str(tmp_path / "state"))
    return tmp_path / "state"


def standing(name="lab", pid=None, **fields):
    pid = pid or os.getpid()
    known = {"keeper": pid, "keeper_began": places.began(pid), "database": "", "scenario": ""}
    return places.Standing(name=name, **known | fields)


@pytest.fixture
def switchboard(tmp_path):
    def answer(actor, method, args, named):
        match method:
            case "echo":
                return DONE, (actor, args, named)
            case "fail":
                return FAILED, "no such thing"
            case "away":
                return (AWAY, "gone") if next(away) else (DONE, "back")

    away = iter([True, True, False])
    board = Switchboard(str(tmp_path / "s"), b"key", answer)
    yield str(tmp_path / "s")
    board.close()


def test_a_call_is_carried_to_the_actor_and_its_answer_back(switchboard):
    with Control(switchboard, b"key") as control:
        assert ("center", (1,), {"b": 2}) == control.call("center", "echo", 1, b=2)


def test_an_error_is_the_callers_and_the_line_goes_on(switchboard):
    with Control(switchboard, b"key") as control:
        with pytest.raises(Failed, match="no such thing"):
            control.call("center", "fail")
        assert control.call("center", "echo")


def test_an_actor_that_is_away_is_asked_again_and_the_wait_is_known(switchboard):
    with Control(switchboard, b"key") as control:
        began = time.monotonic()
        assert "back" == control.call("center", "away")
        assert 0.1 < control.away_s <= time.monotonic() - began


def test_several_may_call_at_once(switchboard):
    found = []

    def ask(number):
        with Control(switchboard, b"key") as control:
            found.append(control.call("a", "echo", number)[1][0])

    callers = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert list(range(8)) == sorted(found)


def test_another_key_or_nobody_there_is_not_reached(switchboard, tmp_path):
    with pytest.raises(NotReached):
        Control(switchboard, b"another")
    with pytest.raises(NotReached):
        Control(str(tmp_path / "nobody"), b"key")
    with Control(switchboard, b"key") as control:
        assert control.call("a", "echo")


def test_a_name_is_taken_once_and_free_when_its_keeper_has_ended():
    assert places.claim(standing()) is None
    assert "lab" == places.claim(standing(scenario="second")).name
    places.write(standing(keeper_began="0"))
    assert places.claim(standing(scenario="third")) is None
    assert "third" == places.read("lab").scenario


def test_a_process_that_has_another_beginning_is_another_process():
    assert standing().alive
    assert not standing(keeper_began="1").alive
    assert "" == places.began(2**22 + 1)


def test_what_is_written_down_is_its_users_alone(state):
    places.claim(standing(key="secret"))
    record = state / "lab" / "cluster.json"

    assert 0o600 == record.stat().st_mode & 0o777
    assert 0o700 == (state / "lab").stat().st_mode & 0o777


def test_forgotten_it_leaves_a_database_of_its_own_only_if_that_is_kept(state):
    places.claim(standing())
    (state / "lab" / "vmotion.db").write_text("")
    places.forget("lab", database_too=False)
    assert ["vmotion.db"] == [path.name for path in (state / "lab").iterdir()]
    places.forget("lab", database_too=True)
    assert [] == list(state.iterdir())


def test_a_state_directory_that_cannot_be_made_is_named(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("VMOTION_STATE_DIR", str(tmp_path / "file"))
    with pytest.raises(places.BadPlace, match="set VMOTION_STATE_DIR"):
        places.claim(standing())


def test_a_database_of_its_own_goes_with_a_cluster_whoever_keeps_it_and_a_named_one_stays(tmp_path):
    own = standing(database=str(places.place_of("lab") / "vmotion.db"))
    named = standing(database=str(tmp_path / "lab.db"))
    assert (False, True) == (own.keeps_database, named.keeps_database)
