"""Figures in words."""

from dataclasses import replace

import pytest

from cluster.observe import words
from cluster.observe.record import Counts, Integrity
from cluster.observe.story import story, summary_text


def test_a_live_run_is_told_in_five_sentences_with_its_figures(run):
    sentences = story(run.summary)
    assert 5 == len(sentences)
    assert all(sentence.endswith(".") for sentence in sentences)
    told = " ".join(sentences)
    for figure in (
        words.seconds(run.summary.downtime_s.p50),
        words.seconds(run.summary.client_blackout_s.max),
        f"{run.summary.imbalance.start:.3f}",
        "16 completed",
        "11 times",
    ):
        assert figure in told


def test_what_is_not_known_is_not_told(run):
    unknown = replace(
        run.summary, downtime_s=None, imbalance=None, integrity=None, client_blackout_s=None
    )
    assert 2 == len(story(unknown))
    text = summary_text(unknown)
    for word in ("downtime", "blackout", "imbalance", "integrity"):
        assert word not in text


def test_a_run_without_migrations_says_so(run):
    none = replace(
        run.summary, migrations=Counts(started=0, completed=0, aborted=0, lost=0, refused=0)
    )
    assert "No VM was migrated." in story(none)


def test_a_violation_is_told_plainly(run):
    broken = Integrity(vms_checked=12, mismatched_pages=3, lost_requests=1, duplicated_requests=0)
    assert story(replace(run.summary, integrity=broken))[-1] == (
        "Integrity was violated: 3 pages mismatched, 1 requests lost, 0 done twice."
    )


def test_the_end_of_a_run_in_aligned_lines(run):
    lines = summary_text(run.summary).splitlines()
    assert "quickstart (live, seed 1): 4 hosts, 12 VMs, 60 s" == lines[0]
    assert "  migrations      16 of 18 completed, 2 aborted" == lines[1]
    assert lines[-1] == (
        "  integrity       12 VMs checked, no mismatched pages, no lost requests, "
        "no duplicated requests"
    )
    assert {18} == {len(line) - len(line[18:]) for line in lines[1:]}
    assert all(line[17] == " " != line[18] for line in lines[1:])


@pytest.mark.parametrize(
    ("value_s", "text"),
    [
        (0, "0 s"),
        (0.00034, "340 µs"),
        (0.0165, "16.5 ms"),
        (0.9999, "1 s"),
        (1.25, "1.25 s"),
        (999.4, "999 s"),
        (4500, "75 min"),
    ],
)
def test_seconds_take_the_unit_that_fits(value_s, text):
    assert text == words.seconds(value_s)


@pytest.mark.parametrize(
    ("value_bytes", "text"),
    [(4096, "4 KiB"), (64 << 20, "64 MiB"), (3 << 29, "1.5 GiB"), (1 << 41, "2.0 TiB")],
)
def test_memory_is_counted_in_binary_units(value_bytes, text):
    assert text == words.size(value_bytes)


@pytest.mark.parametrize(
    ("rate", "text"), [(5e3, "5 kB/s"), (1.25e8, "125 MB/s"), (1.25e9, "1.25 GB/s")]
)
def test_links_are_counted_in_decimal_units(rate, text):
    assert text == words.rate(rate)


def test_counts_agree_with_their_nouns():
    assert ["no hosts", "1 host", "1,000 hosts"] == [
        words.count(number, "host") for number in (0, 1, 1000)
    ]


def test_the_clock_has_hours_when_there_are_any():
    assert ["00:00", "01:05", "2:00:01"] == [words.clock(time_s) for time_s in (0, 65, 7201)]
