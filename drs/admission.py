"""HA admission control: would the cluster still hold its reservations after hosts have failed?

Source: vSphere Availability, "Admission control": slots, percentage, dedicated failover hosts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from drs.model import FloatArray, IntArray

CPU_SLOT_MHZ_MIN = 32.0  # what a VM without a reservation counts for


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Slots:
    """slot (R,): the largest reservation of each resource; by_host (H,); needed: one a VM.

    `failures_tolerated`: how many hosts, the largest first, may fail with a slot left for each VM.
    """

    slot: FloatArray
    by_host: IntArray
    needed: int
    failures_tolerated: int


def slots(capacity: ArrayLike, reservation: ArrayLike, *, slot_min: ArrayLike) -> Slots:
    """Slots of a cluster; capacity (H,R), reservation with overhead (V,R), slot_min (R,).

    A resource whose slot is 0 limits nothing. Pessimistic by design: one large reservation makes
    every slot large.
    """
    rooms, held = np.asarray(capacity, np.float64), np.asarray(reservation, np.float64)
    least = np.asarray(slot_min, np.float64)
    slot = np.maximum(held.max(axis=0, initial=0.0), least)
    counted = slot > 0.0
    if counted.any():
        by_host = (
            np.floor(rooms[:, counted] / slot[counted] * (1.0 + 1e-12)).min(axis=1).astype(np.int64)
        )
    else:
        by_host = np.full(rooms.shape[0], held.shape[0], np.int64)
    left = np.cumsum(np.sort(by_host))[
        ::-1
    ]  # slots left after the 0, 1, 2 … largest hosts have failed
    tolerated = int((left >= held.shape[0]).sum()) - 1
    return Slots(slot=slot, by_host=by_host, needed=held.shape[0], failures_tolerated=tolerated)


def unreserved_ratio(capacity: ArrayLike, reservation: ArrayLike) -> FloatArray:
    """(R,) the part of each resource that is not reserved; negative when too much is."""
    total = np.asarray(capacity, np.float64).sum(axis=0)
    held = np.asarray(reservation, np.float64).sum(axis=0)
    ratio: FloatArray = 1.0 - held / np.maximum(total, 1e-300)
    return ratio


def percentage_admits(
    capacity: ArrayLike, reservation: ArrayLike, *, failover_ratio_min: float
) -> bool:
    """Whether every resource keeps at least this part unreserved (1/hosts tolerates one of equal ones)."""
    return bool((unreserved_ratio(capacity, reservation) >= failover_ratio_min - 1e-12).all())


def dedicated_hosts_suffice(
    reservation_by_host: ArrayLike, capacity: ArrayLike, failover_hosts: ArrayLike
) -> bool:
    """Whether any one failed host's reservations (H,R) fit on the idle failover hosts' capacity together.

    Compares sums: the last VM may still not fit between the hosts, so this is necessary, not enough.
    """
    spare = np.zeros(np.asarray(capacity).shape[0], np.bool_)
    spare[np.asarray(failover_hosts, np.int64)] = True
    room = np.asarray(capacity, np.float64)[spare].sum(axis=0)
    held = np.asarray(reservation_by_host, np.float64)[~spare]
    return bool((held <= room * (1.0 + 1e-12)).all())
