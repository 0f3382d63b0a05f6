"""What happened to a migration, one entry an event, so that an error can tell how it came about."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from cluster.migration.messages import Command, Event, Progressed, Seconds
from cluster.migration.state import Phase


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One event and what it did; `note` says why, where the table leaves a choice."""

    now_s: Seconds
    event: Event
    before: Phase
    after: Phase
    commands: tuple[Command, ...]
    note: str = ""

    def __str__(self) -> str:
        moved = (
            self.after.value
            if self.before is self.after
            else f"{self.before.value} → {self.after.value}"
        )
        said = "".join(f"; {command}" for command in self.commands)
        note = f" ({self.note})" if self.note else ""
        return f"{self.now_s:.6f} {self.event}: {moved}{said}{note}"


class Story:
    """Keeps the latest entries and hands each to a sink.

    A report of progress that follows another takes its place here, so that a long round
    does not push the beginning out; the sink sees them all.
    """

    def __init__(
        self, *, entries_max: int = 256, sink: Callable[[Entry], None] | None = None
    ) -> None:
        self._entries: deque[Entry] = deque(maxlen=entries_max)
        self._sink = sink

    def add(self, entry: Entry) -> None:
        """Append an entry."""
        if self._sink is not None:
            self._sink(entry)
        if (
            isinstance(entry.event, Progressed)
            and self._entries
            and isinstance(self._entries[-1].event, Progressed)
        ):
            self._entries.pop()
        self._entries.append(entry)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __str__(self) -> str:
        return "\n".join(map(str, self._entries))
