"""What a blackout pays for VirtualCenter's journal: one commit, written down before it is granted.

Each event is written by itself, as `VirtualCenter` writes it, with the pragma that ships
(`synchronous=NORMAL`) and with the one that would survive a power failure (`FULL`, an fsync each).

python benchmarks/journal.py                    # in a directory of its own below the present one
python benchmarks/journal.py --directory /data
python benchmarks/journal.py --quick
"""

import sqlite3
import tempfile
import time
from pathlib import Path

import numpy as np
from claims import Claim, arguments, finish

from cluster.journal.journal import Journal
from cluster.policy.messages import CommitRequested

EVENTS = 5_000
COMMIT_S_MAX = 0.001


def seconds_each(directory: Path, synchronous: str, events: int) -> np.ndarray:
    """Return how long each event took to be written, (events,) float64 seconds."""
    journal = Journal(directory / f"{synchronous}.db")
    took = np.empty(events)
    try:
        journal.begin("measured", None, unix_s=0.0)
        journal._database.execute(f"PRAGMA synchronous = {synchronous}")
        for number in range(events):
            event = CommitRequested(migration=f"m{number}", epoch=number)
            began = time.perf_counter()
            journal.hear(event, [], now_s=float(number))
            took[number] = time.perf_counter() - began
    finally:
        journal.close()
    return took


def main() -> int:
    parser = arguments(__doc__ or "")
    parser.add_argument("--directory", default=".", help="whose disk is measured")
    asked = parser.parse_args()
    events = EVENTS // 10 if asked.quick else EVENTS
    claims = []
    with tempfile.TemporaryDirectory(prefix=".journal-", dir=asked.directory) as made:
        for synchronous, bar in (("NORMAL", COMMIT_S_MAX), ("FULL", None)):
            took = seconds_each(Path(made), synchronous, events)
            middle, late = np.quantile(took, [0.5, 0.99])
            claims += [
                Claim(
                    claim=f"synchronous={synchronous}: an event is written, median",
                    value=round(1e6 * middle, 1),
                    unit="µs",
                    bar=None if bar is None else 1e6 * bar,
                    holds=bar is None or middle <= bar,
                    n=events,
                    conditions=f"SQLite {sqlite3.sqlite_version}",
                ),
                Claim(
                    claim=f"synchronous={synchronous}: an event is written, p99",
                    value=round(1e6 * late, 1),
                    unit="µs",
                    n=events,
                ),
            ]
    return finish(claims, as_json=asked.json)


if __name__ == "__main__":
    raise SystemExit(main())
