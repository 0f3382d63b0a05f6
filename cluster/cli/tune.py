"""`vmotion tune`: searches DRS policies with simulations side by side on Ray; resumable, with a front."""

import secrets
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import mean

import optuna
from rich.console import Console

from cluster.actors.fanout import FanOut
from cluster.actors.session import NoRay, ray_session
from cluster.cli.compare import RunFailed, figures, spread
from cluster.cli.exit_status import BAD_INPUT, FAILED
from cluster.cli.run import complain, load_scenario
from cluster.cli.tune_results import SPREADS, leave
from cluster.inventory.model import Scenario
from cluster.simulation.policies import (
    BadPolicy,
    Choice,
    Objective,
    Policy,
    Value,
    hopeless,
    read_space,
    with_policy,
)

_WAIT_S = 0.5
# A trial that is so far worse than a finished one by this much in every objective is stopped.
_HOPELESS_RATIO = 0.2
_STUDY = "vmotion"


@dataclass(slots=True, kw_only=True)
class Attempt:
    """A trial under way: its policy, and the figures of the seeds that have ended."""

    trial: optuna.trial.Trial
    policy: Policy
    seen: list[tuple[float, ...]] = field(default_factory=list)


def one_seed(scenario: Scenario, objectives: Sequence[Objective]) -> tuple[float, ...]:
    """Simulate a scenario with its own seed; return its figures in the objectives' order."""
    found = figures(scenario, 1)
    return tuple(found[objective][0] for objective in objectives)


def tune_command(
    path: str,
    *,
    space: Sequence[str],
    objectives: Sequence[str],
    trials: int,
    seeds: int,
    out: str,
    ray_address: str | None,
    as_json: bool,
) -> int:
    """Search, and leave the study, the front and the chosen policy behind; return the exit status."""
    scenario = load_scenario(path, seed=None, duration_s=None)
    choices: tuple[Choice, ...] = ()
    problems: list[str] = []
    try:
        choices = read_space(space)
    except BadPolicy as bad:
        problems += bad.problems
    if scenario is not None:
        problems += _unknown(scenario, objectives, choices)
    for problem in problems:
        print(f"vmotion: {problem}", file=sys.stderr)
    if scenario is None or problems:
        return BAD_INPUT
    console = Console(file=sys.stderr if as_json else sys.stdout, highlight=False)
    wanted = tuple(Objective(name) for name in objectives)
    directory = Path(out)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        study = _study(directory, scenario, wanted, seeds, choices)
        namespace = f"vmotion-tune-{secrets.token_hex(4)}"
        search = _Search(scenario, choices, wanted, seeds, study, console)
        interrupted = False
        if search.ended < trials:
            with ray_session(ray_address, namespace=namespace):
                interrupted = search.go(trials)
        return leave(study, wanted, directory, console, as_json=as_json, interrupted=interrupted)
    except BadPolicy as bad:
        return complain("; ".join(bad.problems), BAD_INPUT)
    except (NoRay, RunFailed) as error:
        return complain(str(error), FAILED)
    except OSError as error:
        return complain(f"{error.filename or out}: {error.strerror}", FAILED)


def _unknown(scenario: Scenario, objectives: Sequence[str], choices: Sequence[Choice]) -> list[str]:
    """Return which objectives runs of this scenario, under these policies, do not tell or compare."""
    problems = []
    dark = [host.name for host in scenario.hosts if not host.power_w]
    if Objective.ENERGY_KWH.value in objectives and dark:
        problems.append(f"energy_kwh is not known: {dark[0]} has no power_w")
    varied = any(choice.name == "drs.window_s" for choice in choices)
    if Objective.IMBALANCE.value in objectives and varied:
        problems.append(
            "imbalance is of the demand over drs.window_s, so it does not compare two windows: "
            "--objective unmet"
        )
    return problems


def _study(
    directory: Path,
    scenario: Scenario,
    wanted: Sequence[Objective],
    seeds: int,
    choices: Sequence[Choice],
) -> optuna.Study:
    """Open the directory's study, or begin one.

    Raises:
        BadPolicy: If it is of another search.
    """
    storage = optuna.storages.RDBStorage(f"sqlite:///{directory / 'study.db'}")
    study = optuna.create_study(
        study_name=_STUDY,
        storage=storage,
        directions=["minimize"] * len(wanted),
        load_if_exists=True,
    )
    about = {
        "scenario": scenario.name,
        "objectives": [one.value for one in wanted],
        "seeds": seeds,
        "space": sorted(repr(choice) for choice in choices),
    }
    known = study.user_attrs.get("about")
    if known is not None and known != about:
        raise BadPolicy([f"{directory / 'study.db'} is of another search: give another --out"])
    study.set_user_attr("about", about)
    # A search that goes on must not draw again what it has drawn.
    drawn = len(study.get_trials(deepcopy=False))
    study.sampler = optuna.samplers.TPESampler(seed=scenario.seed + drawn, constant_liar=True)
    return study


class _Search:
    """Trials side by side; each simulates one seed after another."""

    def __init__(
        self,
        scenario: Scenario,
        choices: Sequence[Choice],
        wanted: Sequence[Objective],
        seeds: int,
        study: optuna.Study,
        console: Console,
    ) -> None:
        self.wanted = wanted
        self.study = study
        self.baseline: tuple[float, ...] = ()
        self._scenario = scenario
        self._choices = choices
        self._seeds = seeds
        self._console = console
        self._running: dict[int, Attempt] = {}
        over = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)
        self.ended = len(study.get_trials(deepcopy=False, states=over))
        if self.ended:
            console.print(f"{self.ended} trials of an earlier search are there")

    def go(self, trials: int) -> bool:
        """Go on until there are so many trials in all, on the Ray at hand; return whether Ctrl-C came."""
        self._fan: FanOut[tuple[float, ...]] = FanOut(one_seed)
        ended = self.ended
        try:
            if not ended:
                # The scenario's own policy comes first: what is found has to be better than it.
                self.study.enqueue_trial(self._own())
            while ended < trials or self._running:
                while (
                    ended + len(self._running) < trials and len(self._fan) < self._fan.at_once_max
                ):
                    self._ask()
                if not self._running:
                    break
                found = self._fan.next(wait_s_max=_WAIT_S)
                if found is not None and self._told(int(str(found[0])), found[1]):
                    ended += 1
                    self._console.print(f"{ended} of {trials} trials")
        except KeyboardInterrupt:
            for attempt in self._running.values():
                self.study.tell(attempt.trial, state=optuna.trial.TrialState.FAIL)
            return True
        return False

    def _own(self) -> dict[str, Value]:
        own: dict[str, Value] = {}
        for choice in self._choices:
            table, _, key = choice.name.partition(".")
            value = getattr(getattr(self._scenario, table), key)
            value = getattr(value, "value", value)
            inside = value in choice.values if choice.values else choice.low <= value <= choice.high
            if inside:
                own[choice.name] = value
        return own

    def _ask(self) -> None:
        trial = self.study.ask()
        attempt = Attempt(trial=trial, policy={c.name: _suggest(trial, c) for c in self._choices})
        self._running[trial.number] = attempt
        self._simulate(attempt)

    def _simulate(self, attempt: Attempt) -> None:
        changed = with_policy(self._scenario, attempt.policy)
        seed = self._scenario.seed + len(attempt.seen)
        self._fan.submit(attempt.trial.number, replace(changed, seed=seed), self.wanted)

    def _told(self, number: int, values: tuple[float, ...]) -> bool:
        """Take a seed's figures; return whether the trial has ended with it."""
        attempt = self._running[number]
        attempt.seen.append(values)
        state = optuna.trial.TrialState
        if len(attempt.seen) < self._seeds:
            if not self._hopeless(attempt.seen):
                self._simulate(attempt)
                return False
            self.study.tell(attempt.trial, state=state.PRUNED)
        else:
            columns = list(zip(*attempt.seen, strict=True))
            attempt.trial.set_user_attr(SPREADS, [spread(column) for column in columns])
            self.study.tell(attempt.trial, [mean(column) for column in columns])
        del self._running[number]
        return True

    def _hopeless(self, seen: Sequence[Sequence[float]]) -> bool:
        done = self.study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
        return hopeless(seen, [trial.values for trial in done], margin_ratio=_HOPELESS_RATIO)


def _suggest(trial: optuna.trial.Trial, choice: Choice) -> Value:
    if choice.values:
        value: Value = trial.suggest_categorical(choice.name, list(choice.values))
        return value
    if choice.whole:
        return int(trial.suggest_int(choice.name, int(choice.low), int(choice.high)))
    return float(trial.suggest_float(choice.name, choice.low, choice.high))
