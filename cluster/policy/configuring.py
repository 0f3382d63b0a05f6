"""Configuration that changes while the cluster runs: what preflight reads next time."""

from dataclasses import replace

from cluster.inventory.licence_terms import Feature
from cluster.inventory.model import HostSpec
from cluster.policy.messages import (
    Command,
    Record,
    Topic,
    VMotionConfigured,
    VmReconfigured,
)
from cluster.policy.networking import configure, vmotion_port
from cluster.policy.problems import Problem, as_data, in_words
from cluster.policy.state import ClusterState


def reconfigure_host(state: ClusterState, spec: HostSpec) -> list[Command]:
    """Take a host's new configuration, or say why not.

    It must still hold its VMs, and VMotion is turned on only with a licence.
    """
    record = state.hosts.get(spec.name)
    if record is None:
        text = f"there is no host {spec.name}"
        return [_note(Topic.HOST, "configure_refused", text, host=spec.name)]
    held = sum(
        state.vms[vm].spec.memory_mib
        for vm, hosts in state.occupancy().items()
        if spec.name in hosts
    )
    if held > spec.memory_mib:
        text = f"{spec.name}: its VMs hold {held} MiB, more than {spec.memory_mib}"
        return [_note(Topic.HOST, "configure_refused", text, host=spec.name)]
    why = record.lacking.get(Feature.VMOTION)
    if why and spec.vmotion and not record.spec.vmotion:
        text = f"{spec.name}: VMotion is not turned on, {why}"
        return [_note(Topic.HOST, "configure_refused", text, host=spec.name)]
    record.spec = spec
    return [_note(Topic.HOST, "configured", f"{spec.name} is configured anew", host=spec.name)]


def configure_vmotion(state: ClusterState, event: VMotionConfigured) -> list[Command]:
    """Configure VMotion on a host as the how-to says, or say every reason why not."""
    record = state.hosts.get(event.host)
    if record is None:
        return [_refuse(event.host, [_problem("host", f"there is no host {event.host}")])]
    problems: list[Problem] = []
    spec = record.spec
    why = record.lacking.get(Feature.VMOTION)
    if why and event.vmotion and not spec.vmotion:
        problems.append(_problem("licence", why, "License the host for VMotion first."))
    if event.vmotion is not None:
        spec = replace(spec, vmotion=event.vmotion)
    if event.setup is not None:
        others = [other.spec for name, other in state.hosts.items() if name != event.host]
        spec, found = configure(spec, event.setup, others)
        problems += found
    if any(not problem.warning for problem in problems):
        return [_refuse(event.host, problems)]
    record.spec = spec
    return [_note(Topic.HOST, "configured", _configured(spec, problems), host=event.host)]


def _configured(spec: HostSpec, warnings: list[Problem]) -> str:
    port = vmotion_port(spec)
    at = "no port group for it" if port is None else f"{port.label} at {port.ip_address}"
    said = "".join(f"; warning: {warning.text}" for warning in warnings)
    return f"{spec.name}: VMotion is {'on' if spec.vmotion else 'off'}, {at}{said}"


def _refuse(host: str, problems: list[Problem]) -> Record:
    text = f"{host} is not configured: {in_words(problems)}"
    return _note(
        Topic.HOST, "configure_refused", text, host=host, problems=as_data(tuple(problems))
    )


def _problem(check: str, text: str, cure: str = "") -> Problem:
    return Problem(check=check, text=text, cure=cure)


def reconfigure_vm(state: ClusterState, event: VmReconfigured) -> list[Command]:
    """Change a VM's configuration, or say why not: its name and its memory stay what they are."""
    name = event.vm
    record = state.vms.get(name)
    if record is None:
        return [_note(Topic.VM, "configure_refused", f"there is no VM {name}", vm=name)]
    spec = replace(record.spec, **dict(event.changes))
    if spec.name != name:
        text = f"{name}: a VM keeps its name"
        return [_note(Topic.VM, "configure_refused", text, vm=name)]
    if record.host is not None and spec.memory_mib != record.spec.memory_mib:
        text = f"{spec.name}: the memory of a VM that is on cannot change"
        return [_note(Topic.VM, "configure_refused", text, vm=spec.name)]
    record.spec = spec
    return [_note(Topic.VM, "configured", f"{spec.name} is configured anew", vm=spec.name)]


def _note(topic: Topic, what: str, text: str, **fields: object) -> Record:
    return Record(topic=topic, what=what, text=text, fields=tuple(fields.items()))
