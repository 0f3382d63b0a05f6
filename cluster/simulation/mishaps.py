"""What happens to the hosts of a simulated cluster: deaths and repairs, slow and cut lines."""

from cluster.inventory.faults import Faults
from cluster.simulation.world import World, line_rate


def plan_mishaps(world: World, faults: Faults) -> None:
    """Draw them, and place them on the clock within the scenario's duration."""
    end_s = min(world.scenario.duration_s, faults.until_s)
    for at, host in enumerate(world.scenario.hosts):
        if world.channel.happens(faults.host_crash):
            _plan_death(world, host.name, world.mishaps.uniform(0, end_s))
        for chance, share in ((faults.link_cut, 0.0), (faults.link_slow, 0.1)):
            if world.channel.happens(chance):
                slow_s = world.mishaps.uniform(0, end_s)
                healed_s = slow_s + world.mishaps.uniform(0, faults.link_cut_s_max)
                rate = line_rate(host, world.calibration)
                _plan_rate(world, slow_s, at, rate * share)
                _plan_rate(world, healed_s, at, rate)
        if faults.host_mtbf_s is not None:
            for failed_s in _failures(world, faults.host_mtbf_s, faults.host_repair_s, end_s):
                _plan_death(world, host.name, failed_s)
                if faults.host_repair_s is not None:
                    _plan_repair(world, host.name, failed_s + faults.host_repair_s)


def _failures(world: World, mtbf_s: float, repair_s: float | None, end_s: float) -> list[float]:
    """Return when one host fails: after exponentially distributed times of service."""
    found: list[float] = []
    at_s = float(world.mishaps.exponential(mtbf_s))
    while at_s < end_s:
        found.append(at_s)
        if repair_s is None:
            break
        at_s += repair_s + float(world.mishaps.exponential(mtbf_s))
    return found


def _plan_death(world: World, host: str, at_s: float) -> None:
    world.clock.at(at_s, lambda: world.fail_host(host))


def _plan_repair(world: World, host: str, at_s: float) -> None:
    world.clock.at(at_s, lambda: world.repair_host(host))


def _plan_rate(world: World, at_s: float, link: int, rate: float) -> None:
    world.clock.at(at_s, lambda: world.network.set_capacity(link, rate))
