"""Take all hosts of a cluster through maintenance mode, one after another: nobody notices.

4 hosts, 16 VMs with clients on every one. Each host is emptied by DRS's plan, is in maintenance
mode, and takes VMs again.

    python benchmarks/rolling_maintenance.py
    python benchmarks/rolling_maintenance.py --quick --json
"""

import time

from claims import Claim, arguments, finish
from crowd import books_claims, crowd, running

from cluster.policy.messages import MaintenanceEnded, MaintenanceRequested
from cluster.policy.tasks import TaskState


def main() -> int:
    parser = arguments(__doc__ or "")
    parser.add_argument("--memory-mib", type=int, default=None)
    options = parser.parse_args()
    memory_mib = options.memory_mib or (16 if options.quick else 64)
    scenario = crowd("rolling-maintenance", hosts=4, vms=16, memory_mib=memory_mib, rate_hz=20.0)
    visited: list[str] = []
    failed: list[str] = []
    left_on: list[str] = []
    with running(scenario) as cluster:
        began = time.monotonic()
        for host in scenario.hosts:
            task = cluster.follow(cluster.ask(MaintenanceRequested(host=host.name, wait=False)))
            if task.state is TaskState.FAILED:
                failed.append(task.text)
                break
            left_on += [vm for vm, hosts in cluster.places().items() if host.name in hosts]
            visited.append(host.name)
            cluster.follow(cluster.ask(MaintenanceEnded(host=host.name)))
        took_s = time.monotonic() - began
        cluster.quiet()
        moved = len(cluster.ended)
        books, audits = cluster.settle()
    where = f"4 hosts, 16 VMs of {memory_mib} MiB, one client each at 20 requests a second, 1 GbE"
    slowest = max(book.latency_s_max for book in books)
    return finish(
        [
            Claim(
                claim="hosts visited",
                value=len(visited),
                unit="hosts",
                bar="4",
                holds=len(visited) == len(scenario.hosts) and not left_on,
                n=len(scenario.hosts),
                conditions="; ".join([where, *failed, *left_on]),
            ),
            *books_claims(cluster, books, audits, where=where),
            Claim(claim="time for all hosts", value=took_s, unit="s", conditions=where),
            Claim(claim="migrations", value=moved, unit="migrations", conditions=where),
            Claim(
                claim="slowest answer to a client",
                value=slowest * 1e3,
                unit="ms",
                n=sum(audit.settlement.sent for audit in audits),
                conditions=where,
            ),
        ],
        as_json=options.json,
    )


if __name__ == "__main__":
    raise SystemExit(main())
