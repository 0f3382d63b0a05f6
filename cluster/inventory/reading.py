"""From a TOML document to tables of the right shape, with every wrong shape noted.

A table with a mistake is not thrown away: what is wrong in it is replaced, so that
the checks between tables still see the rest. The replacement of a number is NaN:
every comparison with it is false, so no check complains about what is not known.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from cluster.inventory.cluster_tables import EventTable, HaTable, LicencesTable
from cluster.inventory.demand_tables import (
    ConstantDemand,
    SineDemand,
    SineTable,
    StepsDemand,
    TraceDemand,
    UniformDemand,
)
from cluster.inventory.fault_tables import FaultsTable
from cluster.inventory.names import suggestion
from cluster.inventory.network_tables import (
    KernelPortTable,
    NicTable,
    PortGroupTable,
    SwitchTable,
)
from cluster.inventory.problems import Findings, Key, shown
from cluster.inventory.stay_tables import ExponentialStay
from cluster.inventory.tables import (
    ClientsTable,
    DrsTable,
    HostTable,
    MigrationTable,
    PowerTable,
    RuleTable,
    ScenarioFile,
    ScenarioTable,
    VmTable,
)

T = TypeVar("T", bound=BaseModel)

# For each required field: what passes validation in its place, and what then replaces that.
_STAND_INS: Mapping[str, tuple[object, object]] = {
    "name": ("x", ""),
    "duration_s": (1.0, math.nan),
    "cpu_mhz": (1.0, math.nan),
    "memory_mib": (1, math.nan),
    "demand": (0.0, 0.0),
    "at_s": (0.0, math.nan),
    "vms": (["x"], []),
}
_KINDS: Mapping[type[BaseModel], str] = {RuleTable: "affinity", EventTable: "demand"}

_TYPES: Mapping[str, str] = {
    "string_type": "a text in quotes",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list [...]",
    "dict_type": "a table {...}",
    "model_type": "a table {...}",
    "date_type": "a day such as 2026-06-15",
}
_BOUNDS: Mapping[str, tuple[str, str]] = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """A document's tables; a table's key in the document is ("vm", index)."""

    scenario: ScenarioTable
    hosts: tuple[HostTable, ...]
    vms: tuple[VmTable, ...]
    rules: tuple[RuleTable, ...]
    drs: DrsTable
    power: PowerTable
    migration: MigrationTable
    ha: HaTable
    licences: LicencesTable
    faults: FaultsTable
    events: tuple[EventTable, ...]


def read_tables(document: Mapping[str, object], findings: Findings) -> Tables:
    """All tables of a document, as far as they can be read; what is wrong goes to `findings`."""
    known = tuple(ScenarioFile.model_fields)
    for key in document:
        if key not in known:
            findings.add((key,), "unknown table", suggestion(key, known))
    if "scenario" not in document:
        findings.add((), "the table [scenario] is missing", "it needs at least duration_s")
    for name in ("host", "vm"):
        if name not in document or document[name] == []:
            findings.add((), f"there is no [[{name}]]", "at least one is needed")
    return Tables(
        scenario=_one(document, "scenario", ScenarioTable, findings),
        hosts=_all(document, "host", HostTable, findings),
        vms=_all(document, "vm", VmTable, findings),
        rules=_all(document, "rule", RuleTable, findings),
        drs=_one(document, "drs", DrsTable, findings),
        power=_one(document, "power", PowerTable, findings),
        migration=_one(document, "migration", MigrationTable, findings),
        ha=_one(document, "ha", HaTable, findings),
        licences=_one(document, "licences", LicencesTable, findings),
        faults=_one(document, "faults", FaultsTable, findings),
        events=_all(document, "event", EventTable, findings),
    )


def _one(document: Mapping[str, object], name: str, model: type[T], findings: Findings) -> T:
    raw = document.get(name)
    if raw is None:
        return _read({}, (), model, Findings())
    if not isinstance(raw, dict):
        findings.add((name,), f"{shown(raw)} is not a table", f"write [{name}] and its keys below")
        return _read({}, (), model, Findings())
    return _read(raw, (name,), model, findings)


def _all(
    document: Mapping[str, object], name: str, model: type[T], findings: Findings
) -> tuple[T, ...]:
    raw = document.get(name, [])
    right = f"write [[{name}]] and its keys below, once for each"
    match raw:
        case dict():
            findings.add((name,), "is one table, and a list of tables is wanted", right)
            raw = [raw]
        case list():
            pass
        case _:
            findings.add((name,), f"{shown(raw)} is not a list of tables", right)
            raw = []
    strangers = [index for index, item in enumerate(raw) if not isinstance(item, dict)]
    for index in strangers:
        findings.add((name, index), f"{shown(raw[index])} is not a table", right)
    if strangers:
        return ()
    return tuple(_read(item, (name, index), model, findings) for index, item in enumerate(raw))


def _read(raw: Mapping[str, object], key: Key, model: type[T], findings: Findings) -> T:
    """One table; its wrong fields have their defaults, or stand-ins where there is none."""
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        # Bounded by the file: one for each value in it at most.
        details = error.errors(include_url=False)
    good = dict(raw)
    replaced: dict[str, object] = {}
    for detail in details:
        _note(detail, raw, key, model, findings)
        top = str(detail["loc"][0])
        good.pop(top, None)
        field = model.model_fields.get(top)
        if field is not None and field.is_required():
            accepted, unknown = (_KINDS[model], None) if top == "kind" else _STAND_INS[top]
            good[top] = accepted
            replaced[top] = unknown
    return model.model_validate(good).model_copy(update=replaced)


def _note(
    detail: ErrorDetails, raw: object, key: Key, model: type[BaseModel], findings: Findings
) -> None:
    path = _path(detail, raw)
    kind, value = detail["type"], detail["input"]
    context = detail.get("ctx", {})
    where = (*key, *path)
    field = model.model_fields.get(str(path[0])) if path else None
    match kind:
        case "missing":
            about = field.description if field is not None and len(path) == 1 else None
            findings.add(where, "is missing", about or "the table needs it")
        case "extra_forbidden":
            known = tuple(_model_around(detail, model).model_fields)
            findings.add(where, "unknown key", suggestion(str(path[-1]), known))
        case "literal_error" | "enum":
            choices = [part.strip(" '") for part in str(context["expected"]).split(",")]
            choices = [choice.strip(" '") for part in choices for choice in part.split(" or ")]
            right = f"one of {', '.join(choices)}"
            if isinstance(value, str) and (close := suggestion(value, choices)).startswith("did"):
                right += f"; {close}"
            findings.add(where, f"{shown(value)} is not known here", right)
        case "too_short" if context["actual_length"] == 0:
            findings.add(where, "is empty", (field and field.description) or "it needs an entry")
        case "too_short" | "too_long":
            size = context.get("min_length", context.get("max_length"))
            findings.add(where, f"has {context['actual_length']} entries", f"it needs {size}")
        case "finite_number":
            findings.add(where, f"{shown(value)} is not a number to count with", "a finite number")
        case "float_type" if isinstance(value, int) and not isinstance(value, bool):
            findings.add(where, f"{shown(value)} is too large", "a number to count with")
        case _ if kind in _BOUNDS:
            bound, words = _BOUNDS[kind]
            limit = context[bound]
            findings.add(where, f"{shown(value)} is out of range", f"{words} {limit:.12g}")
        case _ if kind in _TYPES:
            findings.add(where, f"{shown(value)} is not {_TYPES[kind]}", f"give {_TYPES[kind]}")
        case _:
            findings.add(where, f"{shown(value)} cannot be used", f"give {detail['msg']}")


def _path(detail: ErrorDetails, raw: object) -> Key:
    """The error's place in the document: pydantic's, without the names of union branches."""
    path: list[str | int] = []
    last = len(detail["loc"]) - 1
    for index, part in enumerate(detail["loc"]):
        if isinstance(part, str) and isinstance(raw, dict):
            if part in raw:
                raw = raw[part]
                path.append(part)
            elif index == last and detail["type"] == "missing":
                path.append(part)
        elif isinstance(part, int) and isinstance(raw, list) and part < len(raw):
            raw = raw[part]
            path.append(part)
    return tuple(path)


def _model_around(detail: ErrorDetails, model: type[BaseModel]) -> type[BaseModel]:
    """The table's model that has an unknown key: `model`, or one inside it."""
    match detail["loc"]:
        case (*_, "demand", str(branch), _):
            return _DEMANDS[branch]
        case (*_, str(parent), int(), _) | (*_, str(parent), _):
            return _INNER[parent]
        case _:
            return model


_DEMANDS: Mapping[str, type[BaseModel]] = {
    "<constant>": ConstantDemand,
    "<steps>": StepsDemand,
    "<sine>": SineDemand,
    "<uniform>": UniformDemand,
    "<trace>": TraceDemand,
}
_INNER: Mapping[str, type[BaseModel]] = {
    "clients": ClientsTable,
    "sine": SineTable,
    "<table>": NicTable,  # the branch of `nic` that is one
    "<stay>": ExponentialStay,  # the branch of `stays_s` that is one
    "switch": SwitchTable,
    "port_group": PortGroupTable,
    "kernel_port": KernelPortTable,
}
