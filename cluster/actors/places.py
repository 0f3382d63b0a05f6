"""Where the clusters that stay are: one directory each, below the user's state directory.

`$VMOTION_STATE_DIR`, or `$XDG_STATE_HOME/vmotion`, or `~/.local/state/vmotion`.
"""

import contextlib
import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from cluster.inventory.names import NAME_RULE, is_name

_RECORD = "cluster.json"


class BadPlace(Exception):
    """A cluster cannot have this name, or this place; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watching:
    """How a cluster is to be seen, also by a keeper that joins it later.

    Attributes:
        metrics_port: None for the usual port or a free one.
        host_metrics: Hosts serve their own.
        vm_metrics: Those with a series a VM, too.
        log: A file that lines are added to; "-" is the keeper's log, None no lines.
    """

    metrics_port: int | None = None
    host_metrics: bool = False
    vm_metrics: bool = True
    log: str | None = None
    log_level: str = "info"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A cluster that stays, as its keeper wrote it down; only its user may read it.

    Attributes:
        keeper: The keeper's process, and when that began: a number alone is used again.
        control: Path of the Unix socket that the keeper listens on; "" while it starts.
        key: Proves to the keeper that we may read this.
        ray_address: Of somebody's Ray; None is the keeper's own.
        metrics: Where Prometheus finds its metrics.
    """

    name: str
    scenario: str
    keeper: int
    keeper_began: str
    database: str
    control: str = ""
    key: str = ""
    ray_address: str | None = None
    metrics: str = ""
    watching: Watching = Watching()
    ready: bool = False

    @property
    def alive(self) -> bool:
        """Whether its keeper lives."""
        return began(self.keeper) == self.keeper_began != ""

    @property
    def keeps_database(self) -> bool:
        """Whether its database was named by the user, elsewhere, and stays after the cluster."""
        return Path(self.database).parent != place_of(self.name)


def began(pid: int) -> str:
    """Return when a process began, as the kernel counts; "" if it is not there, or dead."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return ""
    return "" if fields[0] in "ZX" else fields[19]


def state_directory() -> Path:
    """Return where clusters are written down."""
    if named := os.environ.get("VMOTION_STATE_DIR"):
        return Path(named)
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "vmotion"


def place_of(name: str) -> Path:
    """Return a cluster's directory, whether it is there or not.

    Raises:
        BadPlace: If no cluster can have this name.
    """
    if not is_name(name):
        raise BadPlace(f"{name!r} cannot be a cluster's name: {NAME_RULE}")
    return state_directory() / name


def read(name: str) -> Standing | None:
    """Return a cluster as it is written down; None if it is not."""
    try:
        told = json.loads((place_of(name) / _RECORD).read_text())
        return Standing(**{**told, "watching": Watching(**told["watching"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def write(standing: Standing) -> None:
    """Write a cluster down, whole or not at all."""
    place = place_of(standing.name)
    new = place / f"{_RECORD}.new"
    new.touch(mode=0o600)
    new.write_text(json.dumps(asdict(standing), indent=2))
    new.replace(place / _RECORD)


def claim(standing: Standing) -> Standing | None:
    """Take a name; return None, or the cluster that has it and lives.

    Raises:
        BadPlace: If the state directory cannot be written.
    """
    place = place_of(standing.name)
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        for _ in range(2):
            try:
                taken = os.open(place / _RECORD, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            except FileExistsError:
                other = read(standing.name)
                if other is not None and (other.alive or other.ray_address):
                    return other
                (place / _RECORD).unlink(missing_ok=True)
                continue
            os.close(taken)
            write(standing)
            return None
    except OSError as error:
        raise BadPlace(f"{place} cannot be written: {error}; set VMOTION_STATE_DIR") from error
    raise BadPlace(f"{place}: another vmotion up of this name has just begun")


def forget(name: str, *, database_too: bool) -> None:
    """Remove what is written down of a cluster; its directory too if nothing else is in it."""
    place = place_of(name)
    for left in (_RECORD, f"{_RECORD}.new", "keeper.log"):
        (place / left).unlink(missing_ok=True)
    if database_too:
        shutil.rmtree(place, ignore_errors=True)
    with contextlib.suppress(OSError):
        place.rmdir()


def names() -> list[str]:
    """Return the names of all clusters that are written down."""
    try:
        found = sorted(p.parent.name for p in state_directory().glob(f"*/{_RECORD}"))
    except OSError:
        return []
    return found
