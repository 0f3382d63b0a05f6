"""A small right scenario to spoil, and what is then wrong with it."""

import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from cluster.inventory.scenario import Problem, ScenarioProblems, loads

RIGHT = """\
[scenario]
duration_s = 60

[[host]]
name = "esx-{}"
count = 2
cpu_mhz = 4000
memory_mib = 1024

[[vm]]
name = "web"
count = 3
memory_mib = 64
cpu_mhz = 2000
demand = 500
"""


@pytest.fixture
def right() -> str:
    """The text of a scenario without mistakes."""
    tomllib.loads(RIGHT)
    return RIGHT


@pytest.fixture
def problems_of(tmp_path) -> Callable[[str], tuple[Problem, ...]]:
    """Every problem of a text; none if it is a scenario."""

    def check(text: str, directory: Path = tmp_path) -> tuple[Problem, ...]:
        try:
            loads(text, file="test.toml", directory=directory)
        except ScenarioProblems as problems:
            return problems.problems
        return ()

    return check
