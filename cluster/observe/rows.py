"""Rows as plain data for JSON."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any


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
