"""What happens to the hosts of a simulated cluster, each at most once: a death, a slow line, a cut one."""

from cluster.simulation.faults import Faults
from cluster.simulation.world import World, line_rate


def plan_mishaps(world: World, faults: Faults) -> None:
    """Draw them, and place them on the clock within the scenario's duration."""
    duration_s = world.scenario.duration_s
    for at, host in enumerate(world.scenario.hosts):
        if world.channel.happens(faults.host_crash):
            _plan_death(world, host.name, world.mishaps.uniform(0, duration_s))
        for chance, share in ((faults.link_cut, 0.0), (faults.link_slow, 0.1)):
            if world.channel.happens(chance):
                slow_s = world.mishaps.uniform(0, duration_s)
                healed_s = slow_s + world.mishaps.uniform(0, faults.link_cut_s_max)
                rate = line_rate(host, world.calibration)
                _plan_rate(world, slow_s, at, rate * share)
                _plan_rate(world, healed_s, at, rate)


def _plan_death(world: World, host: str, at_s: float) -> None:
    world.clock.at(at_s, lambda: world.fail_host(host))


def _plan_rate(world: World, at_s: float, link: int, rate: float) -> None:
    world.clock.at(at_s, lambda: world.network.set_capacity(link, rate))
