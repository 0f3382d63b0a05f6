"""Inject every fault of the matrix F1–F15 at every state, count, and make the table of docs/faults.md.

Simulated injections run in pieces: a piece adds to a file of results and goes on with the
seeds after the last ones. Each failure names the command that replays it.

    python benchmarks/faults.py --simulated 1000000 --resume
    python benchmarks/faults.py --live 100 --resume
    python benchmarks/faults.py --live 1 --first 22   # that seed again
    python benchmarks/faults.py --live 100 --quick     # one of each kind that spares processes
    python benchmarks/faults.py --table            # write the table anew from the results
    python benchmarks/faults.py --quick --json
"""

import json
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from claims import Claim, arguments, finish

from cluster.migration.state import Phase
from cluster.simulation.fault_matrix import MATRIX, failure

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "docs" / "faults.json"
DOCUMENT = ROOT / "docs" / "faults.md"
BEGIN = "<!-- matrix: made by python benchmarks/faults.py --table, not by hand -->"
END = "<!-- end of matrix -->"
SEEDS_A_PIECE = 25
CASES = [(line.row, state.value) for line in MATRIX for state in line.states]
NOTHING = {"next_seed": 0, "simulated": {}, "live": {}, "next_live_seed": 0, "violations": []}


def piece(case: tuple[str, str, int, int]) -> tuple[str, int, list[str]]:
    """Run one row at one state for some seeds."""
    row, state, first, seeds = case
    found = [failure(row, Phase(state), seed) for seed in range(first, first + seeds)]
    return row, sum(count for count, _ in found), [text for _, text in found if text]


def simulate(results: dict, wanted: int, jobs: int, path: Path | None) -> int:
    """Inject until that many more are counted; results are saved after each piece."""
    done = 0
    with ProcessPoolExecutor(jobs) as pool:
        while done < wanted:
            first = results["next_seed"]
            work = [(row, state, first, SEEDS_A_PIECE) for row, state in CASES]
            for row, count, wrong in pool.map(piece, work, chunksize=4):
                results["simulated"][row] = results["simulated"].get(row, 0) + count
                results["violations"] += wrong
                done += count
            results["next_seed"] = first + SEEDS_A_PIECE
            save(results, path)
    return done


def load(path: Path) -> dict:
    """Return what earlier pieces have counted."""
    return json.loads(path.read_text()) if path.exists() else json.loads(json.dumps(NOTHING))


def save(results: dict, path: Path | None) -> None:
    """Write the results in one go, so that an interrupt leaves the old ones or the new ones."""
    if path is None:
        return
    beside = path.with_suffix(".tmp")
    beside.write_text(json.dumps(results, indent=2, sort_keys=True) + "\n")
    beside.replace(path)


def table(results: dict) -> str:
    """Return the matrix as Markdown."""
    rows = [
        "| Row | What goes wrong | States | Live injections | Simulated injections | Violations | What the user sees |",
        "|---|---|---|---|---|---|---|",
    ]
    for line in MATRIX:
        wrong = sum(f" {line.row} " in text for text in results["violations"])
        live = results["live"].get(line.row, {})
        simulated = results["simulated"].get(line.row, 0)
        rows.append(
            f"| {line.row} | {line.what} | {len(line.states) or '–'} | {live.get('injections', 0):,} |"
            f" {simulated:,} | {wrong + live.get('violations', 0)} | {line.seen} |"
        )
    live_sum = sum(one["injections"] for one in results["live"].values())
    simulated_sum = sum(results["simulated"].values())
    rows.append(
        f"| | **all** | {len(CASES)} | **{live_sum:,}** | **{simulated_sum:,}** |"
        f" **{len(results['violations'])}** | |"
    )
    seeds = f"Simulated with the seeds 0 to {results['next_seed'] - 1} at each row and state"
    live_seeds = f"; live with the seeds 0 to {results['next_live_seed'] - 1}."
    return "\n".join([*rows, "", seeds + (live_seeds if results["next_live_seed"] else ".")])


def with_table(text: str, results: dict) -> str:
    """Return the document with the matrix between its markers."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{table(results)}\n\n{END}{after}"


def main() -> int:
    parser = arguments(__doc__ or "")
    parser.add_argument("--simulated", type=int, default=0, metavar="N")
    parser.add_argument("--live", type=int, default=0, metavar="N")
    parser.add_argument(
        "--first",
        type=int,
        metavar="SEED",
        help="where live injections begin: one again with --live 1",
    )
    parser.add_argument("--resume", action="store_true", help="add to the results so far")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--table", action="store_true", help="write docs/faults.md anew")
    options = parser.parse_args()
    if options.table:
        DOCUMENT.write_text(with_table(DOCUMENT.read_text(), load(options.results)))
        return 0
    results = load(options.results) if options.resume else json.loads(json.dumps(NOTHING))
    path = options.results if options.resume else None
    simulated = 1_000 if options.quick and not options.live else options.simulated
    if simulated:
        simulate(results, simulated, options.jobs, path)
    if options.live:
        from live_faults import ONE_OF_EACH, inject_live

        first = results["next_live_seed"] if options.first is None else options.first
        seeds = ONE_OF_EACH[: options.live] if options.quick else range(first, first + options.live)
        inject_live(results, seeds, lambda: save(results, path))
    for text in results["violations"]:
        print(text)
    wrong = len(results["violations"])
    seeds = f"seeds 0 to {results['next_seed'] - 1}, {len(CASES)} rows and states"
    claims = [
        Claim(
            claim="violations of a law",
            value=wrong,
            unit="violations",
            bar="0",
            holds=wrong == 0,
            n=sum(results["simulated"].values()),
            conditions=f"simulated injections, {seeds}",
        )
    ]
    if results["live"]:
        violations = sum(one["violations"] for one in results["live"].values())
        claims.append(
            Claim(
                claim="violations of a law, live",
                value=violations,
                unit="violations",
                bar="0",
                holds=violations == 0,
                n=sum(one["injections"] for one in results["live"].values()),
                conditions=f"live injections, seeds 0 to {results['next_live_seed'] - 1}",
            )
        )
    return finish(claims, as_json=options.json)


if __name__ == "__main__":
    raise SystemExit(main())
