"""How far a simulation has come: the live view on a terminal, lines elsewhere."""

from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console

from cluster.cli.virtual_showing import virtual_state
from cluster.inventory.model import Scenario
from cluster.observe.live import EVENTS_SHOWN, TerminalView
from cluster.simulation.recording import Recorder
from cluster.simulation.world import World

# On a terminal often enough to look alive; as lines seldom enough to be read.
_REDRAW_S = 0.1
_LINE_S = 5.0


def open_progress(
    console: Console, scenario: Scenario, *, plain: bool, clock: Callable[[], float]
) -> "LiveProgress | LineProgress":
    """Return the progress that fits: a picture on a terminal, lines elsewhere or when asked for."""
    if plain or not console.is_terminal:
        return LineProgress(console, scenario.duration_s, clock)
    return LiveProgress(console, scenario, clock)


class LineProgress:
    """A line every few seconds; a simulation that is shorter prints none."""

    def __init__(self, console: Console, duration_s: float, clock: Callable[[], float]) -> None:
        self._console = console
        self._duration_s = duration_s
        self._clock = clock
        self._began_s = self._said_s = clock()

    def look(self, world: World, _recorder: Recorder) -> None:
        """Say where the simulation is."""
        now_s = self._clock()
        if now_s - self._said_s >= _LINE_S:
            self._said_s = now_s
            text = progress_text(world.clock.now, self._duration_s, now_s - self._began_s)
            self._console.print(text)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None


class LiveProgress:
    """The live view of a run, ten times a second at most, and the speed of virtual time below it."""

    def __init__(self, console: Console, scenario: Scenario, clock: Callable[[], float]) -> None:
        self._scenario = scenario
        self._clock = clock
        self._began_s = clock()
        self._drawn_s = float("-inf")
        self._noted = 0
        self._view = TerminalView(console)

    def look(self, world: World, recorder: Recorder) -> None:
        """Draw the simulation as it is."""
        now_s = self._clock()
        duration_s = self._scenario.duration_s
        if now_s - self._drawn_s < _REDRAW_S and world.clock.now < duration_s:
            return
        self._drawn_s = now_s
        for event in recorder.events[max(self._noted, len(recorder.events) - EVENTS_SHOWN) :]:
            self._view.note(event)
        self._noted = len(recorder.events)
        speed = progress_text(world.clock.now, duration_s, now_s - self._began_s)
        self._view.show(virtual_state(self._scenario, world, recorder, (f"simulated: {speed}",)))

    def __enter__(self) -> Self:
        self._view.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._view.__exit__(kind, error, trace)


def progress_text(virtual_s: float, duration_s: float, elapsed_s: float) -> str:
    """Return virtual time, virtual seconds a second, and seconds to the end at that speed."""
    speed = virtual_s / elapsed_s if elapsed_s > 0 else 0.0
    left = f", {(duration_s - virtual_s) / speed:,.0f} s left" if speed > 0 else ""
    return (
        f"{span(virtual_s)} of {span(duration_s)} ({100 * virtual_s / duration_s:.0f} %), "
        f"{speed:,.0f} times real time{left}"
    )


def span(seconds: float) -> str:
    """Return hours, minutes and seconds as people write them."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"
