"""`vmotion tune`: searches DRS policies with simulations side by side on Ray; resumable, with a front."""

import json
import secrets
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import mean

import optuna
from rich.console import Console
from rich.table import Table

from cluster.actors.fanout import FanOut
from cluster.actors.session import NoRay, ray_session
from cluster.cli.compare import RunFailed, figures, spread
from cluster.cli.exit_status import BAD_INPUT, DONE, FAILED, INTERRUPTED
from cluster.cli.run import complain, load_scenario
from cluster.inventory.model import Scenario
from cluster.simulation.policies import (
    BadPolicy,
    Choice,
    Objective,
    Policy,
    Value,
    dominates,
    front,
    knee,
    policy_toml,
    read_space,
    with_policy,
)

_WAIT_S = 0.5
# After one seed, a trial that is worse than another by this much in every objective is given up.
_HOPELESS_RATIO = 0.2
_BASELINE = "as in the scenario"
_SPREADS = "spreads"
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
        return _leave(search, directory, console, as_json=as_json, interrupted=interrupted)
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
            if not self._hopeless(values):
                self._simulate(attempt)
                return False
            self.study.tell(attempt.trial, state=state.PRUNED)
        else:
            columns = list(zip(*attempt.seen, strict=True))
            attempt.trial.set_user_attr(_SPREADS, [spread(column) for column in columns])
            self.study.tell(attempt.trial, [mean(column) for column in columns])
        del self._running[number]
        return True

    def _hopeless(self, values: Sequence[float]) -> bool:
        done = self.study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
        return any(dominates(t.values, values, margin_ratio=_HOPELESS_RATIO) for t in done)


def _suggest(trial: optuna.trial.Trial, choice: Choice) -> Value:
    if choice.values:
        value: Value = trial.suggest_categorical(choice.name, list(choice.values))
        return value
    if choice.whole:
        return int(trial.suggest_int(choice.name, int(choice.low), int(choice.high)))
    return float(trial.suggest_float(choice.name, choice.low, choice.high))


def _leave(
    search: _Search, directory: Path, console: Console, *, as_json: bool, interrupted: bool
) -> int:
    done = search.study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    if not done:
        return complain("no trial has ended", INTERRUPTED if interrupted else FAILED)
    best = [done[at] for at in front([trial.values for trial in done])]
    chosen = best[knee([trial.values for trial in best])]
    about = [
        "Chosen by vmotion tune: of the Pareto front the point nearest to the best of each objective.",
        *(
            f"{name.value} {value:.6g} ± {spread:.2g}"
            for name, value, spread in zip(
                search.wanted, chosen.values, chosen.user_attrs[_SPREADS], strict=True
            )
        ),
    ]
    (directory / "policy.toml").write_text(policy_toml(chosen.params, about=about), "utf-8")
    rows = [_row(trial, search.wanted, chosen=trial is chosen) for trial in best]
    (directory / "front.json").write_text(json.dumps(rows, indent=2) + "\n", "utf-8")
    _picture(directory / "front.html", done, best, chosen, search.wanted)
    if as_json:
        print(json.dumps(rows, indent=2))
    else:
        console.print(_table(best, chosen, search.wanted))
        names = ("policy.toml", "front.json", "front.html", "study.db")
        console.print(f"files: {', '.join(str(directory / name) for name in names)}")
    return INTERRUPTED if interrupted else DONE


def _row(
    trial: optuna.trial.FrozenTrial, wanted: Sequence[Objective], *, chosen: bool
) -> Mapping[str, object]:
    return {
        "trial": trial.number,
        "chosen": chosen,
        "policy": trial.params,
        "objectives": {
            name.value: {"mean": value, "spread": spread}
            for name, value, spread in zip(
                wanted, trial.values, trial.user_attrs[_SPREADS], strict=True
            )
        },
    }


def _table(
    best: Sequence[optuna.trial.FrozenTrial],
    chosen: optuna.trial.FrozenTrial,
    wanted: Sequence[Objective],
) -> Table:
    table = Table(title="Pareto front: mean ± standard deviation over seeds")
    for name in ("", *best[0].params, *(one.value for one in wanted)):
        table.add_column(name)
    for trial in sorted(best, key=lambda trial: trial.values[0]):
        spreads = trial.user_attrs[_SPREADS]
        table.add_row(
            "chosen" if trial is chosen else "",
            *(
                f"{value:.4g}" if isinstance(value, float) else str(value)
                for value in trial.params.values()
            ),
            *(f"{v:.4g} ± {s:.2g}" for v, s in zip(trial.values, spreads, strict=True)),
        )
    return table


def _picture(
    path: Path,
    done: Sequence[optuna.trial.FrozenTrial],
    best: Sequence[optuna.trial.FrozenTrial],
    chosen: optuna.trial.FrozenTrial,
    wanted: Sequence[Objective],
) -> None:
    """The first two objectives of every trial, the front among them, the first trial as baseline."""
    import plotly.graph_objects as go

    figure = go.Figure()
    groups = (
        ("trials", done, {"color": "#b8c0cc", "size": 8}),
        ("Pareto front", sorted(best, key=lambda t: t.values[0]), {"color": "#1f77b4", "size": 10}),
        (_BASELINE, [t for t in done if t.number == 0], {"color": "#d62728", "size": 12}),
        ("chosen", [chosen], {"color": "#2ca02c", "size": 16, "symbol": "star"}),
    )
    second = min(1, len(wanted) - 1)
    for name, trials, marker in groups:
        figure.add_scatter(
            x=[t.values[0] for t in trials],
            y=[t.values[second] for t in trials],
            error_x={"array": [t.user_attrs[_SPREADS][0] for t in trials], "thickness": 1},
            error_y={"array": [t.user_attrs[_SPREADS][second] for t in trials], "thickness": 1},
            text=["<br>".join(f"{n} = {v}" for n, v in t.params.items()) for t in trials],
            mode="lines+markers" if name == "Pareto front" else "markers",
            marker=marker,
            name=name,
        )
    figure.update_layout(
        title="Policies: less is better on both axes",
        template="plotly_white",
        xaxis_title=wanted[0].value,
        yaxis_title=wanted[second].value,
    )
    figure.write_html(path, include_plotlyjs=True)
