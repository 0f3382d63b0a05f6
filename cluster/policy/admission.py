"""How many migrations at once: vSphere's limits on a host, its network card and a datastore.

Source: "vCenter Server Limits on Simultaneous Migrations", vSphere 6.x. A migration with
VMotion costs 1 of each: 8 on a host; on its card 4 at 1 GbE and 8 at 10 GbE; 128 on a
datastore.
"""

from collections import Counter
from collections.abc import Mapping

from cluster.inventory.model import HostSpec, MigrationSettings
from cluster.migration.spec import MigrationSpec

HOST_COST_MAX = 8
DATASTORE_COST_MAX = 128
_SLOW_CARD_MAX = 4
_FAST_BYTES_PER_SECOND = 1.25e9


def concurrent_max(host: HostSpec, settings: MigrationSettings) -> int:
    """Return how many migrations may leave or enter the host at once."""
    if settings.per_host_max is not None:
        return settings.per_host_max
    rate = host.nic.rate_bytes_per_second
    slow = rate is not None and rate < _FAST_BYTES_PER_SECOND
    return _SLOW_CARD_MAX if slow else HOST_COST_MAX


class Slots:
    """Counts what the migrations under way take of each limit."""

    def __init__(self, hosts: Mapping[str, HostSpec], settings: MigrationSettings) -> None:
        self._specs = hosts
        self._settings = settings
        self._hosts: Counter[str] = Counter()
        self._datastores: Counter[str] = Counter()

    def take(self, spec: MigrationSpec, datastore: str) -> None:
        """Count one more migration under way."""
        self._hosts.update((spec.source, spec.destination))
        self._datastores[datastore] += 1

    def full(self, spec: MigrationSpec, datastore: str) -> str:
        """Return the host or datastore without a slot for one more, or "" if all have one."""
        for host in (spec.source, spec.destination):
            if self._hosts[host] >= concurrent_max(self._specs[host], self._settings):
                return host
        return datastore if self._datastores[datastore] >= DATASTORE_COST_MAX else ""
