"""What workers of somebody's Ray cluster need of ours: this project and the users' guests."""

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from cluster.inventory.model import Scenario

_GUESTS = "vmotion_guests"


@contextmanager
def shipped(scenario: Scenario) -> Iterator[tuple[Scenario, dict[str, object]]]:
    """Gather code in a directory for Ray's `runtime_env`, and name guests by their place in it.

    Yields the scenario to run and the runtime environment: a working directory that Ray
    copies to each node and starts workers in. Of a guest's directory all Python files
    go along, so that a guest may import its neighbours.
    """
    import cluster
    import drs

    with tempfile.TemporaryDirectory(prefix="vmotion-ship-") as made:
        stage = Path(made)
        for package in (cluster, drs):
            source = Path(str(package.__file__)).parent
            shutil.copytree(
                source, stage / source.name, ignore=shutil.ignore_patterns("__pycache__")
            )
        vms = tuple(
            vm
            if vm.guest.file is None
            else replace(vm, guest=replace(vm.guest, file=_ship(Path(vm.guest.file), stage)))
            for vm in scenario.vms
        )
        yield replace(scenario, vms=vms), {"working_dir": str(stage)}


def _ship(file: Path, stage: Path) -> str:
    """Copy a guest's directory's Python files; return the guest's path below the stage."""
    directory = file.resolve().parent
    name = hashlib.sha256(str(directory).encode()).hexdigest()[:12]
    there = stage / _GUESTS / name
    if not there.exists():
        there.mkdir(parents=True)
        for source in sorted(directory.glob("*.py")):
            shutil.copy(source, there)
    return str((there / file.name).relative_to(stage))
