"""Solve instances of Google's ROADEF/EURO 2012 challenge with this library's search.

    python benchmarks/roadef.py MODEL ASSIGNMENT --seconds 300 --out solution.txt
    python benchmarks/roadef.py --all FOLDER --seconds 300
    python benchmarks/roadef.py --all FOLDER --only a2_2,b_1 --quick

Writes the assignment in the official format and judges it with the independent checker. The competition
score is 100 * (cost - best known) / initial cost. Bars, at 300 s on two cores: every answer feasible; a1 within
0.1 % of the best known cost; a2 and b at most 1.0 each and 0.5 on average. With --all FOLDER, which holds
model_NAME.txt and assignment_NAME.txt, the known instances are solved one after another, a line each.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from claims import Claim, finish
from roadef_checker import Instance

from drs.reassignment import read, solve

QUICK_SECONDS = 20.0
QUICK_ONLY = ("a1_1", "a2_4")
A1_RATIO_MAX, SCORE_MAX, SCORE_MEAN_MAX = 0.001, 1.0, 0.5
# Best of the finalists, of team S41's own list and of an hour of a commercial solver on 8 cores.
BEST_KNOWN = {
    "a1_1": 44306501,
    "a1_2": 777531842,
    "a1_3": 583005719,
    "a1_4": 262086758,
    "a1_5": 727578310,
    "a2_1": 329,
    "a2_2": 746097632,
    "a2_3": 1210644572,
    "a2_4": 1680615349,
    "a2_5": 318358949,
    "b_1": 3339186879,
    "b_2": 1015553800,
    "b_3": 156835787,
    "b_4": 4677823040,
    "b_5": 923092380,
    "b_6": 9525857752,
    "b_8": 1214458817,
    "b_9": 15885486698,
}


def measure(
    model: Path, assignment: Path, args: argparse.Namespace, best_known: int | None, name: str
) -> tuple[list[Claim], float | None]:
    """Solve one instance; its claims, and its competition score where the best known cost is known."""
    begin_s, begin_cpu_s = time.perf_counter(), time.process_time()
    found, expected = solve(
        read(model, assignment), seconds=args.seconds, seed=args.seed, workers=args.workers
    )
    wall_s, cpu_s = time.perf_counter() - begin_s, time.process_time() - begin_cpu_s
    instance = Instance(model.read_text(encoding="ascii"), assignment.read_text(encoding="ascii"))
    answer = found.tolist()
    if args.out is not None:
        out = args.out / f"solution_{name}.txt" if args.all else args.out
        out.write_text(" ".join(map(str, answer)) + "\n", encoding="ascii")
    initial, cost, broken = (
        instance.cost(instance.initial),
        instance.cost(answer),
        instance.violations(answer),
    )
    for text in broken:
        sys.stderr.write(f"{name}: {text}\n")
    where = (
        f"{args.seconds:g} s, {args.workers} workers, seed {args.seed}; wall {wall_s:.0f} s, "
        f"CPU {cpu_s:.0f} s"
    )

    def claim(text: str, value: float, unit: str, bar: float | None, holds: bool) -> Claim:
        return Claim(
            claim=f"{name}: {text}", value=value, unit=unit, bar=bar, holds=holds, n=1, conditions=where
        )  # fmt: skip

    claims = [
        claim("constraints broken", len(broken), "", 0, not broken),
        claim("cost, equal to what the search believes", cost, "", None, cost == round(expected)),
    ]
    if best_known is None:
        claims.append(claim("initial cost", initial, "", None, True))
        return claims, None
    score = 100.0 * (cost - best_known) / initial
    if name.startswith("a1_"):
        ratio = cost / best_known - 1.0
        claims.append(
            claim("cost above the best known", ratio, "ratio", A1_RATIO_MAX, ratio <= A1_RATIO_MAX)
        )
    else:
        bar = args.score_max
        claims.append(claim("competition score", score, "% of initial", bar, score <= bar))
    mark = "feasible" if not broken else "NOT FEASIBLE"
    sys.stderr.write(
        f"{name:6} {mark} initial {initial:>12} cost {cost:>12} best known {best_known:>12} "
        f"score {score:8.4f}  wall {wall_s:.0f} s CPU {cpu_s:.0f} s\n"
    )
    return claims, score


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path, nargs="?")
    parser.add_argument("assignment", type=Path, nargs="?", help="the initial assignment")
    parser.add_argument("--all", type=Path, metavar="FOLDER", help="every known instance there")
    parser.add_argument("--only", help="with --all: these, separated by commas")
    parser.add_argument("--seconds", type=float, default=300.0, help="for each instance")
    parser.add_argument(
        "--quick", action="store_true", help=f"{QUICK_SECONDS:g} seconds; with --all two instances"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, help="where the assignment goes; a folder with --all")
    parser.add_argument("--best-known", type=int, help="of the one instance; known ones are known")
    parser.add_argument("--score-max", type=float, default=SCORE_MAX)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if args.quick:
        args.seconds = QUICK_SECONDS
    if not args.seconds > 0.0 or args.workers < 1:
        parser.error("--seconds and --workers must be positive")
    if (args.all is None) == (args.model is None or args.assignment is None):
        parser.error("give MODEL and ASSIGNMENT, or --all FOLDER")
    claims: list[Claim] = []
    scores: list[float] = []
    try:
        if args.all is None:
            name = args.model.stem.removeprefix("model_")
            best = BEST_KNOWN.get(name) if args.best_known is None else args.best_known
            return finish(
                measure(args.model, args.assignment, args, best, name)[0], as_json=args.json
            )
        wanted = args.only.split(",") if args.only else QUICK_ONLY if args.quick else BEST_KNOWN
        for name in wanted:
            model, assignment = (args.all / f"{k}_{name}.txt" for k in ("model", "assignment"))
            if args.only or model.exists():
                made, score = measure(model, assignment, args, BEST_KNOWN.get(name), name)
                claims += made
                if score is not None and not name.startswith("a1_"):
                    scores.append(score)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    if not claims:
        sys.stderr.write(f"{args.all}: no instance of the challenge there\n")
        return 2
    if scores:
        mean = sum(scores) / len(scores)
        claims.append(
            Claim(
                claim="competition score of a2 and b, on average",
                value=mean,
                unit="% of initial",
                bar=SCORE_MEAN_MAX,
                holds=mean <= SCORE_MEAN_MAX,
                n=len(scores),
                conditions=f"{args.seconds:g} s each",
            )
        )
    return finish(claims, as_json=args.json)


if __name__ == "__main__":
    sys.exit(main())
