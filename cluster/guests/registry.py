"""Guest programs by name: the built-in ones, and classes in a user's own file."""

import hashlib
import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType, ModuleType

from cluster.guests.base import Guest
from cluster.guests.idle import Idle
from cluster.guests.keyvalue import KeyValue
from cluster.guests.trace import Trace
from cluster.guests.writer import Writer

BUILTIN: Mapping[str, type[Guest]] = MappingProxyType(
    {"idle": Idle, "keyvalue": KeyValue, "trace": Trace, "writer": Writer}
)


class GuestImportError(Exception):
    """A guest program could not be had; the message is one sentence for the user."""


def load_guest(program: str, file: str | Path | None = None) -> type[Guest]:
    """Return the class that a scenario names: a built-in, or "module:Class" of `file`.

    A file is run once a process, under a private module name made of its name and its content, so
    that pickled state finds its classes on every node, wherever the file lies there. Its directory
    is added to the end of `sys.path`: the file may import its neighbours.

    Raises:
        GuestImportError: Whatever goes wrong.
    """
    if file is None:
        if program not in BUILTIN:
            raise GuestImportError(
                f"there is no built-in guest {program!r}; there are {', '.join(BUILTIN)}."
            )
        return BUILTIN[program]
    path = Path(file)
    name = program.rpartition(":")[2]
    module = _module(path, name)
    found = getattr(module, name, None)
    if found is None:
        raise GuestImportError(f"{path} has no class {name}.")
    if not (isinstance(found, type) and issubclass(found, Guest)):
        raise GuestImportError(
            f"{name} in {path} is not a guest: it must be a subclass of cluster.guests.base.Guest."
        )
    return found


def _module(path: Path, name: str) -> ModuleType:
    """Run the file, or return the module if it has been run already."""
    try:
        source = path.read_bytes()
    except OSError as error:
        raise GuestImportError(
            f"{path}, which should hold the guest {name}, cannot be read: {error.strerror}."
        ) from error
    private = f"_vmotion_guest_{path.stem}_{hashlib.sha256(source).hexdigest()[:16]}"
    if private in sys.modules:
        return sys.modules[private]
    spec = importlib.util.spec_from_file_location(private, path)
    if spec is None or spec.loader is None:
        raise GuestImportError(f"{path}, which should hold the guest {name}, is no Python file.")
    directory = str(path.resolve().parent)
    if directory not in sys.path:
        sys.path.append(directory)
    module = importlib.util.module_from_spec(spec)
    sys.modules[private] = module  # before it runs: dataclasses and pickle look it up there
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[private]
        raise GuestImportError(
            f"{path}, which should hold the guest {name}, cannot be imported: "
            f"{type(error).__name__}: {_one_line(error)}."
        ) from error
    return module


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()).removesuffix(".") or "no further words"
