"""Schedules of random plans with cycles and full hosts: makespan against its lower bound.

Each plan is a random permutation of VMs between hosts that are nearly full, so that many moves wait
for one another and some in a circle. Every schedule is checked at every instant.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np
from claims import Claim, finish

from drs import Plan, PlanStatus, Policy, Snapshot
from drs.instance import compile_instance
from drs.schedule import schedule


def seeded(seed: int) -> tuple[Snapshot, np.ndarray]:
    """A cluster with hosts 65 to 95 % full, and a placement in which a third of the VMs trade places."""
    rng = np.random.default_rng(seed)
    hosts = int(rng.integers(6, 20))
    vms = hosts * int(rng.integers(6, 14))
    memory = rng.choice([2048.0, 4096.0, 8192.0, 16384.0], vms)
    at = np.argsort(rng.random(vms)) % hosts
    after = at.copy()
    chosen = rng.permutation(vms)[: vms // 3]
    after[chosen] = at[np.roll(chosen, 1)]
    held = np.maximum(
        np.bincount(at, weights=memory, minlength=hosts),
        np.bincount(after, weights=memory, minlength=hosts),
    )
    demand = np.column_stack((np.ones(vms), memory))
    capacity = np.column_stack(
        (np.full(hosts, float(vms)), np.ceil(held / rng.uniform(0.65, 0.95, hosts)))
    )
    names = ([f"h{i}" for i in range(hosts)], [f"v{i}" for i in range(vms)])
    return Snapshot.build(*names, capacity, demand, at.tolist()), after


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="40 plans instead of 200")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    count = 40 if args.quick else 200
    policy = Policy()
    ratios, illegal, blocked, stops = [], 0, 0, 0
    for seed in range(count):
        snapshot, after = seeded(seed)
        made = schedule(snapshot, policy, compile_instance(snapshot, policy, now=0.0), after)
        plan = Plan(status=PlanStatus.OK, actions=made.actions)
        illegal += len(plan.check(snapshot, concurrent_per_host_max=policy.concurrent_per_host_max))
        blocked += len(made.blocked)
        stops += len(made.actions) - len({a.move.vm for a in made.actions})
        if made.makespan_s_min > 0.0:
            ratios.append(made.makespan_s() / made.makespan_s_min)
    mean = float(np.mean(ratios))
    claims = [
        Claim(claim="makespan / lower bound, mean", value=mean, unit="ratio", bar=1.15, holds=mean <= 1.15, n=len(ratios)),
        Claim(claim="makespan / lower bound, worst", value=max(ratios), unit="ratio", bar=None, holds=True, n=len(ratios)),
        Claim(claim="violations at any instant", value=illegal, unit="", bar=0, holds=illegal == 0, n=count),
        Claim(claim="moves that found no order", value=blocked, unit="", bar=0, holds=blocked == 0, n=count),
        Claim(claim="stops on a third host", value=stops, unit="", bar=None, holds=True, n=count),
    ]  # fmt: skip
    return finish(claims, as_json=args.json)


if __name__ == "__main__":
    sys.exit(main())
