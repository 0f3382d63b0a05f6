"""What guests have done since the last look, from counters that begin anew with each owner."""

from collections.abc import Mapping

from cluster.actors.reports import HostSample, VmSample
from cluster.observe.exporter import GuestWork


class GuestCounters:
    """Turns the hosts' samples into what their guests did between two of them.

    A VM's counters are its process's: each epoch has its own, from 0. What a guest did on
    its source after the last sample before it moved is not counted.
    """

    def __init__(self) -> None:
        self._before: dict[tuple[str, int], VmSample] = {}

    def since_last(self, samples: Mapping[str, HostSample]) -> dict[str, GuestWork]:
        """Return each host's work since the last call; a sample seen twice adds nothing."""
        now: dict[tuple[str, int], VmSample] = {}
        work: dict[str, GuestWork] = {}
        for host, sample in samples.items():
            deltas = [self._delta(vm) for vm in sample.vms]
            now |= {(vm.vm, vm.epoch): vm for vm in sample.vms}
            work[host] = GuestWork(
                behind_s=sum(one.behind_s for one in deltas),
                overruns=sum(one.overruns for one in deltas),
                requests=sum(one.requests for one in deltas),
            )
        self._before = now
        return work

    def _delta(self, vm: VmSample) -> GuestWork:
        before = self._before.get((vm.vm, vm.epoch))
        if before is None:
            return GuestWork(behind_s=vm.behind_s, overruns=vm.overruns, requests=vm.requests)
        return GuestWork(
            behind_s=vm.behind_s - before.behind_s,
            overruns=vm.overruns - before.overruns,
            requests=vm.requests - before.requests,
        )
