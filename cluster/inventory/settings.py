"""Keys of a scenario file set from outside: `vm.count`, `host.esx.nic.rate_mbit_s`, `drs.threshold`."""

import copy
from collections.abc import Mapping

from cluster.inventory.problems import Findings

Setting = bool | int | float | str


def with_settings(
    document: Mapping[str, object], settings: Mapping[str, Setting], findings: Findings
) -> Mapping[str, object]:
    """Return the document with these keys set; whether their values can be is for others to judge.

    A key begins with its table. Of tables that there may be several of it is set in each, or in
    the one whose name follows: `vm.count`, `vm.web.count`.
    """
    if not settings:
        return document
    changed = copy.deepcopy(dict(document))
    for name, value in settings.items():
        table, *keys = name.split(".")
        found = changed.setdefault(table, {})
        tables = found if isinstance(found, list) else [found]
        names = [one.get("name") for one in tables if isinstance(one, dict)]
        fits = [one for one in names if isinstance(one, str) and name.startswith(f"{table}.{one}.")]
        if fits:
            # Names may have dots of their own: of `web` and `web.lab` the longer is meant.
            meant = max(fits, key=len)
            tables = [one for one in tables if isinstance(one, dict) and one.get("name") == meant]
            keys = name.removeprefix(f"{table}.{meant}.").split(".")
        for one in tables:
            if not isinstance(one, dict):
                findings.add((table,), "is no table", f"a table to set {name} in")
                continue
            for key in keys[:-1]:
                if not isinstance(one.get(key), dict):
                    one[key] = {}
                one = one[key]
            one[keys[-1]] = value
    return changed
