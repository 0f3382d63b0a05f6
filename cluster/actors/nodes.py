"""The nodes of a Ray cluster: what they are, and how an actor is bound to one."""

from typing import Any

import ray

from cluster.policy.nodes import NodeFacts


def ray_nodes() -> tuple[NodeFacts, ...]:
    """Return the nodes that are alive, in the order of their addresses."""
    found = [
        NodeFacts(
            id=str(node["NodeID"]),
            address=str(node["NodeManagerAddress"]),
            memory_bytes=int(node["Resources"].get("memory", 0)),
            labels=tuple(sorted(node.get("Labels", {}).items())),
        )
        for node in ray.nodes()
        if node["Alive"]
    ]
    return tuple(sorted(found, key=lambda node: (len(node.address), node.address)))


def on_node(node: str) -> Any:
    """Bind an actor to a node, hard: a soft binding is not honoured for one without resources."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(node, soft=False)
