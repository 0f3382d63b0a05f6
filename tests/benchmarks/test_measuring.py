"""What the benchmarks compute from what they saw: a wrong formula would be a wrong claim."""

from argparse import Namespace
from dataclasses import replace

import numpy as np
import pytest
from benchmarks.rows import ROW
from calibrate import fit, line, predicted
from cases import Case, Rows, chosen, integrity, quantile
from demand_faults import bucket_us
from dirty_bytes import rise_ms
from line_rate import union_s
from measuring import _written_pages
from prober import Probes
from stories import steps_of

from cluster.inventory.model import Mode
from cluster.migration.machine import Migration
from cluster.migration.messages import (
    Begun,
    Prepare,
    SendDirty,
    SendRemainder,
    SendState,
    Succeeded,
)
from cluster.migration.spec import MigrationSpec
from drs.cost import Calibration


def test_a_nearest_rank_is_one_of_the_values():
    values = list(range(1, 101))
    assert [50, 99, 100] == [quantile(values, share) for share in (0.5, 0.99, 1.0)]
    assert 7 == quantile([7], 0.99)


def test_spans_that_overlap_count_once():
    assert 5.0 == union_s([(0.0, 2.0), (1.0, 3.0), (1.5, 1.6), (10.0, 12.0)])


def test_a_quantile_of_a_histogram_is_the_end_of_its_bucket():
    assert 8.0 == bucket_us([0, 0, 0, 99, 0, 1], 0.5)
    assert 32.0 == bucket_us([0, 0, 0, 99, 0, 1], 1.0)


def test_a_rise_is_that_of_the_line_from_1_to_512_mib():
    rows = [replace(ROW, missing_pages=mib * 256) for mib in (1, 100, 512)]
    assert rise_ms(rows, [0.010 + 1e-5 * mib for mib in (1, 100, 512)]) == pytest.approx(5.11)


def test_rows_come_back_from_their_file_and_only_when_asked_to(tmp_path):
    path = tmp_path / "rows.jsonl"
    keep = Rows.open(path, resume=False)
    keep.add(ROW)
    again = Rows.open(path, resume=True)
    case = Case(link="unlimited", mode=Mode.HYBRID)
    assert 1 == again.count(case)
    assert again.rows[0].completed
    with pytest.raises(SystemExit, match="--resume"):
        Rows.open(path, resume=False)


def test_a_pattern_chooses_cases_and_one_that_matches_none_is_said():
    cases = [Case(link=link, mode=Mode.AUTO, rate_mb_s=50.0) for link in ("gbe", "unlimited")]
    assert [cases[0]] == chosen(cases, Namespace(rows="gbe/*", list=False))
    with pytest.raises(SystemExit, match="no case"):
        chosen(cases, Namespace(rows="lan/*", list=False))


def test_a_comparison_that_could_not_be_made_is_no_equal_memory():
    claims = integrity([ROW, replace(ROW, mismatched_pages=-1)])
    assert [True, False] == [claim.holds for claim in claims]


def test_steps_are_read_from_a_real_machines_story():
    machine = Migration(
        MigrationSpec(
            id="m",
            vm="vm",
            source="a",
            destination="b",
            epoch=2,
            memory_bytes=1 << 20,
            mode=Mode.HYBRID,
        )
    )
    now = 10.0
    (command,) = machine.handle(Begun(), now=now)
    answered = {}
    while not machine.finished:
        now += 1.0
        match command:
            case SendDirty():
                answer = Succeeded(reply_to=command.seq, pages_sent=256, pages_dirty=7)
            case SendState():
                answer = Succeeded(reply_to=command.seq, pages_dirty=7)
            case _:
                answer = Succeeded(reply_to=command.seq)
        answered[type(command)] = now
        commands = machine.handle(answer, now=now)
        command = commands[0] if commands else None
    steps = steps_of(machine.story, 10.0)
    assert 7 == steps.missing_pages
    assert answered[Prepare] - 10.0 == steps.prepare_s
    assert answered[SendRemainder] - 10.0 == steps.last_page_s


def test_pages_written_are_those_between_the_request_and_the_stun():
    case = Case(link="gbe", mode=Mode.HYBRID, rate_mb_s=1.0, working_set_mib=1, pattern="sweep")
    probes = Probes(writes=[(0.0, 1, 10), (1.0, 1, 20), (2.0, 1, 70), (3.0, 2, 500)])
    assert 50 == _written_pages(case, probes, 1.5, epoch=2)


def test_a_line_ignores_a_few_late_points():
    points = [(x, 0.5 + 2.0 * x) for x in range(1, 10)]
    points[3] = (4.0, 100.0)
    slope, start = line(points, default=(1.0, 1.0))
    assert [2.0, 0.5] == [pytest.approx(slope), pytest.approx(start)]
    assert (3.0, 4.0) == line([(1.0, 1.0)], default=(3.0, 4.0))


def test_a_calibration_is_found_again_from_rows_that_it_predicted():
    known = Calibration(
        copy_rate_bytes_per_second_max=2e9,
        prepare_s=0.05,
        round_s=0.01,
        quiesce_s=0.002,
        state_s=0.003,
        commit_s=0.004,
        resume_s=0.005,
        scan_s_per_gib=0.001,
        state_bytes=50_000.0,
        bitmap_bytes_per_page=0.125,
    )
    rows = []
    for mib in (64, 256, 1024):
        row = replace(ROW, memory_mib=mib)
        said = predicted(known, row)
        parts = {
            "quiesce": 0.002,
            "scan": 0.001 * mib / 1024,
            "copy": 0.0,
            "state": 0.003,
            "commit": 0.004,
            "resume": 0.005,
        }
        rows.append(
            replace(
                row,
                prepare_s=0.05,
                round_s=tuple(one.duration_s for one in said.rounds),
                round_bytes=tuple(int(one.sent_bytes) for one in said.rounds),
                downtime_bytes=int(said.downtime_bytes),
                parts_s=parts,
                duration_s=said.duration_s,
            )
        )
    found = fit(rows)
    for name in (
        "copy_rate_bytes_per_second_max",
        "prepare_s",
        "round_s",
        "quiesce_s",
        "state_s",
        "commit_s",
        "resume_s",
        "scan_s_per_gib",
        "state_bytes",
        "bitmap_bytes_per_page",
    ):
        assert getattr(known, name) == pytest.approx(getattr(found, name), rel=1e-3), name
    assert np.isfinite(found.demand_fault_s)
