"""Scenario files as commands take them: read, and judged also by what policy knows of licences."""

import time
from collections.abc import Iterator
from pathlib import Path

from cluster.inventory.model import Scenario
from cluster.inventory.problems import Key, ScenarioProblems
from cluster.inventory.scenario import load, located
from cluster.policy.licences import begins_unix_s, begun


def load_judged(path: str | Path) -> Scenario:
    """Read a scenario file, licences included.

    Raises:
        ScenarioProblems: With every mistake found, if there is one.
    """
    scenario = load(path)
    unix_s = begins_unix_s(scenario, time.time())
    if problems := located(path, _shortages(scenario, unix_s)):
        raise ScenarioProblems(problems)
    return scenario


def _shortages(scenario: Scenario, unix_s: float) -> Iterator[tuple[Key, str, str]]:
    _, shortages = begun(scenario, unix_s=unix_s)
    table = "file" if scenario.licences.file else "products"
    for one in shortages:
        yield ("licences", table), one.problem.text, one.problem.cure
