"""A host's CPU scheduler and load sampler: divides MHz among its VMs ten times a second."""

import time
from collections.abc import Iterable

import numpy as np

from cluster.actors.local_vm import LocalVm, Power
from cluster.actors.reports import HostSample, VmSample
from cluster.inventory.model import HostSpec
from cluster.policy.facts import HostLoad, VmLoad
from drs.entitlement import divvy


class Scheduler:
    """Grants each running VM its entitlement of this host's CPU, and keeps the account.

    The guest's "MHz" are a model: nobody burns them. A VM that gets half of what it
    demands has its guest time run at half speed (`ControlPage.share`).
    """

    def __init__(self, spec: HostSpec) -> None:
        self._spec = spec
        self._last_s = time.monotonic()

    def tick(self, vms: Iterable[LocalVm], *, scenario_s: float) -> None:
        """Account for the time since the last tick, then grant anew."""
        now = time.monotonic()
        elapsed = now - self._last_s
        self._last_s = now
        running = [vm for vm in vms if vm.power is Power.RUNNING]
        for vm in running:
            vm.sampled_s += elapsed
            vm.demand_mhz_s += vm.control.get("demand_mhz") * elapsed
            vm.granted_mhz_s += vm.control.get("granted_mhz") * elapsed
        if not running:
            return
        demand = np.array(
            [min(vm.demand.at(scenario_s - vm.demand_from_s), vm.spec.cpu_mhz) for vm in running]
        )
        granted = divvy(
            self._spec.cpu_mhz,
            demand,
            [vm.spec.cpu_reservation_mhz for vm in running],
            [_or_inf(vm.spec.cpu_limit_mhz) for vm in running],
            [vm.spec.cpu_shares for vm in running],
        )
        for vm, wanted, got in zip(running, demand.tolist(), granted.tolist(), strict=True):
            vm.control.put("demand_mhz", wanted)
            vm.control.put("granted_mhz", got)

    def sample(
        self,
        vms: Iterable[LocalVm],
        *,
        scenario_s: float,
        tx_bytes: int,
        rx_bytes: int,
        standby_processes: int,
    ) -> HostSample:
        """Return the means since the last sample, and start a new one."""
        samples = tuple(_sample(vm) for vm in vms if vm.power is not Power.OFF)
        return HostSample(
            time_s=scenario_s,
            load=HostLoad(
                host=self._spec.name,
                vms=tuple(
                    VmLoad(vm=s.vm, demand_mhz=s.demand_mhz, granted_mhz=s.granted_mhz)
                    for s in samples
                ),
            ),
            vms=samples,
            tx_bytes=tx_bytes,
            rx_bytes=rx_bytes,
            standby_processes=standby_processes,
        )


def _sample(vm: LocalVm) -> VmSample:
    # Over the time that the VM ran here: one that came a moment ago is not idle.
    span = max(vm.sampled_s, 1e-9)
    demand, granted = vm.demand_mhz_s / span, vm.granted_mhz_s / span
    vm.sampled_s = vm.demand_mhz_s = vm.granted_mhz_s = 0.0
    page = vm.control
    return VmSample(
        vm=vm.spec.name,
        epoch=vm.epoch,
        demand_mhz=demand,
        granted_mhz=granted,
        memory_mib=vm.spec.memory_mib,
        guest_s=page.get("guest_s"),
        steps=int(page.get("steps")),
        requests=int(page.get("requests")),
        overruns=int(page.get("overruns")),
        step_s_max=page.get("step_s_max"),
        behind_s=page.get("behind_s"),
    )


def _or_inf(limit_mhz: float | None) -> float:
    return float("inf") if limit_mhz is None else limit_mhz
