"""Commands where no cluster is up, or not the one that is meant: clear words, and a status."""

import os
from pathlib import Path

import pytest
from cli.commands import vmotion

from cluster.actors import places
from cluster.cli.main import main

MINIMAL = Path(__file__).parent.parent.parent / "examples" / "minimal.toml"
COMMANDS = [
    ("status",),
    ("down",),
    ("host", "list"),
    ("vm", "show", "x"),
    ("migrate", "x"),
    ("maintenance", "enter", "a"),
    ("drs", "run"),
    ("task", "list"),
    ("events",),
]


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("VMOTION_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.delenv("VMOTION_CLUSTER", raising=False)
    return tmp_path / "state"


def written(name="default", *, alive=True, **fields):
    """A cluster as it would be written down; its keeper is this process, or one that has ended."""
    pid = os.getpid()
    known = {
        "name": name,
        "scenario": "/lab.toml",
        "keeper": pid,
        "keeper_began": places.began(pid) if alive else "1",
        "database": "/lab.db",
        "ready": True,
    }
    standing = places.Standing(**known | fields)
    assert places.claim(standing) is None
    return standing


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_without_a_cluster_every_command_says_how_to_start_one(arguments):
    said = vmotion(*arguments)
    assert (1, "") == (said.returncode, said.stdout)
    assert "no cluster is up; start one with vmotion up SCENARIO" in said.stderr


def test_several_clusters_are_named_and_one_is_asked_for():
    written("lab")
    written("shop")
    said = vmotion("status")
    assert 2 == said.returncode
    assert "several clusters are up: lab, shop; name one with --cluster" in said.stderr


def test_a_misspelt_cluster_is_answered_with_the_nearest_name():
    written("production")
    said = vmotion("status", "--cluster", "prodution")
    assert 2 == said.returncode
    assert "there is no cluster prodution; did you mean production?" in said.stderr


def test_a_name_that_cannot_be_one_is_refused_with_the_rule():
    said = vmotion("status", "--cluster", "../etc")
    assert 2 == said.returncode
    assert "'../etc' cannot be a cluster's name: 1 to 63 letters" in said.stderr


def test_a_cluster_whose_keeper_has_ended_is_said_so_and_cleared_away(state):
    written(alive=False)
    said = vmotion("status")
    assert 1 == said.returncode
    assert "its keeper has ended. Clear it away with vmotion down --cluster default" in said.stderr
    assert 0 == vmotion("down").returncode
    assert [] == list(state.glob("*"))


def test_one_that_is_only_starting_is_asked_again_later():
    written(ready=False)
    said = vmotion("status")
    assert (1, True) == (said.returncode, "only starting" in said.stderr)


def test_a_keeper_that_does_not_answer_is_said_so(tmp_path):
    written(control=str(tmp_path / "nobody"), key="k")
    said = vmotion("status")
    assert (1, True) == (said.returncode, "its keeper does not answer" in said.stderr)


def test_a_second_up_is_refused_before_anything_starts():
    written()
    said = vmotion("up", MINIMAL)
    assert 1 == said.returncode
    assert "cluster default is up already, from /lab.toml" in said.stderr


def test_up_with_a_database_that_is_none_touches_nothing(tmp_path):
    diary = tmp_path / "diary.db"
    diary.write_text("dear diary, " * 100)
    said = vmotion("up", MINIMAL, "--database", diary)

    assert 2 == said.returncode
    assert "diary.db is damaged or no database" in said.stderr
    assert "dear diary, " * 100 == diary.read_text()
    assert places.read("default") is None


def test_drs_set_without_anything_to_set_is_bad_usage():
    assert 2 == vmotion("drs", "set").returncode


def test_every_command_has_help_with_an_example():
    def commands(group, path):
        for name in group.list_commands(None):
            command = group.get_command(None, name)
            if hasattr(command, "list_commands"):
                yield from commands(command, [*path, name])
            else:
                yield [*path, name]

    for path in commands(main, []):
        said = vmotion(*path, "--help")
        assert 0 == said.returncode
        assert "Example" in said.stdout, path
