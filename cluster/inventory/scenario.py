"""Reads scenario files: a TOML file in, a `Scenario` out, or all that is wrong with it.

    text → document → tables (`reading`) → frozen facts (`assembly`) → checks → Scenario

Every step goes as far as it can with what the step before left, so that one run shows
the user all mistakes. Only a file that is no TOML ends at its first.
"""

import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path

from cluster.inventory.assembly import Draft, assemble
from cluster.inventory.checks import check
from cluster.inventory.demands import TraceShelf
from cluster.inventory.licence_settings import licence_settings
from cluster.inventory.licences import LicenceSettings
from cluster.inventory.lines import line_of, lines_of
from cluster.inventory.model import (
    DrsSettings,
    HaSettings,
    MigrationSettings,
    PowerSettings,
    Scenario,
)
from cluster.inventory.names import NAME_RULE, is_name, slug
from cluster.inventory.problems import Findings, Key, Problem, ScenarioProblems, key_text, shown
from cluster.inventory.reading import read_tables
from cluster.inventory.rule_checks import check_rules
from cluster.inventory.settings import Setting, with_settings

__all__ = ["Problem", "ScenarioProblems", "load", "loads"]

FILE_BYTES_MAX = 16 << 20
_PLACE = re.compile(r" ?\(at (?:line (\d+), column \d+|end of document)\)$")


def load(path: str | Path, *, settings: Mapping[str, Setting] | None = None) -> Scenario:
    """Read a scenario file; traces and guests' files are looked for beside it.

    `settings` are keys set from outside, instead of what the file says or besides.

    Raises:
        ScenarioProblems: With every mistake found, if there is one.
    """
    path = Path(path)
    try:
        if not path.is_file():
            raise _one(str(path), "the file is not there", "the path of a scenario file")
        if path.stat().st_size > FILE_BYTES_MAX:
            raise _one(str(path), "the file is too large", f"at most {FILE_BYTES_MAX >> 20} MiB")
        text = path.read_bytes().decode("utf-8-sig")  # some editors put a mark first
    except OSError as error:
        raise _one(str(path), f"cannot be read: {error.strerror}", "a readable file") from error
    except UnicodeDecodeError as error:
        wrong = f"is no text: byte {error.start + 1} is not UTF-8"
        raise _one(str(path), wrong, "a TOML file") from error
    return loads(text, file=str(path), directory=path.absolute().parent, settings=settings)


def loads(
    text: str, *, file: str, directory: Path, settings: Mapping[str, Setting] | None = None
) -> Scenario:
    """Read a scenario from a text; `file` is its name in messages.

    Raises:
        ScenarioProblems: With every mistake found, if there is one.
    """
    findings = Findings()
    document = with_settings(_parse(text, file), settings or {}, findings)
    draft = Draft(
        tables=read_tables(document, findings),
        shelf=TraceShelf(directory=directory),
        findings=findings,
    )
    assemble(draft)
    check(draft)
    check_rules(draft)
    licences = licence_settings(draft)
    name = draft.tables.scenario.name
    if name is not None and not is_name(name):
        findings.add(("scenario", "name"), f"{shown(name)} is no safe name", NAME_RULE)
    if findings:
        raise ScenarioProblems(_problems(findings, text, document, file))
    return _scenario(draft, name or slug(Path(file).stem), licences, directory)


def _scenario(draft: Draft, name: str, licences: LicenceSettings, directory: Path) -> Scenario:
    table = draft.tables.scenario
    evc = table.evc_features
    return Scenario(
        name=name,
        duration_s=table.duration_s,
        seed=table.seed,
        profile=table.profile,
        placement=table.placement,
        sample_s=table.sample_s,
        hosts=tuple(draft.hosts.specs.values()),
        vms=tuple(draft.vms.specs.values()),
        rules=tuple(draft.rules),
        drs=DrsSettings(**draft.tables.drs.model_dump()),
        power=PowerSettings(**draft.tables.power.model_dump()),
        migration=MigrationSettings(**draft.tables.migration.model_dump()),
        ha=HaSettings(**draft.tables.ha.model_dump()),
        evc_features=None if evc is None else tuple(evc),
        licences=licences,
        faults=draft.tables.faults.faults(),
        events=tuple(sorted(draft.events, key=lambda event: event.at_s)),
        directory=str(directory),
    )


def _parse(text: str, file: str) -> Mapping[str, object]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        place = _PLACE.search(message)
        line = int(place[1]) if place and place[1] else text.count("\n") + 1
        raise _one(file, f"no TOML: {_PLACE.sub('', message)}", "TOML 1.0", line=line) from error
    except RecursionError as error:
        raise _one(file, "lists or tables are nested too deeply", "a flat file") from error
    except ValueError as error:  # a number of thousands of digits
        raise _one(file, f"no TOML: {error}", "shorter numbers") from error


def located(path: str | Path, found: Iterable[tuple[Key, str, str]]) -> tuple[Problem, ...]:
    """Return what is wrong with a file that could be read, each (key, wrong, right) with its line."""
    text = Path(path).read_bytes().decode("utf-8-sig")
    findings = Findings()
    for key, wrong, right in found:
        findings.add(key, wrong, right)
    return _problems(findings, text, _parse(text, str(path)), str(path))


def _one(file: str, wrong: str, right: str, *, line: int | None = None) -> ScenarioProblems:
    return ScenarioProblems((Problem(file=file, key="", wrong=wrong, right=right, line=line),))


def _problems(
    findings: Findings, text: str, document: Mapping[str, object], file: str
) -> tuple[Problem, ...]:
    lines = lines_of(text)
    problems = [
        Problem(
            file=file,
            key=key_text(key, document),
            wrong=wrong,
            right=right,
            line=line_of(key, lines),
        )
        for (key, wrong), right in findings.found.items()
    ]
    return tuple(sorted(problems, key=lambda problem: problem.line or 0))
