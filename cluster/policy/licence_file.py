r"""Licence files in FlexLM's text form: read, write, sign, check, combine.

    SERVER licences ANY 27000
    VENDOR VMOTIONLM
    INCREMENT VC_VMOTION VMOTIONLM 3.0 31-dec-2026 4 VENDOR_STRING="enterprise" \
        ISSUED=1-jan-2026 SN=17 SIGN="5f0c…"

Of other vendors' lines only the first two words are understood; they are kept as they were.
Source of the form: FLEXnet Licensing End User Guide, appendix B.

Lines are signed one by one with the vendor's private key and checked with the public one, so a
licence server cannot make licences, and lines of several files can stand together in one.
"""

import re
import shlex
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime

from cluster.inventory.licence_terms import FEATURES, Feature, Product
from cluster.policy.problems import Problem
from cluster.policy.signatures import fits, signature_of

VENDOR = "VMOTIONLM"
VERSION = "3.0"
DEFAULT_SERVER = "SERVER licences ANY 27000"
LINES_MAX = 10_000
_KEPT = frozenset({"USE_SERVER", "FEATURE", "INCREMENT", "UPGRADE", "PACKAGE", "VENDOR", "DAEMON"})
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_DATE = re.compile(r"(\d{1,2})-([a-z]{3})-(\d{4})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Increment:
    """So many licences of a feature, as one line of a file.

    Attributes:
        serial: Of the activation code; its features share it.
        expires: The last day; None is for ever.
        signature: Hex digits; "" is not signed.
    """

    feature: Feature
    count: int
    product: Product
    serial: int
    issued: date
    expires: date | None = None
    signature: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LicenceFile:
    """What a file holds.

    Attributes:
        server: The SERVER line.
        increments: Of our vendor.
        others: All lines of other vendors, as they were.
    """

    server: str = DEFAULT_SERVER
    increments: tuple[Increment, ...] = ()
    others: tuple[str, ...] = ()


def day_of(now: float) -> date:
    """Return the UTC day of a moment in Unix seconds."""
    return datetime.fromtimestamp(now, UTC).date()


# Writing.


def write(file: LicenceFile) -> str:
    """Return the file's text; `read` gives the file back."""
    lines = [file.server, *file.others, f"VENDOR {VENDOR}"]
    lines += [f'{_terms(one)} SIGN="{one.signature}"' for one in file.increments]
    return "\n".join(lines) + "\n"


def sign(increment: Increment, private_key: bytes) -> Increment:
    """Return the line with the vendor's signature over everything else in it."""
    return replace(increment, signature=signature_of(_terms(increment), private_key))


def _terms(one: Increment) -> str:
    return (
        f"INCREMENT {one.feature.value} {VENDOR} {VERSION} {_day_text(one.expires)} {one.count} "
        f'VENDOR_STRING="{one.product.value}" ISSUED={_day_text(one.issued)} SN={one.serial}'
    )


def _day_text(day: date | None) -> str:
    return "permanent" if day is None else f"{day.day}-{_MONTHS[day.month - 1]}-{day.year}"


# Reading.


def read(text: str) -> tuple[LicenceFile, list[Problem]]:
    """Return what can be understood, and what is wrong with each line that cannot."""
    servers: list[str] = []
    increments: list[Increment] = []
    others: list[str] = []
    problems: list[Problem] = []
    lines = _joined(text)
    if len(lines) > LINES_MAX:
        return LicenceFile(), [_problem("form", f"more than {LINES_MAX} lines")]
    for number, line in lines:
        word, *rest = line.split()
        if word == "SERVER":
            servers.append(line)
        elif word == "INCREMENT" and rest[1:2] == [VENDOR]:
            try:
                increments.append(_increment(line))
            except ValueError as error:
                problems.append(_problem("form", f"line {number}: {error}"))
        elif word in ("VENDOR", "DAEMON") and rest[:1] == [VENDOR]:
            pass  # `write` puts it there again
        elif word in _KEPT:
            others.append(line)
        else:
            problems.append(_problem("form", f"line {number}: {word} is no word of a licence file"))
    if len(servers) > 1:
        problems.append(_problem("server", "more than one SERVER line"))
    server = servers[0] if servers else DEFAULT_SERVER
    return LicenceFile(server=server, increments=tuple(increments), others=tuple(others)), problems


def _joined(text: str) -> list[tuple[int, str]]:
    """Return (number, line) without comments and blank lines; a backslash joins two lines."""
    found: list[tuple[int, str]] = []
    pending, began = "", 0
    for number, line in enumerate(text.splitlines(), start=1):
        began = began if pending else number
        if line.rstrip().endswith("\\"):
            pending += line.rstrip()[:-1] + " "
            continue
        whole = " ".join((pending + line).split())
        pending = ""
        if whole and not whole.startswith("#"):
            found.append((began, whole))
    if pending.strip():
        found.append((began, " ".join(pending.split())))
    return found


def _increment(line: str) -> Increment:
    words = shlex.split(line)
    if len(words) < 6:
        raise ValueError("INCREMENT needs a feature, a vendor, a version, a last day and a count")
    _, feature, _, version, expires, count = words[:6]
    if version != VERSION:
        raise ValueError(f"version {version} is not {VERSION}")
    pairs = dict(word.split("=", 1) for word in words[6:] if "=" in word)
    missing = [key for key in ("VENDOR_STRING", "ISSUED", "SN", "SIGN") if key not in pairs]
    if missing:
        raise ValueError(f"{', '.join(missing)} is missing")
    issued = _day(pairs["ISSUED"])
    if issued is None:
        raise ValueError("ISSUED is no day")
    return Increment(
        feature=Feature(feature),
        count=_whole(count),
        product=Product(pairs["VENDOR_STRING"]),
        serial=_whole(pairs["SN"]),
        issued=issued,
        expires=_day(expires),
        signature=pairs["SIGN"],
    )


def _whole(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise ValueError(f"{text!r} is not a whole number")
    return int(text)


def _day(text: str) -> date | None:
    if text == "permanent":
        return None
    found = _DATE.fullmatch(text.lower())
    if found is None or found[2] not in _MONTHS:
        raise ValueError(f"{text!r} is not a day such as 31-dec-2026")
    return date(int(found[3]), _MONTHS.index(found[2]) + 1, int(found[1]))


# Judging.


def check(file: LicenceFile, public_key: bytes, *, now: float) -> list[Problem]:
    """Return every reason why a line of ours is not good now: edited, expired, doubled."""
    today = day_of(now)
    problems: list[Problem] = []
    seen: set[tuple[int, Feature]] = set()
    for one in file.increments:
        name = f"{one.feature.title} licence {one.serial}"
        if not fits(one.signature, _terms(one), public_key):
            text = f"{name}: the signature does not fit, so it was edited or is another vendor's"
            problems.append(_problem("signature", text, "Ask the vendor for the file again."))
        elif one.feature not in FEATURES[one.product] or one.count < 1:
            problems.append(_problem("form", f"{name}: no such thing was ever sold"))
        if one.expires is not None and one.expires < today:
            text = f"{name} expired on {one.expires.isoformat()}"
            problems.append(_problem("expiry", text, "Purchase new licences."))
        if one.issued > today:
            text = f"{name} is not valid before {one.issued.isoformat()}"
            problems.append(_problem("expiry", text, "Check this machine's clock."))
        if (one.serial, one.feature) in seen:
            text = f"{name} is there twice"
            problems.append(_problem("duplicate", text, "Leave one of the two out."))
        seen.add((one.serial, one.feature))
    return problems


def combine(files: Iterable[LicenceFile]) -> tuple[LicenceFile, list[Problem]]:
    """Return one file with everything that is in the others, and why that is not possible.

    The same line of another vendor in two files stays once.
    """
    given = list(files)
    problems: list[Problem] = []
    servers = list(dict.fromkeys(file.server for file in given))
    named = [server for server in servers if server != DEFAULT_SERVER]
    if len(named) > 1:
        text = f"the files name {len(named)} licence servers: {'; '.join(named)}"
        problems.append(_problem("server", text, "Combine files of one licence server."))
    increments = [one for file in given for one in file.increments]
    seen = Counter((one.serial, one.feature) for one in increments)
    doubled = [pair for pair, times in seen.items() if times > 1]
    for serial, feature in doubled:
        text = f"{feature.title} licence {serial} is in more than one file"
        problems.append(_problem("duplicate", text, "Leave one of the two out."))
    combined = LicenceFile(
        server=(named or servers or [DEFAULT_SERVER])[0],
        increments=tuple(increments),
        others=tuple(dict.fromkeys(line for file in given for line in file.others)),
    )
    return combined, problems


def _problem(check: str, text: str, cure: str = "Check the file.") -> Problem:
    return Problem(check=check, text=text, cure=cure)
