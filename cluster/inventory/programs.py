"""Checks a VM's guest program before anything runs: it is there, and its parameters fit.

A built-in is tried out: made, and its arrays laid out, which costs microseconds and no
memory. A user's file is only parsed, because running it is the VM's business: it may
need what is installed on the cluster and not here. What parsing cannot tell (a base
class from another file, a decorator) is left to the VM.
"""

import ast
import inspect
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from cluster.guests.base import Guest
from cluster.guests.memory_map import make_guest, place
from cluster.guests.registry import BUILTIN
from cluster.inventory.model import MIB, GuestSpec
from cluster.inventory.names import suggestion
from cluster.inventory.problems import Findings, Key, shown

SOURCE_BYTES_MAX = 1 << 20
GIVEN_BY_THE_VM = ("memory_bytes", "seed")
_OWN = 'a built-in, or "file.py:Class"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """The keyword arguments that a guest class takes beside those that the VM gives."""

    known: tuple[str, ...]
    required: tuple[str, ...]


def program_of(
    guest: str,
    params: Mapping[str, object],
    *,
    key: Key,
    memory_mib: float,
    directory: Path,
    findings: Findings,
) -> GuestSpec:
    """The guest as the cluster takes it; mistakes go to `findings` under the VM's `key`.

    `memory_mib` is NaN if it is not known; then nothing is tried out.
    """
    frozen = tuple(sorted((name, _frozen(value)) for name, value in params.items()))
    if ":" not in guest and not guest.endswith(".py"):
        _check_builtin(guest, dict(frozen), key, memory_mib, findings)
        return GuestSpec(program=guest, params=frozen)
    name, _, class_name = guest.rpartition(":") if ":" in guest else (guest, "", "")
    path = directory / name
    problem = _check_file(path, class_name, params, key, findings)
    if problem is not None:
        findings.add((*key, "guest"), *problem)
    return GuestSpec(program=f"{path.stem}:{class_name}", params=frozen, file=str(path.absolute()))


def _frozen(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def _check_builtin(
    guest: str, params: Mapping[str, object], key: Key, memory_mib: float, findings: Findings
) -> None:
    program = BUILTIN.get(guest)
    if program is None:
        right = f'{suggestion(guest, tuple(BUILTIN))}; or "file.py:Class"'
        findings.add((*key, "guest"), f"there is no guest {shown(guest)}", right)
        return
    arguments = inspect.signature(program, eval_str=True).parameters
    names = tuple(name for name in arguments if name not in GIVEN_BY_THE_VM)
    required = tuple(name for name in names if arguments[name].default is inspect.Parameter.empty)
    takes = Signature(known=names, required=required)
    fits = _check_names(guest, params, takes, key, findings)
    for name in params.keys() & set(names):
        fits &= _check_type(name, params[name], arguments[name].annotation, key, findings)
    if fits and memory_mib == memory_mib:
        _try_out(program, params, key, int(memory_mib) * MIB, findings)


def _check_type(name: str, value: object, annotation: Any, key: Key, findings: Findings) -> bool:
    try:
        TypeAdapter[object](annotation, config=ConfigDict(strict=True)).validate_python(value)
    except ValidationError:
        kind = getattr(annotation, "__name__", None) or str(annotation)
        kind = {"float": "a number", "int": "a whole number", "str": "a text"}.get(kind, kind)
        findings.add((*key, "params", name), f"{shown(value)} cannot be used", f"give {kind}")
        return False
    return True


def _try_out(
    program: type[Guest],
    params: Mapping[str, object],
    key: Key,
    vm_memory_bytes: int,
    findings: Findings,
) -> None:
    try:
        guest = make_guest(program, params, vm_memory_bytes=vm_memory_bytes, seed=0)
        place(guest.layout(), vm_memory_bytes=vm_memory_bytes)
    except ValueError as error:
        findings.add((*key, "params"), str(error), "other parameters, or more memory_mib")


def _check_names(
    guest: str, params: Mapping[str, object], takes: Signature, key: Key, findings: Findings
) -> bool:
    """Whether every parameter is known and none is missing."""
    where = (*key, "params")
    unknown = [name for name in params if name not in takes.known]
    missing = [name for name in takes.required if name not in params]
    for name in unknown:
        if name in GIVEN_BY_THE_VM:
            right = "leave it out; seed and memory_mib are keys of the VM"
            findings.add((*where, name), "is given by the VM", right)
        elif takes.known:
            right = suggestion(name, takes.known)
            findings.add((*where, name), f"{guest} has no such parameter", right)
        else:
            findings.add((*where, name), f"{guest} takes no parameters", "leave it out")
    for name in missing:
        findings.add((*where, name), "is missing", f"{guest} needs it")
    return not unknown and not missing


def _check_file(
    path: Path, class_name: str, params: Mapping[str, object], key: Key, findings: Findings
) -> tuple[str, str] | None:
    """What is wrong with the file or its class; wrong parameters go to `findings`."""
    if path.suffix != ".py":
        return f"{shown(path.name)} is no Python file", _OWN
    try:
        if not path.is_file():
            return f"the file {path} is not there", "a path from the scenario's directory"
        if path.stat().st_size > SOURCE_BYTES_MAX:
            return f"{path.name} is too large for a guest", "at most 1 MiB of Python"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on style in the user's file; Python says it again
            tree = ast.parse(path.read_bytes())
    except OSError as error:
        return f"{path.name} cannot be read: {error.strerror}", "a readable file"
    except (SyntaxError, ValueError) as error:
        line = f" in line {error.lineno}" if isinstance(error, SyntaxError) else ""
        reason = error.msg if isinstance(error, SyntaxError) else str(error)
        return f"{path.name} does not parse{line}: {reason}", "correct Python"
    except (RecursionError, MemoryError):
        return f"{path.name} is nested too deeply", "correct Python"
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    bound = _bound_names(tree.body)
    if class_name not in classes:
        if class_name in bound or "*" in bound:
            return None  # imported, or made by an expression: only running the file can tell
        wrong = f"{path.name} has no class {shown(class_name)}" if class_name else "names no class"
        guests = tuple(name for name, node in classes.items() if node.bases)
        return wrong, suggestion(class_name, guests)
    line_of_descent = _ancestry(class_name, classes)
    if not line_of_descent[-1].bases:
        wrong = f"the class {line_of_descent[-1].name} in {path.name} is no guest"
        return wrong, "a subclass of cluster.guests.base.Guest"
    if (takes := _signature(line_of_descent)) is not None:
        _check_names(class_name, params, takes, key, findings)
    return None


def _bound_names(body: Sequence[ast.stmt]) -> set[str]:
    """Names that a module's statements may give a value."""
    names: set[str] = set()
    for node in (inner for statement in body for inner in ast.walk(statement)):
        match node:
            case ast.alias(name=name, asname=other):
                names.add(other or name)
            case ast.Name(id=name, ctx=ast.Store()):
                names.add(name)
            case ast.ClassDef(name=name) if node not in body:
                names.add(name)
    return names


def _ancestry(name: str, classes: Mapping[str, ast.ClassDef]) -> list[ast.ClassDef]:
    """The class and its first bases, as far as they are in the same file."""
    found: list[ast.ClassDef] = []
    node = classes.get(name)
    while node is not None and node not in found:
        found.append(node)
        first = node.bases[0] if node.bases else None
        node = classes.get(first.id) if isinstance(first, ast.Name) else None
    return found


def _signature(line_of_descent: Sequence[ast.ClassDef]) -> Signature | None:
    """What the first `__init__` takes; None if the file does not tell."""
    for node in line_of_descent:
        if len(node.bases) > 1 or node.keywords or node.decorator_list:
            return None
        for item in node.body:
            if isinstance(item, ast.FunctionDef) and item.name == "__init__":
                return None if item.args.kwarg else _arguments(item.args)
    base = line_of_descent[-1].bases[0]
    name = base.id if isinstance(base, ast.Name) else getattr(base, "attr", "")
    return Signature(known=(), required=()) if name == "Guest" else None


def _arguments(arguments: ast.arguments) -> Signature:
    ordinary = arguments.args[1:]
    optional = {item.arg for item in ordinary[len(ordinary) - len(arguments.defaults) :]}
    if not arguments.defaults:
        optional = set()
    optional |= {
        item.arg
        for item, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
        if default is not None
    }
    names = [item.arg for item in (*ordinary, *arguments.kwonlyargs)]
    known = tuple(name for name in names if name not in GIVEN_BY_THE_VM)
    return Signature(known=known, required=tuple(name for name in known if name not in optional))
