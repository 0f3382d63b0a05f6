"""What the report's figures share: plain data for plotly.js, colours, and which hosts to show.

Colours are Okabe and Ito's, which the colour-blind can tell apart; text and grid take
their colour from the page, light or dark.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

BLUE, SKY, ORANGE, GREEN = "#0072B2", "#56B4E9", "#E69F00", "#009E73"
VERMILION, PURPLE, GREY = "#D55E00", "#CC79A7", "#8A8A8A"

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One figure.

    Attributes:
        note: What is not in it.
        choices: Traces by label, of which a reader chooses one; `traces` are the first's.
    """

    traces: list[Json]
    layout: Json
    note: str = ""
    choices: Mapping[str, list[Json]] = field(default_factory=dict)


def busiest(weights: Mapping[str, float], most: int) -> tuple[list[str], str]:
    """Return the heaviest hosts in natural order of names, and a note if some are left out."""
    chosen = sorted(weights, key=lambda host: (-weights[host], natural(host)))[:most]
    note = f"The busiest {most} of {len(weights):,} hosts." if len(weights) > most else ""
    return sorted(chosen, key=natural), note


def natural(name: str) -> tuple[str, int, str]:
    """Sort esx-10 after esx-9."""
    stem = name.rstrip("0123456789")
    digits = name[len(stem) :]
    return (stem, int(digits or 0), name)
