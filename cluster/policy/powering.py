"""VMs on and off: in which order they are powered on and where, and what ends them."""

from cluster.inventory.licence_terms import Feature
from cluster.inventory.model import RestartPriority
from cluster.policy.ha import failover_slots, restart_order
from cluster.policy.messages import Command, PowerOff, PowerOn, Record, Topic, VmEnded, VmStarted
from cluster.policy.placement import best_host
from cluster.policy.preflight import admissible
from cluster.policy.problems import in_words
from cluster.policy.state import ClusterState, HostState, PowerState, VmRecord
from cluster.policy.usage import Usage


class Powering:
    """Decides where VMs start, and keeps the ownership record in step with what ends."""

    def __init__(self, state: ClusterState) -> None:
        self._state = state
        # All that may want a restart: to look for them among all VMs takes a millisecond.
        self._lost: dict[str, VmRecord] = {}

    def power_on_all(self) -> list[Command]:
        """VMs that name their host first, so that the others are placed around them."""
        vms = self._state.vms.values()
        never_on = [vm for vm in vms if vm.epoch == 0 and vm.spec.arrives_s is None]
        usage = Usage(self._state)
        ordered = sorted(never_on, key=lambda vm: vm.spec.host is None)
        return [command for vm in ordered for command in self._power_on(vm, usage)]

    def request_on(self, name: str, host: str | None) -> list[Command]:
        """Power a VM on because somebody wants it, or say why not."""
        vm = self._state.vms.get(name)
        if vm is None:
            reason = "there is no such VM"
        elif vm.power is not PowerState.OFF:
            reason = f"it is {vm.power.value}"
        elif host is not None and host not in self._state.hosts:
            reason = f"there is no host {host}"
        else:
            vm.ended_reason = ""  # said again to whoever asks again
            return self._power_on(vm, Usage(self._state), host)
        text = f"{name} is not powered on: {reason}"
        return [Record(topic=Topic.VM, what="power_on_failed", text=text, fields=(("vm", name),))]

    def restart_lost(self) -> list[Command]:
        """Restart cold what HA has to restart, as far as there is room; the rest goes on waiting.

        A VM whose migration has not ended waits for that: its source still holds memory of it.
        """
        migrating = {record.spec.vm for record in self._state.migrations.values()}
        lost = {
            name: vm
            for name, vm in self._lost.items()
            if vm.restart_wanted and name not in migrating
        }
        if not lost:
            return []
        usage = Usage(self._state)
        commands: list[Command] = []
        for spec in restart_order(vm.spec for vm in lost.values()):
            vm = lost[spec.name]
            if (host := best_host(self._state, vm, usage)) is not None:
                text = f"{spec.name} restarts on {host}, without its memory"
                commands += [
                    _note(vm, "restarted", text, host=host),
                    *self._start(vm, host, usage),
                ]
        return commands

    def _power_on(self, vm: VmRecord, usage: Usage, wanted: str | None = None) -> list[Command]:
        name = vm.spec.name
        host, reason = self._place(vm, usage, wanted or vm.spec.host)
        if host is not None and (full := self._failover_problem(vm)):
            host, reason = None, full
        if host is None:
            known = (vm.power, vm.ended_reason) == (PowerState.OFF, reason)
            vm.power, vm.ended_reason = PowerState.OFF, reason
            if known:
                return []
            return [_note(vm, "power_on_failed", f"{name} is not powered on: {reason}")]
        return self._start(vm, host, usage)

    def _start(self, vm: VmRecord, host: str, usage: Usage) -> list[Command]:
        name = vm.spec.name
        epoch = self._state.ownership.next_epoch(name)
        self._state.ownership.claim(name, epoch=epoch, source=None, host=host)
        vm.epoch = vm.born = epoch
        vm.power, vm.ended_reason = PowerState.STARTING, ""
        self._state.place(vm, host)
        vm.restart_wanted = False
        self._lost.pop(name, None)
        usage.hold(vm, host)
        return [PowerOn(vm=name, host=host, epoch=epoch)]

    def _place(self, vm: VmRecord, usage: Usage, name: str | None) -> tuple[str | None, str]:
        """Return the host, or None and why there is none."""
        if name is None:
            return best_host(self._state, vm, usage), "no host can take it"
        problems = admissible(self._state, vm, name, usage)
        return (None, in_words(problems)) if problems else (name, "")

    def _failover_problem(self, vm: VmRecord) -> str:
        """Return why HA's admission control does not let a VM be powered on, or ""."""
        settings = self._state.scenario.ha
        if not settings.enabled or not settings.failures_tolerated:
            return ""
        running = [other.spec for other in self._state.vms.values() if other.host is not None]
        # What is in maintenance, or about to be dark, can restart nothing.
        there = {
            name: host.spec
            for name, host in self._state.hosts.items()
            if host.state is HostState.CONNECTED
        }
        slots = failover_slots(
            there, [*running, vm.spec], failures_tolerated=settings.failures_tolerated
        )
        if slots.enough:
            return ""
        return (
            f"HA keeps room for {settings.failures_tolerated} lost hosts: "
            f"{slots.left} slots of {slots.memory_mib} MiB are left, {slots.needed} are needed"
        )

    def started(self, event: VmStarted) -> list[Command]:
        """A VM runs, unless it was given up in between."""
        vm = self._state.vms[event.vm]
        if vm.epoch == event.epoch:
            self._state.taking_over.pop(event.vm, None)
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
        self._state.taking_over.pop(event.vm, None)
        host, vm.power = vm.host, PowerState.OFF
        self._state.place(vm, None)
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
        """Every VM there has lost its memory; HA restarts those that it protects."""
        protects = self.protects(host)
        commands: list[Command] = []
        for name, vm in list(self._state.residents[host].items()):
            vm.restart_wanted = protects and self._restarts(vm)
            self._lost[name] = vm
            commands += self.ended(VmEnded(vm=name, epoch=vm.epoch, reason=f"{host} failed"))
        return commands

    def lost(self, name: str, reason: str) -> list[Command]:
        """A VM's memory is gone with its migration."""
        vm = self._state.vms[name]
        if vm.host is not None:
            vm.restart_wanted = self.protects(vm.host) and self._restarts(vm)
            self._lost[name] = vm
        return self.ended(VmEnded(vm=name, epoch=vm.epoch, reason=reason))

    def protects(self, host: str) -> bool:
        """Whether HA is on, and licensed on a host."""
        return self._state.scenario.ha.enabled and not self._state.hosts[host].lacking.get(
            Feature.HA
        )

    def _restarts(self, vm: VmRecord) -> bool:
        return vm.spec.restart_priority is not RestartPriority.DISABLED and not vm.off_wanted

    def stale(self, host: str, running: tuple[tuple[str, int], ...]) -> list[Command]:
        """End what a host that is back runs without owning it."""
        owned = self._state.ownership
        return [
            PowerOff(vm=vm, host=host)
            for vm, epoch in running
            if (record := owned.get(vm)) is None or (record.epoch, record.host) != (epoch, host)
        ]


def _note(vm: VmRecord, what: str, text: str, **fields: object) -> Record:
    named = (("vm", vm.spec.name), *fields.items())
    return Record(topic=Topic.VM, what=what, text=text, fields=named)
