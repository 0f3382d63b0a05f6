"""From tables to the frozen facts of `model`: groups expanded, names resolved, demands made."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from cluster.inventory.cluster_tables import EventTable
from cluster.inventory.demands import NONE, TraceShelf, source_of
from cluster.inventory.groups import Registry
from cluster.inventory.model import (
    ClientsSpec,
    HostSpec,
    Nic,
    RuleSpec,
    TimedEvent,
    TimedKind,
    VmSpec,
)
from cluster.inventory.names import LABEL_RULE, is_label
from cluster.inventory.network_tables import NicName, NicTable
from cluster.inventory.problems import Findings, Key, shown
from cluster.inventory.programs import program_of
from cluster.inventory.reading import Tables
from cluster.inventory.stay_tables import ExponentialStay
from cluster.inventory.switch_assembly import check_switches, switches_of
from cluster.inventory.tables import HostTable, RuleTable, VmTable

# Network cards are sold by 10**6 bits a second.
BYTES_PER_MBIT = 1e6 / 8
NIC_RATES_MBIT_S: dict[NicName, float | None] = {"1GbE": 1e3, "10GbE": 1e4, "unlimited": None}


@dataclass(slots=True, kw_only=True)
class Draft:
    """A scenario while it is put together; complete only as far as the file was right.

    Attributes:
        samples: One VM of each table, also where a table's names could not be had.
    """

    tables: Tables
    shelf: TraceShelf
    findings: Findings
    hosts: Registry[HostSpec] = field(default_factory=lambda: Registry("host"))
    vms: Registry[VmSpec] = field(default_factory=lambda: Registry("VM"))
    samples: list[tuple[Key, VmSpec]] = field(default_factory=list)
    rules: list[RuleSpec] = field(default_factory=list)
    events: list[TimedEvent] = field(default_factory=list)


def assemble(draft: Draft) -> None:
    """Expand and resolve all tables; what is wrong goes to the draft's findings."""
    for index, host in enumerate(draft.tables.hosts):
        _add_hosts(draft, host, ("host", index))
    for index, vm in enumerate(draft.tables.vms):
        _add_vms(draft, vm, ("vm", index))
    for index, rule in enumerate(draft.tables.rules):
        _add_rule(draft, rule, ("rule", index))
    for index, event in enumerate(draft.tables.events):
        _add_events(draft, event, ("event", index))


def _nic(shape: NicName | NicTable) -> Nic:
    if isinstance(shape, NicTable):
        name, rate_mbit_s = shape.name, shape.rate_mbit_s
    else:
        name, rate_mbit_s = Nic().name, NIC_RATES_MBIT_S[shape]
    rate = None if rate_mbit_s is None else rate_mbit_s * BYTES_PER_MBIT
    return Nic(name=name, rate_bytes_per_second=rate)


def _check_labels(draft: Draft, labels: Sequence[str], key: Key) -> None:
    for label in labels:
        if not is_label(label):
            draft.findings.add(key, f"{shown(label)} is no usable name", LABEL_RULE)


def _add_hosts(draft: Draft, table: HostTable, key: Key) -> None:
    _check_labels(draft, table.networks, (*key, "networks"))
    _check_labels(draft, table.datastores, (*key, "datastores"))
    _check_labels(draft, (table.cpu_family,), (*key, "cpu_family"))
    if table.fault_domain:
        _check_labels(draft, (table.fault_domain,), (*key, "fault_domain"))
    if isinstance(table.nic, NicTable):
        _check_labels(draft, (table.nic.name,), (*key, "nic", "name"))
    _check_labels(draft, table.cpu_features, (*key, "cpu_features"))
    _check_labels(draft, table.other_nics, (*key, "other_nics"))
    check_switches(table, key, draft.findings)
    features = None if table.features is None else tuple(f.feature for f in table.features)
    for index, name in enumerate(
        draft.hosts.declare(table.name, table.count, key, draft.findings), start=1
    ):
        draft.hosts.specs[name] = HostSpec(
            name=name,
            cpu_mhz=table.cpu_mhz,
            memory_mib=table.memory_mib,
            nic=_nic(table.nic),
            networks=tuple(table.networks),
            datastores=tuple(table.datastores),
            cpu_family=table.cpu_family,
            fault_domain=table.fault_domain,
            node_labels=tuple(sorted(table.node_labels.items())),
            other_nics=tuple(table.other_nics),
            cpu_features=tuple(table.cpu_features),
            sockets=table.sockets,
            cores_per_socket=table.cores_per_socket,
            switches=switches_of(table, index),
            vmotion=table.vmotion,
            features=features,
            power_w=tuple(table.power_w or ()),
        )


def _add_vms(draft: Draft, table: VmTable, key: Key) -> None:
    scenario = draft.tables.scenario
    names = draft.vms.declare(table.name, table.count, key, draft.findings)
    placed = draft.hosts.resolve(table.host or (), (*key, "host"), draft.findings)
    guest = program_of(
        table.guest,
        table.params,
        key=key,
        memory_mib=table.memory_mib,
        directory=draft.shelf.directory,
        findings=draft.findings,
    )
    demand = source_of(
        table.demand,
        key=(*key, "demand"),
        vms=len(names),
        span_s=scenario.duration_s,
        seed=scenario.seed,
        shelf=draft.shelf,
        findings=draft.findings,
    )
    clients = None if table.clients is None else ClientsSpec(**table.clients.model_dump())
    sample = VmSpec(
        name=table.name,
        memory_mib=table.memory_mib,
        cpu_mhz=table.cpu_mhz,
        guest=guest,
        demand=NONE,
        clients=clients,
        networks=tuple(table.networks),
        datastore=table.datastore,
        cpu_reservation_mhz=table.cpu_reservation_mhz,
        cpu_limit_mhz=table.cpu_limit_mhz,
        cpu_shares=table.cpu_shares,
        memory_reservation_mib=table.memory_reservation_mib,
        automation=table.automation,
        downtime_s_max=table.downtime_s_max,
        local_devices=tuple(table.local_devices),
        cpu_affinity=tuple(table.cpu_affinity),
        clustered=table.clustered,
        swap_datastore=table.swap_datastore,
        masked_features=tuple(table.masked_features),
        restart_priority=table.restart_priority,
        stun_s_max=table.stun_s_max,
    )
    draft.samples.append((key, sample))
    for index, name in enumerate(names):
        arrives_s = _come_and_go(draft, table, name)
        draft.vms.specs[name] = replace(
            sample,
            name=name,
            arrives_s=arrives_s,
            demand=demand.of(index, cpu_mhz=table.cpu_mhz),
            host=placed[index % len(placed)] if placed else None,
            seed=_seed(scenario.seed, name) if table.seed is None else table.seed + index,
        )


def _come_and_go(draft: Draft, table: VmTable, name: str) -> float | None:
    """Note when a VM is powered on and off; return when it arrives, None with the cluster."""
    scenario = draft.tables.scenario
    arrives_s = None if table.arrives_s is None else _drawn(table.arrives_s, scenario.seed, name, 0)
    if arrives_s is not None:
        draft.events.append(TimedEvent(at_s=arrives_s, kind=TimedKind.POWER_ON, vms=(name,)))
    if table.stays_s is not None:
        leaves_s = (arrives_s or 0.0) + _drawn(table.stays_s, scenario.seed, name, 1)
        if leaves_s < scenario.duration_s:
            draft.events.append(TimedEvent(at_s=leaves_s, kind=TimedKind.POWER_OFF, vms=(name,)))
    return arrives_s


def _drawn(
    times: Sequence[float] | ExponentialStay, scenario_seed: int, name: str, which: int
) -> float:
    """A VM's own time, by its name; between two times, arrivals of a group are a Poisson process's."""
    part = _seed(scenario_seed, f"{name}/{which}") / 2.0**63
    if isinstance(times, ExponentialStay):
        # The distribution's inverse; a part that was rounded up to 1 would have no logarithm.
        return -times.mean_s * math.log1p(-min(part, 1 - 2.0**-53))
    low, high = times
    return low + (high - low) * part


def _seed(scenario_seed: int, name: str) -> int:
    """A VM's seed by its name, so that adding a VM leaves the others as they were."""
    digest = hashlib.blake2b(f"{scenario_seed}/{name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def _add_rule(draft: Draft, table: RuleTable, key: Key) -> None:
    if table.name:
        _check_labels(draft, (table.name,), (*key, "name"))
    draft.rules.append(
        RuleSpec(
            name=table.name,
            kind=table.kind,
            vms=draft.vms.resolve(table.vms, (*key, "vms"), draft.findings),
            hosts=draft.hosts.resolve(table.hosts or (), (*key, "hosts"), draft.findings),
        )
    )


def _add_events(draft: Draft, table: EventTable, key: Key) -> None:
    """An event, or one for each VM where each has a demand of its own."""
    names = draft.vms.resolve(table.vms or (), (*key, "vms"), draft.findings)
    hosts = draft.hosts.resolve(table.hosts or (), (*key, "hosts"), draft.findings)
    if table.destination is not None:
        draft.hosts.check_one(table.destination, (*key, "destination"), draft.findings)
    event = TimedEvent(
        at_s=table.at_s,
        kind=table.kind,
        vms=names,
        destination=table.destination,
        mode=table.mode,
        hosts=hosts,
        wait=table.wait is not False,
    )
    if table.demand is None:
        draft.events.append(event)
        return
    source = source_of(
        table.demand,
        key=(*key, "demand"),
        vms=len(names),
        span_s=draft.tables.scenario.duration_s - table.at_s,
        seed=draft.tables.scenario.seed,
        shelf=draft.shelf,
        findings=draft.findings,
    )
    if not source.differs:
        draft.events.append(replace(event, demand=source.of(0, cpu_mhz=0.0)))
        return
    for index, name in enumerate(names):
        cpu_mhz = draft.vms.specs[name].cpu_mhz
        draft.events.append(replace(event, vms=(name,), demand=source.of(index, cpu_mhz=cpu_mhz)))
