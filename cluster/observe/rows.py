"""Rows as plain data for JSON, and back."""

import types
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any, TypeVar

_Row = TypeVar("_Row")


def to_json(row: object) -> Any:
    """Turn a row into what `json` writes; enums become their values, infinities null."""
    match row:
        case Enum():
            return row.value
        case float():
            return row if abs(row) < float("inf") else None
        case Mapping():
            return {str(key): to_json(value) for key, value in row.items()}
        case list() | tuple():
            return [to_json(value) for value in row]
        case None | str() | int():
            return row
    if is_dataclass(row):
        return {one.name: to_json(getattr(row, one.name)) for one in fields(row)}
    raise TypeError(f"{type(row).__name__} is no data of a row")


def from_json(row_type: type[_Row], data: object) -> _Row:
    """Build a dataclass, with those inside it, from what `to_json` made of one.

    Raises:
        ValueError: If a field is missing, is too many, or is no value of its enum.
    """
    if not isinstance(data, dict):
        raise ValueError(f"{row_type.__name__} must be an object, is {data!r}")
    hints = typing.get_type_hints(row_type)
    if data.keys() != hints.keys():
        differing = ", ".join(sorted(data.keys() ^ hints.keys()))
        raise ValueError(f"{row_type.__name__} has other fields: {differing}")
    return row_type(**{name: _value(hints[name], value) for name, value in data.items()})


def _value(hint: Any, value: object) -> Any:
    if isinstance(hint, types.UnionType):
        return None if value is None else _value(typing.get_args(hint)[0], value)
    if is_dataclass(hint) and isinstance(hint, type):
        return from_json(hint, value)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint(value)
    return value
