"""What the tables of a scenario file are made of: bounded numbers, names, closed tables."""

from collections.abc import Callable
from dataclasses import MISSING, fields
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

# Bounds that no experiment meets and every mistyped number does; they also keep
# arithmetic on user input finite.
SECONDS_MAX = 1e9
MHZ_MAX = 1e9
MIB_MAX = 1 << 30
COUNT_MAX = 100_000
SEED_MAX = (1 << 63) - 1

Seconds = Annotated[float, Field(ge=0, le=SECONDS_MAX)]
PositiveSeconds = Annotated[float, Field(gt=0, le=SECONDS_MAX)]
Mhz = Annotated[float, Field(ge=0, le=MHZ_MAX)]
PositiveMhz = Annotated[float, Field(gt=0, le=MHZ_MAX)]
Mib = Annotated[int, Field(ge=0, le=MIB_MAX)]
PositiveMib = Annotated[int, Field(ge=1, le=MIB_MAX)]
Seed = Annotated[int, Field(ge=0, le=SEED_MAX)]
Count = Annotated[int, Field(ge=1, le=COUNT_MAX)]


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


Names = Annotated[
    list[str],
    BeforeValidator(_as_list),
    Field(min_length=1),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string"},
                {"type": "array", "items": {"type": "string"}, "minItems": 1},
            ]
        }
    ),
]


def default_of(spec: type, name: str) -> Any:
    """The default of a frozen fact's field, so that no default is written twice."""
    (default,) = (item.default for item in fields(spec) if item.name == name)
    if default is MISSING:
        raise LookupError(f"{spec.__name__}.{name} has no default")
    return default


def by_type(**tags: str) -> Callable[[object], str | None]:
    """A discriminator that goes by the TOML type of the value: text, number, table.

    Tags are written <tag>: they appear in the places of errors, where a tag that looks
    like a key would be taken for one.
    """

    def tag(value: object) -> str | None:
        match value:
            case bool():
                return None
            case str():
                return tags.get("text")
            case int() | float():
                return tags.get("number")
            case dict() | BaseModel():
                return tags.get("table")
            case _:
                return None

    return tag


class Table(BaseModel):
    """No conversions, no unknown keys, no infinities."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, frozen=True)
