"""The JSON Schema of a scenario file, and the tables of keys in docs/scenarios.md.

Both are made from the pydantic models, so they cannot fall behind. After a change:
`python -m cluster.inventory.schema docs/scenarios.md` writes the tables anew.
"""

import sys
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

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
from cluster.inventory.network_tables import (
    KernelPortTable,
    NicTable,
    PortGroupTable,
    SwitchTable,
)
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

BEGIN = "<!-- keys: made by python -m cluster.inventory.schema, not by hand -->"
END = "<!-- end of keys -->"

_SECTIONS: Mapping[str, type[BaseModel]] = {
    "`[scenario]`": ScenarioTable,
    "`[[host]]`": HostTable,
    "`nic` of a host, as a table": NicTable,
    "`[[host.switch]]`": SwitchTable,
    "`[[host.switch.port_group]]`": PortGroupTable,
    "`[[host.switch.kernel_port]]`": KernelPortTable,
    "`[[vm]]`": VmTable,
    "`stays_s` of a VM as `{mean_s = …}`": ExponentialStay,
    "`clients` of a VM": ClientsTable,
    "`demand` as `{constant = …}`": ConstantDemand,
    "`demand` as `{steps = …}`": StepsDemand,
    "`demand` as `{sine = …}`": SineDemand,
    "the table `sine`": SineTable,
    "`demand` as `{uniform = …}`": UniformDemand,
    "`demand` as `{trace = …}`": TraceDemand,
    "`[[rule]]`": RuleTable,
    "`[drs]`": DrsTable,
    "`[power]`": PowerTable,
    "`[migration]`": MigrationTable,
    "`[ha]`": HaTable,
    "`[licences]`": LicencesTable,
    "`[faults]`": FaultsTable,
    "`[[event]]`": EventTable,
}


def schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) that every right scenario file satisfies.

    It knows keys, types and ranges. What holds between tables (names, sizes, times) only
    `scenario.load` checks.
    """
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **ScenarioFile.model_json_schema(),
        "title": "vmotion scenario",
    }


def key_tables() -> str:
    """All keys of a scenario file as Markdown, one table for each TOML table."""
    parts = []
    for title, model in _SECTIONS.items():
        rows = [
            f"| `{name}` | {_default(field)} | {_words(field)} |" for name, field in _fields(model)
        ]
        parts.append(
            "\n".join([f"### {title}", "", "| Key | Default | Meaning |", "|---|---|---|", *rows])
        )
    return "\n\n".join(parts)


def with_key_tables(text: str) -> str:
    """`text` with what stands between the two markers replaced by the tables of keys.

    Raises:
        ValueError: If a marker is missing.
    """
    before, found, rest = text.partition(BEGIN)
    _, also, after = rest.partition(END)
    if not (found and also):
        raise ValueError(f"the text needs {BEGIN!r} and, after it, {END!r}")
    return f"{before}{BEGIN}\n\n{key_tables()}\n\n{END}{after}"


def _fields(model: type[BaseModel]) -> Iterator[tuple[str, FieldInfo]]:
    yield from model.model_fields.items()


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**needed**"
    match field.default:
        case None | {} | []:
            return "–"
        case Enum() as choice:
            return f'`"{choice.value}"`'
        case bool(value):
            return f"`{str(value).lower()}`"
        case str(value):
            return f'`"{value}"`'
        case value:
            return f"`{value}`".replace("'", '"')


def _words(field: FieldInfo) -> str:
    """The description, and the choices if the key has a fixed set of them."""
    choices = _choices(field.annotation)
    words = (field.description or "").replace("|", r"\|")
    return f"{words} {' · '.join(f'`{choice}`' for choice in choices)}".strip()


def _choices(annotation: Any) -> tuple[str, ...]:
    """The values of the enum in a field's type (which may be optional), if there is one."""
    for kind in (annotation, *getattr(annotation, "__args__", ())):
        inner = getattr(kind, "__origin__", kind)
        if isinstance(inner, type) and issubclass(inner, Enum):
            return tuple(item.value for item in inner)
    return ()


if __name__ == "__main__":
    document = Path(sys.argv[1])
    document.write_text(with_key_tables(document.read_text(encoding="utf-8")), encoding="utf-8")
