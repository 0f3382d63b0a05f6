"""The live view: what it shows, and plain lines where there is no terminal."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from cluster.observe.live import (
    HOSTS_MAX,
    LiveDrs,
    LiveHost,
    LiveMigration,
    LiveState,
    PlainView,
    TerminalView,
    open_view,
    render,
    sparkline,
)
from cluster.observe.record import EventKind, EventRow


def state(time_s=34.0, hosts=4, migrations=2, **changes):
    return LiveState(
        **{
            "scenario": "quickstart",
            "time_s": time_s,
            "duration_s": 60.0,
            "hosts": tuple(
                LiveHost(
                    name=f"esx-{host + 1}",
                    cpu_load=1.12 - 0.2 * host / hosts,
                    memory_load=0.4,
                    vms=3,
                    state="connected" if host else "entering_maintenance",
                    tx_bytes_per_second=9e7,
                )
                for host in range(hosts)
            ),
            "migrations": tuple(
                LiveMigration(
                    vm=f"web-{number}",
                    source="esx-1",
                    destination="esx-2",
                    phase="pre-copy",
                    round=3,
                    rate_bytes_per_second=4.5e7,
                    dirty_pages=12_345,
                    progress=0.5,
                )
                for number in range(migrations)
            ),
            "imbalance": (0.02, 0.3, 0.2, 0.064),
            "completed": 5,
            "failed": 1,
            "refused": 3,
            "drs": LiveDrs(passes=6, recommended=9, applied=8, next_s=38.0),
            "footnotes": ("metrics http://127.0.0.1:9400/metrics",),
        }
        | changes
    )


def event(time_s, text):
    return EventRow(time_s=time_s, kind=EventKind.NOTE, text=text)


def drawn(shown, *events, width=110):
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(render(shown, events))
    return console.file.getvalue()


def test_a_picture_shows_hosts_migrations_imbalance_drs_and_events():
    text = drawn(state(), event(33.0, "web-7 has arrived"))
    for words in (
        "00:34 / 01:00",
        "2 migrating",
        "1 failed",
        "3 refused",
        "112%",
        "entering maintenance",
        "esx-1 → esx-2",
        "45 MB/s",
        "12,345",
        "0.064",
        "highest 0.300",
        "6 passes, 9 recommended, 8 applied",
        "next in 4 s",
        "00:33  web-7 has arrived",
        "http://127.0.0.1:9400/metrics",
    ):
        assert words in text, words


def test_nothing_is_cut_off_at_80_columns():
    hosts = tuple(
        LiveHost(
            name=f"esx-{host}",
            cpu_load=0.5,
            memory_load=0.5,
            vms=3,
            state="connected",
            tx_bytes_per_second=1.25e8,
            rx_bytes_per_second=1.25e8,
        )
        for host in range(4)
    )
    text = drawn(replace(state(), hosts=hosts), width=80)
    assert "…" not in text
    assert 8 == text.count("125 MB/s")


def test_many_hosts_are_cut_to_the_busiest():
    text = drawn(state(hosts=1000))
    assert f"and {1000 - HOSTS_MAX} cooler hosts" in text
    assert "esx-1 " in text


def test_a_state_with_nothing_in_it_can_be_drawn():
    assert "00:00 / 00:00" in drawn(LiveState(scenario="empty", time_s=0.0, duration_s=0.0))


@pytest.mark.parametrize(
    ("values", "expected"),
    [((), ""), ((0.0, 0.0), "▁▁"), ((0.0, 0.5, 1.0), "▁▅█"), ((9.0, 1.0, 2.0), "▅█")],
)
def test_a_sparkline_shows_the_newest_values_against_their_highest(values, expected):
    assert expected == sparkline(values, 3 if len(values) < 3 or values[0] < 9 else 2)


def test_the_view_is_chosen_by_what_the_console_is():
    terminal = Console(file=io.StringIO(), force_terminal=True)
    pipe = Console(file=io.StringIO(), force_terminal=False)
    assert isinstance(open_view(terminal), TerminalView)
    assert isinstance(open_view(pipe), PlainView)


def test_plain_lines_are_one_an_event_and_the_state_every_few_seconds():
    console = Console(file=io.StringIO(), force_terminal=False, width=40)
    with PlainView(console) as view:
        for second in range(12):
            view.show(state(time_s=float(second)))
        view.note(event(11.5, "[web-7]: a long line that would be wrapped on a narrow terminal"))
    lines = console.file.getvalue().splitlines()
    assert ["00:00", "00:05", "00:10", "00:11"] == [line[:5] for line in lines]
    assert (
        "00:00  2 migrating, 5 completed, 1 failed, 3 refused, imbalance 0.064, busiest esx-1 at 112% CPU"
        == lines[0]
    )
    assert lines[3].endswith("[web-7]: a long line that would be wrapped on a narrow terminal")


def test_the_terminals_last_picture_stays():
    console = Console(file=io.StringIO(), force_terminal=True, width=100, height=40)
    with TerminalView(console) as view:
        view.show(state(time_s=1.0))
        view.note(event(59.0, "the last event"))
        view.show(state(time_s=60.0))
    last = console.file.getvalue().rpartition("quickstart")[2]
    assert "01:00 / 01:00" in last
    assert "the last event" in last


def test_a_cluster_without_an_end_has_a_clock_and_its_problems():
    text = drawn(state(duration_s=None, problems=("esx-3 is not responding",)))
    assert "00:34  " in text
    assert "/ " not in text.splitlines()[1]
    assert "esx-3 is not responding" in text
