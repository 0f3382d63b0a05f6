"""Every expression of dashboards and rules, evaluated by a real Prometheus that scrapes a run."""

import subprocess
import sys
import time
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
from observe.prometheus_process import (
    free_port,
    has_data,
    needs_prometheus,
    scraping,
    until_all_have_data,
)

from cluster.inventory.licence_terms import Feature
from cluster.inventory.model import Mode
from cluster.migration.spec import Result
from cluster.observe.exporter import ActiveMigration, Exporter, GuestWork, Stalls
from cluster.observe.record import Engine, Integrity
from cluster.observe.serving import MetricsServer
from cluster.policy.licensing import Mode as LicenceMode
from cluster.policy.licensing import Status, Use
from dashboards.expressions import every_expression

ROOT = Path(__file__).parents[2]
pytestmark = needs_prometheus
FELT = Stalls(longest_s=0.012, sum_s=0.03)
WORK = GuestWork(behind_s=0.001, overruns=1, requests=50)
DEMAND_FAULTS = "migrations: Demand-fault latency"


class Feeding:
    """Tells an exporter what a run tells it: a made-up run, a second at a time, for ever."""

    def __init__(self, exporter, run):
        self._exporter = exporter
        self._run = run
        self._steps = count()
        self._samples = {}
        for row in run.timeline:
            self._samples.setdefault(row.time_s, []).append(row)
        exporter.run_started(scenario="quickstart", engine=Engine.LIVE, tracker="write-protect")
        exporter.hosts_known({row.host: 4 * 2**30 for row in run.timeline})
        exporter.licences_known(licensed(days_left=60))

    def healthy(self):
        """All is well: what aborted in the made-up run is left out."""
        step = next(self._steps)
        rows = [row for row in self._run.migrations if row.result is Result.COMPLETED]
        row = rows[step % len(rows)]
        self._exporter.migration_admitted(wait_s=0.2)
        self._exporter.migrations_under_way([moving(row)], queued=1)
        self._exporter.migration_ended(row, epoch=2 + step, stalls=FELT)
        self._exporter.pages_verified(pages=16384, mismatched_pages=0)
        self._exporter.faults_served([0] * 7 + [5, 20, 3])
        self._exporter.vms_await_restart(0)
        self._exporter.center_answers(True)
        self._exporter.drs_passed(self._run.passes[step % len(self._run.passes)])
        # The load shifts after 10 s of the run; before, all hosts are alike.
        self._sample(step, sorted(self._samples)[step % 9])

    def ill(self, make_migration):
        """Everything that can go wrong goes wrong."""
        step = next(self._steps)
        exporter = self._exporter
        slow = make_migration(downtime_s=4.0, client_blackout_s=4.5, mode=Mode.HYBRID)
        exporter.migration_ended(slow)
        for result in (Result.LOST, Result.ABORTED):
            exporter.migration_ended(make_migration(result=result, error="stalled"))
        exporter.migrations_under_way([moving(slow, source="esx-stuck")], queued=9)
        exporter.pages_verified(pages=16384, mismatched_pages=3)
        exporter.requests_settled(
            Integrity(vms_checked=1, mismatched_pages=3, lost_requests=1, duplicated_requests=1)
        )
        exporter.recommendation_refused("capacity")
        exporter.center_answers(False)
        exporter.center_restarted()
        exporter.host_lost()
        exporter.vm_failed()
        exporter.vms_await_restart(1)
        exporter.licences_known(licensed(days_left=1))
        exporter.hosts_known(dict.fromkeys(("esx-1", "esx-2", "esx-3", "esx-4"), 2**20))
        states = {"esx-1": "not responding", "esx-2": "in maintenance mode"}
        self._sample(step, 14.0, states=states, violations=2, target=0.01)

    def _sample(self, step, time_s, *, states=None, violations=0, target=0.2):
        rows = [
            replace(row, state=(states or {}).get(row.host, "connected"), tx_bytes_per_second=1e7)
            for row in self._samples[time_s]
        ]
        for row in rows:
            self._exporter.guests_worked(row.host, WORK)
        self._exporter.sampled(
            rows,
            interval_s=1.0,
            resource_imbalance={"cpu": 0.1, "memory": 0.05},
            unmet_demand_ratio=0.01 * (step % 3),
            rule_violations=violations,
            imbalance_target=target,
            happiness={row.host: 0.99 for row in rows},
            vm_happiness={"web-1": 0.97},
        )


def licensed(days_left):
    use = Use(feature=Feature.VMOTION, installed=8, hosts=(("esx-1", 2), ("esx-2", 2)))
    return Status(mode=LicenceMode.LICENSED, days_left=days_left, uses=(use,))


def moving(row, source=None):
    return ActiveMigration(
        vm=row.vm,
        source=source or row.source,
        destination=row.destination,
        round=2,
        dirty_bytes=1 << 20,
        rate_bytes_per_second=1e8,
    )


def test_every_expression_has_data_and_faults_alone_make_alerts_fire(run, make_migration, tmp_path):
    exporter = Exporter()
    feeding = Feeding(exporter, run)
    usual = [one for one in every_expression() if not one.on_fault]
    faults = [one for one in every_expression() if one.on_fault]
    assert len(usual) > 70
    assert len(faults) > 11
    with (
        MetricsServer(exporter.metrics, port=0) as server,
        scraping(tmp_path, f"127.0.0.1:{server.port}") as url,
    ):
        assert [] == until_all_have_data(url, usual, feeding.healthy)
        assert [] == [one.where for one in faults if has_data(url, one)]
        assert [] == until_all_have_data(url, faults, lambda: feeding.ill(make_migration))


@pytest.mark.ray
@pytest.mark.long
@pytest.mark.timeout(400)
def test_every_expression_has_data_while_the_quickstart_runs(tmp_path):
    """Whether a guest touches a page too early is chance; test_standing_metrics has it for sure."""
    port = free_port()
    vmotion = Path(sys.executable).with_name("vmotion")
    quickstart = ROOT / "examples" / "quickstart.toml"
    usual = [one for one in every_expression() if not one.on_fault]
    with scraping(tmp_path, f"127.0.0.1:{port}") as url:
        running = subprocess.Popen(
            # The first of its two shifts of load is enough for every expression.
            [
                vmotion,
                "run",
                str(quickstart),
                "--plain",
                "--metrics-port",
                str(port),
                "--duration",
                "30",
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        left = usual
        try:
            while running.poll() is None:
                left = [one for one in left if not has_data(url, one)]
                time.sleep(0.5)
        finally:
            if running.poll() is None:
                running.terminate()
            said, _ = running.communicate(timeout=60)
    assert 0 == running.returncode, said
    without = {one.where for one in left}
    assert set() == without - {DEMAND_FAULTS}
