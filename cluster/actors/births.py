"""How a host's process comes into being: at the cluster's start, and again after its death."""

from typing import Any

import ray

from cluster.actors.host import Host
from cluster.actors.named import host_name
from cluster.actors.nodes import on_node
from cluster.actors.replies import Handle
from cluster.inventory.model import HostSpec, Scenario
from cluster.memory.tracker import TrackerKind

_CALLS_AT_ONCE_MAX = 1000
# For hosts and all that decides or asks: no automatic restarts, nothing is done twice.
ACTOR: dict[str, Any] = {
    "num_cpus": 0,
    "max_restarts": 0,
    "max_task_retries": 0,
    "max_concurrency": _CALLS_AT_ONCE_MAX,
}


def create_host(
    spec: HostSpec,
    scenario: Scenario,
    *,
    node: str,
    options: dict[str, Any],
    tracker: TrackerKind | None = None,
) -> Handle:
    """Begin a host's process on a Ray node; `options` are of its actor."""
    made = ray.remote(**ACTOR)(Host).options(scheduling_strategy=on_node(node), **options)
    return made.remote(
        spec,
        hosts=len(scenario.hosts),
        sample_s=scenario.sample_s,
        standby_processes=scenario.migration.standby_processes,
        isolation_s_max=scenario.ha.isolation_s_max if scenario.ha.enabled else None,
        tracker=tracker,
    )


def create_host_again(spec: HostSpec, scenario: Scenario, *, node: str) -> Handle:
    """Begin a lost host's process anew; one of its name that lives after all is taken as it is.

    Detached: it is made by VirtualCenter, and does not die with it.
    """
    again = {"name": host_name(spec.name), "lifetime": "detached", "get_if_exists": True}
    return create_host(spec, scenario, node=node, options=again)
