"""What a scrape gets after each call, and the port it comes from."""

import socket
import urllib.request
from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from cluster.inventory.licence_terms import Feature
from cluster.migration.spec import Result
from cluster.observe.exporter import ActiveMigration, Exporter, GuestWork, Stalls
from cluster.observe.metrics import METRICS, Kind
from cluster.observe.record import DrsPass, Engine, Integrity, TimelineRow
from cluster.observe.serving import PORT, MetricsServer, PortTakenError
from cluster.policy.licensing import Mode, Status, Use

LICENSED = Status(
    mode=Mode.LICENSED,
    days_left=1,
    uses=(Use(feature=Feature.VMOTION, installed=8, hosts=(("esx-1", 2),)),),
)


def samples(exporter):
    """Everything a scrape gets, as {(name, labels): value}."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(exporter.text())
        for sample in family.samples
    }


def value(exporter, name, **labels):
    return samples(exporter).get((name, tuple(sorted(labels.items()))))


def active(vm="web-1", source="esx-1", destination="esx-2"):
    return ActiveMigration(
        vm=vm,
        source=source,
        destination=destination,
        round=2,
        dirty_bytes=4096,
        rate_bytes_per_second=1e8,
    )


def host(name="esx-1", state="connected", tx=1e6):
    return TimelineRow(
        time_s=7.0,
        host=name,
        cpu_load=0.5,
        memory_load=0.25,
        vms=3,
        tx_bytes_per_second=tx,
        rx_bytes_per_second=2e6,
        state=state,
        imbalance=0.125,
    )


def sample_hosts(exporter, *rows, vms=None):
    exporter.sampled(
        rows,
        interval_s=2.0,
        resource_imbalance={"cpu": 0.2, "memory": 0.05},
        unmet_demand_ratio=0.03,
        rule_violations=1,
        imbalance_target=0.1,
        happiness={row.host: 0.9 for row in rows},
        vm_happiness=vms,
    )


def fed(make_migration, *, per_vm=True):
    """An exporter to which everything that there is has happened once."""
    exporter = Exporter(per_vm=per_vm)
    exporter.run_started(scenario="quickstart", engine=Engine.LIVE, tracker="write-protect")
    exporter.migration_admitted(wait_s=0.4)
    exporter.migrations_under_way([active()], queued=2)
    exporter.hosts_known({"esx-1": 2**34})
    exporter.licences_known(LICENSED)
    exporter.migration_ended(make_migration(), epoch=2, stalls=Stalls(longest_s=0.03, sum_s=0.05))
    exporter.faults_served([0, 2, 1])
    sample_hosts(exporter, host(), vms={"web-1": 0.8})
    exporter.drs_passed(
        DrsPass(
            time_s=5.0,
            solve_s=0.2,
            imbalance_before=0.3,
            imbalance_after=0.1,
            priorities=(1, 3, 3),
            applied=2,
        )
    )
    exporter.recommendation_refused("rule")
    exporter.guests_worked("esx-1", GuestWork(behind_s=0.5, overruns=3, requests=40))
    exporter.center_answers(True)
    exporter.center_restarted()
    exporter.host_lost()
    exporter.vm_failed()
    exporter.vm_restarted()
    exporter.vms_await_restart(1)
    exporter.pages_verified(pages=16384, mismatched_pages=1)
    exporter.requests_settled(
        Integrity(vms_checked=1, mismatched_pages=1, lost_requests=2, duplicated_requests=3)
    )
    return exporter


def test_every_metric_of_the_table_gets_a_sample_and_no_other_does(make_migration):
    found = {
        name.removesuffix("_bucket").removesuffix("_count").removesuffix("_sum")
        for name, _ in samples(fed(make_migration))
    }
    assert {metric.name for metric in METRICS} == found


def test_without_per_vm_metrics_no_series_names_a_vm(make_migration):
    keys = samples(fed(make_migration, per_vm=False))
    assert not [name for name, labels in keys if "vm" in dict(labels)]
    assert any(name == "vmotion_downtime_seconds_count" for name, _ in keys)


def test_what_may_be_counted_is_zero_before_it_happens():
    """`increase` cannot see the first lost VM in a series that begins with it."""
    exporter = Exporter()
    lost = {"mode": "precopy", "trigger": "drs", "result": "lost"}
    assert 0 == value(exporter, "vmotion_migrations_total", **lost)
    assert 0 == value(exporter, "vmotion_integrity_failures_total", check="lost-request")
    assert 0 == value(exporter, "vmotion_downtime_part_seconds_count", part="commit")
    assert value(exporter, "vmotion_host_transmit_bytes_total", host="esx-1") is None


def test_labels_are_those_of_the_table(make_migration):
    table = {metric.name: set(metric.labels) for metric in METRICS}
    kinds = {metric.name: metric.kind for metric in METRICS}
    for name, labels in samples(fed(make_migration)):
        stem = name.removesuffix("_bucket").removesuffix("_count").removesuffix("_sum")
        extra = {"le"} if kinds[stem] is Kind.HISTOGRAM and name.endswith("_bucket") else set()
        assert table[stem] | extra == set(dict(labels))


def test_a_migration_is_counted_with_its_downtime_and_bytes(make_migration):
    exporter = Exporter()
    row = make_migration()
    exporter.migration_ended(row, epoch=7)
    assert 1 == value(
        exporter, "vmotion_migrations_total", mode="precopy", trigger="drs", result="completed"
    )
    assert row.downtime_s == value(exporter, "vmotion_downtime_seconds_sum", mode="precopy")
    assert 0 == value(exporter, "vmotion_downtime_seconds_bucket", mode="precopy", le="0.01")
    assert 1 == value(exporter, "vmotion_downtime_seconds_bucket", mode="precopy", le="0.02")
    assert row.downtime_copy_s == value(exporter, "vmotion_downtime_part_seconds_sum", part="copy")
    assert row.precopy_bytes == value(exporter, "vmotion_transfer_bytes_total", phase="precopy")
    assert row.downtime_s == value(exporter, "vmotion_vm_last_downtime_seconds", vm="web-1")
    assert 7 == value(exporter, "vmotion_vm_owner_epoch", vm="web-1")


def test_a_stall_is_counted_only_where_a_client_looked(make_migration):
    exporter = Exporter()
    exporter.migration_ended(make_migration())
    assert 0 == value(exporter, "vmotion_client_stall_seconds_count", mode="precopy")
    exporter.migration_ended(make_migration(), stalls=Stalls(longest_s=0.0, sum_s=0.0))
    exporter.migration_ended(make_migration(), stalls=Stalls(longest_s=0.04, sum_s=0.09))
    assert 2 == value(exporter, "vmotion_client_stall_seconds_count", mode="precopy")
    assert 1 == value(exporter, "vmotion_client_stall_seconds_bucket", mode="precopy", le="0.01")


def test_an_aborted_migration_has_no_downtime(make_migration):
    exporter = Exporter()
    parts = {f"downtime_{part}_s": None for part in ("quiesce", "scan", "copy", "state", "commit")}
    exporter.migration_ended(
        make_migration(
            result=Result.ABORTED,
            downtime_s=None,
            downtime_resume_s=None,
            predicted_downtime_s=None,
            client_blackout_s=None,
            **parts,
        )
    )
    assert 1 == value(
        exporter, "vmotion_migrations_total", mode="precopy", trigger="drs", result="aborted"
    )
    assert 0 == value(exporter, "vmotion_downtime_seconds_count", mode="precopy")


def test_a_host_counts_the_bytes_of_its_samples():
    exporter = Exporter()
    sample_hosts(exporter, host())
    sample_hosts(exporter, host(tx=3e6))
    assert 8e6 == value(exporter, "vmotion_host_transmit_bytes_total", host="esx-1")
    assert 8e6 == value(exporter, "vmotion_host_receive_bytes_total", host="esx-1")


def test_a_host_is_in_one_state():
    exporter = Exporter()
    sample_hosts(exporter, host())
    sample_hosts(exporter, host(state="in maintenance mode"))
    assert 0 == value(exporter, "vmotion_host_state", host="esx-1", state="connected")
    assert 1 == value(exporter, "vmotion_host_state", host="esx-1", state="in maintenance mode")


def test_a_vm_that_has_stopped_is_neither_happy_nor_unhappy():
    exporter = Exporter()
    sample_hosts(exporter, host(), vms={"web-1": 0.8, "web-2": 1.0})
    sample_hosts(exporter, host(), vms={"web-2": 0.7})
    assert value(exporter, "drs_vm_happiness_ratio", vm="web-1") is None
    assert 0.7 == value(exporter, "drs_vm_happiness_ratio", vm="web-2")


def test_a_migration_that_has_ended_is_no_longer_under_way():
    exporter = Exporter()
    exporter.migrations_under_way([active(), active(vm="web-2")], queued=1)
    assert 2 == value(exporter, "vmotion_active_migrations", host="esx-1", direction="out")
    assert 2 == value(exporter, "vmotion_active_migrations", host="esx-2", direction="in")
    exporter.migrations_under_way([active(vm="web-2")], queued=0)
    assert 1 == value(exporter, "vmotion_active_migrations", host="esx-1", direction="out")
    assert value(exporter, "vmotion_vm_migration_round", vm="web-1") is None
    assert 2 == value(exporter, "vmotion_vm_migration_round", vm="web-2")
    exporter.migrations_under_way([], queued=0)
    assert 0 == value(exporter, "vmotion_active_migrations", host="esx-2", direction="in")


def test_recommendations_are_counted_by_priority(make_migration):
    exporter = fed(make_migration)
    assert 2 == value(exporter, "drs_recommendations_total", priority="3")
    assert 2 == value(exporter, "drs_applied_recommendations_total")


def test_a_scrape_over_http_gets_the_text(make_migration):
    exporter = fed(make_migration)
    with MetricsServer(exporter.metrics, port=0) as server:
        assert server.url == f"http://127.0.0.1:{server.port}/metrics"
        with urllib.request.urlopen(server.url, timeout=10) as reply:
            body = reply.read().decode()
    assert "vmotion_downtime_seconds_bucket" in body
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", server.port))


def test_a_named_port_that_is_taken_is_an_error():
    with (
        MetricsServer(Exporter().metrics, port=0) as first,
        pytest.raises(PortTakenError) as caught,
    ):
        MetricsServer(Exporter().metrics, port=first.port)
    assert str(first.port) in str(caught.value)


def test_a_port_that_is_none_is_an_error():
    with pytest.raises(PortTakenError):
        MetricsServer(Exporter().metrics, port=70_000)


def test_without_a_named_port_a_free_one_is_found_when_the_usual_is_taken():
    """Whoever holds the usual port, the first server or another program, the second gives way."""
    with MetricsServer(Exporter().metrics) as first, MetricsServer(Exporter().metrics) as second:
        assert PORT != second.port != first.port


def test_licences_are_told_by_feature_and_an_evaluation_by_itself():
    exporter = Exporter()
    exporter.licences_known(Status(mode=Mode.EVALUATION, days_left=60, uses=()))
    assert 60 * 86400 == value(exporter, "vmotion_licence_left_seconds", feature="evaluation")
    exporter.licences_known(LICENSED)
    assert value(exporter, "vmotion_licence_left_seconds", feature="evaluation") is None
    assert 86400 == value(exporter, "vmotion_licence_left_seconds", feature="VMotion")
    assert 2 == value(exporter, "vmotion_licences", feature="VMotion", state="used")
    assert 6 == value(exporter, "vmotion_licences", feature="VMotion", state="free")
    assert 0 == value(exporter, "vmotion_licence_server_away")
    exporter.licences_known(replace(LICENSED, server_away=True))
    assert 1 == value(exporter, "vmotion_licence_server_away")
