"""Sweeps: which keys of a scenario take which values, and what the runs leave in one table."""

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from cluster.inventory.settings import Setting
from cluster.simulation.policies import read_value

RUNS_MAX = 10_000
# What people vary most, in words of their own.
SHORT = {
    "hosts": "host.count",
    "vms": "vm.count",
    "bandwidth": "host.nic.rate_mbit_s",
    "dirty_rate": "vm.params.rate_mb_s",
}
_RANGE = re.compile(r"(-?\d+)\.\.(-?\d+)")
Row = dict[str, object]


class BadSweep(Exception):
    """What is wrong with what is to be varied: every problem at once."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True, kw_only=True)
class Varied:
    """One key of the scenario file, and the values that it takes; `said` is what the user calls it."""

    said: str
    key: str
    values: tuple[Setting, ...]


def read_varied(texts: Sequence[str], *, seeds: int) -> tuple[Varied, ...]:
    """Return what texts like `hosts=4,8,16`, `drs.threshold=1..5` describe.

    Raises:
        BadSweep: With everything that is wrong with any of them.
    """
    problems: list[str] = []
    found: list[Varied] = []
    for text in texts:
        name, equals, said = (part.strip() for part in text.partition("="))
        key = SHORT.get(name, name)
        if not equals or not said or "." not in key.strip("."):
            problems.append(f"{text!r} varies nothing: table.key=a,b,c or table.key=low..high")
            continue
        values = _values(said)
        if not values:
            problems.append(f"{text!r}: the lowest comes first")
        found.append(Varied(said=name, key=key, values=values))
    keys = [one.key for one in found]
    problems += [f"{key} is varied twice" for key in sorted({k for k in keys if keys.count(k) > 1})]
    count = seeds
    for one in found:
        count *= len(one.values)
    if count > RUNS_MAX:
        problems.append(f"these are {count} runs; at most {RUNS_MAX}")
    if problems:
        raise BadSweep(problems)
    return tuple(found)


def _values(said: str) -> tuple[Setting, ...]:
    if (ends := _RANGE.fullmatch(said)) is not None:
        return tuple(range(int(ends[1]), int(ends[2]) + 1)[: RUNS_MAX + 1])
    return tuple(read_value(part.strip()) for part in said.split(","))


def combinations(varied: Sequence[Varied]) -> Iterator[dict[str, Setting]]:
    """Every combination of values, by what the user calls them; the last changes fastest."""
    for values in itertools.product(*(one.values for one in varied)):
        yield {one.said: value for one, value in zip(varied, values, strict=True)}


def settings_of(varied: Sequence[Varied], chosen: Mapping[str, Setting]) -> dict[str, Setting]:
    """A combination by the scenario file's own keys."""
    return {one.key: chosen[one.said] for one in varied}


def flat(summary: Mapping[str, object], prefix: str = "") -> Row:
    """A summary as one row: `migrations.completed`, `downtime_s.p50`."""
    row: Row = {}
    for name, value in summary.items():
        if isinstance(value, Mapping):
            row.update(flat(value, f"{prefix}{name}."))
        else:
            row[f"{prefix}{name}"] = value
    return row


def columns(rows: Sequence[Row]) -> dict[str, list[object]]:
    """Rows as columns; what a run does not know is None, and values of several kinds become text."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    # `downtime_s` is None where a run had no migration, and a table of its own in another.
    parents = {name for name in names if any(other.startswith(f"{name}.") for other in names)}
    found: dict[str, list[object]] = {}
    for name in (name for name in names if name not in parents):
        values = [row.get(name) for row in rows]
        kinds = {type(value) for value in values if value is not None}
        if kinds == {int, float}:
            values = [float(v) if isinstance(v, int) else v for v in values]
        elif len(kinds) > 1:
            values = [None if v is None else str(v) for v in values]
        found[name] = values
    return found
