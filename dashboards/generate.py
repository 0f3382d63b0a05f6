"""Write the dashboards' JSON: `python -m dashboards.generate`.

Needs `grafana-foundation-sdk`, which is a tool of development; the JSON is committed.
"""

import json
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from dashboards import balance, host_vm, migrations, policies

TARGET = Path(__file__).parent / "grafana"
BOARDS = {
    "migrations": migrations.build,
    "balance": balance.build,
    "host-vm": host_vm.build,
    "policies": policies.build,
}


def generate() -> dict[str, str]:
    """Return the text of each dashboard's file by its name."""
    return {f"{name}.json": _text(build()) for name, build in BOARDS.items()}


def _text(builder: object) -> str:
    """Encode a dashboard, its panels numbered from 1."""
    made = builder.build()  # type: ignore[attr-defined]
    for number, panel in enumerate(made.panels, start=1):
        panel.id_val = number
    return json.dumps(made, cls=JSONEncoder, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    TARGET.mkdir(exist_ok=True)
    for name, text in generate().items():
        (TARGET / name).write_text(text, encoding="utf-8")
