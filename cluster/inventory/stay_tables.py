"""The shapes in which a scenario file may say when a VM comes and how long it stays."""

from typing import Annotated

from pydantic import BeforeValidator, Discriminator, Field, Tag, WithJsonSchema

from cluster.inventory.fields import PositiveSeconds, Seconds, Table


def _as_pair(value: object) -> object:
    alone = isinstance(value, int | float) and not isinstance(value, bool)
    return [value, value] if alone else value


# A time, or the earliest and the latest: each of a group has its own in between.
Times = Annotated[
    list[Seconds],
    BeforeValidator(_as_pair),
    Field(min_length=2, max_length=2),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": 0},
                {
                    "type": "array",
                    "items": {"type": "number", "minimum": 0},
                    "minItems": 2,
                    "maxItems": 2,
                },
            ]
        }
    ),
]


class ExponentialStay(Table):
    """Mostly short stays and a few long ones, as lifetimes in a cloud are: each VM draws its own."""

    mean_s: PositiveSeconds = Field(
        description="Mean of the stays, which are exponentially distributed."
    )


def _stay_tag(value: object) -> str:
    return "<stay>" if isinstance(value, dict | ExponentialStay) else "<times>"


Stay = Annotated[
    Annotated[Times, Tag("<times>")] | Annotated[ExponentialStay, Tag("<stay>")],
    Discriminator(_stay_tag),
]
