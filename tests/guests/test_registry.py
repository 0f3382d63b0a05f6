"""Programs by name, and a user's own file."""

import pickle
import subprocess
import sys

import numpy as np
import pytest

from cluster.guests.memory_map import bind, capture_state, make_guest
from cluster.guests.registry import BUILTIN, GuestImportError, load_guest

COUNTER = """
from dataclasses import dataclass
import numpy as np
from cluster.guests.base import Array, Guest
from counter_words import WORD

@dataclass
class Registers:
    steps: int = 0

class Counter(Guest):
    def __init__(self, *, memory_bytes, seed=0):
        super().__init__(memory_bytes=memory_bytes, seed=seed)
        self.registers = Registers()
    def layout(self):
        return {"count": Array(shape=(1,), dtype=np.uint64)}
    def step(self, budget):
        self.count[0] += 1

not_a_guest = WORD
"""


def write_counter(directory):
    directory.mkdir(exist_ok=True)
    (directory / "counter_words.py").write_text("WORD = 'count'\n")
    path = directory / "counter_guest.py"
    path.write_text(COUNTER)
    return path


@pytest.fixture
def counter_file(tmp_path):
    before = list(sys.path)
    yield write_counter(tmp_path)
    sys.path[:] = before
    sys.modules.pop("counter_words", None)
    for name in [name for name in sys.modules if name.startswith("_vmotion_guest_")]:
        del sys.modules[name]


def test_built_in_guests_are_found_by_name():
    assert {"idle", "keyvalue", "trace", "writer"} == set(BUILTIN)
    assert BUILTIN["writer"] is load_guest("writer")


def test_a_users_class_loads_from_its_file_with_a_neighbour(counter_file):
    program = load_guest("counter_guest:Counter", counter_file)
    assert "Counter" == program.__name__
    assert program is load_guest("counter_guest:Counter", str(counter_file))


def test_the_same_file_elsewhere_gives_the_same_module(counter_file, tmp_path):
    """State pickled on one node must find its classes on another, whatever the path there."""
    program = load_guest("counter_guest:Counter", counter_file)
    copy = write_counter(tmp_path / "elsewhere")
    assert program.__module__ == load_guest("counter_guest:Counter", copy).__module__


def test_state_with_a_class_of_the_users_file_pickles(counter_file):
    program = load_guest("counter_guest:Counter", counter_file)
    vm = np.zeros(1 << 20, dtype=np.uint8)
    guest = make_guest(program, {}, vm_memory_bytes=vm.nbytes, seed=0)
    bind(guest, vm)
    assert 0 == pickle.loads(capture_state(guest))["registers"].steps


@pytest.mark.parametrize(
    ("program", "text", "words"),
    [
        ("g:Missing", COUNTER, "has no class Missing"),
        ("g:not_a_guest", COUNTER, "not a guest"),
        ("g:Counter", "import no_such_module_here", "No module named 'no_such_module_here'"),
        ("g:Counter", "def broken(:", "SyntaxError"),
        ("g:Counter", "raise SystemExit(3)", "SystemExit: 3"),
        ("g:Counter", "1 / 0", "ZeroDivisionError"),
    ],
)
def test_every_failure_is_one_sentence_with_file_and_class(counter_file, program, text, words):
    counter_file.write_text(text)
    with pytest.raises(GuestImportError) as caught:
        load_guest(program, counter_file)
    message = str(caught.value)
    assert words in message
    assert str(counter_file) in message
    assert program.partition(":")[2] in message
    assert "\n" not in message


def test_a_missing_file_is_said(tmp_path):
    with pytest.raises(GuestImportError, match="No such file"):
        load_guest("g:Counter", tmp_path / "nowhere.py")


def test_an_unknown_built_in_names_the_known_ones():
    with pytest.raises(GuestImportError, match="idle, keyvalue, trace, writer"):
        load_guest("wirter")


def test_importing_guests_loads_nothing_heavy():
    """A VM's process starts in a fraction of a second; these would each add to it."""
    heavy = "pyarrow, rich, plotly, prometheus_client, ray, pydantic, ortools, pandas"
    code = (
        "import sys, cluster.guests.registry, cluster.guests.clients, cluster.guests.replay;"
        f"print([name for name in '{heavy}'.split(', ') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "[]" == done.stdout.strip()
