"""What all benchmark scripts share: claims with their bars, a table or JSON, the exit status.

Not a benchmark. A script measures, makes `Claim`s, and ends with `raise SystemExit(finish(...))`.
"""

import argparse
import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One measured figure and the bar it has to clear.

    Attributes:
        bar: A number or words; None for a figure that is only reported.
        n: Measurements behind the value.
        conditions: Beside those of the machine, which are added.
    """

    claim: str
    value: float
    unit: str
    bar: float | str | None = None
    holds: bool = True
    n: int = 1
    conditions: str = ""


def arguments(description: str) -> argparse.ArgumentParser:
    """Return a parser with the options that every script has."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="under a minute: fewer samples")
    parser.add_argument("--json", action="store_true", help="print the claims as JSON")
    return parser


def markdown(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a table to read, and to paste into the docs."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def machine() -> str:
    """Return where this was measured, and how busy others kept it."""
    try:
        with open("/proc/cpuinfo") as lines:
            model = next(line.split(":")[1].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        model = platform.processor() or platform.machine()
    cores = os.cpu_count()
    return (
        f"{model}, {cores} cores, Linux {platform.release()}, "
        f"Python {platform.python_version()}, Ray {version('ray')}, "
        f"load {os.getloadavg()[0]:.1f} over the last minute"
    )


def finish(claims: Sequence[Claim], *, as_json: bool) -> int:
    """Print the claims; return the exit status, 1 if one does not hold."""
    where = machine()
    rows = [
        {**asdict(c), "conditions": "; ".join(filter(None, (c.conditions, where)))} for c in claims
    ]
    if as_json:
        print(json.dumps(rows, indent=2))
    else:
        for c in claims:
            mark = "ok  " if c.holds else "MISS"
            bar = "" if c.bar is None else f"  (bar: {c.bar})"
            print(f"{mark} {c.claim}: {c.value:.6g} {c.unit}{bar}  n={c.n}  {c.conditions}")
        print(where)
    return 0 if all(c.holds for c in claims) else 1
