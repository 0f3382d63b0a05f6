"""A host's own metrics, where they are, and that Prometheus counts none of them twice."""

import json
import urllib.request

from observe.prometheus_process import answer, needs_prometheus, scraping, until

from cluster.actors.own_metrics import OwnMetrics
from cluster.actors.reports import HostSample, VmSample
from cluster.inventory.model import HostSpec, Nic
from cluster.observe.exporter import Exporter, GuestWork
from cluster.observe.host_exporter import HostExporter, HostFigures
from cluster.observe.metrics import HOSTS_OWN
from cluster.observe.record import TimelineRow
from cluster.observe.serving import MetricsServer, host_targets
from cluster.policy.facts import HostLoad

SPEC = HostSpec(name="esx-1", cpu_mhz=4000.0, memory_mib=512, nic=Nic())


def vm(name="vm-1", **changes):
    known = {
        "vm": name,
        "epoch": 1,
        "demand_mhz": 1000.0,
        "granted_mhz": 750.0,
        "memory_mib": 128,
        "guest_s": 1.0,
        "steps": 100,
        "requests": 40,
        "overruns": 2,
        "step_s_max": 0.001,
        "behind_s": 0.25,
    }
    return VmSample(**known | changes)


def sample(*vms, tx_bytes=0):
    load = HostLoad(host="esx-1", vms=())
    return HostSample(time_s=1.0, load=load, vms=vms, tx_bytes=tx_bytes, rx_bytes=0)


def figures(**changes):
    known = {
        "cpu_load": 0.5,
        "memory_load": 0.25,
        "happiness": 1.0,
        "vms": 1,
        "tx_bytes": 100,
        "rx_bytes": 0,
        "work": GuestWork(behind_s=0.0, overruns=0, requests=0),
        "vm_happiness": {"vm-1": 1.0},
    }
    return HostFigures(**known | changes)


def scraped(url):
    with urllib.request.urlopen(url, timeout=10) as reply:
        return reply.read().decode()


def test_a_host_serves_what_is_its_own_and_virtualcenter_leaves_that_out():
    host = HostExporter("esx-1", memory_bytes=1 << 29)
    host.sampled(figures())
    text, center = host.text(), Exporter(hosts_own=False).text()
    for metric in HOSTS_OWN:
        assert f"\n{metric.name}{{" in text
        assert metric.name not in center


def test_bytes_are_counted_from_the_hosts_own_counter_and_vms_that_left_are_gone():
    host = HostExporter("esx-1", memory_bytes=1 << 29)
    host.sampled(figures(tx_bytes=100))
    host.sampled(figures(tx_bytes=250, vm_happiness={"vm-2": 0.5}))
    assert 'vmotion_host_transmit_bytes_total{host="esx-1"} 250.0' in host.text()
    assert 'vm="vm-1"' not in host.text()
    assert 'drs_vm_happiness_ratio{vm="vm-2"} 0.5' in host.text()


def test_without_per_vm_metrics_no_series_names_a_vm():
    host = HostExporter("esx-1", memory_bytes=1 << 29, per_vm=False)
    host.sampled(figures())
    assert "vm=" not in host.text()


def test_a_samples_figures_are_served_over_http():
    own = OwnMetrics(SPEC, address="127.0.0.1", per_vm=True)
    try:
        own.sampled(sample(vm(), vm("vm-2", demand_mhz=0.0, granted_mhz=0.0), tx_bytes=5))
        # The counters of a VM that has moved on begin anew with its next owner.
        own.sampled(sample(vm(requests=50, behind_s=0.5), tx_bytes=7))
        text = scraped(f"http://{own.target}/metrics")
    finally:
        own.close()
    for line in (
        'vmotion_host_cpu_load_ratio{host="esx-1"} 0.25',
        'vmotion_host_memory_load_ratio{host="esx-1"} 0.25',
        'vmotion_host_transmit_bytes_total{host="esx-1"} 7.0',
        'vmotion_host_guest_requests_total{host="esx-1"} 90.0',
        'vmotion_host_guest_behind_seconds_total{host="esx-1"} 0.75',
        'drs_host_happiness_ratio{host="esx-1"} 0.75',
        'drs_vm_happiness_ratio{vm="vm-1"} 0.75',
    ):
        assert f"\n{line}\n" in text


def test_discovery_lists_the_hosts_endpoints():
    with MetricsServer(Exporter().metrics, port=0) as server:
        assert [] == json.loads(scraped(server.discovery_url))
        server.discovered(host_targets({"esx-1": "10.0.0.1:4711"}))
        assert [
            {"targets": ["10.0.0.1:4711"], "labels": {"__meta_vmotion_host": "esx-1"}}
        ] == json.loads(scraped(server.discovery_url))


@needs_prometheus
def test_prometheus_finds_the_hosts_and_counts_nothing_twice(tmp_path):
    center = Exporter(hosts_own=False)
    row = TimelineRow(
        time_s=1.0,
        host="esx-1",
        cpu_load=0.25,
        memory_load=0.25,
        vms=1,
        tx_bytes_per_second=9.0,
        rx_bytes_per_second=0.0,
        state="connected",
        imbalance=0.1,
    )
    center.sampled(
        [row],
        interval_s=1.0,
        resource_imbalance={},
        unmet_demand_ratio=0.0,
        rule_violations=0,
        vm_happiness={"vm-1": 0.75},
    )
    own = OwnMetrics(SPEC, address="127.0.0.1", per_vm=True)
    own.sampled(sample(vm(), tx_bytes=7))
    try:
        with MetricsServer(center.metrics, port=0) as server:
            server.discovered(host_targets({"esx-1": own.target}))
            with scraping(tmp_path, f"127.0.0.1:{server.port}") as url:
                until(lambda: answer(url, "vmotion_host_vms and on(host) vmotion_host_state"))
                sent = answer(
                    url, "sum by (host, cluster, run) (vmotion_host_transmit_bytes_total)"
                )
                happy = answer(url, "count(drs_vm_happiness_ratio)")
    finally:
        own.close()
    assert [({"host": "esx-1", "cluster": "local", "run": "live"}, 7.0)] == sent
    assert [({}, 1.0)] == happy
