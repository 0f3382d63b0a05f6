"""What is wrong with a scenario file: data, all of it at once."""

import re
from dataclasses import dataclass, field

Key = tuple[str | int, ...]
VALUE_CHARS_MAX = 60
KEY_CHARS_MAX = 120
PROBLEMS_MAX = 1000  # nobody reads more, and each may cost a search for what was meant


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One mistake in a file, and its cure.

    Attributes:
        file: The scenario file, as the user named it.
        key: Where: `drs.threshold`, `vm.web-3.memory_mib`, or `event[0].at_s` for what
            has no name (counted from 0). Empty if the file as a whole is meant.
        wrong: What is wrong.
        right: What would be right.
        line: Counted from 1; None if it is not known.
    """

    file: str
    key: str
    wrong: str
    right: str
    line: int | None = None

    def __str__(self) -> str:
        """One line that a terminal can show, whatever the file had in it."""
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        text = ": ".join(part for part in (place, self.key, self.wrong) if part)
        text += f"; {self.right}" if self.right else ""
        return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class ScenarioProblems(Exception):
    """A scenario file cannot be used; `problems` has every reason, in the file's order."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__(problems)
        self.problems = problems

    def __str__(self) -> str:
        return "\n".join(map(str, self.problems))


@dataclass(slots=True)
class Findings:
    """Collects problems by key path while a file is checked; each (key, text) once.

    Keeps `PROBLEMS_MAX` of them, and says that there are more.
    """

    found: dict[tuple[Key, str], str] = field(default_factory=dict)
    _around: set[Key] = field(default_factory=set)

    def add(self, key: Key, wrong: str, right: str) -> None:
        """Note that the value at `key` is wrong, and what would be right."""
        if self.full:
            self.found.setdefault(((), "there are more problems"), "mend these first")
        else:
            self.found.setdefault((key, wrong), right)
        self._around.update(key[:length] for length in range(len(key) + 1))

    @property
    def full(self) -> bool:
        """Whether no more problems are kept, so that dear advice need not be worked out."""
        return len(self.found) >= PROBLEMS_MAX

    def touch(self, key: Key) -> bool:
        """Whether something at `key` or inside it is wrong, so that its value is not the user's."""
        return key in self._around

    def __bool__(self) -> bool:
        return bool(self.found)


def key_text(key: Key, document: object = None) -> str:
    """`("vm", 2, "memory_mib")` as `vm.web-3.memory_mib`, or `vm[2].memory_mib` without a name."""
    text = ""
    for part in key:
        if isinstance(part, int):
            document = document[part] if isinstance(document, list) else None
            name = document.get("name") if isinstance(document, dict) else None
            text += (
                f".{name}" if isinstance(name, str) and _PATH_PART.fullmatch(name) else f"[{part}]"
            )
        else:
            document = document.get(part) if isinstance(document, dict) else None
            part = part if part.isprintable() else repr(part)
            text += f".{part}" if text else part
    return text if len(text) <= KEY_CHARS_MAX else text[: KEY_CHARS_MAX - 1] + "…"


def shown(value: object) -> str:
    """A value as it may stand in a message: on one line, and never long."""
    match value:
        case str():
            text = value if value.isprintable() else repr(value)[1:-1]
            return f'"{text}"' if len(text) <= VALUE_CHARS_MAX else f'"{text[:VALUE_CHARS_MAX]}…"'
        case bool():
            return str(value).lower()
        case int() if value.bit_length() > 64:
            return "a huge number"  # Python refuses to print more than 4300 digits
        case list():
            return f"a list of {len(value)}"
        case dict():
            return "a table"
        case _:
            return str(value)


_PATH_PART = re.compile(r"[A-Za-z0-9._{}-]{1,64}")
