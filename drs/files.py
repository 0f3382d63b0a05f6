"""A snapshot as a file: JSON to read and to edit, Parquet for large ones. Both reproduce a decision."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from drs.model import Automation, FloatArray, HostState, Snapshot
from drs.resource_pool import ResourcePool
from drs.rules import (
    Affinity,
    AntiAffinity,
    DomainSpread,
    Rule,
    Strength,
    VmHostAffinity,
    VmHostAntiAffinity,
)

FORMAT = "drs-snapshot-1"
RULES: Mapping[str, type[Rule]] = {
    "affinity": Affinity,
    "anti_affinity": AntiAffinity,
    "domain_spread": DomainSpread,
    "vm_host_affinity": VmHostAffinity,
    "vm_host_anti_affinity": VmHostAntiAffinity,
}
TABLES = ("demand", "reservation", "limit", "shares")
COLUMNS = ("memory_bytes", "dirty_rate_bytes_per_second", "moved_at_s")


def save(snapshot: Snapshot, path: Path) -> None:
    """Writes the snapshot; the suffix `.parquet` or `.json` says how. Floats survive exactly."""
    match path.suffix:
        case ".json":
            path.write_text(
                json.dumps({**_head(snapshot), **_body(snapshot)}) + "\n", encoding="utf-8"
            )
        case ".parquet":
            import pyarrow as pa  # half a second to import, and only files need it
            import pyarrow.parquet as pq

            head = json.dumps(_head(snapshot)).encode()
            columns = {key: pa.array(values) for key, values in _body(snapshot).items()}
            pq.write_table(
                pa.table(columns).replace_schema_metadata({FORMAT: head}), path, compression="zstd"
            )
        case suffix:
            raise ValueError(
                f"a snapshot is saved as .json or .parquet, not as {suffix or 'nothing'}"
            )


def load(path: Path) -> Snapshot:
    """Reads what `save` wrote. ValueError says what is missing or malformed; numbers are not judged."""
    try:
        if path.suffix == ".parquet":
            table = _table(path)
            head = json.loads((table.schema.metadata or {})[FORMAT.encode()])
            return _snapshot(
                head, {name: table.column(name).to_pylist() for name in table.column_names}
            )
        raw = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(raw, dict) or raw.get("format") != FORMAT:
            raise ValueError(f"not of the format {FORMAT}")
        return _snapshot(raw, raw)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise ValueError(f"{path}: {error!r}") from error
    except RecursionError as error:
        raise ValueError(f"{path}: nested too deeply") from error


def _table(path: Path) -> Any:
    """Read a Parquet file; what pyarrow finds wrong inside is a ValueError, though it says OSError."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path.stat()  # one that is not there is no malformed one
    try:
        return pq.read_table(path)
    except pa.ArrowException as error:
        raise ValueError(f"no Parquet: {error}") from error
    except OSError as error:
        if error.errno is not None:
            raise  # the file itself: not readable
        raise ValueError(f"no Parquet: {error}") from error


def _head(s: Snapshot) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "hosts": list(s.hosts),
        "resources": list(s.resources),
        "incompressible": list(s.incompressible),
        "capacity": s.capacity.tolist(),
        "host_states": [state.value for state in s.host_states],
        "in_flight": [list(pair) for pair in s.in_flight],
        "rules": [_rule_out(rule) for rule in s.rules],
        "pools": [_pool_out(pool) for pool in s.pools],
        "taken_at_s": s.taken_at_s,
    }


def _body(s: Snapshot) -> dict[str, list[Any]]:
    """One list a column, an entry a VM. Hosts that a VM may not use are listed: there are few."""
    body: dict[str, list[Any]] = {"vm": list(s.vms), "placement": s.placement.tolist()}
    for name in TABLES:
        body[name] = [[_out(x) for x in row] for row in getattr(s, name).tolist()]
    for name in COLUMNS:
        body[name] = [_out(x) for x in getattr(s, name).tolist()]
    body["automation"] = [None if a is None else a.value for a in s.automation]
    body["pool"] = list(s.pool) or [None] * len(s.vms)
    body["not_allowed"] = [np.flatnonzero(~row).tolist() for row in s.allowed]
    return body


def _snapshot(head: Mapping[str, Any], body: Mapping[str, list[Any]]) -> Snapshot:
    vms, hosts, kinds = len(body["vm"]), len(head["hosts"]), len(head["resources"])
    allowed = np.ones((vms, hosts), np.bool_)
    for row, denied in zip(allowed, body["not_allowed"], strict=True):
        row[denied] = False
    return Snapshot(
        hosts=tuple(head["hosts"]),
        vms=tuple(body["vm"]),
        resources=tuple(head["resources"]),
        incompressible=tuple(head["incompressible"]),
        capacity=np.array(head["capacity"], np.float64).reshape(hosts, kinds),
        placement=np.array(body["placement"], np.int64),
        allowed=allowed,
        host_states=tuple(HostState(state) for state in head["host_states"]),
        automation=tuple(None if a is None else Automation(a) for a in body["automation"]),
        in_flight=tuple((int(vm), int(to)) for vm, to in head["in_flight"]),
        rules=tuple(_rule_in(rule) for rule in head["rules"]),
        pools=tuple(_pool_in(pool) for pool in head.get("pools", ())),
        pool=tuple(body["pool"]) if any(body.get("pool", ())) else (),
        taken_at_s=float(head.get("taken_at_s", 0.0)),
        memory_bytes=_in(body["memory_bytes"], math.nan),
        dirty_rate_bytes_per_second=_in(body["dirty_rate_bytes_per_second"], math.nan),
        moved_at_s=_in(body["moved_at_s"], -math.inf),
        demand=_in(body["demand"], math.nan).reshape(vms, kinds),
        reservation=_in(body["reservation"], math.nan).reshape(vms, kinds),
        limit=_in(body["limit"], math.inf).reshape(vms, kinds),
        shares=_in(body["shares"], math.nan).reshape(vms, kinds),
    )


def _out(value: float) -> float | None:
    """JSON has neither infinity nor nan; which of them null is depends on the column."""
    return value if math.isfinite(value) else None


def _in(values: list[Any], missing: float) -> FloatArray:
    flat = [x for row in values for x in row] if values and isinstance(values[0], list) else values
    return np.array([missing if x is None else float(x) for x in flat], np.float64)


def _pool_out(pool: ResourcePool) -> dict[str, Any]:
    return {
        "name": pool.name,
        "parent": pool.parent,
        "shares": dict(pool.shares),
        "reservation": dict(pool.reservation),
        # JSON has no infinity: no limit is no entry.
        "limit": {r: value for r, value in pool.limit.items() if math.isfinite(value)},
        "expandable": pool.expandable,
    }


def _pool_in(raw: Mapping[str, Any]) -> ResourcePool:
    return ResourcePool(
        name=raw["name"],
        parent=raw["parent"],
        shares=dict(raw["shares"]),
        reservation=dict(raw["reservation"]),
        limit=dict(raw["limit"]),
        expandable=bool(raw["expandable"]),
    )


def _rule_out(rule: Rule) -> dict[str, Any]:
    kind = next(name for name, cls in RULES.items() if type(rule) is cls)
    values = {f.name: getattr(rule, f.name) for f in fields(rule)}
    values["strength"] = rule.strength.value
    return {
        "kind": kind,
        **{k: dict(v) if isinstance(v, Mapping) else v for k, v in values.items()},
    }


def _rule_in(raw: Mapping[str, Any]) -> Rule:
    values: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in raw.items() if k != "kind"
    }
    values["strength"] = Strength(values["strength"])
    return RULES[raw["kind"]](**values)
