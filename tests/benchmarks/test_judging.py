"""What the benchmarks claim of rows: a bar that is missed must be told, and one that is met too."""

from dataclasses import replace

import against_qemu
import blackout
import brownout
import demand_faults
import dirty_bytes
import fewer_bytes
import line_rate
import numpy as np
import prediction
import pytest
import recovery
import throughput
from benchmarks.rows import ROW
from cases import Case, Rows
from qemu_rounds import MULTIFD, POSTCOPY, PRECOPY, Contest, Ended

from cluster.inventory.model import Mode
from cluster.memory.tracker import TrackerKind
from cluster.page import MIB


def holding(claims):
    return {claim.claim: claim.holds for claim in claims}


@pytest.mark.parametrize(("blackout_s", "holds"), [(0.019, True), (0.021, False)])
def test_a_median_blackout_over_20_ms_is_told(blackout_s, holds):
    case = Case(link="gbe", mode=Mode.HYBRID, rate_mb_s=200.0)
    row = replace(ROW, case=case.name, link="gbe", blackout_s=blackout_s)
    claims = blackout.claims_of(case, [row] * 3)
    assert holds == holding(claims)["blackout, median"]
    assert all(held for name, held in holding(claims).items() if "median" not in name)
    keep = Rows(rows=[row])
    assert "| gbe/hybrid/200 | 1 |" in blackout.table([case], keep)


def test_bytes_may_be_115_percent_of_memory_and_the_pages_written():
    assert 1.15 * 1024 * MIB + 10 * 4096 == blackout.bytes_bar(replace(ROW, written_pages=10))


@pytest.mark.parametrize(("copy", "holds"), [(10e9, True), (20e9, False)])
def test_throughput_is_judged_against_memcpy_of_the_same_run(copy, holds):
    case = Case(link="unlimited", mode=Mode.HYBRID, hashed=False)
    row = replace(ROW, case=case.name, memcpy_bytes_per_second=copy)
    claims = throughput.claims_of(case, [row] * 3, 4e9, 3000.0)
    assert holds == holding(claims)["of a single-thread memcpy"]
    assert holding(claims)["of QEMU's multifd"]
    assert "| unlimited/hybrid/0/unhashed | 1 | 3579 |" in throughput.table(
        [case], Rows(rows=[row])
    )


def test_what_no_hypervisor_does_is_not_held_against_memcpy():
    case = Case(link="unlimited", mode=Mode.HYBRID)
    row = replace(ROW, memcpy_bytes_per_second=1e12)
    assert holding(throughput.claims_of(case, [row], 4e9, None))["of a single-thread memcpy"]


def test_a_blackout_that_grows_with_dirty_bytes_is_told():
    case = Case(link="gbe", mode=Mode.HYBRID)
    flat = [replace(ROW, case=case.name, missing_pages=mib * 256) for mib in (1, 512)]
    steep = [flat[0], replace(flat[1], blackout_s=0.1)]
    assert [True, True] == [claim.holds for claim in dirty_bytes.claims_of(flat)]
    assert not dirty_bytes.claims_of(steep)[0].holds
    assert "| 256 | 2 |" in dirty_bytes.table([case], Rows(rows=flat))


def test_a_working_set_of_which_more_than_a_fifth_faults_is_told():
    case = Case(link="gbe", mode=Mode.POSTCOPY, pattern="zipf")
    row = replace(ROW, demand_faults=65536 // 4, latency_us=(0, 0, 90, 10))
    claims = demand_faults.claims_of(case, [row])
    assert [False, True, True] == [claim.holds for claim in claims]
    assert [4.0, 8.0] == [claim.value for claim in claims[1:]]


def test_a_prediction_needs_a_hundred_migrations():
    few, many = [ROW] * 99, [ROW] * 100
    assert not prediction.claims_of(few, quick=False)[0].holds
    assert prediction.claims_of(many, quick=False)[0].holds
    assert not prediction.claims_of([replace(ROW, downtime_s=0.1)] * 100, quick=False)[0].holds


def test_eight_at_once_are_judged_by_the_link():
    one = line_rate.Transfer(
        memory_bytes=1 << 30, sent_bytes=1 << 30, busy_s=9.0, request_s=10.0, whole=True
    )
    slower = replace(one, request_s=11.0)
    assert holding(line_rate.claims_of("unlimited", [one], [slower], 1024))[
        "eight at once over one"
    ]
    assert not holding(line_rate.claims_of("gbe", [one], [slower], 1024))["eight at once over one"]


def test_a_brownout_compares_with_before():
    seen = [brownout.Brownout(before=1000.0, during=200.0, after=900.0, whole=True)]
    found = {
        (TrackerKind.WRITE_PROTECT, "gbe", Mode.HYBRID): seen,
        (TrackerKind.SHADOW, "gbe", Mode.PRECOPY): seen,
    }
    claims = brownout.claims_of(found, 128)
    assert not holding(claims[:3])["during the migration, of before"]
    assert 1.0 == next(c.value for c in claims if "at rest" in c.claim)
    answered = np.array([0.0, 0.1, 0.2, 0.9, 1.0])
    assert 4 / 0.3 == pytest.approx(brownout._rate(answered, 0.0, 1.0, without_longest_gap=True))


def test_qemu_that_does_not_end_is_no_peer():
    contest = Contest(link="gbe", memory_mib=1024, rate_mb_s=200.0, ways=(PRECOPY, POSTCOPY))
    ours = Ended(sent_bytes=1 << 30, total_s=10.0, asked_s=11.0, blackout_s=0.015, stall_s_sum=0.3)
    theirs = {
        PRECOPY: [Ended(sent_bytes=1 << 33)],
        POSTCOPY: [replace(ours, blackout_s=0.4, stall_s_sum=1.4, asked_s=None)],
    }
    mine = {Mode.HYBRID: [ours], Mode.AUTO: [ours]}
    claims = against_qemu.claims_of(contest, theirs, mine, "here")
    assert all(claim.holds for claim in claims)
    assert 3 == len(claims)
    lines = against_qemu.table(contest, theirs, mine)
    assert ["never within 75 s", "10.000", "10.000", "10.000"] == [line[3] for line in lines]


def test_multifd_is_the_peer_in_throughput():
    contest = Contest(link="unlimited", memory_mib=1024, rate_mb_s=0.0, ways=(MULTIFD,))
    theirs = {MULTIFD: [Ended(sent_bytes=1 << 30, total_s=0.3, blackout_s=0.2)]}
    slow = {Mode.HYBRID: [Ended(sent_bytes=1 << 30, total_s=0.4, blackout_s=0.01)]}
    claims = against_qemu.claims_of(contest, theirs, slow, "here")
    assert [True, False] == [claim.holds for claim in claims]


def test_a_vm_that_does_not_come_back_is_told():
    back = recovery.Recovery(told_s=0.2, answers_s=0.5, work_s=0.1, epoch_change=1, ended="")
    kind = recovery.KINDS[0]
    assert recovery.claims_of(kind, [back])[0].holds
    assert not recovery.claims_of(kind, [back, replace(back, answers_s=None)])[0].holds
    assert "host, with HA killed" in recovery.table({kind: [back]})


def test_a_technique_is_as_slow_as_its_slowest_part():
    saved = fewer_bytes.Saved(
        content="c",
        technique="t",
        pages=1,
        bytes_in=1000,
        bytes_out=100,
        encode_s=0.5,
        decode_s=0.1,
        plain_bytes=1000,
    )
    assert 0.25 == pytest.approx(saved.gain(1000.0))
