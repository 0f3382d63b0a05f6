"""What each check of preflight looks for: one function a check, one sentence a problem found."""

from collections.abc import Iterator

from cluster.inventory.model import HostSpec, Mode, Profile
from cluster.inventory.switches import interface_of
from cluster.policy.networking import vmotion_port
from cluster.policy.question import Question

_GIGABIT_BYTES_PER_SECOND = 125e6


# The how-to's nine conditions.


def local_device(question: Question) -> Iterator[str]:
    for device in question.vm.local_devices:
        yield f"{question.vm.name} is connected to {device}, which only its host has"


def internal_switch(question: Question) -> Iterator[str]:
    if question.source is None:
        return
    for switch in question.source.switches:
        labels = [g.label for g in switch.port_groups if g.network in question.vm.networks]
        if labels and not switch.nics:
            yield (
                f"{question.vm.name} is on {', '.join(labels)} of the internal switch "
                f"{switch.name} of {question.source.name}"
            )


def cpu_affinity(question: Question) -> Iterator[str]:
    if question.vm.cpu_affinity:
        bound = ", ".join(map(str, question.vm.cpu_affinity))
        yield f"{question.vm.name} is bound to CPU {bound} of its host"


def cluster_relationship(question: Question) -> Iterator[str]:
    if question.vm.clustered:
        yield f"{question.vm.name} shares a disk with another VM of a cluster"


def swap(question: Question) -> Iterator[str]:
    store = question.vm.swap_datastore
    if store is not None and store not in question.destination.datastores:
        yield (
            f"the swap file of {question.vm.name} is on {store}, "
            f"which {question.destination.name} does not reach"
        )


def datastore(question: Question) -> Iterator[str]:
    if question.vm.datastore not in question.destination.datastores:
        yield f"{question.destination.name} does not reach {question.vm.datastore}"


def cpu(question: Question) -> Iterator[str]:
    """A guest may use what it saw at power-on, so the destination must offer all of it.

    A mask hides features from the guest; a baseline hides from all guests what is not in
    it. More features on the destination do no harm.
    """
    source, destination = question.source, question.destination
    if source is None:
        return
    if source.cpu_family != destination.cpu_family:
        yield (
            f"{source.name} is {source.cpu_family}, {destination.name} is {destination.cpu_family}"
        )
        return
    seen = set(source.cpu_features) - set(question.vm.masked_features)
    if question.profile is Profile.VSPHERE and question.evc_features is not None:
        seen &= set(question.evc_features)
    if missing := sorted(seen - set(destination.cpu_features)):
        yield f"{destination.name} lacks the CPU features {', '.join(missing)}"


def labels(question: Question) -> Iterator[str]:
    """Where a host's switches are not described there are no labels to compare."""
    source, destination = question.source, question.destination
    if source is None or not source.switches or not destination.switches:
        return
    for network_name in question.vm.networks:
        ours, theirs = labels_of(source, network_name), labels_of(destination, network_name)
        if not ours or network_name not in destination.networks:
            continue  # there is nothing to compare with, or `network` says it
        if not theirs:
            yield f"{destination.name} has no port group on {network_name}"
        elif question.profile is Profile.VI3 and ours & theirs:
            yield (
                f"{source.name} and {destination.name} both have the label "
                f"{', '.join(sorted(ours & theirs))} for {network_name}"
            )
        elif question.profile is Profile.VSPHERE and not ours & theirs:
            yield (
                f"{destination.name} has no port group {' or '.join(sorted(ours))} "
                f"on {network_name}"
            )


def labels_of(host: HostSpec, network_name: str) -> set[str]:
    """Return the labels of a host's port groups on a physical network."""
    return {
        group.label
        for switch in host.switches
        for group in switch.port_groups
        if group.network == network_name
    }


def vmotion_ports(question: Question) -> Iterator[str]:
    """Where a host's switches are not described its VMotion network is taken to be right."""
    if question.source is None:
        return
    ends = [host for host in (question.source, question.destination) if host.switches]
    ports = [vmotion_port(host) for host in ends]
    for host, port in zip(ends, ports, strict=True):
        if port is None:
            yield f"{host.name} has no VMkernel port group for VMotion"
    subnets = [interface.network for p in ports if p is not None and (interface := interface_of(p))]
    if len(set(subnets)) > 1:
        yield (
            f"VMotion of {question.source.name} is in {subnets[0]}, "
            f"of {question.destination.name} in {subnets[1]}"
        )


# What else must be right.


def network(question: Question) -> Iterator[str]:
    host = question.destination
    if missing := [n for n in question.vm.networks if n not in host.networks]:
        yield f"{host.name} has no {', '.join(missing)}"


def gigabit(question: Question) -> Iterator[str]:
    for host in (question.source, question.destination):
        rate = None if host is None else host.nic.rate_bytes_per_second
        if host is not None and rate is not None and rate < _GIGABIT_BYTES_PER_SECOND:
            yield f"the VMotion card of {host.name} has {rate * 8 / 1e6:.0f} Mbit/s"
    line = None if question.moment is None else question.moment.line_bytes_per_second
    # Half: what is measured is payload, and a busy machine measures less than there is.
    if line is not None and question.source is not None and line < _GIGABIT_BYTES_PER_SECOND / 2:
        ends = f"{question.source.name} and {question.destination.name}"
        yield f"the network between {ends} carries {line * 8 / 1e6:.0f} Mbit/s"


def enabled(question: Question) -> Iterator[str]:
    for host in (question.source, question.destination):
        if host is not None and not host.vmotion:
            yield f"VMotion is off on {host.name}"


def licence(question: Question) -> Iterator[str]:
    if question.moment is not None:
        for facts in (question.moment.source, question.moment.destination):
            if facts is not None and facts.unlicensed:
                yield facts.unlicensed


def esx_licence(question: Question) -> Iterator[str]:
    if question.moment is not None and question.moment.destination.may_not_run:
        yield question.moment.destination.may_not_run


def host_state(question: Question) -> Iterator[str]:
    moment = question.moment
    if moment is None:
        return
    if question.source is not None and moment.source is not None and not moment.source.answers:
        yield f"{question.source.name} is {moment.source.state}"
    if not moment.destination.takes_vms:
        yield f"{question.destination.name} is {moment.destination.state}"


def size(question: Question) -> Iterator[str]:
    vm, host = question.vm, question.destination
    if vm.memory_mib > host.memory_mib:
        yield f"{vm.name} needs {vm.memory_mib} MiB, {host.name} has {host.memory_mib}"
    if vm.cpu_reservation_mhz > host.cpu_mhz:
        yield (
            f"{vm.name} has {vm.cpu_reservation_mhz:g} MHz reserved, {host.name} has {host.cpu_mhz:g}"
        )


def capacity(question: Question) -> Iterator[str]:
    """What does not fit on an empty host either is a matter of `size`."""
    moment, vm, host = question.moment, question.vm, question.destination
    if moment is None:
        return
    if moment.free_mib < vm.memory_mib <= host.memory_mib:
        yield f"{host.name} has {moment.free_mib} MiB left, {vm.name} needs {vm.memory_mib}"
    # Reservations are sums of floats: a shortage of a millionth is none.
    if moment.free_reserved_mhz + 1e-6 < vm.cpu_reservation_mhz <= host.cpu_mhz:
        yield (
            f"{host.name} has {moment.free_reserved_mhz:g} MHz that are not reserved, "
            f"{vm.name} has {vm.cpu_reservation_mhz:g} reserved"
        )


def rule(question: Question) -> Iterator[str]:
    if question.moment is not None:
        yield from question.moment.broken_rules


def tracker(question: Question) -> Iterator[str]:
    moment = question.moment
    if moment is None or moment.mode is not Mode.POSTCOPY:
        return
    for host, facts in (
        (question.source, moment.source),
        (question.destination, moment.destination),
    ):
        if host is not None and facts is not None and not facts.serves_faults:
            yield f"{host.name} has no fault service, which post-copy needs"


def stun_limit(question: Question) -> Iterator[str]:
    moment, limit_s = question.moment, question.vm.stun_s_max
    if moment is not None and limit_s is not None and moment.stun_s > limit_s:
        yield (
            f"{question.vm.name} would be stunned for {moment.stun_s * 1e3:.0f} ms, "
            f"its limit is {limit_s * 1e3:.0f} ms"
        )
