"""A made-up run: the rows that a real one of a minute would leave, drawn from a seed."""

import math
import random
from dataclasses import dataclass

import pytest

from cluster.inventory.model import Mode
from cluster.migration.spec import Result, Trigger
from cluster.observe.record import (
    DrsPass,
    Engine,
    EventKind,
    EventRow,
    Integrity,
    MigrationRow,
    Summary,
    TimelineRow,
)
from cluster.observe.rounds import RoundRow
from cluster.observe.summary import summarise

MIB = 1 << 20


@dataclass(frozen=True, kw_only=True)
class MadeUpRun:
    summary: Summary
    migrations: list[MigrationRow]
    timeline: list[TimelineRow]
    events: list[EventRow]
    passes: list[DrsPass]
    rounds: list[RoundRow]


def migration(**changes) -> MigrationRow:
    """A completed migration; name what differs."""
    row = {
        "vm": "web-1",
        "source": "esx-1",
        "destination": "esx-2",
        "mode": Mode.PRECOPY,
        "trigger": Trigger.DRS,
        "reason": "balance CPU load of esx-1",
        "result": Result.COMPLETED,
        "error": "",
        "started_s": 12.0,
        "duration_s": 0.8,
        "rounds": 3,
        "memory_bytes": 64 * MIB,
        "sent_bytes": 70 * MIB,
        "precopy_bytes": 68 * MIB,
        "downtime_bytes": 2 * MIB,
        "postcopy_bytes": 0,
        "zero_pages": 900,
        "downtime_s": 0.0165,
        "predicted_downtime_s": 0.014,
        "downtime_quiesce_s": 0.001,
        "downtime_scan_s": 0.0005,
        "downtime_copy_s": 0.008,
        "downtime_state_s": 0.002,
        "downtime_commit_s": 0.003,
        "downtime_resume_s": 0.002,
        "client_blackout_s": 0.021,
        "demand_faults": 0,
        "survives_process_s": 0.004,
        "survives_node_s": 0.02,
        "throttle_max": 0.0,
        "dirty_rate_bytes_per_second": 12e6,
        "bandwidth_bytes_per_second": 95e6,
    }
    return MigrationRow(**(row | changes))


def _some_migration(index: int, chance: random.Random, hosts: int) -> MigrationRow:
    parts = [chance.uniform(0.0005, 0.004) for _ in range(6)]
    parts[2] = chance.lognormvariate(-4.8, 0.7)
    total = sum(parts)
    names = ("quiesce", "scan", "copy", "state", "commit", "resume")
    source = 1 + index % 2
    fails = index % 9 == 8
    changes = {
        "vm": f"web-{index + 1}",
        "source": f"esx-{source}",
        "destination": f"esx-{chance.randint(3, hosts)}",
        "started_s": 12.0 + 3.4 * (index // 3) + chance.random(),
        "duration_s": chance.uniform(0.5, 4.5),
        "rounds": chance.randint(2, 6),
        "precopy_bytes": (precopy := chance.randint(60, 190) * MIB),
        "sent_bytes": precopy + 2 * MIB,
        "client_blackout_s": None if fails else total + chance.uniform(0.001, 0.008),
        "predicted_downtime_s": total * chance.lognormvariate(0, 0.25),
        "downtime_s": total,
        "bandwidth_bytes_per_second": chance.uniform(60e6, 125e6),
        **{f"downtime_{name}_s": part for name, part in zip(names, parts, strict=True)},
    }
    if fails:
        none = [key for key in changes if "downtime" in key and key.endswith("_s")]
        changes |= dict.fromkeys(none) | {
            "result": Result.ABORTED,
            "error": "the destination stalled",
        }
    return migration(**changes)


def _timeline(chance: random.Random, *, hosts: int, duration_s: int) -> list[TimelineRow]:
    rows = []
    for time_s in range(1, duration_s + 1):
        heat = 0.0 if time_s < 10 else math.exp(-max(time_s - 14, 0) / 12)
        loads = [
            0.45 + 0.04 * math.sin(host + time_s / 5) + (0.65 if host < 2 else -0.05) * heat
            for host in range(hosts)
        ]
        mean = sum(loads) / hosts
        imbalance = math.sqrt(sum((load - mean) ** 2 for load in loads) / hosts)
        rows += [
            TimelineRow(
                time_s=float(time_s),
                host=f"esx-{host + 1}",
                cpu_load=load,
                memory_load=0.3 + 0.1 * (host % 5),
                vms=3,
                tx_bytes_per_second=chance.uniform(4e7, 1.2e8) * heat if host < 2 else 0.0,
                rx_bytes_per_second=chance.uniform(3e7, 6e7) * heat if host >= 2 else 0.0,
                state="connected",
                imbalance=imbalance,
            )
            for host, load in enumerate(loads)
        ]
    return rows


def _events(migrations: list[MigrationRow], passes: list[DrsPass]) -> list[EventRow]:
    events = [EventRow(time_s=0.0, kind=EventKind.RUN_STARTED, text="12 VMs are up on 4 hosts")]
    events += [
        EventRow(
            time_s=one.time_s,
            kind=EventKind.DRS_PASSED,
            text=f"DRS recommended {one.recommended} migrations, imbalance {one.imbalance_before:.2f}",
            details={"recommended": one.recommended, "applied": one.applied},
        )
        for one in passes
    ]
    events += [
        EventRow(
            time_s=row.started_s + row.duration_s,
            kind=EventKind.MIGRATION_ENDED,
            text=f"{row.vm}: {row.source} → {row.destination} {row.result.value}",
            vm=row.vm,
            host=row.destination,
        )
        for row in migrations
    ]
    return sorted(events, key=lambda event: event.time_s)


def _rounds(row: MigrationRow) -> list[RoundRow]:
    """Each round leaves a fifth of what it sent."""
    pages = row.memory_bytes // 4096
    return [
        RoundRow(
            vm=row.vm,
            started_s=row.started_s,
            round=number,
            duration_s=0.5 / 5**number,
            sent_pages=pages // 5**number,
            zero_pages=row.zero_pages if number == 0 else 0,
            sent_bytes=4096 * (pages // 5**number),
            dirty_pages=pages // 5 ** (number + 1),
        )
        for number in range(row.rounds)
    ]


def make_run(
    *, seed: int = 1, hosts: int = 4, migrations: int = 18, duration_s: int = 60
) -> MadeUpRun:
    chance = random.Random(seed)
    rows = sorted(
        (_some_migration(index, chance, hosts) for index in range(migrations)),
        key=lambda row: row.started_s,
    )
    timeline = _timeline(chance, hosts=hosts, duration_s=duration_s)
    passes = [
        DrsPass(
            time_s=float(time_s),
            solve_s=chance.uniform(0.05, 0.4),
            imbalance_before=0.3,
            imbalance_after=0.1,
            priorities=(2, 3, 3) if 10 <= time_s < 30 else (),
            applied=3 if 10 <= time_s < 30 else 0,
        )
        for time_s in range(5, duration_s, 5)
    ]
    summary = summarise(
        scenario="quickstart",
        engine=Engine.LIVE,
        seed=seed,
        hosts=hosts,
        vms=12,
        duration_s=float(duration_s),
        migrations=rows,
        timeline=timeline,
        drs_passes=passes,
        unmet_demand_ratios=[0.0] * 9 + [0.2, 0.1],
        rule_violations=0,
        integrity=Integrity(
            vms_checked=12, mismatched_pages=0, lost_requests=0, duplicated_requests=0
        ),
        imbalance_from_s=10.0,
    )
    return MadeUpRun(
        summary=summary,
        migrations=rows,
        timeline=timeline,
        events=_events(rows, passes),
        passes=passes,
        rounds=[one for row in rows for one in _rounds(row)],
    )


@pytest.fixture(scope="session")
def run() -> MadeUpRun:
    return make_run()


@pytest.fixture(scope="session")
def make_migration():
    return migration


@pytest.fixture(scope="session")
def make_made_up_run():
    return make_run
