"""How many migrations at once: vSphere's limits on a host and its network card.

Source: "vCenter Server Limits on Simultaneous Migrations", vSphere 6.x: 8 on a host; on its
card 4 at 1 GbE and 8 at 10 GbE.
"""

from collections.abc import Iterable

from cluster.inventory.model import HostSpec, MigrationSettings
from cluster.migration.spec import MigrationSpec

HOST_COST_MAX = 8
_SLOW_CARD_MAX = 4
_FAST_BYTES_PER_SECOND = 1.25e9


def concurrent_max(host: HostSpec, settings: MigrationSettings) -> int:
    """Return how many migrations may leave or enter the host at once."""
    if settings.per_host_max is not None:
        return settings.per_host_max
    rate = host.nic.rate_bytes_per_second
    slow = rate is not None and rate < _FAST_BYTES_PER_SECOND
    return _SLOW_CARD_MAX if slow else HOST_COST_MAX


def has_slot(spec: MigrationSpec, running: Iterable[MigrationSpec], limits: dict[str, int]) -> bool:
    """Whether both ends may take one more migration. `limits` is by host name."""
    under_way = list(running)
    for host in (spec.source, spec.destination):
        count = sum(host in (other.source, other.destination) for other in under_way)
        if count >= limits[host]:
            return False
    return True
