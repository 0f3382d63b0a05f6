"""Seeded clusters to measure and to try DRS on: hosts alike, memory 65 % full, a skewed start."""

from __future__ import annotations

import numpy as np

from drs.model import Snapshot
from drs.rules import AntiAffinity

MEMORY_GIB = np.array([4.0, 8.0, 16.0, 32.0, 64.0])
MEMORY_CHANCE = np.array([0.25, 0.25, 0.25, 0.15, 0.10])
GRANULE_GIB = 64.0


def skewed_cluster(
    hosts: int, vms: int, *, seed: int, memory_full: float = 0.65, cpu_full: float = 0.40
) -> Snapshot:
    """A cluster with a memory imbalance of about 0.29; 7.5 % of the VMs are in anti-affinity triples.

    VMs are placed one after another on hosts drawn with chances that fall from the first host to
    the last, where there is room and no rule is broken; CPU follows memory with a factor 0.5 … 1.5.
    """
    rng = np.random.default_rng(seed)
    memory = rng.choice(MEMORY_GIB, size=vms, p=MEMORY_CHANCE)
    capacity_gib = (
        max(np.round(memory.sum() / memory_full / hosts / GRANULE_GIB), 2.0) * GRANULE_GIB
    )
    cpu = memory * rng.uniform(0.5, 1.5, vms)
    capacity_mhz = cpu.sum() / cpu_full / hosts
    triples = rng.permutation(vms)[: int(vms * 0.075) // 3 * 3].reshape(-1, 3)
    group = np.full(vms, -1)
    group[triples.ravel()] = np.repeat(np.arange(len(triples)), 3)
    chance = np.linspace(1.0, 0.05, hosts)
    rng.shuffle(chance)
    placement = np.full(vms, -1)
    free = np.full((hosts, 2), (capacity_mhz, capacity_gib))
    taken: set[tuple[int, int]] = set()
    # Large ones first, so that what is left over always finds a gap.
    for vm in np.argsort(-memory, kind="stable").tolist():
        order = np.argsort(-np.log(rng.random(hosts)) / chance, kind="stable")
        for host in order.tolist():
            if (
                free[host, 0] >= cpu[vm]
                and free[host, 1] >= memory[vm]
                and (group[vm], host) not in taken
            ):
                placement[vm] = host
                free[host] -= (cpu[vm], memory[vm])
                if group[vm] >= 0:
                    taken.add((int(group[vm]), host))
                break
    names = [f"vm-{i}" for i in range(vms)]
    return Snapshot.build(
        hosts=[f"host-{i}" for i in range(hosts)],
        vms=names,
        capacity=[capacity_mhz, capacity_gib * 1024.0],
        demand=np.column_stack((cpu, memory * 1024.0)),
        placement=placement.tolist(),
        rules=[
            AntiAffinity(name=f"apart-{i}", vms=tuple(names[vm] for vm in triple.tolist()))
            for i, triple in enumerate(triples)
        ],
    )
