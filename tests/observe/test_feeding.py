"""What a run's metrics hear from VirtualCenter's views, look by look."""

import time
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from cluster.actors.recording import Recorder
from cluster.actors.reports import HostSample, MigrationProgress, Verification
from cluster.actors.views import ClusterView, EndedMigration, Happening, HostView, MigrationView
from cluster.guests.clients import Gaps
from cluster.inventory.scenario import load
from cluster.memory.pager import Served
from cluster.migration.spec import Downtime, MigrationSpec, Trigger, not_begun
from cluster.migration.spec import Result as Ended
from cluster.observe.exporter import Exporter
from cluster.policy.balancing import Balance
from cluster.policy.facts import HostLoad, VmLoad
from cluster.policy.messages import Record, Topic
from cluster.policy.state import HostState

SCENARIO = load(Path(__file__).parents[2] / "examples" / "minimal.toml")
SPEC = MigrationSpec(
    id="m0001", vm="vm-1", source="esx-1", destination="esx-2", epoch=2, memory_bytes=1 << 24
)
COMPLETED = replace(
    not_begun("", now=1.0),
    result=Ended.COMPLETED,
    duration_s=0.5,
    downtime=Downtime(quiesce_s=0.001, copy_s=0.01),
    predicted_downtime_s=0.01,
    precopy_bytes=1 << 24,
)


class Clients:
    """Stands in for the cluster: knows what clients felt, by (vm, epoch)."""

    def __init__(self, felt=None):
        self.felt = felt or {}

    def gaps(self, wanted):
        return [self.felt.get(one) for one in wanted]


def host(name="esx-1", **changes):
    known = {
        "name": name,
        "state": HostState.CONNECTED,
        "cpu_mhz": 4000.0,
        "memory_mib": 512,
        "demand_mhz": 2000.0,
        "granted_mhz": 1500.0,
        "used_mib": 128,
        "vms": 2,
        "tx_bytes": 0,
        "rx_bytes": 0,
        "standby_processes": 0,
        "facts": None,
    }
    return HostView(**known | changes)


def view(time_s=1.0, **changes):
    known = {
        "time_s": time_s,
        "all_up": True,
        "balance": Balance(imbalance=0.1, by_resource=(), target=0.2, rule_violations=0),
        "hosts": (host(),),
        "samples": {},
        "vms": (),
        "migrations": (),
        "happened": (),
        "ended": (),
        "verified": (),
        "verifying": 0,
        "problems": (),
        "number": 0,
    }
    return ClusterView(**known | changes)


def moving(spec=SPEC, queued_s=1.0, started_s=None):
    progress = None
    if started_s is not None:
        progress = MigrationProgress(
            migration=spec.id,
            phase="precopying",
            round=0,
            sent_bytes=0,
            dirty_pages=10,
            rate_bytes_per_second=1e6,
            throttle_ratio=0.0,
        )
    return MigrationView(
        spec=spec, queued_s=queued_s, started_s=started_s, waiting_for="", progress=progress
    )


@pytest.fixture
def exporter():
    return Exporter()


@pytest.fixture
def recorder(exporter):
    return Recorder(SCENARIO, exporter)


def value(exporter, name, **labels):
    return next(
        (
            sample.value
            for family in text_string_to_metric_families(exporter.text())
            for sample in family.samples
            if sample.name == name and sample.labels == labels
        ),
        None,
    )


def test_a_migration_is_admitted_once_with_the_time_it_waited(exporter, recorder):
    for seen in (moving(), moving(started_s=1.5), moving(started_s=1.5)):
        recorder.look(view(migrations=(seen,)), Clients())
    assert 1 == value(exporter, "vmotion_queue_wait_seconds_count")
    assert 0.5 == value(exporter, "vmotion_queue_wait_seconds_sum")


def test_a_stall_after_the_switchover_is_waited_for(exporter, recorder):
    """The blackout is known at once; the row is closed when the stalls are, too."""
    clients = Clients({("vm-1", 2): Gaps(blackout_s=0.02)})
    recorder.look(view(2.0, ended=(EndedMigration(spec=SPEC, outcome=COMPLETED),)), clients)
    recorder.look(view(2.25), clients)
    assert [] == recorder.migrations
    clients.felt = {("vm-1", 2): Gaps(blackout_s=0.02, stall_s_max=0.3, stall_s_sum=0.3)}
    recorder.look(view(2.8), clients)
    assert [0.02] == [row.client_blackout_s for row in recorder.migrations]
    assert 0.3 == value(exporter, "vmotion_client_stall_seconds_sum", mode="precopy")


def test_a_migration_that_no_client_saw_is_closed_without_a_blackout(exporter, recorder):
    recorder.look(view(2.0, ended=(EndedMigration(spec=SPEC, outcome=COMPLETED),)), Clients())
    recorder.look(view(4.0), Clients())
    assert [] == recorder.migrations
    recorder.look(view(5.0), Clients())
    assert [None] == [row.client_blackout_s for row in recorder.migrations]
    assert 0 == value(exporter, "vmotion_client_stall_seconds_count", mode="precopy")


def test_what_has_ended_is_told_as_spans_in_the_time_of_the_run(recorder):
    ended = EndedMigration(spec=SPEC, outcome=COMPLETED)
    recorder.look(view(0.0), Clients())
    assert recorder.began_unix_s is None
    recorder.look(view(2.0, ended=(ended,)), Clients())
    began = recorder.began_unix_s
    recorder.look(view(9.0), Clients())
    assert ["migrate vm-1"] == [span.name for span in recorder.spans]
    assert (1.0, 1.5) == (recorder.spans[0].begin_s, recorder.spans[0].end_s)
    assert 2.0 <= time.time() - began < 60.0
    assert began == recorder.began_unix_s


@pytest.mark.parametrize(("trigger", "counted"), [(Trigger.DRS, 1), (Trigger.USER, 0)])
def test_only_a_refusal_of_what_drs_wanted_is_drs_s(exporter, recorder, trigger, counted):
    refused = Record(
        topic=Topic.MIGRATION,
        what="refused",
        text="vm-1 → esx-2: refused, esx-2 has 0 MiB left",
        fields=(
            *(("vm", "vm-1"), ("destination", "esx-2"), ("trigger", trigger.value)),
            ("checks", ("capacity", "rule")),
        ),
    )
    recorder.look(view(happened=(Happening(time_s=1.0, record=refused),)), Clients())
    assert counted == value(exporter, "drs_refused_recommendations_total", reason="capacity")
    assert 0 == value(exporter, "drs_refused_recommendations_total", reason="rule")
    assert 1 == value(
        exporter,
        "vmotion_migrations_total",
        mode=SCENARIO.migration.mode.value,
        trigger=trigger.value,
        result="refused",
    )


def test_a_host_is_as_happy_as_the_share_of_demand_it_serves(exporter, recorder):
    idle = host("esx-2", demand_mhz=0.0, granted_mhz=0.0)
    recorder.look(view(hosts=(host(), idle)), Clients())
    assert 0.75 == value(exporter, "drs_host_happiness_ratio", host="esx-1")
    assert 1.0 == value(exporter, "drs_host_happiness_ratio", host="esx-2")


def test_a_vm_is_as_happy_as_the_share_of_its_own_demand_that_it_gets(exporter, recorder):
    loads = (
        VmLoad(vm="vm-1", demand_mhz=2000.0, granted_mhz=500.0),
        VmLoad(vm="vm-2", demand_mhz=0.0, granted_mhz=0.0),
    )
    load = HostLoad(host="esx-1", vms=loads)
    sample = HostSample(time_s=1.0, load=load, vms=(), tx_bytes=0, rx_bytes=0)
    recorder.look(view(samples={"esx-1": sample}), Clients())
    assert 0.25 == value(exporter, "drs_vm_happiness_ratio", vm="vm-1")
    assert 1.0 == value(exporter, "drs_vm_happiness_ratio", vm="vm-2")
    dead = host(state=HostState.NOT_RESPONDING)
    recorder.look(view(3.0, hosts=(dead,), samples={"esx-1": sample}), Clients())
    assert value(exporter, "drs_vm_happiness_ratio", vm="vm-1") is None


def test_a_virtualcenter_that_has_no_sample_yet_takes_nothing_back(exporter, recorder):
    load = HostLoad(host="esx-1", vms=())
    sample = HostSample(time_s=1.0, load=load, vms=(), tx_bytes=0, rx_bytes=0)
    for time_s, sent, sampled in (
        (1.0, 100, True),
        (3.0, 300, True),
        (5.0, 0, False),
        (7.0, 350, True),
    ):
        samples = {"esx-1": sample} if sampled else {}
        recorder.look(view(time_s, hosts=(host(tx_bytes=sent),), samples=samples), Clients())

    assert 250.0 == value(exporter, "vmotion_host_transmit_bytes_total", host="esx-1")


def test_hosts_memory_is_known_from_the_start(exporter, recorder):
    for spec in SCENARIO.hosts:
        expected = spec.memory_mib << 20
        assert expected == value(exporter, "vmotion_host_memory_bytes", host=spec.name)


def test_demand_faults_come_with_the_comparison_which_the_row_waits_for(exporter, recorder):
    clients = Clients({("vm-1", 2): Gaps(blackout_s=0.02)})
    ended = EndedMigration(spec=SPEC, outcome=COMPLETED, verifying=True)
    recorder.look(view(2.0, ended=(ended,)), clients)
    recorder.look(view(3.0), clients)
    assert [] == recorder.migrations
    served = Served(
        demand_faults=3,
        latency_us=[0] * 7 + [2, 1] + [0] * 15,
        survives_process_s=0.25,
        survives_node_s=2.5,
    )
    compared = Verification(
        migration="m0001", vm="vm-1", pages=4096, mismatched_pages=0, served=served
    )
    recorder.look(view(3.5, verified=(compared,)), clients)
    assert [(3, 0.25, 2.5)] == [
        (row.demand_faults, row.survives_process_s, row.survives_node_s)
        for row in recorder.migrations
    ]
    assert 0.25 == value(exporter, "vmotion_survivable_seconds_sum", loss="process")
    assert 2.5 == value(exporter, "vmotion_survivable_seconds_sum", loss="node")
    assert 3 == value(exporter, "vmotion_demand_faults_total")
    assert 3 == value(exporter, "vmotion_demand_fault_seconds_count")
    within = {le: value(exporter, "vmotion_demand_fault_seconds_bucket", le=le) for le in LES}
    assert {"6.4e-05": 0, "0.000128": 2, "0.000256": 3} == within


LES = ("6.4e-05", "0.000128", "0.000256")


def test_a_row_does_not_wait_for_ever_for_a_comparison(recorder):
    ended = EndedMigration(spec=SPEC, outcome=COMPLETED, verifying=True)
    recorder.look(view(2.0, ended=(ended,)), Clients())
    recorder.look(view(31.0), Clients())
    assert [] == recorder.migrations
    recorder.look(view(32.0), Clients())
    assert 1 == len(recorder.migrations)


def test_what_ha_does_is_counted(exporter, recorder):
    happened = tuple(
        Happening(time_s=1.0, record=Record(topic=topic, what=what, text=what))
        for topic, what in (
            *((Topic.HOST, "failed"), (Topic.VM, "failed"), (Topic.VM, "failed")),
            *((Topic.VM, "restarted"), (Topic.CLUSTER, "center_restarted")),
        )
    )
    recorder.look(view(happened=happened, awaiting_restart=1), Clients())
    assert 1 == value(exporter, "vmotion_hosts_lost_total")
    assert 2 == value(exporter, "vmotion_vm_failures_total")
    assert 1 == value(exporter, "vmotion_ha_restarts_total")
    assert 1 == value(exporter, "vmotion_virtualcenter_restarts_total")
    assert 1 == value(exporter, "vmotion_virtualcenter_up")
    assert 1 == value(exporter, "vmotion_ha_waiting_vms")
    recorder.look(view(2.0), Clients())
    assert 0 == value(exporter, "vmotion_ha_waiting_vms")


def test_rows_that_nobody_wants_are_forgotten_and_metrics_go_on(exporter, recorder):
    for time_s in (2.0, 3.0):
        recorder.look(
            view(time_s, ended=(EndedMigration(spec=SPEC, outcome=COMPLETED),)), Clients()
        )
    recorder.look(view(9.0), Clients())
    assert 2 == len(recorder.migrations)
    recorder.forget()
    assert ([], [], [], []) == (
        *(recorder.migrations, recorder.timeline),
        *(recorder.spans, recorder.unmet_ratios),
    )
    recorder.look(view(10.0), Clients())
    assert 2 == value(
        exporter,
        "vmotion_migrations_total",
        mode=SPEC.mode.value,
        trigger=SPEC.trigger.value,
        result="completed",
    )
