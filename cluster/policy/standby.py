"""Hosts in standby: what a plan says of them is carried out, and the empty ones go dark."""

from collections.abc import Sequence

import numpy as np

from cluster.inventory.model import HostSpec, PowerPlanner
from cluster.policy.ha import hosts_on_min
from cluster.policy.messages import Command, Record, Topic
from cluster.policy.state import ClusterState, HostState, VmRecord
from drs import Plan
from drs.manage import PowerRequest
from drs.packing import Headroom
from drs.thr_mmt import Threshold

_MAY_BE_ON = (HostState.CONNECTED, HostState.ENTERING_STANDBY, HostState.STANDBY)


class Standby:
    """Lets hosts stand by and powers them on; which ones is the plan's to say.

    A host is ready the moment it is powered on: what a boot takes is not modelled.
    """

    def __init__(self, state: ClusterState) -> None:
        self._state = state

    @property
    def on(self) -> bool:
        """Whether power management is on."""
        return self._state.scenario.power.enabled

    def begin(self) -> list[Command]:
        """Everything is up: whoever has no VM stands by, the least efficient first."""
        return self._dark(self._idle()) if self.on else []

    def request(self, vms: list[VmRecord], hosts: Sequence[str]) -> PowerRequest | None:
        """Return what a pass over these is asked about power; None if it is not asked."""
        settings = self._state.scenario.power
        if not settings.enabled or settings.planner is PowerPlanner.DVFS:
            return None
        baseline = None
        if settings.planner is PowerPlanner.THR_MMT:
            watts = [self._state.hosts[host].spec.power_w for host in hosts]
            baseline = Threshold(
                power_w=np.array(watts, np.float64), high_ratio=settings.high_ratio
            )
        return PowerRequest(
            headroom=Headroom(
                deviations=settings.deviations,
                high_ratio=settings.high_ratio,
                target_ratio=settings.target_ratio,
                low_ratio=settings.low_ratio,
                hosts_on_min=self._on_min(),
            ),
            deviation_mhz=np.array([vm.deviation_mhz() for vm in vms], np.float64),
            baseline=baseline,
        )

    def planned(self, plan: Plan) -> list[Command]:
        """Carry out what a plan says of hosts; its migrations come afterwards."""
        commands: list[Command] = []
        for name in plan.power_on:
            host = self._state.hosts[name]
            if host.state in (HostState.STANDBY, HostState.ENTERING_STANDBY):
                host.state = HostState.CONNECTED
                commands.append(_note(name, "powered_on", f"{name} is powered on"))
        for name in plan.stand_by:
            host = self._state.hosts[name]
            if host.state is HostState.CONNECTED:
                host.state = HostState.ENTERING_STANDBY
                commands.append(_note(name, "entering_standby", f"{name} is entering standby"))
        return commands

    def arrived(self) -> list[Command]:
        """Hosts that were to be empty, and are, stand by; of the baseline every empty one."""
        if not self.on or self._state.began_s is None:
            return []
        leaving = [
            name
            for name, host in self._state.hosts.items()
            if host.state is HostState.ENTERING_STANDBY
        ]
        held = self._held() if leaving else frozenset()
        dark = [name for name in leaving if name not in held]
        if self._state.scenario.power.planner is not PowerPlanner.DPM:
            dark += self._idle()
        return self._dark(dark)

    def _idle(self) -> list[str]:
        """Connected hosts without VMs, but for those that are to stay on."""
        state = self._state
        connected = [n for n, host in state.hosts.items() if host.state is HostState.CONNECTED]
        held = self._held()
        idle = [name for name in connected if name not in held]
        idle.sort(key=lambda name: efficiency_mhz_per_w(state.hosts[name].spec))
        kept = max(self._on_min() - (len(connected) - len(idle)), 0) if idle else 0
        return idle[: max(len(idle) - kept, 0)]

    def _on_min(self) -> int:
        """How many hosts stay on, for the scenario and for what HA's admission control keeps."""
        scenario = self._state.scenario
        least = scenario.power.hosts_on_min
        if not scenario.ha.enabled or not scenario.ha.failures_tolerated:
            return least
        there = (one.spec for one in self._state.hosts.values() if one.state in _MAY_BE_ON)
        on = (vm.spec for vm in self._state.vms.values() if vm.host is not None)
        tolerated = scenario.ha.failures_tolerated
        return max(least, hosts_on_min(there, on, failures_tolerated=tolerated))

    def _held(self) -> set[str | None]:
        """Hosts with a VM, or with one on its way there or from there."""
        held = {host for host, vms in self._state.residents.items() if vms}
        for record in self._state.migrations.values():
            held |= {record.spec.source, record.spec.destination}
        return held

    def _dark(self, names: list[str]) -> list[Command]:
        for name in names:
            self._state.hosts[name].state = HostState.STANDBY
        return [_note(name, "standby", f"{name} stands by") for name in names]


def efficiency_mhz_per_w(host: HostSpec) -> float:
    """Return what a Watt buys on a full host; a host whose power nobody knows goes by its size."""
    return host.cpu_mhz / (host.power_w[-1] if host.power_w and host.power_w[-1] else 1.0)


def seen(state: ClusterState) -> list[str]:
    """Return the hosts that DRS has to look at: all, but of those in standby only the next few.

    A pass powers on a handful. With rules, which name hosts, nobody is left out, nor by a
    baseline that compares them all.
    """
    scenario = state.scenario
    baseline = scenario.power.planner is PowerPlanner.THR_MMT
    if not scenario.power.enabled or scenario.rules or baseline:
        return list(state.hosts)
    dark = [name for name, host in state.hosts.items() if host.state is HostState.STANDBY]
    dark.sort(key=lambda name: -efficiency_mhz_per_w(state.hosts[name].spec))
    lit = [name for name, host in state.hosts.items() if host.state is not HostState.STANDBY]
    return [*lit, *dark[: max(8, len(lit) // 4)]]


def _note(host: str, what: str, text: str) -> Record:
    return Record(topic=Topic.HOST, what=what, text=text, fields=(("host", host),))
