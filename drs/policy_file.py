"""A policy as a TOML or JSON file: what an administrator may set, every mistake told at once."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import Any

from drs.cost import Calibration
from drs.model import Automation
from drs.policy import Policy, Preference


class PolicyMistakes(ValueError):
    """Everything wrong with a policy file; `mistakes` has one line each."""

    def __init__(self, path: Path, mistakes: tuple[str, ...]) -> None:
        super().__init__(f"{path}: {'; '.join(mistakes)}")
        self.mistakes = mistakes


def load_policy(path: Path) -> Policy:
    """The policy that a `.toml` or `.json` file tells; what it does not name has its default.

    Keys are the fields of `Policy`; `calibration` is the path of a calibration file, relative to this
    one, or a table of its entries. PolicyMistakes names every unknown key and every wrong value.
    """
    try:
        text = path.read_text(encoding="utf-8")
        raw = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (ValueError, tomllib.TOMLDecodeError) as error:
        raise PolicyMistakes(path, (str(error),)) from error
    if not isinstance(raw, dict):
        raise PolicyMistakes(path, ("not a table of settings",))
    values: dict[str, Any] = {}
    mistakes = [
        f"{key}: no such setting; there are {', '.join(sorted(READERS))}"
        for key in sorted(set(raw) - set(READERS))
    ]
    for key in raw:
        if key in READERS:
            try:
                values[key] = READERS[key](raw[key], path.parent)
            except (OSError, TypeError, ValueError) as error:
                mistakes.append(f"{key}: {error}")
    if not mistakes:
        policy = Policy(**values)
        mistakes = [problem.message for problem in policy.problems()]
        if not mistakes:
            return policy
    raise PolicyMistakes(path, tuple(mistakes))


def save_policy(policy: Policy, path: Path) -> None:
    """Writes what `load_policy` reads back as the same policy, as JSON; ValueError for another suffix."""
    if path.suffix != ".json":
        raise ValueError(f"a policy is saved as .json, not as {path.suffix or 'nothing'}")
    raw = {name: _plain(getattr(policy, name)) for name in READERS}
    known = {name: value for name, value in raw.items() if value is not None}
    path.write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")


def _plain(value: Any) -> Any:
    match value:
        case Calibration():
            return asdict(value)
        case Enum():
            return value.value
        case Mapping():
            return dict(value)
        case _:
            return value


def _number(value: Any, _: Path) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        raise TypeError(f"{value!r} is not a number")
    return float(value)


def _whole(value: Any, _: Path) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{value!r} is not a whole number")
    return value


def _switch(value: Any, _: Path) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{value!r} is neither true nor false")
    return value


def _weights(value: Any, folder: Path) -> dict[str, float]:
    if not isinstance(value, Mapping):
        raise TypeError(f"{value!r} is not a table of resource names and numbers")
    return {str(name): _number(weight, folder) for name, weight in value.items()}


def _calibration(value: Any, folder: Path) -> Calibration:
    if isinstance(value, str):
        return Calibration.load(folder / value)
    if not isinstance(value, Mapping):
        raise TypeError(f"{value!r} is neither a path nor a table")
    return Calibration.of(value)


READERS: Mapping[str, Callable[[Any, Path], Any]] = {
    "migration_threshold": _whole,
    "automation": lambda value, _: Automation(value),
    "weights": _weights,
    "moves_max": _whole,
    "moves_per_host_max": _whole,
    "vms_per_host_max": _whole,
    "concurrent_max": _whole,
    "concurrent_per_host_max": _whole,
    "rate_bytes_per_second": _number,
    "cooldown_s": _number,
    "stable_s": _number,
    "cost_benefit": _switch,
    "goodness_min": _number,
    "preference": lambda value, _: Preference(value),
    "move_overhead_s": _number,
    "calibration": _calibration,
}
