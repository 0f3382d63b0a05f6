"""What every benchmark of DRS shares: a claim with its bar, and how claims are told."""

from __future__ import annotations

import json
import os
import platform
import sys
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One measured value against its bar; `holds` is decided where both are known."""

    claim: str
    value: float
    unit: str
    bar: float | None
    holds: bool
    n: int
    conditions: str


def conditions() -> str:
    """The machine, and how busy others kept it: figures of time mean nothing without."""
    load = ", ".join(f"{x:.1f}" for x in os.getloadavg())
    return f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, load {load}"


def tell(claims: list[Claim], *, as_json: bool) -> int:
    """Prints the claims; 1 when one does not hold."""
    if as_json:
        json.dump([asdict(c) for c in claims], sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        for c in claims:
            bar = "" if c.bar is None else f" (bar {c.bar:g})"
            sys.stdout.write(
                f"{'ok  ' if c.holds else 'MISS'} {c.claim}: {c.value:.4g} {c.unit}{bar}, n={c.n}\n"
            )
        sys.stdout.write(f"     {claims[0].conditions if claims else conditions()}\n")
    return 0 if all(c.holds for c in claims) else 1
