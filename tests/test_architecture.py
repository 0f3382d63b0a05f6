"""Who may import whom, read from the imports themselves."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = sorted((*ROOT.glob("cluster/**/*.py"), *ROOT.glob("drs/**/*.py")))

# A room may import itself and these rooms of the project.
ROOMS = {
    "drs": set(),
    "cluster.page": set(),
    # A scenario names guest programs and their parameters, and both are checked.
    "cluster.inventory": {"drs", "cluster.guests"},
    "cluster.memory": set(),
    "cluster.guests": set(),
    "cluster.migration": {"cluster.inventory", "drs"},
    "cluster.policy": {"cluster.inventory", "cluster.migration", "drs"},
    "cluster.simulation": {
        "cluster.inventory",
        "cluster.migration",
        "cluster.policy",
        "cluster.observe",
        "drs",
    },
    "cluster.journal": {"cluster.inventory", "cluster.policy"},
    "cluster.actors": {
        "cluster.journal",
        "cluster.inventory",
        "cluster.migration",
        "cluster.policy",
        "cluster.memory",
        "cluster.guests",
        "cluster.observe",  # a host's own metrics
        "drs",
    },
    "cluster.observe": {"cluster.inventory", "cluster.migration", "cluster.policy", "drs"},
    "cluster.cli": {
        "cluster.journal",
        "cluster.inventory",
        "cluster.migration",
        "cluster.policy",
        "cluster.guests",
        "cluster.actors",
        "cluster.simulation",
        "cluster.observe",
        "drs",
    },
}

# Each outside thing has one owner.
OWNERS = {
    "ray": ("cluster/actors/",),
    "ortools": ("drs/solver",),
    "prometheus_client": ("cluster/observe/",),
    "fcntl": ("cluster/memory/",),
    "click": ("cluster/cli/",),
    "sqlite3": ("cluster/journal/",),
}

# Pure rooms know no clock, no chance, no I/O.
PURE = ("cluster/migration/", "cluster/policy/")
IMPURE = {"ray", "time", "random", "asyncio", "threading", "os", "socket"}


def imports_of(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def room_of(name: str) -> str | None:
    return next((room for room in ROOMS if name == room or name.startswith(room + ".")), None)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_imports_only_what_its_room_may(path):
    name = str(path.relative_to(ROOT))
    here = room_of(name.removesuffix(".py").replace("/", "."))
    imports = imports_of(path)
    rooms = {room for one in imports if (room := room_of(one)) is not None} - {"cluster.page"}
    outside = {one.split(".")[0] for one in imports}

    assert here is not None or name == "cluster/__init__.py"
    assert set() == rooms - ROOMS.get(here or "", set()) - {here}
    for thing, owners in OWNERS.items():
        assert thing not in outside or name.startswith(owners), f"{thing} is not this room's"
    if name.startswith(PURE):
        assert set() == outside & IMPURE


def test_there_is_something_to_look_at():
    assert len(FILES) > 50
