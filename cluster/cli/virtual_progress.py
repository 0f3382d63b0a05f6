"""How far a simulation has come: virtual time, speed and when it will end."""

from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

# On a terminal often enough to look alive; as lines seldom enough to be read.
_REDRAW_S = 0.1
_LINE_S = 5.0


def open_progress(
    console: Console, duration_s: float, *, plain: bool, clock: Callable[[], float]
) -> "BarProgress | LineProgress":
    """Return the progress that fits: a bar on a terminal, lines elsewhere or when asked for."""
    if plain or not console.is_terminal:
        return LineProgress(console, duration_s, clock)
    return BarProgress(console, duration_s, clock)


class LineProgress:
    """A line every few seconds; a simulation that is shorter prints none."""

    def __init__(self, console: Console, duration_s: float, clock: Callable[[], float]) -> None:
        self._console = console
        self._duration_s = duration_s
        self._clock = clock
        self._began_s = self._said_s = clock()

    def show(self, virtual_s: float) -> None:
        """Say that the simulation is there."""
        now_s = self._clock()
        if now_s - self._said_s >= _LINE_S:
            self._said_s = now_s
            self._console.print(progress_text(virtual_s, self._duration_s, now_s - self._began_s))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None


class BarProgress:
    """A bar that is drawn in place."""

    def __init__(self, console: Console, duration_s: float, clock: Callable[[], float]) -> None:
        self._duration_s = duration_s
        self._clock = clock
        self._began_s = clock()
        self._drawn_s = float("-inf")
        self._bar = Progress(
            BarColumn(), TextColumn("{task.description}"), console=console, auto_refresh=False
        )
        self._task = self._bar.add_task("", total=duration_s)

    def show(self, virtual_s: float) -> None:
        """Draw that the simulation is there."""
        now_s = self._clock()
        if now_s - self._drawn_s >= _REDRAW_S or virtual_s >= self._duration_s:
            self._drawn_s = now_s
            text = progress_text(virtual_s, self._duration_s, now_s - self._began_s)
            self._bar.update(self._task, completed=virtual_s, description=text, refresh=True)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()


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
