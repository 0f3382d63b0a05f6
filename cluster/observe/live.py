"""The live view of a run in the terminal, and plain lines where there is none.

The run's loop fills a `LiveState` and shows it; a view decides nothing.
"""

from collections import deque
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from cluster.observe import words
from cluster.observe.record import EventKind, EventRow

EVENTS_SHOWN = 6
HOSTS_MAX = 16
MIGRATIONS_MAX = 10
BAR_WIDTH = 13
PROGRESS_WIDTH = 8
SPARK_WIDTH = 48
PLAIN_EVERY_S = 5.0
_BARS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveHost:
    """One host now; loads are shares of its capacity."""

    name: str
    cpu_load: float
    memory_load: float
    vms: int
    state: str
    tx_bytes_per_second: float = 0.0
    rx_bytes_per_second: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveMigration:
    """A migration under way.

    Attributes:
        phase: In a word or two: round, switchover, remainder.
        progress: 0 to 1 of the present round.
    """

    vm: str
    source: str
    destination: str
    phase: str
    round: int
    rate_bytes_per_second: float
    dirty_pages: int
    progress: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveDrs:
    """What DRS has done so far; `next_s` is when it looks again, in the run's time."""

    passes: int = 0
    recommended: int = 0
    applied: int = 0
    next_s: float | None = None
    solving: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveState:
    """Everything that a view shows.

    Attributes:
        duration_s: None where nothing says when it ends.
        imbalance: The latest samples, the newest last.
        imbalance_max: Of all samples; of those in `imbalance` if None.
        problems: What somebody should look at, a sentence each.
        footnotes: Where metrics are served, which tracker is used, and the like.
    """

    scenario: str
    time_s: float
    duration_s: float | None
    hosts: tuple[LiveHost, ...] = ()
    migrations: tuple[LiveMigration, ...] = ()
    imbalance: tuple[float, ...] = ()
    imbalance_max: float | None = None
    imbalance_target: float | None = None
    completed: int = 0
    failed: int = 0
    refused: int = 0
    queued: int = 0
    drs: LiveDrs | None = None
    problems: tuple[str, ...] = ()
    footnotes: tuple[str, ...] = ()


class View(Protocol):
    """Shows a run while it runs; a context manager."""

    def show(self, state: LiveState) -> None:
        """Show this state from now on."""

    def note(self, event: EventRow) -> None:
        """Show something that happened; each event is noted once."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


def open_view(console: Console) -> "TerminalView | PlainView":
    """Return the view that fits: drawn on a terminal, plain lines elsewhere."""
    return TerminalView(console) if console.is_terminal else PlainView(console)


class TerminalView:
    """Redraws the whole picture in place; what was last shown stays when it ends."""

    def __init__(self, console: Console) -> None:
        self._events: deque[EventRow] = deque(maxlen=EVENTS_SHOWN)
        self._state: LiveState | None = None
        self._live = Live(console=console, auto_refresh=False, vertical_overflow="crop")

    def show(self, state: LiveState) -> None:
        self._state = state
        self._live.update(render(state, tuple(self._events)), refresh=True)

    def note(self, event: EventRow) -> None:
        self._events.append(event)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._state is not None:
            self._live.update(render(self._state, tuple(self._events)), refresh=True)
        self._live.stop()


class PlainView:
    """Prints a line for each event, and the state every few seconds of the run's time."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._next_s = 0.0

    def show(self, state: LiveState) -> None:
        if state.time_s >= self._next_s:
            self._next_s = state.time_s + PLAIN_EVERY_S
            self._print(status_line(state))

    def note(self, event: EventRow) -> None:
        self._print(f"{words.clock(event.time_s)}  {event.text}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is open."""

    def _print(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


def status_line(state: LiveState) -> str:
    """The state in one line without colour."""
    parts = [
        f"{len(state.migrations)} migrating",
        f"{state.completed} completed",
        *([f"{state.failed} failed"] if state.failed else []),
        *([f"{state.refused} refused"] if state.refused else []),
        *([f"{state.queued} waiting"] if state.queued else []),
        *([f"imbalance {state.imbalance[-1]:.3f}"] if state.imbalance else []),
    ]
    if state.hosts:
        busiest = max(state.hosts, key=lambda host: host.cpu_load)
        parts.append(f"busiest {busiest.name} at {busiest.cpu_load:.0%} CPU")
    return f"{words.clock(state.time_s)}  {', '.join(parts)}"


def render(state: LiveState, events: tuple[EventRow, ...]) -> RenderableType:
    """Draw a state; pure."""
    parts: list[RenderableType] = [_head(state), "", _hosts(state), "", _balance(state)]
    if state.migrations:
        parts += ["", _migrations(state)]
    if events:
        parts += ["", _events(events)]
    if state.problems:
        parts += ["", Text("\n".join(state.problems), style="red", overflow="fold")]
    if state.footnotes:
        parts += ["", Text("  ".join(state.footnotes), style="dim", overflow="fold")]
    return Panel(Group(*parts), title=f" {state.scenario} ", title_align="left", border_style="dim")


def _head(state: LiveState) -> RenderableType:
    line = Table.grid(padding=(0, 2))
    counts = Text.assemble(
        (f"{len(state.migrations)}", "bold cyan"),
        " migrating  ",
        (f"{state.completed}", "bold green"),
        " completed",
    )
    if state.queued:
        counts.append(f"  {state.queued} waiting")
    if state.failed:
        counts.append(f"  {state.failed} failed", style="bold red")
    if state.refused:
        counts.append(f"  {state.refused} refused", style="yellow")
    clock = words.clock(state.time_s)
    if state.duration_s is None:
        line.add_row(Text(clock, style="bold"), counts)
    else:
        line.add_row(
            Text(f"{clock} / {words.clock(state.duration_s)}", style="bold"),
            _progress(state.time_s / max(state.duration_s, 1e-9), width=24),
            counts,
        )
    return line


def _hosts(state: LiveState) -> RenderableType:
    shown = sorted(state.hosts, key=lambda host: -host.cpu_load)[:HOSTS_MAX]
    table = Table(box=None, padding=(0, 1), header_style="dim", expand=False)
    for name in ("host", "CPU", "", "memory", ""):
        table.add_column(name, no_wrap=True)
    for name in ("VMs", "sends", "receives"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for host in state.hosts:
        if host not in shown:
            continue
        table.add_row(
            host.name,
            _bar(host.cpu_load),
            _percent(host.cpu_load),
            _bar(host.memory_load),
            _percent(host.memory_load),
            f"{host.vms}",
            _rate(host.tx_bytes_per_second),
            _rate(host.rx_bytes_per_second),
            Text("" if host.state == "connected" else host.state.replace("_", " "), style="yellow"),
        )
    return _with_more(table, len(state.hosts) - len(shown), "cooler hosts")


def _balance(state: LiveState) -> RenderableType:
    line = Text()
    line.append("imbalance  ", style="dim")
    if state.imbalance:
        line.append(f"{state.imbalance[-1]:.3f} ", style="bold")
        line.append(sparkline(state.imbalance, SPARK_WIDTH), style="cyan")
        highest = max(state.imbalance) if state.imbalance_max is None else state.imbalance_max
        line.append(f"  highest {highest:.3f}", style="dim")
    if state.imbalance_target is not None:
        line.append(f", target {state.imbalance_target:.3f}", style="dim")
    if state.drs is not None:
        drs = state.drs
        line.append("\nDRS        ", style="dim")
        line.append(
            f"{words.count(drs.passes, 'pass', 'passes')}, {drs.recommended} recommended, "
            f"{drs.applied} applied"
        )
        if drs.solving:
            line.append("  solving …", style="bold yellow")
        elif drs.next_s is not None:
            line.append(f"  next in {max(drs.next_s - state.time_s, 0):.0f} s", style="dim")
    return line


def _migrations(state: LiveState) -> RenderableType:
    table = Table(box=None, padding=(0, 1), header_style="dim")
    for name in ("migrating", "", "phase"):
        table.add_column(name, no_wrap=True)
    for name in ("round", "rate", "dirty pages"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for one in state.migrations[:MIGRATIONS_MAX]:
        table.add_row(
            Text(one.vm, style="bold"),
            f"{one.source} → {one.destination}",
            one.phase,
            f"{one.round}",
            words.rate(one.rate_bytes_per_second),
            f"{one.dirty_pages:,}",
            _progress(one.progress, width=PROGRESS_WIDTH),
        )
    return _with_more(table, len(state.migrations) - MIGRATIONS_MAX, "more")


def _with_more(table: Table, more: int, what: str) -> RenderableType:
    """Say how many rows are not in the table."""
    return Group(table, Text(f" and {more:,} {what}", style="dim")) if more > 0 else table


def _events(events: tuple[EventRow, ...]) -> RenderableType:
    lines = Text(no_wrap=True, overflow="ellipsis")
    for index, event in enumerate(events):
        if index:
            lines.append("\n")
        lines.append(f"{words.clock(event.time_s)}  ", style="dim")
        lines.append(event.text, style=_EVENT_STYLES.get(event.kind, ""))
    return lines


_EVENT_STYLES = {
    EventKind.DRS_PASSED: "cyan",
    EventKind.VM_FAILED: "bold red",
    EventKind.INTEGRITY_FAILED: "bold red",
    EventKind.HOST_CHANGED: "yellow",
}


def sparkline(values: tuple[float, ...], width: int) -> str:
    """The newest values as bars an eighth of a line high each; the highest fills the line."""
    recent = values[-width:]
    top = max(recent, default=0.0)
    if top <= 0:
        return _BARS[0] * len(recent)
    return "".join(_BARS[min(int(max(value, 0.0) / top * 8), 7)] for value in recent)


def _bar(load: float) -> Text:
    """A bar of BAR_WIDTH cells, full at 100 %; the colour only repeats what the length says."""
    filled = round(min(max(load, 0.0), 1.0) * BAR_WIDTH)
    colour = "red" if load > 1.0 else "yellow" if load > 0.8 else "green"
    bar = Text("█" * filled, style=colour)
    bar.append("░" * (BAR_WIDTH - filled), style="dim")
    return bar


def _progress(share: float, *, width: int) -> ProgressBar:
    return ProgressBar(
        total=1.0,
        completed=min(max(share, 0.0), 1.0),
        width=width,
        complete_style="cyan",
        finished_style="cyan",
    )


def _percent(load: float) -> Text:
    return Text(f"{load:4.0%}", style="bold red" if load > 1.0 else "")


def _rate(rate_bytes_per_second: float) -> str:
    return words.rate(rate_bytes_per_second) if rate_bytes_per_second >= 1000 else "–"
