"""Hosts that serve metrics of their own are asked once for each of their processes."""

from cluster.actors.own_metrics import OwnEndpoints
from cluster.actors.reports import HostFacts
from cluster.actors.views import HostView
from cluster.memory.tracker import TrackerKind
from cluster.policy.state import HostState


def seen(name, pid, state=HostState.CONNECTED, node="n"):
    """A host in a view; without a process it has not told its facts yet."""
    facts = HostFacts(
        host=name,
        pid=pid or 0,
        node=node,
        tracker=TrackerKind.SHADOW,
        tracker_why="",
        faults_why="",
    )
    return HostView(
        name=name,
        state=state,
        cpu_mhz=1.0,
        memory_mib=1,
        demand_mhz=0.0,
        granted_mhz=0.0,
        used_mib=0,
        vms=0,
        tx_bytes=0,
        rx_bytes=0,
        standby_processes=0,
        facts=facts if pid else None,
    )


class Hosts:
    """Answers as hosts do: each process has a port of its own, and a dead one has none."""

    def __init__(self):
        self.asked = []
        self.ports = {"a": 1, "b": 2}

    def serve(self, names):
        self.asked.append(set(names))
        return {name: f"h:{self.ports[name]}" for name in names if name in self.ports}


def test_a_host_that_begins_anew_is_asked_again_and_only_that_one():
    hosts = Hosts()
    endpoints = OwnEndpoints(hosts.serve)
    assert {"a": "h:1", "b": "h:2"} == endpoints.look([seen("a", 10), seen("b", 20)])
    assert endpoints.look([seen("a", 10), seen("b", 20)]) is None
    hosts.ports["b"] = 3

    assert endpoints.look([seen("a", 10), seen("b", 20, HostState.NOT_RESPONDING)]) is None
    assert endpoints.look([seen("a", 10), seen("b", 20, HostState.STARTING)]) is None
    assert {"a": "h:1", "b": "h:3"} == endpoints.look([seen("a", 10), seen("b", 21)])
    assert [{"a", "b"}, {"b"}] == hosts.asked


def test_the_same_number_on_another_node_is_another_process():
    hosts = Hosts()
    endpoints = OwnEndpoints(hosts.serve)
    endpoints.look([seen("a", 10)])
    assert endpoints.look([seen("a", 10, node="m")]) is not None


def test_a_host_that_is_not_there_yet_or_not_any_more_is_not_asked():
    hosts = Hosts()
    endpoints = OwnEndpoints(hosts.serve)
    lost = seen("b", 20, HostState.NOT_RESPONDING)
    assert endpoints.look([seen("a", None, HostState.STARTING), lost]) is None
    assert [] == hosts.asked


def test_one_that_dies_while_it_is_asked_keeps_its_last_endpoint():
    hosts = Hosts()
    endpoints = OwnEndpoints(hosts.serve)
    endpoints.look([seen("a", 10), seen("b", 20)])
    del hosts.ports["b"]
    assert {"a": "h:1", "b": "h:2"} == endpoints.look([seen("a", 10), seen("b", 21)])
