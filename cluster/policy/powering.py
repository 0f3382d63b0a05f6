"""VMs on and off: in which order they are powered on and where, and what ends them."""

from cluster.policy.messages import Command, PowerOff, PowerOn, Record, Topic, VmEnded, VmStarted
from cluster.policy.placement import best_host
from cluster.policy.preflight import admissible
from cluster.policy.problems import in_words
from cluster.policy.state import ClusterState, PowerState, VmRecord
from cluster.policy.usage import Usage


class Powering:
    """Decides where VMs start, and keeps the ownership record in step with what ends."""

    def __init__(self, state: ClusterState) -> None:
        self._state = state

    def power_on_all(self) -> list[Command]:
        """VMs that name their host first, so that the others are placed around them."""
        never_on = [vm for vm in self._state.vms.values() if vm.epoch == 0]
        usage = Usage(self._state)
        ordered = sorted(never_on, key=lambda vm: vm.spec.host is None)
        return [command for vm in ordered for command in self._power_on(vm, usage)]

    def _power_on(self, vm: VmRecord, usage: Usage) -> list[Command]:
        name = vm.spec.name
        host, reason = self._place(vm, usage)
        if host is None:
            vm.power, vm.ended_reason = PowerState.OFF, reason
            return [_note(vm, "power_on_failed", f"{name} is not powered on: {reason}")]
        epoch = self._state.ownership.next_epoch(name)
        self._state.ownership.claim(name, epoch=epoch, source=None, host=host)
        vm.host, vm.epoch, vm.power, vm.ended_reason = host, epoch, PowerState.STARTING, ""
        usage.hold(vm, host)
        return [PowerOn(vm=name, host=host, epoch=epoch)]

    def _place(self, vm: VmRecord, usage: Usage) -> tuple[str | None, str]:
        """Return the host, or None and why there is none."""
        name = vm.spec.host
        if name is None:
            return best_host(self._state, vm, usage), "no host can take it"
        problems = admissible(self._state, vm, name, usage)
        return (None, in_words(problems)) if problems else (name, "")

    def started(self, event: VmStarted) -> list[Command]:
        """A VM runs, unless it was given up in between."""
        vm = self._state.vms[event.vm]
        if vm.epoch != event.epoch or vm.power is not PowerState.STARTING:
            return []
        vm.power = PowerState.ON
        return [_note(vm, "powered_on", f"{event.vm} powered on, {vm.host}", host=vm.host)]

    def ended(self, event: VmEnded, *, wanted: bool = False) -> list[Command]:
        """A VM is off now; one that another host owns by now is not this report's business."""
        vm = self._state.vms[event.vm]
        if vm.power is PowerState.OFF or not self._state.ownership.release(
            event.vm, epoch=event.epoch
        ):
            return []
        host, vm.host, vm.power = vm.host, None, PowerState.OFF
        vm.ended_reason, vm.off_wanted = event.reason, ""
        vm.samples.clear()
        what = "powered_off" if wanted else "failed"
        text = f"{event.vm} powered off: {event.reason}"
        return [_note(vm, what, text, host=host, reason=event.reason)]

    def power_off(self, vm: VmRecord, reason: str) -> list[Command]:
        """End a VM; one that migrates stops migrating first, and ends when that has ended."""
        if vm.host is None:
            return []
        ended = VmEnded(vm=vm.spec.name, epoch=vm.epoch, reason=reason)
        return [PowerOff(vm=vm.spec.name, host=vm.host), *self.ended(ended, wanted=True)]

    def host_failed(self, host: str) -> list[Command]:
        """Every VM there has lost its memory."""
        commands: list[Command] = []
        for name, vm in self._state.vms.items():
            if vm.host == host:
                commands += self.ended(VmEnded(vm=name, epoch=vm.epoch, reason=f"{host} failed"))
        return commands


def _note(vm: VmRecord, what: str, text: str, **fields: object) -> Record:
    named = (("vm", vm.spec.name), *fields.items())
    return Record(topic=Topic.VM, what=what, text=text, fields=named)
