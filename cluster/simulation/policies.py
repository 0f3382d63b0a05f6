"""Policies as data: what [drs] and [power] say, from a file, a space or a trial; and what they cost.

A parameter is named as in the scenario file: `threshold` or `drs.threshold`, `power.deviations`. The
tables' own models check every value, so that a policy is right where a scenario would be.
"""

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from statistics import fmean
from typing import TypeVar

from pydantic import ValidationError

from cluster.inventory.model import DrsSettings, PowerSettings, Scenario
from cluster.inventory.names import suggestion
from cluster.inventory.tables import DrsTable, PowerTable
from cluster.observe.record import Summary

Value = bool | int | float | str
Policy = Mapping[str, Value]
_TABLES: Mapping[str, type[DrsTable] | type[PowerTable]] = {"drs": DrsTable, "power": PowerTable}


class BadPolicy(Exception):
    """What is wrong with a policy, a space or an objective: every problem at once."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


def parameters() -> tuple[str, ...]:
    """Return the names of all parameters, with their tables."""
    return tuple(f"{table}.{key}" for table, model in _TABLES.items() for key in model.model_fields)


def full_name(name: str) -> str:
    """Return a parameter with its table; one that has none is [drs]'s, or else [power]'s.

    Raises:
        BadPolicy: If there is no such parameter.
    """
    for found in (name, f"drs.{name}", f"power.{name}"):
        if found in parameters():
            return found
    short = [known.partition(".")[2] for known in parameters()]
    right = suggestion(name, (*parameters(), *short))
    raise BadPolicy([f"there is no parameter {name}: {right}"])


def with_policy(scenario: Scenario, policy: Policy) -> Scenario:
    """Return the scenario under another policy; what the policy does not name stays.

    Raises:
        BadPolicy: If a parameter is unknown or a value cannot be.
    """
    problems: list[str] = []
    wanted: dict[str, dict[str, Value]] = {"drs": {}, "power": {}}
    for name, value in policy.items():
        try:
            table, _, key = full_name(name).partition(".")
            wanted[table][key] = value
        except BadPolicy as bad:
            problems += bad.problems
    for table, values in wanted.items():
        try:
            _TABLES[table].model_validate(values)
        except ValidationError as error:
            problems += [
                f"{table}.{'.'.join(map(str, one['loc']))} = {one['input']!r}: {one['msg']}"
                for one in error.errors()
            ]
    if problems:
        raise BadPolicy(problems)
    return replace(
        scenario,
        drs=_changed(scenario.drs, wanted["drs"], DrsTable),
        power=_changed(scenario.power, wanted["power"], PowerTable),
    )


_Settings = TypeVar("_Settings", DrsSettings, PowerSettings)


def _changed(
    settings: _Settings, values: Mapping[str, Value], table: type[DrsTable] | type[PowerTable]
) -> _Settings:
    checked = table.model_validate(dict(values))
    return replace(settings, **{key: getattr(checked, key) for key in values})


def read_policy(path: Path) -> dict[str, Value]:
    """Return what a policy file says: the tables [drs] and [power] of a scenario file.

    Raises:
        BadPolicy: If it cannot be read, or has something else in it.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadPolicy([f"{path}: no policy file ({error})"]) from error
    problems = [
        f"{path}: there is no table [{name}] in a policy: [drs] or [power]"
        for name, table in document.items()
        if name not in _TABLES or not isinstance(table, dict)
    ]
    if problems:
        raise BadPolicy(problems)
    policy = {f"{t}.{key}": value for t, table in document.items() for key, value in table.items()}
    unknown = [name for name in policy if name not in parameters()]
    if unknown:
        rights = [f"{path}: {n}: {suggestion(n, parameters())}" for n in unknown]
        raise BadPolicy([f"{text} (there is no such parameter)" for text in rights])
    return policy


def policy_toml(policy: Policy, *, about: Sequence[str] = ()) -> str:
    """Return a policy as the text of its file; `about` are comments at its top."""
    lines = [f"# {line}" for line in about]
    for table in _TABLES:
        mine = {n: v for n, v in policy.items() if full_name(n).startswith(f"{table}.")}
        if mine:
            lines += ["", f"[{table}]"]
            lines += [f"{full_name(n).partition('.')[2]} = {_toml(v)}" for n, v in mine.items()]
    return "\n".join(lines).strip() + "\n"


def _toml(value: Value) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return f'"{value}"'
        case _:
            return repr(value)


class Objective(Enum):
    """What a policy is judged by; of each less is better."""

    IMBALANCE = "imbalance"
    UNMET = "unmet"
    MIGRATIONS = "migrations"
    SENT_BYTES = "sent_bytes"
    DOWNTIME_S = "downtime_s"
    ENERGY_KWH = "energy_kwh"


def objective_value(summary: Summary, objective: Objective) -> float:
    """Return a run's figure: means over the run, sums of migrations, bytes and energy; nan if unknown.

    The downtime is the median's times the migrations: what all guests together stood still.
    """
    match objective:
        case Objective.IMBALANCE:
            return math.nan if summary.imbalance is None else summary.imbalance.mean
        case Objective.UNMET:
            unmet = summary.unmet_demand_ratio
            return math.nan if unmet is None else unmet.mean
        case Objective.MIGRATIONS:
            return float(summary.migrations.started)
        case Objective.SENT_BYTES:
            return float(summary.sent_bytes)
        case Objective.DOWNTIME_S:
            downtime = summary.downtime_s
            return 0.0 if downtime is None else downtime.p50 * summary.migrations.completed
        case Objective.ENERGY_KWH:
            return math.nan if summary.power is None else summary.power.energy_kwh


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One parameter's space: values to choose from, or a range of whole or real numbers."""

    name: str
    values: tuple[Value, ...] = ()
    low: float = 0.0
    high: float = 0.0
    whole: bool = False


def read_space(texts: Sequence[str]) -> tuple[Choice, ...]:
    """Return the space that texts like `threshold=1..5` and `interval_s=60,300` describe.

    Raises:
        BadPolicy: With everything that is wrong with any of them.
    """
    problems: list[str] = []
    choices: list[Choice] = []
    for text in texts:
        try:
            choices.append(_choice(text))
        except BadPolicy as bad:
            problems += bad.problems
    for choice in choices:
        ends = choice.values or (
            (int(choice.low), int(choice.high)) if choice.whole else (choice.low, choice.high)
        )
        table, _, key = choice.name.partition(".")
        for value in ends:
            try:
                _TABLES[table].model_validate({key: value})
            except ValidationError as error:
                problems += [f"{choice.name}={value}: {one['msg']}" for one in error.errors()]
    doubled = {c.name for c in choices if sum(c.name == other.name for other in choices) > 1}
    problems += [f"{name} is named twice" for name in sorted(doubled)]
    if not texts:
        problems.append("the space is empty: name parameters, like --space threshold=1..5")
    if problems:
        raise BadPolicy(problems)
    return tuple(choices)


def _choice(text: str) -> Choice:
    name, equals, said = text.partition("=")
    if not equals or not said:
        raise BadPolicy([f"{text!r} is no space: name=low..high or name=a,b,c"])
    problems: list[str] = []
    try:
        name = full_name(name.strip())
    except BadPolicy as bad:
        problems += bad.problems
    if ".." not in said:
        values = tuple(read_value(part.strip()) for part in said.split(","))
        choice = Choice(name=name, values=values)
    else:
        choice = _range(name, text, said, problems)
    if problems:
        raise BadPolicy(problems)
    return choice


def _range(name: str, text: str, said: str, problems: list[str]) -> Choice:
    low_text, _, high_text = said.partition("..")
    try:
        low, high = float(low_text), float(high_text)
    except ValueError:
        problems.append(f"{text!r} is no range of numbers: name=low..high")
        return Choice(name=name)
    if not low <= high < math.inf:
        problems.append(f"{text!r}: the lowest comes first")
    whole = not any(mark in low_text + high_text for mark in ".eE")
    return Choice(name=name, low=low, high=high, whole=whole)


def read_value(text: str) -> Value:
    """Return a value as TOML would read it: true, a number, or else text."""
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def dominates(one: Sequence[float], other: Sequence[float], *, margin_ratio: float = 0.0) -> bool:
    """Whether `one` is as good in every objective and better in one; with a margin, better by it in all."""
    if margin_ratio:
        return all(a < b * (1 - margin_ratio) for a, b in zip(one, other, strict=True))
    pairs = list(zip(one, other, strict=True))
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)


def hopeless(
    seen: Sequence[Sequence[float]], finished: Sequence[Sequence[float]], *, margin_ratio: float
) -> bool:
    """Whether the means of the seeds that a trial has seen are worse than a finished trial's by the margin in all.

    In all: a trial that is good at one thing may be on the front. An unknown figure (nan) is never worse.
    """
    means = [fmean(column) for column in zip(*seen, strict=True)]
    return any(dominates(other, means, margin_ratio=margin_ratio) for other in finished)


def front(points: Sequence[Sequence[float]]) -> list[int]:
    """Return the indices of the points that no other dominates, in their order."""
    return [
        at
        for at, point in enumerate(points)
        if not any(dominates(other, point) for other in points)
    ]


def knee(points: Sequence[Sequence[float]]) -> int:
    """Return the index of the point nearest to the best of every objective, each scaled to 0 to 1."""
    low = [min(column) for column in zip(*points, strict=True)]
    span = [max(c) - min(c) or 1.0 for c in zip(*points, strict=True)]
    away = [
        sum(((x - least) / wide) ** 2 for x, least, wide in zip(p, low, span, strict=True))
        for p in points
    ]
    return away.index(min(away))
