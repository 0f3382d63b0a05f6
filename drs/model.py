"""What DRS is told: one cluster at one moment, as NumPy arrays, and what is wrong with it as data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from drs.resource_pool import ResourcePool
from drs.rules import Rule

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

NOT_PLACED = -1
UNKNOWN_HOST = -2  # the builder's mark for a placement on a host that the snapshot does not have


class HostState(Enum):
    """Only a CONNECTED host takes VMs and counts in the imbalance."""

    CONNECTED = "connected"
    ENTERING_MAINTENANCE = "entering_maintenance"
    MAINTENANCE = "maintenance"
    STANDBY = "standby"
    NOT_RESPONDING = "not_responding"


class Automation(Enum):
    """Who carries a recommendation out. DISABLED: this VM is never recommended to move."""

    DISABLED = "disabled"
    MANUAL = "manual"
    PARTIALLY_AUTOMATED = "partially_automated"
    FULLY_AUTOMATED = "fully_automated"


class ProblemKind(Enum):
    """Why a snapshot, or a part of it, cannot be used."""

    SHAPE = "shape"
    NOT_A_NUMBER = "not_a_number"
    NEGATIVE = "negative"
    NO_CAPACITY = "no_capacity"
    DUPLICATE_NAME = "duplicate_name"
    UNKNOWN_HOST = "unknown_host"
    UNKNOWN_VM = "unknown_vm"
    UNKNOWN_POOL = "unknown_pool"
    RESERVATION_ABOVE_LIMIT = "reservation_above_limit"
    RULE_EMPTY = "rule_empty"
    RULE_CONFLICT = "rule_conflict"
    NO_HOST = "no_host"
    NOTHING_FITS = "nothing_fits"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing a user has to know. With `fatal` no plan is made; otherwise the part is left out."""

    kind: ProblemKind
    subject: str
    message: str
    fatal: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Snapshot:
    """A cluster at one moment. H hosts, V VMs, R resources; all amounts in the resource's own unit.

    capacity (H,R); demand, reservation, limit (inf: none), shares (V,R) float64; placement (V,)
    int64 host index or -1; allowed (V,H) bool: where a preflight would let the VM run; memory_bytes,
    dirty_rate_bytes_per_second, moved_at_s (V,) float64, the last with -inf for "never"; automation:
    None means as the policy says; in_flight: (VM index, destination index) of running migrations.
    Rules are ordered by age, the oldest first. pools: the resource pools' tree; pool: each VM's pool,
    None or an empty tuple for the cluster itself. taken_at_s: on the clock of moved_at_s. A VM cannot do with less than it demands of an
    `incompressible` resource; of the others it is slower. Arrays are not to be written to.
    """

    hosts: tuple[str, ...]
    vms: tuple[str, ...]
    resources: tuple[str, ...]
    capacity: FloatArray
    demand: FloatArray
    reservation: FloatArray
    limit: FloatArray
    shares: FloatArray
    placement: IntArray
    allowed: BoolArray
    host_states: tuple[HostState, ...]
    memory_bytes: FloatArray
    dirty_rate_bytes_per_second: FloatArray
    moved_at_s: FloatArray
    automation: tuple[Automation | None, ...]
    in_flight: tuple[tuple[int, int], ...] = ()
    rules: tuple[Rule, ...] = ()
    incompressible: tuple[str, ...] = ("memory_mib",)
    pools: tuple[ResourcePool, ...] = ()
    pool: tuple[str | None, ...] = ()
    taken_at_s: float = 0.0

    @classmethod
    def load(cls, path: Path) -> Snapshot:
        """The snapshot that `save` wrote; ValueError says what is missing or malformed."""
        from drs.files import load  # it imports this module

        return load(path)

    def save(self, path: Path) -> None:
        """Writes a dump that reproduces the decision anywhere; `.json` or `.parquet` says how."""
        from drs.files import save  # it imports this module

        save(self, path)

    @classmethod
    def build(
        cls,
        hosts: Iterable[str],
        vms: Iterable[str],
        capacity: ArrayLike,
        demand: ArrayLike,
        placement: Sequence[str | int | None],
        *,
        resources: Iterable[str] = ("cpu_mhz", "memory_mib"),
        reservation: ArrayLike | None = None,
        limit: ArrayLike | None = None,
        shares: ArrayLike | None = None,
        allowed: ArrayLike | None = None,
        host_states: Iterable[HostState] | None = None,
        memory_bytes: ArrayLike | None = None,
        dirty_rate_bytes_per_second: ArrayLike | None = None,
        moved_at_s: ArrayLike | None = None,
        automation: Iterable[Automation | None] | None = None,
        in_flight: Iterable[tuple[str | int, str | int]] = (),
        rules: Iterable[Rule] = (),
        incompressible: Iterable[str] = ("memory_mib",),
        pools: Iterable[ResourcePool] = (),
        pool: Iterable[str | None] = (),
        taken_at_s: float = 0.0,
    ) -> Snapshot:
        """Fills in what is not said: no reservation, no limit, equal shares, allowed everywhere.

        Hosts and VMs in `placement` and `in_flight` may be names or indices; None is not placed.
        Memory to migrate is the demand of a resource named `memory_mib` when it is not given.
        Never complains: `problems` says what is wrong.
        """
        host_names, vm_names, kinds = tuple(hosts), tuple(vms), tuple(resources)
        host_at = {name: i for i, name in enumerate(host_names)}
        vm_at = {name: i for i, name in enumerate(vm_names)}
        v, h, r = len(vm_names), len(host_names), len(kinds)
        wanted = _table(demand, v, r)
        if memory_bytes is None:
            sized = "memory_mib" in kinds and wanted.shape == (v, r)
            memory_bytes = wanted[:, kinds.index("memory_mib")] * 2.0**20 if sized else np.zeros(v)
        return cls(
            hosts=host_names,
            vms=vm_names,
            resources=kinds,
            capacity=_table(capacity, h, r),
            demand=wanted,
            reservation=np.zeros((v, r)) if reservation is None else _table(reservation, v, r),
            limit=np.full((v, r), np.inf) if limit is None else _table(limit, v, r),
            shares=np.full((v, r), 1000.0) if shares is None else _table(shares, v, r),
            placement=np.array([_index(p, host_at) for p in placement], np.int64),
            allowed=np.ones((v, h), np.bool_) if allowed is None else np.asarray(allowed, np.bool_),
            host_states=tuple(host_states)
            if host_states is not None
            else (HostState.CONNECTED,) * h,
            memory_bytes=np.asarray(memory_bytes, np.float64),
            dirty_rate_bytes_per_second=_column(dirty_rate_bytes_per_second, v, 0.0),
            moved_at_s=_column(moved_at_s, v, -np.inf),
            automation=tuple(automation) if automation is not None else (None,) * v,
            in_flight=tuple((_index(vm, vm_at), _index(to, host_at)) for vm, to in in_flight),
            rules=tuple(rules),
            incompressible=tuple(incompressible),
            pools=tuple(pools),
            pool=tuple(pool),
            taken_at_s=taken_at_s,
        )

    def problems(self) -> tuple[Problem, ...]:
        """Everything wrong with this snapshot, all at once; empty means it can be used as it is."""
        from drs.problems import snapshot_problems  # it imports this module

        return snapshot_problems(self)

    def connected(self) -> BoolArray:
        """(H,) hosts that take VMs and count in the imbalance."""
        return np.array([state is HostState.CONNECTED for state in self.host_states], np.bool_)

    def landed(self) -> IntArray:
        """(V,) where every VM is once the migrations in flight have ended."""
        at = self.placement.copy()
        for vm, destination in self.in_flight:
            at[vm] = destination
        return at

    def occupancy(self) -> dict[str, tuple[str, ...]]:
        """The hosts that hold each VM, as rules judge them; two for a VM in flight."""
        held: dict[str, tuple[str, ...]] = {
            vm: (self.hosts[at],) if at >= 0 else ()
            for vm, at in zip(self.vms, self.placement.tolist(), strict=True)
        }
        for vm, destination in self.in_flight:
            name = self.vms[vm]
            held[name] = tuple(dict.fromkeys((*held[name], self.hosts[destination])))
        return held


def _index(name: str | int | None, at: dict[str, int]) -> int:
    if name is None:
        return NOT_PLACED
    return at.get(name, UNKNOWN_HOST) if isinstance(name, str) else int(name)


def _table(values: ArrayLike, rows: int, columns: int) -> FloatArray:
    """A row for all becomes a row each; any other shape stays as it is, for `problems` to name."""
    array = np.asarray(values, np.float64)
    if array.size == 0 and rows == 0:
        return np.zeros((0, columns))
    return np.tile(array, (rows, 1)) if array.shape == (columns,) else array


def _column(values: ArrayLike | None, rows: int, default: float) -> FloatArray:
    return np.full(rows, default) if values is None else np.asarray(values, np.float64)
