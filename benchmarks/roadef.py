"""Solve an instance of Google's ROADEF/EURO 2012 challenge with this library's search.

    python benchmarks/roadef.py MODEL ASSIGNMENT --seconds 300 --out solution.txt

Writes the assignment in the official format and judges it with the independent checker. With
--best-known the competition score 100 * (cost - best) / initial is held against --score-max.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from claims import Claim, finish
from roadef_checker import Instance

from drs.reassignment import read, solve

QUICK_SECONDS = 20.0


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("assignment", type=Path, help="the initial assignment")
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_SECONDS:g} seconds")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, help="where the assignment goes")
    parser.add_argument("--best-known", type=int)
    parser.add_argument("--score-max", type=float, default=1.0)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    seconds = QUICK_SECONDS if args.quick else args.seconds
    if not seconds > 0.0 or args.workers < 1:
        parser.error("--seconds and --workers must be positive")
    try:
        problem = read(args.model, args.assignment)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    found, expected = solve(problem, seconds=seconds, seed=args.seed, workers=args.workers)
    instance = Instance(
        args.model.read_text(encoding="ascii"), args.assignment.read_text(encoding="ascii")
    )
    assignment = found.tolist()
    if args.out is not None:
        args.out.write_text(" ".join(map(str, assignment)) + "\n", encoding="ascii")
    initial, cost, broken = (
        instance.cost(instance.initial),
        instance.cost(assignment),
        instance.violations(assignment),
    )
    for text in broken:
        sys.stderr.write(f"{text}\n")
    where = f"{args.model.name}, {seconds:g} s, {args.workers} workers, seed {args.seed}"
    claims = [
        Claim(claim="constraints broken", value=len(broken), unit="", bar=0, holds=not broken, n=1, conditions=where),
        Claim(claim="initial cost", value=initial, unit="", bar=None, holds=True, n=1, conditions=where),
        Claim(
            claim="cost, equal to what the search believes", value=cost, unit="", bar=None,
            holds=cost == round(expected), n=1, conditions=where,
        ),
    ]  # fmt: skip
    if args.best_known is not None:
        score = 100.0 * (cost - args.best_known) / initial
        claims.append(
            Claim(
                claim="competition score",
                value=score,
                unit="% of initial",
                bar=args.score_max,
                holds=score <= args.score_max,
                n=1,
                conditions=where,
            )
        )
    return finish(claims, as_json=args.json)


if __name__ == "__main__":
    sys.exit(main())
