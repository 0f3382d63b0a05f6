"""One reason why something cannot be done: data for people, all of them at once."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One reason why not, under the name of its check.

    Attributes:
        cure: What the user should do.
        lasting: Waiting does not help: only a change of configuration does.
        warning: It is said, and forbids nothing.
    """

    check: str
    text: str
    cure: str = ""
    lasting: bool = True
    warning: bool = False


def as_data(problems: "list[Problem] | tuple[Problem, ...]") -> tuple[dict[str, str], ...]:
    """Return them as an entry of the story has them."""
    return tuple({"check": p.check, "text": p.text, "cure": p.cure} for p in problems)


def in_words(problems: "list[Problem] | tuple[Problem, ...]") -> str:
    """Return all texts in one line."""
    return "; ".join(problem.text for problem in problems)
