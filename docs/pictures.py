"""Takes the README's pictures from a real run: the terminal's live view, and the report.

    python docs/pictures.py [SCENARIO] [--at SECONDS]

Needs tmux and chromium. The live view is what stands on a 110 × 34 terminal `--at` seconds
after all VMs are up; the report is that of the same run, once it has ended, down to the end of its
third figure. A picture is as high as what it shows.
"""

import argparse
import io
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).parent.parent
PICTURES = ROOT / "docs" / "pictures"
COLUMNS, LINES = 110, 34  # as many lines as eight migrations at once need
SILENCE_S_MAX = 240.0


def tmux(*words: str) -> str:
    """Run tmux on a server of our own."""
    return subprocess.run(
        ["tmux", "-L", "vmotion-pictures", *words], check=True, capture_output=True, text=True
    ).stdout


def screen() -> str:
    """Return what stands on the terminal, with its colours."""
    return tmux("capture-pane", "-t", "run", "-p", "-e")


def until(part: str) -> str:
    """Wait for a text on the terminal."""
    end = time.monotonic() + SILENCE_S_MAX
    while part not in screen():
        if time.monotonic() > end:
            raise TimeoutError(f"{part!r} has not appeared; there is: {screen()}")
        time.sleep(0.1)
    return screen()


def run_in_terminal(scenario: str, out: str, at_s: float) -> str:
    """Run the scenario in a terminal; return the view at `at_s` when it has ended."""
    command = f"{sys.executable} -m cluster.cli run {scenario} --out {out}; echo the-run-is-over; sleep 60"
    size = ("-x", str(COLUMNS), "-y", str(LINES))
    tmux("new-session", "-d", "-s", "run", *size, command)
    try:
        until("VMs")  # the table of hosts
        until("migrating")
        end = time.monotonic() + SILENCE_S_MAX
        clock = f"{int(at_s) // 60:02}:{int(at_s) % 60:02}"
        while f"{clock} /" not in Text.from_ansi(screen()).plain:
            if time.monotonic() > end:
                raise TimeoutError(f"the run has not come to {clock}")
            time.sleep(0.1)
        view = screen()
        until("the-run-is-over")
    finally:
        tmux("kill-server")
    return view


# Appended to a page: everything after the third figure goes, and the page tells how high it is then.
SHORTENED = """
<style>section:nth-of-type(n+4), details { display: none } body { margin: 0 }</style>
<script>setTimeout(() => document.body.dataset.height =
  Math.ceil(document.querySelector("main, svg").getBoundingClientRect().bottom), 3000)</script>
"""


def chromium(*words: str) -> str:
    """Run a headless Chromium, which leaves nothing behind; return what it prints."""
    with tempfile.TemporaryDirectory() as profile:
        return subprocess.run(
            [
                *("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
                *("--disable-quic", "--disable-background-networking", "--disable-sync"),
                *("--disable-component-update", "--hide-scrollbars", f"--user-data-dir={profile}"),
                *("--virtual-time-budget=5000", *words),
            ],
            check=True,
            capture_output=True,
            text=True,
        ).stdout


def shoot(page: Path, picture: Path, width: int) -> None:
    """Take a screenshot of a page down to the end of its third figure."""
    page.write_text(page.read_text() + SHORTENED)
    dom = chromium(f"--window-size={width},1000", "--dump-dom", page.as_uri())
    told = re.search(r'<body[^>]* data-height="(\d+)"', dom)
    if told is None:
        raise RuntimeError(f"{page} does not say how high it is")
    chromium(f"--window-size={width},{told[1]}", f"--screenshot={picture}", page.as_uri())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenario", nargs="?", default=str(ROOT / "examples" / "quickstart.toml"))
    parser.add_argument("--at", type=float, default=36.0)
    options = parser.parse_args()
    for tool in ("tmux", "chromium"):
        if shutil.which(tool) is None:
            raise SystemExit(f"{tool} is not installed: apt-get install {tool}")
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as out:
        view = run_in_terminal(options.scenario, out, options.at)
        console = Console(record=True, width=COLUMNS, file=io.StringIO())
        shown = Text.from_ansi(view)
        shown.rstrip()
        console.print(shown)
        page = Path(out) / "live.html"
        drawn = console.export_svg(title="vmotion run examples/quickstart.toml")
        page.write_text(f"<!doctype html><meta charset='utf-8'><body>{drawn}")
        shoot(page, PICTURES / "live.png", 1400)
        shoot(Path(out) / "report.html", PICTURES / "report.png", 1280)


if __name__ == "__main__":
    main()
