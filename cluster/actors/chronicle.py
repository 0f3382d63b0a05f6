"""What has happened, numbered: several look at it, each from where it last stopped."""

import time
from collections import deque
from collections.abc import Sequence
from enum import Enum

from cluster.actors.reports import Verification
from cluster.actors.views import EndedMigration, Happening
from cluster.journal.journal import Journal, Noted

# Who looks less often than every so many entries misses some; the journal's story has more.
_RECENT_MAX = 100_000
# As many of those are read back after a restart.
_READ_BACK_MAX = 5_000


class Kind(Enum):
    """What an entry is; its value is what the journal calls it."""

    STORY = "story"
    ENDED = "ended"
    VERIFIED = "verified"
    PROBLEM = "problem"


class Chronicle:
    """The newest entries; with a journal all of them outlive this process."""

    def __init__(self, journal: Journal | None) -> None:
        self._journal = journal
        self._number = 0
        self._recent: deque[Noted] = deque(maxlen=_RECENT_MAX)
        if journal is not None:
            self._recent.extend(journal.notes_since(0, count_max=_READ_BACK_MAX))

    @property
    def newest(self) -> int:
        """The number of the newest entry; 0 before the first."""
        return self._recent[-1].number if self._recent else 0

    def made(
        self, kind: Kind, thing: Happening | EndedMigration | Verification | str, *, time_s: float
    ) -> Noted:
        """Return an entry for something, for the journal first and then for `add`."""
        record = thing.record if isinstance(thing, Happening) else None
        return Noted(
            number=self._next(),
            kind=kind.value,
            time_s=time_s,
            unix_s=time.time(),
            note=thing,
            topic=record.topic.value if record else "",
            what=record.what if record else "",
            text=record.text if record else str(thing) if kind is Kind.PROBLEM else "",
        )

    def add(self, entries: Sequence[Noted]) -> None:
        """Show entries to who looks."""
        self._recent.extend(entries)

    def note(
        self, kind: Kind, thing: EndedMigration | Verification | str, *, time_s: float
    ) -> None:
        """Write down something that no event says, and show it.

        Raises:
            JournalFailed: If it cannot be written.
        """
        entry = self.made(kind, thing, time_s=time_s)
        if self._journal is not None:
            self._journal.note([entry])
        self.add([entry])

    def since(
        self, number: int, *, kind: Kind | None = None, count_max: int = _RECENT_MAX
    ) -> list[Noted]:
        """Return the entries after a number, in order, the newest so many."""
        found: list[Noted] = []
        for entry in reversed(self._recent):
            if entry.number <= number or len(found) == count_max:
                break
            if kind is None or entry.kind == kind.value:
                found.append(entry)
        return found[::-1]

    def _next(self) -> int:
        if self._journal is not None:
            return self._journal.next_note()
        self._number += 1
        return self._number
