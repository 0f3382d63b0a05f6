"""The report's figure of one migration's rounds, for each migration that can be chosen."""

from collections.abc import Sequence
from itertools import groupby

from cluster.inventory.model import MIB, PAGE_BYTES
from cluster.observe import words
from cluster.observe.figure import BLUE, ORANGE, Figure, Json
from cluster.observe.rounds import RoundRow

CHOICES_MAX = 500


def rounds(rows: Sequence[RoundRow]) -> Figure | None:
    """Draw what each round sent and what it left dirty; the first choice has the most rounds."""
    runs = [list(group) for _, group in groupby(sorted(rows, key=_migration), key=_migration)]
    if not runs:
        return None
    # Stable: of those with as many rounds the earliest leads.
    runs.sort(key=lambda run: -len(run))
    shown = runs[:CHOICES_MAX]
    choices = {_label(run): _traces(run) for run in shown}
    most = max(row.round for run in shown for row in run)
    layout: Json = {
        "barmode": "group",
        "height": 340,
        "xaxis": {
            "title": {"text": "pre-copy round"},
            "dtick": 1 if most < 20 else 5,
            # Of all choices alike, so that they can be compared; a single round is no wall.
            "range": [-0.6, max(most, 4) + 0.6],
        },
        "yaxis": {"title": {"text": "MiB"}, "rangemode": "tozero"},
    }
    note = f"The {CHOICES_MAX} with the most rounds, of {len(runs):,}." if runs != shown else ""
    return Figure(traces=next(iter(choices.values())), layout=layout, note=note, choices=choices)


def _migration(row: RoundRow) -> tuple[float, str]:
    return row.started_s, row.vm


def _label(run: Sequence[RoundRow]) -> str:
    """Tell a migration by its VM, its start and its rounds; two at one instant by their VMs."""
    first = run[0]
    count = words.count(len(run), "round")
    return f"{first.vm}, started at {first.started_s:,.3f} s, {count}"


def _traces(run: Sequence[RoundRow]) -> list[Json]:
    numbers = [row.round for row in run]
    hover = [
        f"round {row.round}: {words.size(row.sent_bytes)} in {words.seconds(row.duration_s)}, "
        f"{row.zero_pages:,} of {row.sent_pages:,} pages zero<br>"
        f"{row.dirty_pages:,} pages dirty at its end"
        for row in run
    ]
    sides = (
        ("sent in the round", BLUE, [row.sent_bytes / MIB for row in run]),
        ("dirty at its end", ORANGE, [row.dirty_pages * PAGE_BYTES / MIB for row in run]),
    )
    return [
        {
            "type": "bar",
            "name": name,
            "x": numbers,
            "y": [round(amount, 4) for amount in amounts],
            "marker": {"color": colour},
            "hovertext": hover,
            "hoverinfo": "text",
        }
        for name, colour, amounts in sides
    ]
