"""Where a guest's arrays lie in VM memory, and what of a guest travels outside it.

Page 0 belongs to the VM itself: a header of uint64 counters, `[0]` being the probes
answered. Each array of the guest's layout starts on a page of its own after that, in the
layout's order, so two instances with the same parameters agree on every address.
"""

import io
import math
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cluster.guests.base import STATE_BYTES_MAX, Array, Guest
from cluster.page import PAGE_BYTES

HEADER_BYTES = PAGE_BYTES
PROBES_ANSWERED = 0  # index into the header

Buffer = npt.NDArray[np.uint8]

# Attributes of `Guest` itself that are not the program's state.
_ARRAYS = "_arrays"


class GuestStateError(ValueError):
    """What a guest keeps outside its arrays cannot travel; the message says which and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """An array's place in VM memory, in bytes from its start."""

    offset: int
    nbytes: int
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]


def make_guest(
    program: type[Guest], params: Mapping[str, object], *, vm_memory_bytes: int, seed: int
) -> Guest:
    """Make an instance that knows its memory; its arrays are not bound yet.

    Raises:
        ValueError: If a parameter is unknown, missing or wrong.
    """
    try:
        return program(
            memory_bytes=vm_memory_bytes - HEADER_BYTES,
            seed=seed,
            **params,
        )
    except TypeError as error:
        raise ValueError(f"{program.__name__} does not take these parameters: {error}") from error


def place(layout: Mapping[str, Array], *, vm_memory_bytes: int) -> dict[str, Placement]:
    """Lay arrays out page by page behind the header, in the layout's order.

    Raises:
        ValueError: With every problem of the layout at once.
    """
    problems: list[str] = []
    placements: dict[str, Placement] = {}
    offset = HEADER_BYTES
    for name, array in layout.items():
        found = _problems_of(name, array)
        problems += found
        if found:
            continue
        placements[name] = Placement(
            offset=offset,
            nbytes=array.nbytes,
            shape=tuple(array.shape),
            dtype=np.dtype(array.dtype),
        )
        offset += math.ceil(array.nbytes / PAGE_BYTES) * PAGE_BYTES
    if offset > vm_memory_bytes:
        problems.append(
            f"the arrays need {offset:,} bytes with the VM's header page, "
            f"the VM has {vm_memory_bytes:,}"
        )
    if problems:
        raise ValueError("; ".join(problems))
    return placements


def bind(guest: Guest, buffer: Buffer) -> None:
    """Make each array of the guest's layout an attribute that views `buffer`.

    Nothing is written. `buffer` is the whole VM memory, one-dimensional and contiguous;
    binding again moves the guest to other memory.

    Raises:
        ValueError: If the layout is wrong or does not fit.
    """
    if buffer.dtype != np.uint8 or buffer.ndim != 1 or not buffer.flags.c_contiguous:
        raise ValueError("VM memory must be one contiguous dimension of uint8")
    views = {
        name: buffer[at.offset : at.offset + at.nbytes].view(at.dtype).reshape(at.shape)
        for name, at in place(guest.layout(), vm_memory_bytes=buffer.nbytes).items()
    }
    guest.__dict__.pop(_ARRAYS, None)
    for name, view in views.items():
        setattr(guest, name, view)
    guest.__dict__[_ARRAYS] = views


def header(buffer: Buffer) -> npt.NDArray[np.uint64]:
    """View the VM's own page as uint64 counters."""
    return buffer[:HEADER_BYTES].view(np.uint64)


def capture_state(guest: Guest) -> bytes:
    """Pickle every attribute that is not an array in VM memory.

    Raises:
        GuestStateError: If an attribute does not pickle, holds a view of VM memory, or
            all of them need more than `STATE_BYTES_MAX`.
    """
    views = guest.__dict__.get(_ARRAYS, {})
    attributes = {
        name: value for name, value in vars(guest).items() if name not in views and name != _ARRAYS
    }
    try:
        state = _pickle(attributes, views)
    except Exception as error:
        raise _unpicklable(guest, attributes, views, error) from error
    if len(state) > STATE_BYTES_MAX:
        name = max(attributes, key=lambda name: len(_pickle(attributes[name], views)))
        raise GuestStateError(
            f"{type(guest).__name__}'s attributes pickle to {len(state):,} bytes, "
            f"{STATE_BYTES_MAX:,} are allowed; the largest is {name!r}: "
            "keep it in an array of the layout"
        )
    return state


def restore_state(guest: Guest, state: bytes) -> None:
    """Give a fresh, bound instance the attributes that `capture_state` took.

    Only for bytes from this cluster: unpickling runs code.
    """
    views = guest.__dict__.get(_ARRAYS, {})
    for name in [name for name in vars(guest) if name not in views and name != _ARRAYS]:
        delattr(guest, name)
    for name, value in pickle.loads(state).items():
        setattr(guest, name, value)


def _problems_of(name: str, array: Array) -> list[str]:
    """Say what keeps one array from being placed; nothing if it can be."""
    problems = []
    if not name.isidentifier() or name.startswith("_") or hasattr(Guest, name):
        problems.append(f"array {name!r}: the name must be a free, public attribute name")
    try:
        dtype = np.dtype(array.dtype)
    except TypeError as error:
        return [*problems, f"array {name!r}: {error}"]
    if dtype.hasobject or dtype.itemsize == 0:
        problems.append(
            f"array {name!r}: dtype {dtype} keeps its data outside the array or has no size"
        )
    if not all(isinstance(length, int | np.integer) and length > 0 for length in array.shape):
        problems.append(f"array {name!r}: shape {array.shape} must hold positive whole numbers")
    return problems


def _unpicklable(
    guest: Guest,
    attributes: Mapping[str, object],
    views: Mapping[str, npt.NDArray[np.generic]],
    error: Exception,
) -> GuestStateError:
    """Find the attribute to blame, by pickling them one at a time."""
    for name, value in attributes.items():
        try:
            _pickle(value, views)
        except Exception as cause:
            return GuestStateError(
                f"{type(guest).__name__}.{name} cannot travel with the VM: {cause}"
            )
    return GuestStateError(f"{type(guest).__name__}'s attributes do not pickle: {error}")


def _pickle(value: object, views: Mapping[str, npt.NDArray[np.generic]]) -> bytes:
    stream = io.BytesIO()
    _StatePickler(stream, views).dump(value)
    return stream.getvalue()


class _StatePickler(pickle.Pickler):
    """Refuses views of VM memory: they would arrive as copies that nothing keeps equal."""

    def __init__(self, stream: io.BytesIO, views: Mapping[str, npt.NDArray[np.generic]]) -> None:
        super().__init__(stream, protocol=pickle.HIGHEST_PROTOCOL)
        self._views = tuple(views.values())

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, np.ndarray) and any(
            np.may_share_memory(value, view) for view in self._views
        ):
            raise GuestStateError("it holds a view of VM memory; take it afresh in each step")
        return NotImplemented
