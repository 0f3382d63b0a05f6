"""Golden stories: whole migrations as text, prose on top, each event followed by what it did.

    REWRITE_STORIES=1 .venv/bin/pytest tests/migration/test_stories.py

writes the machine's side anew. Commit a change only if you know why it is there and want it.
"""

import os
from dataclasses import fields
from pathlib import Path

import pytest

from cluster.inventory.model import PAGE_BYTES, Mode
from cluster.migration import messages
from cluster.migration.machine import Migration
from cluster.migration.messages import HostLost, Role
from cluster.migration.spec import MigrationSpec

FILES = sorted((Path(__file__).parent / "stories").glob("*.txt"))


def value(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text.replace("_", " ")


def pairs(words: list[str]) -> dict:
    return {key: value(text) for key, text in (word.split("=", 1) for word in words)}


def spec(words: list[str]) -> MigrationSpec:
    given = pairs(words)
    return MigrationSpec(
        id="m1",
        vm="web-1",
        source="esx-1",
        destination="esx-2",
        epoch=2,
        memory_bytes=given.pop("memory_pages") * PAGE_BYTES,
        mode=Mode(given.pop("mode")),
        **given,
    )


def event(name: str, words: list[str]):
    if name == "HostLost":
        return HostLost(role=Role(words[0]))
    return getattr(messages, name)(**pairs(words))


def shown(command) -> str:
    given = (f"{field.name}={getattr(command, field.name)}" for field in fields(command))
    return " ".join((type(command).__name__, *given))


def told(text: str) -> str:
    """Run the story's events and return its text as the machine makes it."""
    machine, out = None, []
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            out.append(line)
        elif line.startswith("migration "):
            machine = Migration(spec(line.split()[1:]), checking=True)
            out.append(line)
        elif not line.startswith(" "):
            at, name, *words = line.split()
            commands = machine.handle(event(name, words), now=float(at))
            *_, entry = machine.story
            out.append(line)
            note = f" ({entry.note})" if entry.note else ""
            out.append(f"    {entry.after.value}{note}")
            out += [f"    {shown(command)}" for command in commands]
    out += [f"    {line}" for line in outcome(machine)]
    return "\n".join(out) + "\n"


def outcome(machine: Migration) -> list[str]:
    if machine.outcome is None:
        return [f"wakes at {machine.wake_at:.3f}"]
    end = machine.outcome
    lines = [f"ended: {end.result.value} {end.error}".rstrip()]
    if end.downtime is not None:
        parts = (
            f"{field.name}={getattr(end.downtime, field.name):.4f}"
            for field in fields(end.downtime)
        )
        lines.append(f"downtime_s={end.downtime.total_s:.4f}: " + " ".join(parts))
    if end.predicted_downtime_s is not None:
        lines.append(f"predicted_downtime_s={end.predicted_downtime_s:.4f}")
    lines.append(
        f"bytes: precopy={end.precopy_bytes} downtime={end.downtime_bytes}"
        f" postcopy={end.postcopy_bytes}"
    )
    return lines


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_story(path):
    expected = path.read_text(encoding="utf-8")
    actual = told(expected)
    if os.environ.get("REWRITE_STORIES"):
        path.write_text(actual, encoding="utf-8")
    assert expected == actual


def test_each_story_says_what_it_shows():
    assert FILES
    assert [] == [
        path.name for path in FILES if not path.read_text(encoding="utf-8").startswith("# ")
    ]
