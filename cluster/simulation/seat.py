"""What one host holds of one VM, as checkers see it."""

from dataclasses import dataclass, field

from cluster.migration.messages import Answer


class WorldBroken(Exception):
    """Something happened that must never happen; a defect, found by a checker."""


@dataclass(slots=True, kw_only=True, eq=False)
class Seat:
    """One host's part of one VM.

    Attributes:
        holds: Memory is allocated here.
        complete: State and pages are here, apart from `missing_pages` after a flip.
        fence: The highest seq that was seen; an older command is dropped.
        answers: Given so far; a command that comes twice is answered the same.
    """

    alive: bool = True
    holds: bool = False
    runs: bool = False
    complete: bool = False
    missing_pages: int = 0
    fence: int = 0
    answers: dict[int, Answer] = field(default_factory=dict)

    def empty(self) -> None:
        """Nothing of the VM is here any more."""
        self.holds = self.runs = self.complete = False
