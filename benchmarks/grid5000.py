"""Recorded live migrations on Grid'5000, executed by the simulator: its durations beside the real ones.

Ten plans of ten migrations each on four KVM hosts, two with 1 Gbit/s and two with 500 Mbit/s, carried
out four or five times (V. Kherbache's data: --data names the folder with input/ and real/). A
migration starts when all that the plan ends by its start have ended, as the executor there did it.
Two figures are calibrated, the share of the line that pages get and the seconds of a migration that
no page is sent in: on half of the plans, and judged on the other half, both ways round. A VM
dirties its maxDirtySize, and its dirtyRate on top, while its memory is sent for the first time, evenly
over that time: that maxDirtySize would be dirty again within maxDirtyDuration, round after round,
is not what the recorded durations show.
"""

import argparse
import itertools
import json
import re
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from claims import Claim, arguments, finish

from cluster.inventory.demand import Constant
from cluster.inventory.model import (
    MIB,
    DrsSettings,
    GuestSpec,
    HostSpec,
    MigrationSettings,
    Mode,
    Nic,
    Scenario,
    VmSpec,
)
from cluster.migration.spec import MigrationSpec, Outcome, Trigger
from cluster.policy.messages import MigrationRequested
from cluster.simulation.world import Watcher, World
from drs.cost import Calibration, effective_rate

# QEMU's own limit, and its steps' overheads are all in the seconds that are calibrated.
DOWNTIME_S_MAX = 0.3
PLAIN = Calibration(quiesce_s=0.0, state_s=0.0, commit_s=0.0, resume_s=0.0, round_s=0.0)
EFFICIENCIES = [0.80 + 0.01 * step for step in range(20)]
OVERHEADS_S = [0.5 * step for step in range(9)]
STEPS_MAX = 100_000
LINE = re.compile(r"vm=vm#(\d+), from=node#\d+, to=node#\d+, bw=\d+\)\};(\d+);(\d+);")


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One migration of a plan; seconds from its beginning."""

    vm: str
    source: str
    destination: str
    mbit_s: float
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A plan, its VMs, and each of its executions: (start, end) of every VM's migration."""

    name: str
    actions: tuple[Action, ...]
    vms: tuple[VmSpec, ...]
    rates: dict[str, float]
    runs: tuple[dict[str, tuple[float, float]], ...]


def read_plan(path: Path, real: Path) -> Plan:
    found = json.loads(path.read_text())
    actions = tuple(
        Action(
            vm=f"vm-{one['vm']}",
            source=f"node-{one['from']}",
            destination=f"node-{one['to']}",
            mbit_s=one["bw"],
            start_s=one["start"],
            end_s=one["end"],
        )
        for one in found["actions"]
    )
    told = found["origin"]["attributes"]["vms"]
    runs = [read_run(run) for run in sorted(real.glob(f"run*.{path.stem}.csv"))]
    return Plan(
        name=path.stem,
        actions=actions,
        vms=tuple(vm_of(action, told[action.vm.removeprefix("vm-")]) for action in actions),
        rates=rates_of(actions, found["origin"]["mapping"]["onlineNodes"]),
        runs=tuple(runs),
    )


def read_run(path: Path) -> dict[str, tuple[float, float]]:
    rows = LINE.findall(path.read_text())
    return {f"vm-{vm}": (float(start), float(end)) for vm, start, end in rows}


def vm_of(action: Action, told: dict[str, float]) -> VmSpec:
    """The VM as a guest that sweeps once, in the first round, over what it dirties."""
    memory_mib = int(told["memUsed"])
    first_s = memory_mib * MIB * 8 / (action.mbit_s * 1e6)
    dirty_mib = told["maxDirtySize"] + told["dirtyRate"] * first_s
    params = {
        "pattern": "sweep",
        "rate_mb_s": dirty_mib / first_s * MIB / 1e6,
        "working_set_mib": dirty_mib,
        "filled": True,
    }
    return VmSpec(
        name=action.vm,
        memory_mib=memory_mib,
        cpu_mhz=1000.0,
        guest=GuestSpec(program="writer", params=tuple(params.items())),
        demand=Constant(mhz=100.0),
        host=action.source,
    )


def rates_of(actions: Sequence[Action], nodes: Iterable[str]) -> dict[str, float]:
    """A node's line is as fast as the fastest migration that the plan gives it, bytes a second."""
    rates = {}
    for name in (f"node-{node}" for node in sorted(nodes)):
        mine = [a.mbit_s for a in actions if name in (a.source, a.destination)]
        rates[name] = max(mine, default=1000.0) * 1e6 / 8
    return rates


def execute(plan: Plan, calibration: Calibration) -> dict[str, tuple[float, float]]:
    """Carry a plan out in virtual time; return when each VM's migration began and ended."""
    found: dict[str, tuple[float, float]] = {}
    begun: dict[str, float] = {}

    def ended(spec: MigrationSpec, outcome: Outcome, demand_faults: int) -> None:
        if outcome.error:
            raise SystemExit(f"{plan.name}: {spec.vm}: {outcome.error}")
        found[spec.vm] = (begun[spec.vm], world.clock.now)
        world.clock.after(0.0, begin_next)

    def begin_next() -> None:
        for action in plan.actions:
            before = [other.vm for other in plan.actions if other.end_s <= action.start_s]
            if action.vm not in begun and all(vm in found for vm in before):
                begun[action.vm] = world.clock.now
                world.feed(
                    MigrationRequested(
                        vm=action.vm, destination=action.destination, trigger=Trigger.USER
                    )
                )

    nobody: Callable[..., None] = lambda *told: None  # noqa: E731
    world = World(
        scenario_of(plan),
        Watcher(recorded=nobody, planned=nobody, ended=ended),
        seed=0,
        calibration=calibration,
    )
    # Every card is a gigabit's, as VMotion asks for; some lines behind them were slowed down.
    for at, rate in enumerate(plan.rates.values()):
        for link in (at, len(plan.rates) + at):
            world.network.set_capacity(link, effective_rate(rate, calibration))
    world.start()
    world.clock.run_until(0.0)
    begin_next()
    for _ in range(STEPS_MAX):
        if len(found) == len(plan.actions) or not world.clock.step():
            break
    return found


def scenario_of(plan: Plan) -> Scenario:
    settings = MigrationSettings(
        mode=Mode.PRECOPY, downtime_s_max=DOWNTIME_S_MAX, per_host_max=len(plan.actions)
    )
    return Scenario(
        name=plan.name,
        duration_s=86_400.0,
        hosts=tuple(
            HostSpec(
                name=name,
                cpu_mhz=1e5,
                memory_mib=1 << 20,
                nic=Nic(rate_bytes_per_second=max(plan.rates.values())),
            )
            for name in plan.rates
        ),
        vms=plan.vms,
        drs=DrsSettings(enabled=False),
        migration=settings,
    )


def errors(plan: Plan, calibration: Calibration) -> tuple[list[float], list[float]]:
    """Relative errors of every migration's duration, and of every run's makespan."""
    here = execute(plan, calibration)
    each = [
        abs((here[vm][1] - here[vm][0]) / (end - start) - 1)
        for run in plan.runs
        for vm, (start, end) in run.items()
        if end > start
    ]
    return each, [abs(makespan(here) / makespan(run) - 1) for run in plan.runs]


def plans_own_errors(plan: Plan) -> tuple[list[float], list[float]]:
    """The same of what the plan itself says."""
    here = {action.vm: (action.start_s, action.end_s) for action in plan.actions}
    each = [
        abs((here[vm][1] - here[vm][0]) / (end - start) - 1)
        for run in plan.runs
        for vm, (start, end) in run.items()
        if end > start
    ]
    return each, [abs(makespan(here) / makespan(run) - 1) for run in plan.runs]


def makespan(run: dict[str, tuple[float, float]]) -> float:
    return max(end for _, end in run.values()) - min(start for start, _ in run.values())


def calibrated(plans: Sequence[Plan]) -> Calibration:
    """The share of the line and the overhead with the least mean error on these plans."""

    def mean_error(calibration: Calibration) -> float:
        found = [errors(plan, calibration)[0] for plan in plans]
        return statistics.mean(itertools.chain.from_iterable(found))

    grid = itertools.product(EFFICIENCIES, OVERHEADS_S)
    choices = [replace(PLAIN, rate_efficiency_ratio=e, prepare_s=s) for e, s in grid]
    return min(choices, key=mean_error)


def main() -> int:
    parser: argparse.ArgumentParser = arguments(__doc__ or "")
    parser.add_argument("--data", type=Path, required=True, help="folder with input/ and real/")
    options = parser.parse_args()
    paths = sorted((options.data / "input").glob("*.json"))
    if len(paths) < 2:
        parser.error(f"{options.data}: no two plans (input/*.json) are there")
    plans = [read_plan(path, options.data / "real") for path in paths]
    each: list[float] = []
    whole: list[float] = []
    found = []
    for known, unknown in ((plans[::2], plans[1::2]), (plans[1::2], plans[::2])):
        calibration = calibrated(known)
        found.append(
            f"{calibration.rate_efficiency_ratio:.2f} of the line and {calibration.prepare_s:.1f} s"
        )
        for plan in unknown:
            more_each, more_whole = errors(plan, calibration)
            each, whole = each + more_each, whole + more_whole
    own = [plans_own_errors(plan) for plan in plans]
    own_each = [error for one, _ in own for error in one]
    own_whole = [error for _, one in own for error in one]
    rows = [
        claim("a migration's duration", each, 10.0, own_each, " and ".join(found)),
        claim("the makespan", whole, 8.0, own_whole, " and ".join(found)),
    ]
    return finish(rows, as_json=options.json)


def claim(what: str, found: list[float], bar: float, own: list[float], how: str) -> Claim:
    value = 100 * statistics.median(found)
    return Claim(
        claim=f"{what}, plans that it was not calibrated on: median error",
        value=value,
        unit="%",
        bar=f"<= {bar:g}",
        holds=value <= bar,
        n=len(found),
        conditions=f"the plans' own: {100 * statistics.median(own):.1f} %; calibrated: {how}",
    )


if __name__ == "__main__":
    raise SystemExit(main())
