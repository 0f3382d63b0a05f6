"""Run examples/quickstart.toml: DRS moves VMs, the imbalance halves, nothing is lost.

python benchmarks/quickstart.py
python benchmarks/quickstart.py --quick
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from claims import Claim, arguments, finish

from cluster.migration.spec import Result, Trigger
from cluster.observe.outputs import read_migrations

SCENARIO = Path(__file__).parent.parent / "examples" / "quickstart.toml"


def main() -> int:
    options = arguments(__doc__ or "").parse_args()
    # The load shifts on to one host at 12 s and on to another at 32 s.
    duration = ["--duration", "30"] if options.quick else []
    with tempfile.TemporaryDirectory() as out:
        said = subprocess.run(
            [
                *(sys.executable, "-m", "cluster.cli", "run", str(SCENARIO), "--out", out),
                *("--json", *duration),
            ],
            stdout=subprocess.PIPE,
            check=False,
        )
        summary = json.loads(said.stdout)
        rows = read_migrations(Path(out))
    drs = [r for r in rows if r.trigger is Trigger.DRS and r.result is Result.COMPLETED]
    moves_min = 3 if options.quick else 6
    balance, integrity = summary["imbalance"], summary["integrity"]
    ratio = balance["end"] / balance["start"]
    claims = [
        Claim(
            claim="exit status",
            value=said.returncode,
            unit="",
            bar="0",
            holds=said.returncode == 0,
        ),
        Claim(
            claim="completed migrations that DRS decided",
            value=len(drs),
            unit="migrations",
            bar=f"at least {moves_min}",
            holds=len(drs) >= moves_min,
        ),
        Claim(
            claim="imbalance at the end over that at DRS's first plan",
            value=ratio,
            unit="ratio",
            bar="under 0.5",
            holds=ratio < 0.5,
            conditions=f"{balance['start']:.3f} to {balance['end']:.3f}",
        ),
    ]
    claims += [
        Claim(claim=f"{what}, {part}", value=summary[what][part] * 1e3, unit="ms", n=len(rows))
        for what in ("downtime_s", "client_blackout_s")
        for part in ("p50", "p99", "max")
    ]
    claims += [
        Claim(claim=name, value=integrity[name], unit="", bar="0", holds=integrity[name] == 0)
        for name in ("mismatched_pages", "lost_requests", "duplicated_requests")
    ]
    return finish(claims, as_json=options.json)


if __name__ == "__main__":
    raise SystemExit(main())
