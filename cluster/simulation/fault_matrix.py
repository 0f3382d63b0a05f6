"""All rows of the fault matrix with their twins in virtual time, and one way to run each."""

from dataclasses import dataclass

from cluster.migration.state import Phase
from cluster.simulation import injections, second_requests
from cluster.simulation.injections import LASTING, ROWS


@dataclass(frozen=True, slots=True)
class Line:
    """One row as the documentation shows it.

    Attributes:
        states: Where its twin puts it; none where virtual time knows nothing of it.
        seen: What a user sees of it.
    """

    row: str
    what: str
    states: tuple[Phase, ...]
    seen: str


_SEEN = {
    "F1": "aborted, “cancelled”; after the commit: completed, the cancel came too late",
    "F2": "before the commit lost with its VM, which HA restarts; after it the destination goes on"
    " if every page is there",
    "F3": "before the commit aborted, the VM runs on at the source; after it lost, HA restarts it",
    "F4": "the commit is asked again until it is answered; nothing else waits",
    "F5": "a longer migration",
    "F6": "longer faults until another handler serves",
    "F7": "aborted before the commit; fetched again after it",
    "F8": "a slower migration, or aborted",
    "F9": "throttled, flipped to post-copy, or aborted as the mode says",
    "F10": "“is migrating already”, or a place in the queue",
    "F11": "the VM is off; the migration is lost or aborted",
    "F12": "aborted with the check's name, unless it was committed before",
    "F13": "a longer stall, no loss",
    "F14": "a longer blackout if the commit met it, no loss",
    "F15": "nothing",
}
MATRIX: tuple[Line, ...] = tuple(
    sorted(
        (
            *(Line(row, of.what, of.states, _SEEN[row]) for row, of in ROWS.items()),
            Line("F10", "a second migration, back, over the limits", LASTING[1:], _SEEN["F10"]),
            Line("F15", "pages freed under way", (), _SEEN["F15"]),
        ),
        key=lambda line: int(line.row[1:]),
    )
)


def failure(row: str, state: Phase, seed: int) -> tuple[int, str]:
    """Run one trial; return how often the fault was injected, and what went wrong or ""."""
    if row == "F10":
        return second_requests.failure(state, seed)
    return injections.failure(row, state, seed)
