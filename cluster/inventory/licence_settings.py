"""From the [licences] table to frozen facts; whether the licences are good is policy's question."""

from pathlib import Path

from cluster.inventory.assembly import Draft
from cluster.inventory.licences import LicenceSettings
from cluster.inventory.problems import shown

FILE_BYTES_MAX = 1 << 20
KEY_BYTES = 32


def licence_settings(draft: Draft) -> LicenceSettings:
    """Return what the scenario begins with; what cannot be read goes to the draft's findings."""
    table, add = draft.tables.licences, draft.findings.add
    if table.file is not None and table.products:
        add(("licences", "file"), "means nothing beside products", "leave one of them out")
    if table.file is not None and table.vendor_key is None:
        right = "the vendor's public key; vmotion license purchase says where it is"
        add(("licences", "vendor_key"), "is missing", right)
    if table.file is None and table.vendor_key is not None:
        add(("licences", "vendor_key"), "means nothing without file", "leave it out")
    return LicenceSettings(
        products=tuple(table.products.items()),
        file=table.file or "",
        text=_read(draft, "file", table.file) or "",
        vendor_key=_key(draft, _read(draft, "vendor_key", table.vendor_key)),
        begins=table.begins,
        evaluation_days_left=table.evaluation_days_left,
    )


def _read(draft: Draft, name: str, file: str | None) -> str | None:
    if file is None:
        return None
    try:
        path = Path(draft.shelf.directory) / Path(file).expanduser()
        if path.stat().st_size > FILE_BYTES_MAX:
            draft.findings.add(("licences", name), f"{shown(file)} is too large", "another file")
            return None
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError, RuntimeError) as error:
        match error:
            case OSError():
                why = error.strerror
            case RuntimeError():  # pathlib's word for `~name` of nobody
                why = "there is no such home directory"
            case _:
                why = "it is no text"
        draft.findings.add(
            ("licences", name), f"{shown(file)} cannot be read: {why}", "a readable file"
        )
        return None


def _key(draft: Draft, text: str | None) -> bytes | None:
    if text is None:
        return None
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        right = f"a file with {2 * KEY_BYTES} hex digits"
        draft.findings.add(("licences", "vendor_key"), "is no public key", right)
        return None
    return key
