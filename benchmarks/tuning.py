"""Tuning finds something: [power] searched on one day of PlanetLab, judged on a day that was held back.

The objectives are unmet demand (the mean share of demand that was not granted) and migrations, both to
be kept low, for at most 5 % more energy than the policy that was set by hand before. Optuna's TPE sampler
proposes deviations, high_ratio, target_ratio and low_ratio; the first two trials are the policy by
hand and the one that ships. Chosen is, of those that better the first in both objectives, the one with the
largest product of gains. --data names the folder with days, DAY.npz: the first is searched, the second held
back. --quick makes three trials; --save writes every trial.
"""

import argparse
import json
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import optuna
from claims import Claim, arguments, finish, markdown

from cluster.inventory.model import DrsSettings, PowerSettings
from cluster.simulation.planetlab import CALIBRATION, Percent, planetlab, read_day
from cluster.simulation.policies import front
from cluster.simulation.run import simulate

DRS = DrsSettings(interval_s=300.0, window_s=1200.0, threshold=1, cooldown_s=0.0)
# What shipped before anything was tuned.
BY_HAND = PowerSettings(deviations=1.0, high_ratio=0.95, target_ratio=0.88, low_ratio=0.80)
ENERGY_RATIO_MAX = 1.05
QUICK_TRIALS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a policy costs on one day."""

    energy_kwh: float
    unmet: float
    migrations: int
    slatah: float
    pdm: float

    @property
    def objectives(self) -> tuple[float, float]:
        return self.unmet, float(self.migrations)


def measured(power: PowerSettings, percent: Percent) -> Found:
    made = planetlab(percent, power=replace(power, enabled=True), drs=DRS, placed=False)
    run = simulate(made, calibration=CALIBRATION)
    use, unmet = run.summary.power, run.summary.unmet_demand_ratio
    if run.failures or use is None or unmet is None:
        raise SystemExit(f"the run failed: {run.failures}")
    return Found(
        energy_kwh=use.energy_kwh,
        unmet=unmet.mean,
        migrations=run.summary.migrations.started,
        slatah=use.slatah_ratio,
        pdm=use.pdm_ratio,
    )


def proposed(trial: optuna.trial.Trial) -> PowerSettings:
    """Ratios that can hold together: low below target below high."""
    high = trial.suggest_float("high_ratio", 0.90, 1.05, step=0.01)
    target = high - trial.suggest_float("high_above_target", 0.01, 0.20, step=0.01)
    low = target - trial.suggest_float("target_above_low", 0.0, 0.20, step=0.01)
    return PowerSettings(
        deviations=trial.suggest_float("deviations", 0.0, 1.5, step=0.1),
        high_ratio=round(high, 2),
        target_ratio=round(target, 2),
        low_ratio=round(low, 2),
    )


def as_parameters(power: PowerSettings) -> dict[str, float]:
    return {
        "high_ratio": power.high_ratio,
        "high_above_target": round(power.high_ratio - power.target_ratio, 2),
        "target_above_low": round(power.target_ratio - power.low_ratio, 2),
        "deviations": power.deviations,
    }


def searched(percent: Percent, trials: int) -> list[tuple[PowerSettings, Found]]:
    """Policies and what they cost; the one by hand first."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        directions=["minimize", "minimize"],
        sampler=optuna.samplers.TPESampler(seed=1, n_startup_trials=8),
    )
    for start in (BY_HAND, PowerSettings()):
        study.enqueue_trial(as_parameters(start))
    done: list[tuple[PowerSettings, Found]] = []
    began_s = time.monotonic()
    for number in range(trials):
        trial = study.ask()
        power = proposed(trial)
        found = measured(power, percent)
        done.append((power, found))
        over_kwh = found.energy_kwh - ENERGY_RATIO_MAX * done[0][1].energy_kwh
        trial.set_constraint("energy", over_kwh)
        study.tell(trial, found.objectives)
        print(
            f"{number + 1} of {trials}, {time.monotonic() - began_s:.0f} s: {line(power, found)}",
            file=sys.stderr,
            flush=True,
        )
    return done


def chosen(done: list[tuple[PowerSettings, Found]]) -> PowerSettings:
    """The policy that betters the first in both objectives by the largest product; or the first."""
    by_hand = done[0][1]

    def gain(found: Found) -> float:
        if found.energy_kwh > ENERGY_RATIO_MAX * by_hand.energy_kwh:
            return 0.0
        pairs = zip(found.objectives, by_hand.objectives, strict=True)
        ratios = [max(0.0, 1 - mine / its) if its > 0 else 0.0 for mine, its in pairs]
        return ratios[0] * ratios[1]

    best, found = max(done, key=lambda one: gain(one[1]))
    return best if gain(found) > 0 else done[0][0]


def line(power: PowerSettings, found: Found) -> str:
    return (
        f"deviations {power.deviations:.1f}, high {power.high_ratio:.2f}, "
        f"target {power.target_ratio:.2f}, low {power.low_ratio:.2f}: "
        f"{found.energy_kwh:.2f} kWh, unmet {found.unmet:.5%}, {found.migrations} migrations, "
        f"SLATAH {found.slatah:.2%}"
    )


def front_table(done: list[tuple[PowerSettings, Found]], best: PowerSettings) -> str:
    most_kwh = ENERGY_RATIO_MAX * done[0][1].energy_kwh
    done = [one for one in done if one[1].energy_kwh <= most_kwh]
    points = [found.objectives for _, found in done]
    rows = []
    for at in sorted({0, *front(points)}, key=lambda at: points[at]):
        power, found = done[at]
        name = "by hand" if at == 0 else "chosen" if power == best else ""
        rows.append(
            (
                name,
                f"{power.deviations:.1f}",
                *(f"{r:.2f}" for r in (power.high_ratio, power.target_ratio, power.low_ratio)),
                f"{found.energy_kwh:.1f}",
                f"{100 * found.unmet:.4f} %",
                found.migrations,
            )
        )
    head = ["", "deviations", "high", "target", "low", "kWh", "unmet demand", "migrations"]
    return markdown(head, rows)


def judged(day: str, by_hand: Found, tuned: Found, ships: Found) -> list[Claim]:
    """Both the policy that this search has chosen and the one that ships, beside the one by hand."""
    claims = []
    for name, found in (("chosen", tuned), ("that ships", ships)):
        pairs = (
            ("unmet demand", "%", 100 * by_hand.unmet, 100 * found.unmet),
            ("migrations", "", by_hand.migrations, found.migrations),
            ("energy", "kWh", ENERGY_RATIO_MAX * by_hand.energy_kwh, found.energy_kwh),
        )
        claims += [
            Claim(
                claim=f"held-back day {day}, {what} of the policy {name}",
                value=b,
                unit=unit,
                bar=f"<= {a:.6g}, {'105 % ' if what == 'energy' else ''}of the policy by hand",
                holds=b <= a,
                conditions=f"{b / a - 1:+.1%}",
            )
            for what, unit, a, b in pairs
        ]
    return claims


def main() -> int:
    parser: argparse.ArgumentParser = arguments(__doc__ or "")
    parser.add_argument("--data", type=Path, required=True, help="folder with days, DAY.npz")
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--save", type=Path, metavar="FILE", help="write every trial as JSON")
    options = parser.parse_args()
    days = sorted(options.data.glob("*.npz"))[:2]
    if len(days) < 2:
        parser.error(f"{options.data}: two days (DAY.npz) are needed")
    known, held_back = (read_day(path) for path in days)
    done = searched(known, QUICK_TRIALS if options.quick else options.trials)
    best = chosen(done)
    if options.save is not None:
        rows = [{"policy": asdict(power), **asdict(found)} for power, found in done]
        options.save.write_text(json.dumps(rows, indent=2, default=str) + "\n", "utf-8")
    print(front_table(done, best), file=sys.stderr)
    print(f"chosen: {line(best, measured(best, known))}", file=sys.stderr)
    found = [measured(power, held_back) for power in (BY_HAND, best, PowerSettings())]
    return finish(judged(days[1].stem, *found), as_json=options.json)


if __name__ == "__main__":
    raise SystemExit(main())
