"""Objects as bytes and back: only classes of this project, NumPy and plain Python come back."""

import io
import pickle
import struct
import zlib
from enum import EnumType
from typing import Any

# Pure rooms, and what the notes are made of. No class of theirs acts when it is made; those of
# cluster.memory, which a host's reports also are made of, do, so they are named one by one.
_ROOMS = (
    "cluster.inventory.",
    "cluster.migration.",
    "cluster.policy.",
    "cluster.actors.reports",
    "cluster.actors.views",
    "drs.",
)
_PLAIN = {
    "cluster.policy.kinds": {"host_kind", "vm_kind"},  # functions that a state holds
    "cluster.memory.pager": {"Served"},
    "cluster.memory.tracker": {"TrackerKind"},
    "builtins": {"set", "frozenset", "bytearray", "complex", "slice", "range"},
    "collections": {"deque", "OrderedDict"},
    "types": {"MappingProxyType"},
    "datetime": {"date", "datetime", "timedelta", "timezone"},
    "numpy": {"dtype", "ndarray"},
    "numpy._core.multiarray": {"_reconstruct", "scalar"},
    "numpy._core.numeric": {"_frombuffer"},
    "numpy.random._pickle": {"__generator_ctor", "__bit_generator_ctor"},
    "numpy.random._pcg64": {"PCG64"},
    "numpy.random.bit_generator": {"__pyx_unpickle_SeedSequence", "SeedSequence"},
}
_PROTOCOL = 5
_MARK = b"\0crc"  # a pickle ends with a dot


class Unreadable(Exception):
    """Bytes that are not what this version of the project writes."""


def freeze(thing: object, *beside: float) -> bytes:
    """Return an object as bytes, with a checksum over them and the numbers that stand beside them.

    SQLite has none: a bit that a disk flips in a name would be another VM's. An older version
    reads the object and passes over what follows it.
    """
    pickled = pickle.dumps(thing, protocol=_PROTOCOL)
    return pickled + _MARK + _checksum(pickled, beside)


def thaw(data: bytes, *beside: float) -> Any:
    """Return the object of some bytes, beside which these numbers stand.

    A database is a file that somebody may have given us, and a pickle may name any
    function to call; so whatever is not of this project is refused.

    Raises:
        Unreadable: If they are damaged, of another version, or name something foreign.
    """
    try:
        pickled, mark, checksum = data[:-8], data[-8:-4], data[-4:]
        if mark != _MARK:
            pickled = data  # as older versions wrote them
        elif checksum != _checksum(pickled, beside):
            raise Unreadable("its checksum is another")
        stream = io.BytesIO(pickled)
        found = _Thaw(stream).load()
        if stream.read(1):
            raise Unreadable("something follows what was kept")
    except Unreadable:
        raise
    except Exception as error:
        raise Unreadable(f"{type(error).__name__}: {error}") from error
    return found


def _checksum(pickled: bytes, beside: tuple[float, ...]) -> bytes:
    whole = zlib.crc32(struct.pack(f"<{len(beside)}d", *beside), zlib.crc32(pickled))
    return struct.pack("<I", whole)


def _member(kind: object, name: str) -> Any:
    """Return a member of an enumeration: Python up to 3.11.3 pickles one as `getattr` of its class.

    Raises:
        pickle.UnpicklingError: For an attribute of anything else.
    """
    if isinstance(kind, EnumType):
        return kind[name]
    raise pickle.UnpicklingError(f"{name} of {kind!r} does not belong in a journal")


class _Thaw(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Return a class that may come back.

        A room's module also holds what it imports, and a name may have dots (`os.system`): so
        what is found must itself be a class of these rooms.

        Raises:
            pickle.UnpicklingError: For any other.
        """
        if name in _PLAIN.get(module, ()):
            return super().find_class(module, name)
        if (module, name) == ("builtins", "getattr"):
            return _member
        if module.startswith(_ROOMS):
            found = super().find_class(module, name)
            if isinstance(found, type) and found.__module__.startswith(_ROOMS):
                return found
        raise pickle.UnpicklingError(f"{module}.{name} does not belong in a journal")
