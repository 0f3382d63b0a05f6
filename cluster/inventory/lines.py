"""On which line of a TOML text each key stands.

`tomllib` forgets positions, and the libraries that keep them are ten times slower
and one more dependency. The text is known to be valid TOML when this runs, so a
scan of headers and keys is enough. Keys inside inline tables are not looked for;
they have the line of the key that holds the table.
"""

import re
from collections.abc import Mapping

from cluster.inventory.problems import Key

_KEY = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')"""
_DOTTED = rf"{_KEY}(?:[ \t]*\.[ \t]*{_KEY})*"
_HEADER = re.compile(rf"[ \t]*(\[\[?)[ \t]*({_DOTTED})[ \t]*\]\]?")
_ASSIGNMENT = re.compile(rf"[ \t]*({_DOTTED})[ \t]*=")
_PART = re.compile(_KEY)
_TOKEN = re.compile(
    r'''"""(?:[^"\\]|\\.|"(?!""))*"{3,5}|\'\'\'(?:[^']|'(?!''))*'{3,5}'''
    r"""|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'|\#[^\n]*|[\[\]{}\n]|[^"'\#\[\]{}\n]+""",
    re.DOTALL,
)


def lines_of(text: str) -> Mapping[Key, int]:
    """The line (from 1) of each table and key in a valid TOML text; one pass over it."""
    lines: dict[Key, int] = {}
    counts: dict[Key, int] = {}
    table: Key = ()
    position, line = 0, 1
    while position < len(text):
        if header := _HEADER.match(text, position):
            names = _parts(header[2])
            table = _resolved(names, counts)
            lines.setdefault(table, line)
            if header[1] == "[[":
                counts[table] = counts.get(table, -1) + 1
                table = (*table, counts[table])
            lines.setdefault(table, line)
            position = header.end()
        elif assignment := _ASSIGNMENT.match(text, position):
            key = table
            for part in _parts(assignment[1]):
                key = (*key, part)
                lines.setdefault(key, line)
            position = assignment.end()
        end = _statement_end(text, position)
        line += text.count("\n", position, end)
        position = end
    return lines


def line_of(key: Key, lines: Mapping[Key, int]) -> int | None:
    """The line of the nearest thing around `key` that has one."""
    for length in range(len(key), 0, -1):
        if (line := lines.get(key[:length])) is not None:
            return line
    return None


def _parts(dotted: str) -> tuple[str, ...]:
    # Escapes in quoted keys are left as they are: such a key loses its line, nothing else.
    return tuple(part.strip("\"'") for part in _PART.findall(dotted))


def _resolved(names: tuple[str, ...], counts: Mapping[Key, int]) -> Key:
    """`[vm.params]` means the params of the last `[[vm]]`."""
    key: Key = ()
    for depth, name in enumerate(names):
        key = (*key, name)
        if depth < len(names) - 1 and key in counts:
            key = (*key, counts[key])
    return key


def _statement_end(text: str, position: int) -> int:
    """Just after the newline that ends the value at `position`, past brackets and long strings."""
    depth = 0
    while position < len(text):
        token = _TOKEN.match(text, position)
        if token is None:
            return len(text)
        position = token.end()
        match token[0]:
            case "[" | "{":
                depth += 1
            case "]" | "}":
                depth -= 1
            case "\n" if depth <= 0:
                return position
    return position
