"""Which names are allowed, what a pattern of names matches, and what a misspelt one meant.

A VM's name becomes a file's name, a metric's label, a column and a word of a
command line, so the rule is the strictest of those: letters, digits, `.`, `_`
and `-`, a letter or digit at both ends, 63 characters at most (a DNS label's
length). Networks, datastores and rules are only ever printed: `is_label`.
"""

import difflib
import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

NAME_CHARS_MAX = 63
NAME_PATTERN = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?"
NAME_RULE = (
    "1 to 63 letters, digits, '.', '_' or '-', with a letter or digit first and last "
    "(it becomes a file's name and a metric's label)"
)
LABEL_RULE = "1 to 63 printable characters, without quotes, slashes or space at the ends"
SUGGESTIONS_MAX = 3
LISTED_MAX = 12
COMPARED_MAX = 2_000  # difflib looks at each; this many take some 20 ms

_NAME = re.compile(NAME_PATTERN)
_GLOB = re.compile(r"[A-Za-z0-9._*-]{1,63}")


def is_name(text: str) -> bool:
    """Whether `text` may name a host, a VM or a scenario."""
    return _NAME.fullmatch(text) is not None


def is_label(text: str) -> bool:
    """Whether `text` may name what is only ever printed: a network, a datastore, a rule."""
    return (
        0 < len(text) <= NAME_CHARS_MAX
        and text.isprintable()
        and text == text.strip()
        and not set(text) & set("\"'`/\\")
    )


def slug(text: str) -> str:
    """A name made of any text: what is not allowed becomes '-'; "scenario" if nothing is left."""
    ends = "._-"
    clean = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip(ends)[:NAME_CHARS_MAX].strip(ends)
    return clean or "scenario"


def matching(pattern: str, names: Iterable[str]) -> tuple[str, ...]:
    """The names that `pattern` matches, in their own order; only `*` is special.

    A pattern that could match no name at all (a character that names cannot have)
    matches nothing, so that fnmatch's `?` and `[` never come into play.
    """
    if _GLOB.fullmatch(pattern) is None:
        return ()
    return tuple(name for name in names if fnmatchcase(name, pattern))


def nearest(word: str, known: Iterable[str]) -> tuple[str, ...]:
    """Up to three of the known words that `word` resembles, the nearest first."""
    by_folded: dict[str, str] = {}
    for name in known:
        by_folded.setdefault(name.casefold(), name)
        if len(by_folded) >= COMPARED_MAX:
            break
    short = word.casefold()[: 2 * NAME_CHARS_MAX]
    found = difflib.get_close_matches(short, list(by_folded), n=SUGGESTIONS_MAX, cutoff=0.6)
    return tuple(by_folded[name] for name in found)


def suggestion(word: str, known: Sequence[str]) -> str:
    """What would be right instead of an unknown `word`: the nearest names, else a list of all."""
    if close := nearest(word, known):
        return f"did you mean {' or '.join(close)}?"
    if not known:
        return "there are none"
    shown = ", ".join(known[:LISTED_MAX])
    rest = len(known) - LISTED_MAX
    return f"known: {shown}" + (f" and {rest} more" if rest > 0 else "")
