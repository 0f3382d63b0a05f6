"""Configuration that changes while the cluster runs: what preflight reads next time."""

from cluster.inventory.licence_terms import Feature
from cluster.inventory.model import HostSpec, VmSpec
from cluster.policy.messages import Command, Record, Topic
from cluster.policy.state import ClusterState


def reconfigure_host(state: ClusterState, spec: HostSpec) -> list[Command]:
    """Take a host's new configuration, or say why not.

    It must still hold its VMs, and VMotion is turned on only with a licence.
    """
    record = state.hosts.get(spec.name)
    if record is None:
        return [
            _note(Topic.HOST, "configure_refused", f"there is no host {spec.name}", host=spec.name)
        ]
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


def reconfigure_vm(state: ClusterState, spec: VmSpec) -> list[Command]:
    """Take a VM's new configuration, or say why not: its memory stays what it is."""
    record = state.vms.get(spec.name)
    if record is None:
        return [_note(Topic.VM, "configure_refused", f"there is no VM {spec.name}", vm=spec.name)]
    if record.host is not None and spec.memory_mib != record.spec.memory_mib:
        text = f"{spec.name}: the memory of a VM that is on cannot change"
        return [_note(Topic.VM, "configure_refused", text, vm=spec.name)]
    record.spec = spec
    return [_note(Topic.VM, "configured", f"{spec.name} is configured anew", vm=spec.name)]


def _note(topic: Topic, what: str, text: str, **fields: object) -> Record:
    return Record(topic=topic, what=what, text=text, fields=tuple(fields.items()))
