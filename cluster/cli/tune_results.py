"""What `vmotion tune` leaves: the Pareto front as a table, as JSON and as a picture, and the chosen policy."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import optuna
from rich.console import Console
from rich.table import Table

from cluster.cli.exit_status import DONE, FAILED, INTERRUPTED
from cluster.cli.run import complain
from cluster.simulation.policies import Objective, front, knee, policy_toml

# A trial's attribute: the standard deviation over its seeds, of each objective.
SPREADS = "spreads"
_BASELINE = "as in the scenario"


def leave(
    study: optuna.Study,
    wanted: Sequence[Objective],
    directory: Path,
    console: Console,
    *,
    as_json: bool,
    interrupted: bool,
) -> int:
    """Write the files of a search and print its front; return the exit status."""
    states = optuna.trial.TrialState
    done = study.get_trials(deepcopy=False, states=(states.COMPLETE,))
    stopped = len(study.get_trials(deepcopy=False, states=(states.PRUNED,)))
    if not done:
        return complain("no trial has ended", INTERRUPTED if interrupted else FAILED)
    best = [done[at] for at in front([trial.values for trial in done])]
    chosen = best[knee([trial.values for trial in best])]
    count = f"{len(done) + stopped} trials, {stopped} of them stopped early"
    about = [
        "Chosen by vmotion tune: of the Pareto front the point nearest to the best of each objective.",
        *(
            f"{name.value} {value:.6g} ± {spread:.2g}"
            for name, value, spread in zip(
                wanted, chosen.values, chosen.user_attrs[SPREADS], strict=True
            )
        ),
        f"After {count}.",
    ]
    (directory / "policy.toml").write_text(policy_toml(chosen.params, about=about), "utf-8")
    found = {
        "trials": len(done) + stopped,
        "stopped_early": stopped,
        "front": [_row(trial, wanted, chosen=trial is chosen) for trial in best],
    }
    (directory / "front.json").write_text(json.dumps(found, indent=2) + "\n", "utf-8")
    _picture(directory / "front.html", done, best, chosen, wanted)
    console.print(count)
    if as_json:
        print(json.dumps(found, indent=2))
    else:
        console.print(_table(best, chosen, wanted))
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
                wanted, trial.values, trial.user_attrs[SPREADS], strict=True
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
        spreads = trial.user_attrs[SPREADS]
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
            error_x={"array": [t.user_attrs[SPREADS][0] for t in trials], "thickness": 1},
            error_y={"array": [t.user_attrs[SPREADS][second] for t in trials], "thickness": 1},
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
