"""Runs the commands of docs/howto.md on a real cluster, and writes what they print into the page.

    python docs/howto.py             writes the page anew
    python docs/howto.py --check     exits with 1 if it shows something else than happens
    python docs/howto.py --page docs/operating.md

What differs from run to run (codes, times, loads) is compared by its form alone.
"""

import argparse
import difflib
import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

PAGE = Path(__file__).with_name("howto.md")
EXAMPLES = PAGE.parent.parent / "examples"
_BLOCK = re.compile(r"```console\n(.*?)```", re.DOTALL)
_CODE = re.compile(r"\b[A-Z2-7]{5}(?:-[A-Z2-7]{1,5}){3,}\b")
_COMMAND_S_MAX = 150.0
_DOWN = "vmotion down"
# What is another every time: the pattern, and what stands for it. Columns may shift with it.
_MASKS = (
    (_CODE, "CODE"),
    (re.compile(r"\b20\d\d-\d\d-\d\d\b"), "DAY"),
    (re.compile(r"\b[tm]\d{4}\b"), "ID"),
    (re.compile(r"\d[\d.,]*(?=\s?(?:%|ms|s|MB|MiB|MHz|KiB)(?:\b|$|,|\s))"), "N"),
    (re.compile(r"imbalance \d\.\d+"), "imbalance N"),
    (re.compile(r"[ \t]+"), " "),
    (re.compile(r" +$", re.MULTILINE), ""),
)


def masked(text: str) -> str:
    """Return a text without what is another every time."""
    for pattern, word in _MASKS:
        text = pattern.sub(word, text)
    return text


def ran(page: str) -> str:
    """Return the page with what its commands print now, in an empty directory of their own."""
    codes: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="vmotion-howto-") as directory:
        place = Path(directory)
        environment = {
            **os.environ,
            "VMOTION_VENDOR_DIR": str(place / "vendor"),
            "VMOTION_STATE_DIR": str(place / "state"),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "COLUMNS": "110",
            "TERM": "dumb",
        }
        (place / "examples").symlink_to(EXAMPLES)
        try:
            return _BLOCK.sub(lambda block: _block(block[1], place, environment, codes), page)
        finally:
            _say(_DOWN, place, environment)


def _block(text: str, place: Path, environment: dict[str, str], codes: dict[str, str]) -> str:
    shown: list[str] = []
    for command, _ in _commands(text):
        real = _CODE.sub(lambda code: _bought(code[0], codes), command)
        after = _say(real, place, environment).replace(f"{place}/", "")
        for code in _CODE.findall(after):
            if code not in codes.values():
                codes[f"bought {len(codes)}"] = code
        shown.append(f"$ {real}\n{after}")
    return f"```console\n{''.join(shown)}```"


def _bought(shown: str, codes: dict[str, str]) -> str:
    """Return the real code that one of the page stands for: the first that no other one does."""
    if shown not in codes:
        waiting = next((name for name in codes if name.startswith("bought ")), None)
        codes[shown] = shown if waiting is None else codes.pop(waiting)
    return codes[shown]


def shows_output(page: str) -> bool:
    """Return whether anything is shown below the page's commands: it has been run once."""
    return any(shown for block in _BLOCK.findall(page) for _, shown in _commands(block))


def _commands(text: str) -> list[tuple[str, str]]:
    """Each command of a block, and what the page shows below it."""
    found: list[tuple[str, str]] = []
    for line in text.splitlines(keepends=True):
        if line.startswith("$ "):
            found.append((line[2:].strip(), ""))
        elif found:
            command, before = found[-1]
            found[-1] = (command, before + line)
    return found


def _say(command: str, place: Path, environment: dict[str, str]) -> str:
    """Return what a command prints, errors included."""
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=place,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_COMMAND_S_MAX,
        check=False,
    )
    print(f"$ {command}\n{done.stdout}", end="", file=sys.stderr, flush=True)
    return done.stdout


def difference(page: str, real: str) -> str:
    """Return where a page shows something else than happened; "" if nowhere."""
    return "\n".join(
        difflib.unified_diff(
            masked(page).splitlines(), masked(real).splitlines(), "shown", "real", lineterm="", n=1
        )
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare only")
    parser.add_argument("--page", type=Path, default=PAGE, help="such as docs/operating.md")
    options = parser.parse_args()
    # Terminated, it takes its cluster down, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    page = options.page.read_text(encoding="utf-8")
    real = ran(page)
    if not options.check:
        options.page.write_text(real, encoding="utf-8")
        return 0
    found = difference(page, real)
    print(found)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
