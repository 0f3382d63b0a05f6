"""`vmotion simulate`: a scenario in virtual time, from the command line to exit status."""

import shlex
import signal
import sys
import time
from pathlib import Path

from rich.console import Console

from cluster.cli.exit_status import BAD_INPUT, FAILED, INTERRUPTED
from cluster.cli.run import complain, leave_behind, load_scenario
from cluster.cli.samples import SamplesFile, write_samples
from cluster.cli.virtual_progress import open_progress
from cluster.simulation.recording import Recorder
from cluster.simulation.run import simulate
from cluster.simulation.seat import WorldBroken
from cluster.simulation.world import World
from drs.cost import Calibration


def simulate_command(
    path: str,
    *,
    out: str | None,
    as_json: bool,
    policy: str | None = None,
    calibration: str | None = None,
    seed: int | None,
    duration_s: float | None,
    plain: bool,
    samples: SamplesFile | None = None,
) -> int:
    """Simulate a scenario and return the exit status; every error is a message, not a traceback."""
    scenario = load_scenario(path, seed=seed, duration_s=duration_s, policy=policy)
    measured, problem = _calibration(calibration)
    if problem:
        complain(problem, BAD_INPUT)
    if scenario is None or problem:
        return BAD_INPUT
    # The summary as JSON is stdout's alone; people watch stderr then.
    console = Console(file=sys.stderr if as_json else sys.stdout, highlight=False)
    # What ends a batch job ends it as Ctrl-C does: with its files.
    signal.signal(signal.SIGTERM, signal.default_int_handler)

    def watched(world: World, recorder: Recorder) -> None:
        # A solve of CP-SAT takes Ctrl-C for itself, and leaves the system's default behind:
        # death without files.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        progress.look(world, recorder)

    try:
        if out is not None:
            Path(out).mkdir(parents=True, exist_ok=True)
        progress = open_progress(console, scenario, plain=plain, clock=time.monotonic)
        with progress:
            finished = simulate(scenario, calibration=measured, watched=watched)
        status = leave_behind(
            out,
            finished.summary,
            finished,
            failures=finished.failures,
            as_json=as_json,
            console=console,
        )
        if samples is not None:
            write_samples(
                samples,
                scenario,
                finished,
                now_s=time.time(),
                say=lambda line: console.print(line, highlight=False, soft_wrap=True),
            )
    except WorldBroken as error:
        return complain(
            f"a promise was broken: {error}\n"
            f"replay: {_replayed(path, scenario.seed, duration_s, policy, calibration)}",
            FAILED,
        )
    except OSError as error:
        return complain(f"{error.filename or out}: {error.strerror}", FAILED)
    if finished.interrupted:
        return complain("interrupted; the files tell what happened until then", INTERRUPTED)
    return status


def _calibration(path: str | None) -> tuple[Calibration | None, str]:
    """Read a calibration file; return it, or what is wrong with it."""
    if path is None:
        return None, ""
    try:
        return Calibration.load(Path(path)), ""
    except OSError as error:
        return None, f"{path}: {error.strerror}"
    except ValueError as error:
        return None, str(error)


def _replayed(
    path: str, seed: int, duration_s: float | None, policy: str | None, calibration: str | None
) -> str:
    again = replay(path, seed=seed, duration_s=duration_s, policy=policy)
    return again if calibration is None else f"{again} --calibration {shlex.quote(calibration)}"


def replay(path: str, *, seed: int, duration_s: float | None, policy: str | None = None) -> str:
    """Return the command that repeats a simulation exactly."""
    shorter = [] if duration_s is None else ["--duration", repr(duration_s)]
    under = [] if policy is None else ["--policy", policy]
    return shlex.join(["vmotion", "simulate", path, "--seed", str(seed), *shorter, *under])
