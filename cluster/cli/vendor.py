"""The vendor whom `vmotion license purchase` plays: a key made at first use, and what was sold.

Both are files in `$VMOTION_VENDOR_DIR`, or `$XDG_CONFIG_HOME/vmotion/vendor`, or
`~/.config/vmotion/vendor`. Only the user may read the private key.
"""

import contextlib
import json
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cluster.inventory.licence_terms import Order
from cluster.policy.licence_vendor import purchase
from cluster.policy.signatures import KEY_BYTES, public_key_of

_KEY, _PUBLIC, _SOLD = "vendor.key", "vendor.pub", "sold"
# Somebody else may take a number at the same moment, but not so many.
_TRIES_MAX = 10_000


class BadVendor(Exception):
    """The vendor's files cannot be used; the message names the file and says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sold:
    """One order, with the code that it was sold under."""

    order: Order
    serial: int
    code: str


class Vendor:
    """A vendor's directory. Nothing is made before something is bought."""

    def __init__(self, directory: str | Path | None = None) -> None:
        self.directory = Path(directory) if directory is not None else _default_directory()

    @property
    def public_path(self) -> Path:
        """Where the public key is."""
        return self.directory / _PUBLIC

    def open(self) -> bool:
        """Make the key if there is none; return whether it is new.

        Raises:
            BadVendor: If it cannot be written.
        """
        try:
            self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            (self.directory / _SOLD).mkdir(exist_ok=True)
            made = _write_new(self.directory / _KEY, secrets.token_hex(KEY_BYTES), mode=0o600)
            _write_new(self.public_path, public_key_of(self.private_key()).hex(), mode=0o644)
        except OSError as error:
            raise BadVendor(f"{error.filename or self.directory}: {error.strerror}") from error
        return made

    def private_key(self) -> bytes:
        """Return it.

        Raises:
            BadVendor: If there is none, or it is damaged.
        """
        return _key_in(self.directory / _KEY, "Purchase something first: vmotion license purchase.")

    def public_key(self) -> bytes:
        """Return the key that licences are checked with.

        Raises:
            BadVendor: If there is none, or it is damaged.
        """
        return _key_in(self.public_path, "Purchase something first, or name it with --vendor-key.")

    def sell(self, orders: Sequence[Order]) -> list[Sold]:
        """Take a serial number for each order, write it down, and return the activation codes.

        Raises:
            BadVendor: If that cannot be written.
        """
        key = self.private_key()
        sold: list[Sold] = []
        for order in orders:
            serial = self._take_serial(order)
            (code,) = purchase((order,), key, first_serial=serial)
            sold.append(Sold(order=order, serial=serial, code=code))
        return sold

    def _take_serial(self, order: Order) -> int:
        """A file for each number: making it is what takes the number."""
        shelf = self.directory / _SOLD
        text = json.dumps(
            {"product": order.product.value, "count": order.count, "days": order.days}
        )
        try:
            first = 1 + max(
                (int(p.stem) for p in shelf.glob("*.json") if p.stem.isdigit()), default=0
            )
            for serial in range(first, first + _TRIES_MAX):
                if _write_new(shelf / f"{serial}.json", text, mode=0o644):
                    return serial
        except OSError as error:
            raise BadVendor(f"{error.filename or shelf}: {error.strerror}") from error
        raise BadVendor(f"{shelf}: no serial number is free")


def read_key(path: str | Path) -> bytes:
    """Return the public key in a file.

    Raises:
        BadVendor: If there is none.
    """
    return _key_in(Path(path), "Name the vendor's file vendor.pub.")


def _default_directory() -> Path:
    if named := os.environ.get("VMOTION_VENDOR_DIR"):
        return Path(named)
    config = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(config) / "vmotion" / "vendor"


def _write_new(path: Path, text: str, *, mode: int) -> bool:
    """Write a file that is not there yet, whole or not at all; return whether it was not there."""
    with contextlib.suppress(FileExistsError):
        draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        try:
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
                file.write(text + "\n")
            os.link(draft, path)
        finally:
            draft.unlink(missing_ok=True)
        return True
    return False


def _key_in(path: Path, cure: str) -> bytes:
    try:
        key = bytes.fromhex(path.read_text(encoding="ascii"))
    except OSError as error:
        raise BadVendor(f"{path}: {error.strerror}. {cure}") from error
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise BadVendor(f"{path} is no key: {2 * KEY_BYTES} hex digits are wanted")
    return key
