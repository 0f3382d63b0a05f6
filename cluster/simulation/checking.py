"""Checkers of a simulated cluster: they look at hosts and records, not at what anybody believes."""

from cluster.policy.state import PowerState
from cluster.simulation.seat import WorldBroken
from cluster.simulation.world import World


def check(world: World) -> None:
    """Raise WorldBroken if a promise that holds at every moment does not hold now."""
    _check_runners(world)
    _check_memory(world)


def check_end(world: World) -> None:
    """Raise WorldBroken if a migration has not ended, or a VM was forgotten."""
    check(world)
    state = world.center.state
    if left := {**state.migrations, **world.moves}:
        raise WorldBroken(f"not ended: {', '.join(left)}")
    for name, vm in state.vms.items():
        seat, host = world.seats.get(name, (None, None))
        runs = seat is not None and seat.runs
        if runs != (vm.power is PowerState.ON) or host != vm.host:
            raise WorldBroken(f"{name} is {vm.power.value} on {vm.host}, and runs on {host}")


def _check_runners(world: World) -> None:
    """A VM runs only where the ownership record says."""
    for move in world.moves.values():
        spec, carrier = move.spec, move.carrier
        record = world.center.state.ownership.get(spec.vm)
        for seat, host in ((carrier.source, spec.source), (carrier.destination, spec.destination)):
            if seat.runs and (record is None or record.host != host):
                raise WorldBroken(f"{host} runs {spec.vm}, and the record is {record}")


def _check_memory(world: World) -> None:
    """No host holds more than it has; a VM that moves counts at both ends."""
    used = world.fleet.sum_by_host(world.fleet.memory_mib)
    for move in world.moves.values():
        vm, spec = world.vm_index[move.spec.vm], move.spec
        for host in (world.host_index[spec.source], world.host_index[spec.destination]):
            if world.fleet.host[vm] != host:
                used[host] += world.fleet.memory_mib[vm]
    for owner, mib in zip(world.scenario.hosts, used.tolist(), strict=True):
        if mib > owner.memory_mib:
            raise WorldBroken(f"{owner.name} holds {mib:.0f} of {owner.memory_mib} MiB")
