"""What a simulated run leaves behind, in the rows that a live run writes too."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from cluster.inventory.model import Scenario
from cluster.migration.spec import MigrationSpec, Outcome
from cluster.observe.record import (
    DrsPass,
    EventRow,
    MigrationRow,
    TimelineRow,
    migration_row,
)
from cluster.observe.rounds import RoundRow, round_rows
from cluster.observe.story_rows import event_row, refused_row
from cluster.policy.messages import Record
from cluster.policy.state import HostState
from cluster.simulation.evenness import Evenness
from cluster.simulation.fleet import OFF, FloatArray
from cluster.simulation.world import World
from drs import Plan

_DIGITS = 9


class Recorder:
    """Collects rows as the world tells them; floats in events are rounded to 9 digits.

    Attributes:
        unmet_ratios: Share of the demand that was not granted, a value a sample.
    """

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self.events: list[EventRow] = []
        self.migrations: list[MigrationRow] = []
        self.rounds: list[RoundRow] = []
        self.timeline: list[TimelineRow] = []
        self.passes: list[DrsPass] = []
        self.unmet_ratios: list[float] = []
        self._carried: FloatArray = np.zeros(2 * len(scenario.hosts))
        self._cpu_mhz = np.array([host.cpu_mhz for host in scenario.hosts])
        self._memory_mib = np.array([host.memory_mib for host in scenario.hosts])
        self._sampled_s = 0.0
        self._evenness = Evenness(scenario)

    @property
    def balanced_from_s(self) -> float:
        """When DRS first found something to do: the imbalance it met is where the run starts."""
        return next((one.time_s for one in self.passes if one.recommended), 0.0)

    def recorded(self, time_s: float, record: Record) -> None:
        """Take an entry of the Center's story."""
        if (refused := refused_row(time_s, record, self._scenario)) is not None:
            self.migrations.append(refused)
        row = event_row(round(time_s, _DIGITS), record)
        details = {name: _rounded(value) for name, value in row.details.items()}
        self.events.append(replace(row, details=details))

    def planned(self, time_s: float, plan: Plan, *, solve_s: float) -> None:
        """Take a plan of DRS and the wall-clock time that it took; the story never holds that."""
        automatic = sum(one.automatic for one in plan.recommendations)
        self.passes.append(
            DrsPass(
                time_s=time_s,
                solve_s=solve_s,
                imbalance_before=plan.imbalance_before,
                imbalance_after=plan.imbalance_after,
                priorities=tuple(one.priority for one in plan.recommendations),
                applied=automatic,
            )
        )

    def ended(self, spec: MigrationSpec, outcome: Outcome, demand_faults: int) -> None:
        """Take a migration that has ended."""
        self.migrations.append(migration_row(spec, outcome, demand_faults=demand_faults))
        self.rounds += round_rows(spec, outcome)

    def sampled(self, world: World, demand_mhz: FloatArray, granted_mhz: FloatArray) -> None:
        """Take the sample that has just been reported: a row a host."""
        now, fleet, network = world.clock.now, world.fleet, world.network
        # An enum's value is a call: once a state and not once a host.
        words = {id(state): state.value for state in HostState}
        interval_s = max(now - self._sampled_s, 1e-9)
        self._sampled_s = now
        self._evenness.sampled(now, demand_mhz, fleet.host != OFF)
        imbalance = self._evenness.imbalance(world.placement(), world.connected())
        wanted, granted = float(demand_mhz.sum()), float(granted_mhz.sum())
        self.unmet_ratios.append(max(0.0, 1 - granted / wanted) if wanted > 0 else 0.0)
        carried = np.array(network.carried_bytes())
        sent, received = ((carried - self._carried) / interval_s).reshape(2, -1).tolist()
        self._carried = carried
        self.timeline += [
            TimelineRow(
                time_s=now,
                host=record.spec.name,
                cpu_load=cpu,
                memory_load=memory,
                vms=vms,
                tx_bytes_per_second=tx,
                rx_bytes_per_second=rx,
                state=words[id(record.state)],
                imbalance=imbalance,
            )
            for record, cpu, memory, vms, tx, rx in zip(
                world.center.state.hosts.values(),
                (fleet.sum_by_host(fleet.demand_mhz) / self._cpu_mhz).tolist(),
                (fleet.sum_by_host(fleet.memory_mib) / self._memory_mib).tolist(),
                fleet.sum_by_host(np.ones(len(fleet.host))).astype(int).tolist(),
                sent,
                received,
                strict=True,
            )
        ]


def _rounded(value: object) -> object:
    match value:
        case float():
            return round(value, _DIGITS)
        case Mapping():
            return {key: _rounded(one) for key, one in value.items()}
        case list() | tuple():
            return [_rounded(one) for one in value]
        case _:
            return value
