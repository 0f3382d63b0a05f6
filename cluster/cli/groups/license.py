"""`vmotion license`: from a purchase to licences in use."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import click

from cluster.cli.exit_status import BAD_INPUT, FAILED
from cluster.cli.licence_files import judged, read_file, write_file
from cluster.cli.vendor import BadVendor, Vendor, read_key
from cluster.inventory.licence_terms import FEATURES, Order, Product
from cluster.inventory.names import suggestion
from cluster.policy import licence_file
from cluster.policy.licence_file import LicenceFile
from cluster.policy.licence_vendor import activate as activated
from cluster.policy.licence_vendor import order_problems
from cluster.policy.problems import Problem

PRODUCTS = tuple(product.value for product in Product)


@click.group()
def license() -> None:  # noqa: A001
    """Buy licences, put them into the licence server, and give them to hosts.

    \b
    From a purchase to a licensed host:
      vmotion license purchase enterprise=2 virtualcenter=1
      vmotion license activate CODE CODE
      vmotion license combine enterprise-1.lic virtualcenter-2.lic --out all.lic
      vmotion license install all.lic
      vmotion license tick --all -f vmotion
      vmotion license status
    """


vendor_option = click.option(
    "--vendor",
    type=click.Path(file_okay=False),
    help="Directory of the vendor's keys and sales; ~/.config/vmotion/vendor if left out.",
)
vendor_key_option = click.option(
    "--vendor-key",
    type=click.Path(dir_okay=False),
    help="The vendor's public key, vendor.pub; that of --vendor if left out.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON to stdout.")


@license.command()
@click.argument("orders", nargs=-1, required=True, metavar="PRODUCT[=COUNT]...")
@click.option(
    "--days", type=click.IntRange(1), help="How long they are good for; for ever if left out."
)
@vendor_option
@json_option
def purchase(orders: tuple[str, ...], days: int | None, vendor: str | None, as_json: bool) -> None:
    """Buy licences from the vendor, whom this command plays, and print activation codes.

    PRODUCT is starter, standard, enterprise, virtualcenter or vmotion (VMotion à la carte, for
    starter and standard; enterprise contains it, with DRS and HA). A licence covers two processors
    of up to four cores. The vendor's key is made at first use.

    \b
    Examples:
      vmotion license purchase enterprise=2 virtualcenter=1
      vmotion license purchase standard=4 vmotion=4 virtualcenter --days 365
    """
    wanted = _orders(orders, days)
    try:
        shop = Vendor(vendor)
        new = shop.open()
        sold = shop.sell(wanted)
    except BadVendor as error:
        _stop(str(error))
    if as_json:
        rows = [
            {
                "product": s.order.product.value,
                "count": s.order.count,
                "days": s.order.days,
                "serial": s.serial,
                "code": s.code,
            }
            for s in sold
        ]
        _print_json(
            {"vendor": str(shop.directory), "vendor_key": str(shop.public_path), "sold": rows}
        )
        return
    click.echo(f"vendor: {shop.directory}{', a new one with a new key' if new else ''}")
    for one in sold:
        order = one.order
        lasts = "for ever" if order.days is None else f"for {order.days} days"
        click.echo(f"{order.product.value:<14} {order.count:>4}  {lasts:<14} {one.code}")
    click.echo(f"next: vmotion license activate {' '.join(one.code for one in sold)}")


@license.command()
@click.argument("codes", nargs=-1, required=True)
@click.option(
    "--out", type=click.Path(file_okay=False), default=".", help="Directory for the files."
)
@click.option("--server", metavar="NAME", help="The licence server's host, for the SERVER line.")
@vendor_option
@json_option
def activate(
    codes: tuple[str, ...], out: str, server: str | None, vendor: str | None, as_json: bool
) -> None:
    """Turn activation codes into licence files, one a product, named PRODUCT-SERIAL.lic.

    The licences are good from today on. The same code gives the same licences again.

    \b
    Example:
      vmotion license activate AIAAE-AAAAA-AQAAA-RXAVV-WOJ36-5ZA --out licences
    """
    try:
        key = Vendor(vendor).private_key()
    except BadVendor as error:
        _stop(str(error))
    line = None if server is None else f"SERVER {server} ANY 27000"
    made = [activated(code, key, now=time.time(), server=line) for code in codes]
    if problems := [("", one) for one in made if isinstance(one, Problem)]:
        refuse(problems)
    files = [one for one in made if isinstance(one, LicenceFile)]
    rows = []
    try:
        Path(out).mkdir(parents=True, exist_ok=True)
        for file in files:
            first = file.increments[0]
            path = Path(out) / f"{first.product.value}-{first.serial}.lic"
            write_file(path, file)
            rows.append({"file": str(path), **_contents(file)[0]})
    except OSError as error:
        _stop(f"{error.filename or out}: {error.strerror}")
    if as_json:
        _print_json(rows)
        return
    for row in rows:
        click.echo(f"{row['file']}: {_words(row)}")
    if len(rows) > 1:
        click.echo(
            f"next: vmotion license combine {' '.join(str(r['file']) for r in rows)} --out all.lic"
        )


@license.command()
@click.argument("files", nargs=-1, required=True, type=click.Path())
@click.option("--out", required=True, type=click.Path(dir_okay=False), help="The file to write.")
@vendor_option
@vendor_key_option
@json_option
def combine(
    files: tuple[str, ...], out: str, vendor: str | None, vendor_key: str | None, as_json: bool
) -> None:
    """Combine licence files into one, beside what other vendors' files have in them.

    Files that were edited, have expired, or hold the same licence are refused, every reason at once.

    \b
    Example:
      vmotion license combine enterprise-1.lic virtualcenter-2.lic other.lic --out all.lic
    """
    whole, problems = judged(files, public_key(vendor, vendor_key))
    if problems:
        refuse(problems)
    try:
        write_file(out, whole)
    except OSError as error:
        _stop(f"{error.filename or out}: {error.strerror}")
    rows = _contents(whole)
    if as_json:
        _print_json({"file": out, "licences": rows, "other_lines": len(whole.others)})
        return
    click.echo(f"{out}: {len(files)} files in one")
    _print_contents(rows, whole)


@license.command()
@click.argument("file", type=click.Path())
@vendor_option
@vendor_key_option
@json_option
def show(file: str, vendor: str | None, vendor_key: str | None, as_json: bool) -> None:
    """Show what is in a licence file, and everything that is wrong with it.

    \b
    Example:
      vmotion license show all.lic
    """
    found, problems = read_file(file)
    problems += licence_file.check(found, public_key(vendor, vendor_key), now=time.time())
    rows = _contents(found)
    if as_json:
        data = [{"check": p.check, "text": p.text, "cure": p.cure} for p in problems]
        _print_json(
            {"file": file, "licences": rows, "other_lines": len(found.others), "problems": data}
        )
        raise SystemExit(FAILED if problems else 0)
    _print_contents(rows, found)
    if problems:
        refuse([(file, problem) for problem in problems])


# Inside.


def _orders(texts: Sequence[str], days: int | None) -> tuple[Order, ...]:
    orders: list[Order] = []
    wrong: list[str] = []
    for text in texts:
        name, equals, count = text.partition("=")
        if name not in PRODUCTS:
            wrong.append(f"there is no product {name}; {suggestion(name, PRODUCTS)}")
        elif equals and not (count.isascii() and count.isdigit()):
            wrong.append(f"{text}: {count or 'nothing'} is not a whole number; write {name}=2")
        else:
            orders.append(Order(product=Product(name), count=int(count or 1), days=days))
    if not wrong:
        wrong = [f"{problem.text}; {problem.cure}" for problem in order_problems(tuple(orders))]
    if wrong:
        for text in wrong:
            click.echo(f"vmotion: {text}", err=True)
        raise SystemExit(BAD_INPUT)
    return tuple(orders)


def public_key(vendor: str | None, vendor_key: str | None) -> bytes:
    try:
        return read_key(vendor_key) if vendor_key is not None else Vendor(vendor).public_key()
    except BadVendor as error:
        _stop(str(error), BAD_INPUT)


def _contents(file: LicenceFile) -> list[dict[str, Any]]:
    """One row a purchase: its features share a serial number."""
    rows: dict[int, dict[str, Any]] = {}
    for one in file.increments:
        row = rows.setdefault(
            one.serial,
            {
                "product": one.product.value,
                "serial": one.serial,
                "count": one.count,
                "issued": one.issued.isoformat(),
                "expires": None if one.expires is None else one.expires.isoformat(),
                "features": [],
            },
        )
        row["features"].append(one.feature.title)
    return list(rows.values())


def _words(row: dict[str, Any]) -> str:
    lasts = "for ever" if row["expires"] is None else f"until {row['expires']}"
    return f"{row['count']} {row['product']} ({', '.join(row['features'])}), {lasts}"


def _print_contents(rows: Sequence[dict[str, Any]], file: LicenceFile) -> None:
    for row in rows:
        click.echo(f"  {row['serial']:>4}  {_words(row)}")
    if file.others:
        click.echo(f"  and {len(file.others)} lines of other vendors")
    if missing := [p for p in (Product.VIRTUALCENTER,) if not _has(rows, p)]:
        needs = ", ".join(product.value for product in missing)
        click.echo(f"  no {needs}: VMotion, DRS and HA need one")


def _has(rows: Sequence[dict[str, Any]], product: Product) -> bool:
    wanted = {feature.title for feature in FEATURES[product]}
    return any(wanted <= set(row["features"]) for row in rows)


def refuse(problems: Sequence[tuple[str, Problem]]) -> NoReturn:
    for where, problem in problems:
        place = f"{where}: " if where else ""
        click.echo(f"vmotion: {place}{problem.text}. {problem.cure}", err=True)
    raise SystemExit(FAILED)


def _stop(text: str, status: int = FAILED) -> NoReturn:
    click.echo(f"vmotion: {text}", err=True)
    raise SystemExit(status)


def _print_json(thing: object) -> None:
    click.echo(json.dumps(thing, indent=2))
