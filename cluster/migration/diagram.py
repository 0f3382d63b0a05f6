"""The state diagram of a migration in Mermaid, drawn from the table.

`python -m cluster.migration.diagram` prints it; with a file's name it replaces the block
between that file's markers.
"""

import sys
from collections import defaultdict
from pathlib import Path

from cluster.migration.state import ASKS, FINAL, Phase
from cluster.migration.table import TABLE, Kind

BEGIN = "<!-- begin of the diagram that `python -m cluster.migration.diagram` makes -->"
END = "<!-- end of the diagram -->"


def diagram() -> str:
    """Return the Mermaid text: every edge of the table that changes the phase."""
    labels: dict[tuple[Phase, Phase], list[Kind]] = defaultdict(list)
    for (before, kind), edge in TABLE.items():
        for after in edge.to - {before}:
            labels[before, after].append(kind)
    order = {phase: index for index, phase in enumerate(Phase)}
    lines = ["stateDiagram-v2", f"    [*] --> {Phase.CREATED.value}"]
    for phase, commands in ASKS.items():
        asked = " or ".join(command.__name__ for command in commands)
        lines.append(f"    {phase.value}: {phase.value} ({asked})")
    for before, after in sorted(labels, key=lambda pair: (order[pair[0]], order[pair[1]])):
        kinds = ", ".join(kind.value for kind in labels[before, after])
        lines.append(f"    {before.value} --> {after.value}: {kinds}")
    lines += [f"    {phase.value} --> [*]" for phase in Phase if phase in FINAL]
    return "\n".join(lines)


def block() -> str:
    """Return the diagram as it stands in a document, markers included."""
    return f"{BEGIN}\n\n```mermaid\n{diagram()}\n```\n\n{END}"


def replaced(text: str) -> str:
    """Return a document's text with its block made anew.

    Raises:
        ValueError: If it has no block.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"no {BEGIN} … {END}")
    return before + block() + after


def main(arguments: list[str]) -> None:
    """Print the block, or renew it in the files named."""
    for name in arguments:
        path = Path(name)
        path.write_text(replaced(path.read_text(encoding="utf-8")), encoding="utf-8")
    if not arguments:
        print(block())


if __name__ == "__main__":
    main(sys.argv[1:])
