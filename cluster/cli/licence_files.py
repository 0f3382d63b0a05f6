"""Licence files as commands handle them: read from disk, judged together, written whole."""

import os
import time
from collections.abc import Sequence
from pathlib import Path

from cluster.policy import licence_file
from cluster.policy.licence_file import LicenceFile, combine, write
from cluster.policy.problems import Problem

FILE_BYTES_MAX = 1 << 20


def read_file(path: str | Path) -> tuple[LicenceFile, list[Problem]]:
    """Return what is in a licence file, and what is wrong with its form."""
    path = Path(path)
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            return LicenceFile(), [_bad("it is too large", "Name a licence file.")]
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        return LicenceFile(), [_bad(f"it cannot be read: {error.strerror}", "Name a file.")]
    except UnicodeDecodeError:
        return LicenceFile(), [_bad("it is no text", "Name a licence file.")]
    return licence_file.read(text)


def judged(
    paths: Sequence[str | Path], public_key: bytes
) -> tuple[LicenceFile, list[tuple[str, Problem]]]:
    """Return all files in one, and every problem with the file that has it."""
    files: list[LicenceFile] = []
    problems: list[tuple[str, Problem]] = []
    now = time.time()
    for path in paths:
        file, found = read_file(path)
        files.append(file)
        found += licence_file.check(file, public_key, now=now)
        problems += [(str(path), problem) for problem in found]
    whole, found = combine(files)
    problems += [("together", problem) for problem in found]
    return whole, problems


def write_file(path: str | Path, file: LicenceFile) -> None:
    """Write a file in place of the last one, whole or not at all.

    Raises:
        OSError: If it cannot be written.
    """
    path = Path(path)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_text(write(file), encoding="utf-8")
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _bad(text: str, cure: str) -> Problem:
    return Problem(check="file", text=text, cure=cure)
