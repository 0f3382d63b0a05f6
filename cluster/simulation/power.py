"""What a simulated cluster's hosts draw, and what consolidation costs its VMs.

The metrics are those of Beloglazov and Buyya 2012, as CloudSim 3.0.3 computes them:
SLATAH is the time that hosts run at 100 % of their CPU over the time they are on, the mean over hosts;
PDM is what migrations take from VMs, 10 % of their demand for as long as they last, over all
that they demand, the mean over VMs.
"""

from collections.abc import Sequence

import numpy as np

from cluster.inventory.model import HostSpec
from cluster.observe.record import PowerUse
from cluster.simulation.evenness import BoolArray
from cluster.simulation.fleet import FloatArray

_KWH_J = 3.6e6
_DEGRADATION_RATIO = 0.1


class PowerMeter:
    """Adds up energy between changes: a host's power is linear between SPECpower's eleven points.

    A host that is off takes nothing, and one that is on takes at least its idle power.
    """

    def __init__(self, hosts: Sequence[HostSpec], vms: int) -> None:
        self.known = bool(hosts) and all(host.power_w for host in hosts)
        table = [host.power_w for host in hosts] if self.known else np.zeros((len(hosts), 11))
        self._power_w = np.array(table, np.float64)
        self._capacity: FloatArray = np.array([host.cpu_mhz for host in hosts])
        self._rows = np.arange(len(hosts))
        self._energy_j = 0.0
        self._on_s: FloatArray = np.zeros(len(hosts))
        self._full_s: FloatArray = np.zeros(len(hosts))
        self._degraded_mhz_s: FloatArray = np.zeros(vms)
        self._demanded_mhz_s: FloatArray = np.zeros(vms)

    def add(self, elapsed_s: float, wanted_mhz: FloatArray, on: BoolArray) -> None:
        """Count `elapsed_s` in which hosts were asked for so much, (H,), and were on."""
        load = wanted_mhz / self._capacity
        self._on_s += np.where(on, elapsed_s, 0.0)
        self._full_s += np.where(on & (load >= 1.0 - 1e-9), elapsed_s, 0.0)
        tenths = np.minimum(load, 1.0) * 10.0
        low = np.minimum(tenths.astype(np.int64), 9)
        below, above = self._power_w[self._rows, low], self._power_w[self._rows, low + 1]
        watts = below + (above - below) * (tenths - low)
        self._energy_j += float(watts[on].sum()) * elapsed_s

    def demanded(self, mhz_s: FloatArray) -> None:
        """Count what VMs asked for, (V,)."""
        self._demanded_mhz_s += mhz_s

    def migrated(self, vm: int, demand_mhz: float, duration_s: float) -> None:
        """Count a migration of a VM."""
        self._degraded_mhz_s[vm] += _DEGRADATION_RATIO * demand_mhz * duration_s

    def use(self, duration_s: float) -> PowerUse | None:
        """Return the sums of a run; None if a host's power is not known."""
        if not self.known:
            return None
        on, asked = self._on_s > 0, self._demanded_mhz_s > 0
        full = self._full_s[on] / self._on_s[on]
        degraded = self._degraded_mhz_s[asked] / self._demanded_mhz_s[asked]
        return PowerUse(
            energy_kwh=self._energy_j / _KWH_J,
            hosts_on_mean=float(self._on_s.sum()) / duration_s if duration_s > 0 else 0.0,
            slatah_ratio=float(full.mean()) if full.size else 0.0,
            pdm_ratio=float(degraded.mean()) if degraded.size else 0.0,
        )
