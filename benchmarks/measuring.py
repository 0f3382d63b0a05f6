"""Migrates a writer there and back until each case has its rows. Not a benchmark."""

import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import ray
from cases import LINKS, PARTS, Case, Row, Rows
from lab import PROBE_INTERVAL_S, Lab, ray_lab, writer_vm
from prober import Probes

from cluster.guests.clients import GapMeter, Gaps
from cluster.guests.writer import Writer
from cluster.memory.tracker import TrackerKind
from cluster.page import MIB, PAGE_BYTES

_REST_S = 0.5


def measure(
    cases: Sequence[Case],
    wanted: Callable[[Case], int],
    keep: Rows,
    *,
    warm_up: int = 1,
    tracker: TrackerKind | None = None,
    probe_interval_s: float = PROBE_INTERVAL_S,
    yardstick: Callable[[], float] | None = None,
) -> list[Row]:
    """Measure each case until `keep` holds the wanted number of rows; return the rows of all.

    Migrations that warm up (the object store, the hosts' code) are compared as well but
    are no rows. `yardstick` measures the machine's memcpy just before each migration.
    Prints a line a migration to stderr.
    """
    left = [(case, wanted(case) - keep.count(case)) for case in cases]
    left = [(case, count) for case, count in left if count > 0]
    if left:
        with ray_lab():
            for case, count in left:
                _measure_case(case, count, keep, warm_up, tracker, probe_interval_s, yardstick)
    return [row for case in cases for row in keep.of(case)]


def _measure_case(
    case: Case,
    count: int,
    keep: Rows,
    warm_up: int,
    tracker: TrackerKind | None,
    probe_interval_s: float,
    yardstick: Callable[[], float] | None,
) -> None:
    lab = Lab(
        [writer_vm("vm", case)],
        link_bytes_per_second=LINKS[case.link],
        tracker=tracker,
        verify=case.hashed,
    )
    uncompared: list[Row] = []
    try:
        prober = lab.prober("vm", interval_s=probe_interval_s)
        for number in range(-warm_up, count):
            copies = yardstick() if yardstick is not None else None
            row = measure_once(lab, prober, case, number)
            row = replace(row, memcpy_bytes_per_second=copies)
            say(row)
            if number >= 0 or not row.completed:
                (keep.add if case.hashed else uncompared.append)(row)
        if not case.hashed:
            # A page that one of them spoiled is spoiled still, unless the guest wrote it anew.
            differ = lab.mismatched_with_replay("vm")
            for row in uncompared:
                keep.add(replace(row, mismatched_pages=differ))
    finally:
        lab.stop()


def measure_once(lab: Lab, prober: "ray.actor.ActorHandle", case: Case, number: int) -> Row:
    ray.get(prober.begin.remote())
    # The prober has found the VM, and the guest's rate at rest is seen.
    time.sleep(_REST_S)
    began = time.monotonic()
    moved = lab.move(["vm"], case.mode)["vm"]
    probes: Probes = ray.get(prober.end.remote())
    outcome, served = moved.outcome, moved.served
    gaps = _gaps(probes, moved.epoch)
    downtime = outcome.downtime
    return Row(
        case=case.name,
        link=case.link,
        mode=case.mode.value,
        rate_mb_s=case.rate_mb_s,
        memory_mib=case.memory_mib,
        working_set_mib=case.working_set_mib,
        pattern=case.pattern,
        number=number,
        result=outcome.result.value,
        error=outcome.error,
        mismatched_pages=moved.mismatched_pages,
        total_s=moved.total_s,
        duration_s=outcome.duration_s,
        prepare_s=moved.steps.prepare_s,
        transfer_s=moved.steps.transfer_s,
        round_s=tuple(one.duration_s for one in outcome.rounds),
        blackout_s=None if gaps is None else gaps.blackout_s,
        stall_s_max=None if gaps is None else gaps.stall_s_max,
        stall_s_sum=None if gaps is None else gaps.stall_s_sum,
        downtime_s=None if downtime is None else downtime.total_s,
        predicted_downtime_s=outcome.predicted_downtime_s,
        parts_s={}
        if downtime is None
        else {part: getattr(downtime, f"{part}_s") for part in PARTS},
        sent_bytes=outcome.precopy_bytes + outcome.downtime_bytes + outcome.postcopy_bytes,
        downtime_bytes=outcome.downtime_bytes,
        postcopy_bytes=outcome.postcopy_bytes,
        written_pages=_written_pages(case, probes, began, moved.epoch),
        missing_pages=moved.steps.missing_pages,
        write_rate_ratio=_write_rate_ratio(case, probes.writes),
        rest_rate_ratio=_write_rate_ratio(case, [one for one in probes.writes if one[0] <= began]),
        throttle_max=outcome.throttle_max,
        demand_faults=getattr(served, "demand_faults", None),
        minor_faults=getattr(served, "minor_faults", None),
        fetched_pages=getattr(served, "fetched_pages", None),
        latency_us=tuple(getattr(served, "latency_us", ())),
        load=os.getloadavg()[0],
        round_bytes=tuple(one.sent_bytes for one in outcome.rounds),
        last_pages=moved.steps.last_pages,
        host_cpu_s=moved.host_cpu_s,
    )


def _gaps(probes: Probes, epoch: int) -> Gaps | None:
    meter = GapMeter()
    for at_s, seen in zip(probes.answered_s, probes.epochs, strict=True):
        meter.answered(at_s, epoch=seen)
    return meter.gaps(epoch)


def _written_pages(case: Case, probes: Probes, began_s: float, epoch: int) -> int | None:
    """Count the distinct pages that the source's guest wrote after the request."""
    before = [done for at, seen, done in probes.writes if at <= began_s]
    source = [done for at, seen, done in probes.writes if seen < epoch]
    if not before or not source:
        return None
    memory_bytes = (case.memory_mib * MIB) - PAGE_BYTES
    twin = Writer(
        memory_bytes=memory_bytes,
        seed=1,
        rate_mb_s=case.rate_mb_s,
        working_set_mib=case.working_set_mib,
        pattern=case.pattern,
    )
    first, last = before[-1], source[-1]
    seen_pages = np.zeros(twin.pages, dtype=bool)
    for at in range(first, last, 1 << 20):
        seen_pages[twin.pages_of(at, min(1 << 20, last - at))] = True
    return int(np.count_nonzero(seen_pages))


def _write_rate_ratio(case: Case, writes: Sequence[tuple[float, int, int]]) -> float | None:
    if not case.rate_mb_s or len(writes) < 2:
        return None
    (first_s, _, first), (last_s, _, last) = writes[0], writes[-1]
    return (last - first) * PAGE_BYTES / (case.rate_mb_s * 1e6 * (last_s - first_s))


def say(row: Row) -> None:
    """Tell of progress; a grid takes half an hour."""
    gap = "-" if row.blackout_s is None else f"{row.blackout_s * 1e3:.1f}"
    mark = "warm" if row.number < 0 else str(row.number + 1)
    print(
        f"{row.case} {mark}: {row.result} blackout {gap} ms, "
        f"total {row.total_s:.2f} s, differ {row.mismatched_pages} {row.error}",
        file=sys.stderr,
        flush=True,
    )
