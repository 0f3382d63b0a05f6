"""Guest programs checked before anything runs."""

import math
from pathlib import Path

import pytest

from cluster.inventory.model import GuestSpec
from cluster.inventory.problems import Findings
from cluster.inventory.programs import program_of

GUEST = """
from cluster.guests.base import Guest
import somewhere_that_is_not_here

class Counter(Guest):
    def __init__(self, *, memory_bytes, seed=0, start: int, step=1, **{rest}):
        pass

class Child(Counter):
    pass

class Plain:
    pass

class Bare(Guest):
    pass

class Mixed(somewhere_that_is_not_here.Timed, Guest):
    pass

@somewhere_that_is_not_here.registered
class Marked(Guest):
    pass

class Foreign(somewhere_that_is_not_here.Other):
    pass

class Ordinary(Guest):
    def __init__(self, memory_bytes, start, step=1):
        pass

Made = type("Made", (Guest,), {{}})

if Made:
    class Inner(Guest):
        pass
"""


@pytest.fixture
def guest_file(tmp_path):
    (tmp_path / "own.py").write_text(GUEST.replace(", **{rest}", "").format())
    (tmp_path / "open.py").write_text(GUEST.format(rest="rest"))
    return tmp_path


def _check(
    guest: str, params: dict[str, object], directory: Path, memory_mib: float = 64
) -> tuple[GuestSpec, dict[str, str]]:
    """The spec, and what is wrong by key."""
    findings = Findings()
    spec = program_of(
        guest, params, key=(), memory_mib=memory_mib, directory=directory, findings=findings
    )
    return spec, {
        ".".join(map(str, key)): f"{wrong}; {right}"
        for (key, wrong), right in findings.found.items()
    }


def test_a_builtin_keeps_its_parameters_sorted_and_hashable(tmp_path):
    spec, wrong = _check("writer", {"rate_mb_s": 3, "pattern": "zipf"}, tmp_path)
    assert not wrong
    assert GuestSpec(program="writer", params=(("pattern", "zipf"), ("rate_mb_s", 3))) == spec
    assert isinstance(hash(spec), int)


def test_a_class_in_a_file_is_named_by_module_and_class_and_its_file_is_absolute(guest_file):
    spec, wrong = _check("own.py:Counter", {"start": 3}, guest_file)
    assert not wrong
    assert "own:Counter" == spec.program
    assert str(guest_file / "own.py") == spec.file


@pytest.mark.parametrize(
    ("guest", "key", "says"),
    [
        ("writr", "guest", "did you mean writer"),
        ("", "guest", "known: idle, keyvalue, trace, writer"),
        ("absent.py:X", "guest", "is not there"),
        ("own.py", "guest", "names no class"),
        ("own.py:", "guest", "names no class"),
        ("own.txt:X", "guest", "no Python file"),
        (":X", "guest", "no Python file"),
        ("own.py:Countr", "guest", "did you mean Counter"),
        ("own.py:Plain", "guest", "is no guest"),
        ("broken.py:X", "guest", "does not parse in line 2"),
        ("null.py:X", "guest", "does not parse"),
    ],
)
def test_a_program_that_cannot_be_had_is_noted(guest_file, guest, key, says):
    (guest_file / "own.txt").write_text("")
    (guest_file / "broken.py").write_text("x = 1\ndef (:\n")
    (guest_file / "null.py").write_bytes(b"\0")
    _, wrong = _check(guest, {}, guest_file)
    assert says in wrong[key]


@pytest.mark.parametrize(
    "guest",
    [
        "own.py:Made",
        "own.py:Inner",
        "own.py:Mixed",
        "own.py:Marked",
        "own.py:Foreign",
        "open.py:somewhere_that_is_not_here",
    ],
)
def test_what_only_running_the_file_can_tell_is_left_to_the_vm(guest_file, guest):
    assert {} == _check(guest, {"anything": 1}, guest_file)[1]


def test_a_file_is_parsed_and_never_run(guest_file):
    marker = guest_file / "ran"
    (guest_file / "own.py").write_text(
        f"open({str(marker)!r}, 'w')\nfrom cluster.guests.base import Guest\nclass A(Guest): pass\n"
    )
    assert {} == _check("own.py:A", {}, guest_file)[1]
    assert not marker.exists()


@pytest.mark.parametrize("name", ["Counter", "Child"])
def test_parameters_of_a_class_in_a_file_are_compared_with_its_init(guest_file, name):
    _, wrong = _check(f"own.py:{name}", {"stpe": 1, "seed": 4}, guest_file)
    assert {"params.stpe", "params.seed", "params.start"} == set(wrong)
    assert "did you mean step" in wrong["params.stpe"]
    assert "is given by the VM" in wrong["params.seed"]
    assert "is missing" in wrong["params.start"]


def test_parameters_that_may_be_given_by_position_are_known_by_name_too(guest_file):
    assert {} == _check("own.py:Ordinary", {"start": 1, "step": 2}, guest_file)[1]
    _, wrong = _check("own.py:Ordinary", {}, guest_file)
    assert {"params.start"} == set(wrong)


def test_a_class_that_takes_anything_takes_anything(guest_file):
    assert {} == _check("open.py:Counter", {"whatever": 1}, guest_file)[1]


def test_a_guest_without_an_init_takes_no_parameters(guest_file):
    _, wrong = _check("own.py:Bare", {"x": 1}, guest_file)
    assert "takes no parameters" in wrong["params.x"]


@pytest.mark.parametrize(
    ("params", "key", "says"),
    [
        ({"rate_mb": 1}, "params.rate_mb", "did you mean rate_mb_s"),
        ({"rate_mb_s": "fast"}, "params.rate_mb_s", "give a number"),
        ({"words_per_page": 1.5}, "params.words_per_page", "give a whole number"),
        ({"pattern": "zipff"}, "params", "uniform, zipf or sweep"),
        ({"working_set_mib": 65}, "params", "must be between"),
    ],
)
def test_parameters_of_a_builtin_are_tried_out(tmp_path, params, key, says):
    assert says in _check("writer", params, tmp_path)[1][key]


def test_a_layout_that_does_not_fit_into_the_vm_is_noted(tmp_path):
    assert {} == _check("keyvalue", {"slots": 1000}, tmp_path, memory_mib=1)[1]
    _, wrong = _check("keyvalue", {"slots": 100_000}, tmp_path, memory_mib=1)
    assert "the VM has 1,048,576" in wrong["params"]


def test_with_an_unknown_memory_nothing_is_tried_out(tmp_path):
    assert {} == _check("keyvalue", {"slots": 10**9}, tmp_path, memory_mib=math.nan)[1]
