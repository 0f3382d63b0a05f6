"""The vendor's side of a purchase: an order becomes an activation code, a code a licence file.

`key` is the vendor's private key. Only the vendor turns codes into files, so a code needs no
signature that others could check: 8 bytes of an HMAC keep it short enough to be typed.
"""

import base64
import binascii
import hashlib
import hmac
import struct
from datetime import timedelta

from cluster.inventory.licence_terms import FEATURES, Order, Product
from cluster.policy.licence_file import Increment, LicenceFile, day_of, sign
from cluster.policy.problems import Problem

_PRODUCTS = tuple(Product)
# Product, licences, serial number, days (0 is for ever); then the first 8 bytes of an HMAC.
_TERMS = struct.Struct(">BHIH")
_MAC_BYTES = 8
COUNT_MAX = 0xFFFF
DAYS_MAX = 0xFFFF


def purchase(orders: tuple[Order, ...], key: bytes, *, first_serial: int) -> tuple[str, ...]:
    """Return an activation code for each order, with serial numbers from `first_serial` on.

    Raises:
        ValueError: If `order_problems` is not empty.
    """
    if problems := order_problems(orders):
        raise ValueError(problems[0].text)
    return tuple(_code(order, first_serial + at, key) for at, order in enumerate(orders))


def order_problems(orders: tuple[Order, ...]) -> list[Problem]:
    """Return what cannot be bought, all at once."""
    problems: list[Problem] = []
    if not orders:
        problems.append(Problem(check="order", text="nothing is ordered", cure="Name a product."))
    for order in orders:
        if not 1 <= order.count <= COUNT_MAX:
            text = f"{order.product.value}: {order.count} licences cannot be bought"
            cure = f"Order 1 to {COUNT_MAX}."
            problems.append(Problem(check="order", text=text, cure=cure))
        if order.days is not None and not 1 <= order.days <= DAYS_MAX:
            text = f"{order.product.value}: licences for {order.days} days cannot be bought"
            cure = f"Order 1 to {DAYS_MAX} days, or for ever."
            problems.append(Problem(check="order", text=text, cure=cure))
    return problems


def activate(
    code: str, key: bytes, *, now: float, server: str | None = None
) -> LicenceFile | Problem:
    """Return the signed licence file of a code, good from the day of `now` on, or what is wrong.

    The same code on the same day gives the same file: activating twice gains nothing,
    because both files hold the same serial number.
    """
    terms = _terms(code, key)
    if terms is None:
        text = f"{code} is not an activation code of this vendor"
        return Problem(check="code", text=text, cure="Type the code as it was printed.")
    product, count, serial, days = terms
    issued = day_of(now)
    increments = tuple(
        sign(
            Increment(
                feature=feature,
                count=count,
                product=product,
                serial=serial,
                issued=issued,
                expires=issued + timedelta(days=days - 1) if days else None,
            ),
            key,
        )
        for feature in FEATURES[product]
    )
    file = LicenceFile(increments=increments)
    return file if server is None else LicenceFile(server=server, increments=increments)


def _code(order: Order, serial: int, key: bytes) -> str:
    terms = _TERMS.pack(_PRODUCTS.index(order.product), order.count, serial, order.days or 0)
    text = base64.b32encode(terms + _mac(terms, key)).decode().rstrip("=")
    return "-".join(text[at : at + 5] for at in range(0, len(text), 5))


def _terms(code: str, key: bytes) -> tuple[Product, int, int, int] | None:
    text = code.strip().upper().replace("-", "")
    try:
        raw = base64.b32decode(text + "=" * (-len(text) % 8))
    except (binascii.Error, ValueError):
        return None
    if len(raw) != _TERMS.size + _MAC_BYTES:
        return None
    terms, mac = raw[: _TERMS.size], raw[_TERMS.size :]
    if not hmac.compare_digest(_mac(terms, key), mac):
        return None
    product, count, serial, days = _TERMS.unpack(terms)
    return _PRODUCTS[product], count, serial, days


def _mac(terms: bytes, key: bytes) -> bytes:
    return hmac.new(key, b"code" + terms, hashlib.sha256).digest()[:_MAC_BYTES]
