"""What is said again to a host after VirtualCenter's own death: all that it may not have heard.

VirtualCenter writes down what it hears before it says anything, and dies at any instant. So
each command may or may not have been said; hosts do a command that they have heard once.
"""

from cluster.policy.messages import (
    CancelMigration,
    Command,
    Discard,
    HostConnected,
    PowerOn,
    SetDemand,
    SetShares,
    StartMigration,
    TellPeerLost,
)
from cluster.policy.ownership import Record as Owned
from cluster.policy.shares import Shares
from cluster.policy.state import ClusterState, PowerState


def said_again(state: ClusterState, shares: Shares, event: HostConnected) -> list[Command]:
    """Return what a host is to do now, of what it was ever told, and what it must forget."""
    host = event.host
    return [
        *_power_ons(state, host),
        *_migrations(state, shares, host),
        *(order for order in state.taking_over.values() if order.destination == host),
        *_shares(state, shares, host),
        *_demands(state, host),
        *_forgotten(state, event),
    ]


def _power_ons(state: ClusterState, host: str) -> list[Command]:
    return [
        PowerOn(vm=name, host=host, epoch=vm.epoch)
        for name, vm in state.residents[host].items()
        if vm.power is PowerState.STARTING
    ]


def _migrations(state: ClusterState, shares: Shares, host: str) -> list[Command]:
    commands: list[Command] = []
    for record in state.migrations.values():
        spec = record.spec
        if record.started_s is None or spec.source != host:
            continue
        commands.append(StartMigration(spec=shares.filled(spec)))
        if record.cancel_wanted:
            commands.append(CancelMigration(migration=spec.id, source=host))
        if not state.answers(spec.destination):
            commands.append(TellPeerLost(migration=spec.id, source=host))
    return commands


def _shares(state: ClusterState, shares: Shares, host: str) -> list[Command]:
    told = shares.of([spec.id for spec in state.running() if spec.destination == host])
    return [SetShares(host=host, shares=told)] if told else []


def _demands(state: ClusterState, host: str) -> list[Command]:
    return [
        SetDemand(vm=name, host=host, demand=vm.demand, from_s=vm.demand_from_s)
        for name, vm in state.residents[host].items()
        if vm.power is PowerState.ON and vm.demand != vm.spec.demand
    ]


def _forgotten(state: ClusterState, event: HostConnected) -> list[Command]:
    """Migrations that came in and whose end the host may not have heard of."""
    return [
        Discard(migration=migration, destination=event.host)
        for migration, vm, epoch in event.incoming
        if migration not in state.migrations
        and state.ownership.get(vm) != Owned(epoch=epoch, host=event.host)
    ]
