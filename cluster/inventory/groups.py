"""Groups of a scenario file made into single things with names, and names into those things."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from cluster.inventory.names import NAME_RULE, is_name, matching, suggestion
from cluster.inventory.problems import Findings, Key, shown

T = TypeVar("T")

NUMBER = "{}"
THINGS_MAX = 200_000  # of one kind: a mistyped count must not fill the machine's memory
LISTED_MAX = 5


@dataclass(slots=True)
class Registry(Generic[T]):
    """All hosts, or all VMs, by name and in the file's order.

    Attributes:
        what: "host" or "VM", for messages.
        origins: Each name's table in the document.
        uncounted: Starts of the names of groups whose count was wrong: more of them were meant
            than are here, so what is said of all things, or of one that is missing, may not hold.
    """

    what: str
    specs: dict[str, T] = field(default_factory=dict)
    origins: dict[str, Key] = field(default_factory=dict)
    uncounted: list[str] = field(default_factory=list)
    _matched: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def declare(self, name: str, count: int | None, key: Key, findings: Findings) -> list[str]:
        """Take the names of a table's things; what cannot be taken goes to `findings`."""
        if not name:
            return []  # no usable name was read, and that has been noted
        if findings.touch((*key, "count")):
            self.uncounted.append(name.partition(NUMBER)[0])
        names = list(group_names(name, count))
        if not is_name(names[-1]):
            findings.add((*key, "name"), f"{shown(name)} is no safe name", NAME_RULE)
        if len(self.origins) + len(names) > THINGS_MAX:
            right = f"{THINGS_MAX} in all at most"
            findings.add((*key, "count"), f"more {self.what}s than can be handled", right)
            return []
        for taken in (name for name in names if name in self.origins):
            table, index = self.origins[taken]
            wrong = f"the name {taken} is taken by [[{table}]] number {int(index) + 1}"
            findings.add((*key, "name"), wrong, f"a name of its own for every {self.what}")
            break
        free = [name for name in names if name not in self.origins]
        self.origins.update(dict.fromkeys(free, key))
        return free

    def resolve(self, patterns: Sequence[str], key: Key, findings: Findings) -> tuple[str, ...]:
        """The names that are meant, each once, in the file's order for each pattern."""
        found: dict[str, None] = {}
        for index, pattern in enumerate(patterns):
            names = self._match(pattern)
            if not names:
                self._note_unknown(pattern, (*key, index) if len(patterns) > 1 else key, findings)
            found.update(dict.fromkeys(names))
        return tuple(found)

    def check_one(self, name: str, key: Key, findings: Findings) -> None:
        """Note it if there is no such thing; a pattern names none."""
        if name not in self.origins:
            self._note_unknown(name, key, findings)

    def _note_unknown(self, name: str, key: Key, findings: Findings) -> None:
        if any(_may_be_of(start, name) for start in self.uncounted):
            return  # it follows from the wrong count, which has been noted
        # Looking for what was meant takes 20 ms, and nobody would see it.
        right = "" if findings.full else suggestion(name, tuple(self.origins))
        findings.add(key, f"there is no {self.what} {shown(name)}", right)

    def _match(self, pattern: str) -> tuple[str, ...]:
        if "*" not in pattern:
            return (pattern,) if pattern in self.origins else ()
        if pattern not in self._matched:
            self._matched[pattern] = matching(pattern, self.origins)
        return self._matched[pattern]


def _may_be_of(start: str, pattern: str) -> bool:
    """Whether a name, or a pattern with `*`, may mean things whose names have this start."""
    head, star, _ = pattern.partition("*")
    return head.startswith(start) or (bool(star) and start.startswith(head))


def group_names(name: str, count: int | None) -> Iterator[str]:
    """The names of a table's things, counted from 1; a table without count has one thing."""
    if count is None and NUMBER not in name:
        yield name
        return
    pattern = name if NUMBER in name else f"{name}-{NUMBER}"
    for number in range(1, (count or 1) + 1):
        yield pattern.replace(NUMBER, str(number))


def listed(names: Iterable[str]) -> str:
    """The first few names, and how many more there are."""
    all_names = list(names)
    rest = len(all_names) - LISTED_MAX
    return ", ".join(all_names[:LISTED_MAX]) + (f" and {rest} more" if rest > 0 else "")
