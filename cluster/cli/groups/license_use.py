"""`vmotion license` on a cluster that stays: installed, given to hosts, seen, given back."""

import time
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from cluster.actors.control import Control
from cluster.actors.views import LicenceView
from cluster.cli.exit_status import BAD_INPUT, DONE, FAILED
from cluster.cli.groups.common import (
    CENTER,
    ask,
    begin,
    cluster_option,
    complete_hosts,
    follow,
    json_option,
    known_host,
    print_json,
    reach,
    stop,
    tell,
)
from cluster.cli.groups.license import license as group
from cluster.cli.groups.license import public_key, refuse, vendor_key_option, vendor_option
from cluster.cli.licence_files import judged, read_file
from cluster.inventory.licence_terms import FEATURE_NAMES, HOST_FEATURES, Feature, FeatureName
from cluster.policy.licensing import Mode
from cluster.policy.messages import FeaturesTicked, FeaturesUnticked, LicencesOffered
from cluster.policy.tasks import TaskState

_LOOK_S = 0.2
_NOTICED_S_MAX = 90.0
_FEATURES = click.Choice([*FEATURE_NAMES, "all"])


@group.command()
@click.argument("files", nargs=-1, required=True, type=click.Path())
@click.option(
    "--into",
    type=click.Path(dir_okay=False),
    help="A licence file that the licence server shares with other vendors; theirs stays in it.",
)
@vendor_option
@vendor_key_option
@cluster_option
@json_option
def install(
    files: tuple[str, ...],
    into: str | None,
    vendor: str | None,
    vendor_key: str | None,
    cluster: str | None,
    as_json: bool,
) -> None:
    """Install a licence file into the licence server, in place of the last one.

    Several files are combined first. Edited, expired and doubled licences are refused, and files
    that cover less than hosts use now. The first file ends the evaluation.

    \b
    Examples:
      vmotion license install all.lic
      vmotion license install all.lic --into /etc/flexlm/license.dat
    """
    key = public_key(vendor, vendor_key)
    whole, problems = judged(files, key)
    if into is not None and Path(into).exists():
        problems += [(into, problem) for problem in read_file(into)[1]]
    if problems:
        refuse(problems)
    held_at = "" if into is None else str(Path(into).absolute())
    with reach(cluster) as control:
        wish = LicencesOffered(file=whole, vendor_key=key, held_at=held_at)
        task = follow(control, begin(control, wish), quiet=as_json)
        tell(task, as_json=as_json)
        if task.state is TaskState.FAILED:
            raise SystemExit(FAILED)
        if not as_json:
            click.echo("next: vmotion license tick --all -f vmotion")
    raise SystemExit(DONE)


@group.command()
@click.argument("hosts", nargs=-1, shell_complete=complete_hosts)
@click.option(
    "--feature",
    "-f",
    "features",
    multiple=True,
    type=_FEATURES,
    required=True,
    help="esx, vmotion, drs, ha or all; several times for several.",
)
@click.option("--all", "every", is_flag=True, help="All hosts.")
@cluster_option
@json_option
def tick(
    hosts: tuple[str, ...],
    features: tuple[str, ...],
    every: bool,
    cluster: str | None,
    as_json: bool,
) -> None:
    """Give hosts features, as far as there are licences; what a feature needs is ticked with it.

    \b
    Examples:
      vmotion license tick esx-1 esx-2 -f vmotion
      vmotion license tick --all -f all
    """
    with reach(cluster) as control:
        named = _hosts(control, hosts, every)
        wish = FeaturesTicked(hosts=named, features=_features(features))
        ask(control, wish, as_json=as_json)


@group.command()
@click.argument("hosts", nargs=-1, shell_complete=complete_hosts)
@click.option(
    "--feature",
    "-f",
    "features",
    multiple=True,
    type=_FEATURES,
    required=True,
    help="esx, vmotion, drs, ha or all; several times for several.",
)
@click.option("--all", "every", is_flag=True, help="All hosts.")
@cluster_option
@json_option
def untick(
    hosts: tuple[str, ...],
    features: tuple[str, ...],
    every: bool,
    cluster: str | None,
    as_json: bool,
) -> None:
    """Take features from hosts, and what needs them; a migration under way is refused its commit.

    \b
    Example:
      vmotion license untick esx-1 -f vmotion
    """
    with reach(cluster) as control:
        named = _hosts(control, hosts, every)
        wanted = None if "all" in features else _given(features)
        ask(control, FeaturesUnticked(hosts=named, features=wanted), as_json=as_json)


@group.command()
@click.argument("hosts", nargs=-1, required=True, shell_complete=complete_hosts)
@cluster_option
@json_option
def release(hosts: tuple[str, ...], cluster: str | None, as_json: bool) -> None:
    """Give back all licences of hosts, for others to use.

    \b
    Example:
      vmotion license release esx-4
    """
    with reach(cluster) as control:
        ask(control, FeaturesUnticked(hosts=_hosts(control, hosts, False)), as_json=as_json)


@group.command()
@cluster_option
@json_option
def status(cluster: str | None, as_json: bool) -> None:
    """Show what the right to use features rests on, and how many licences are used.

    \b
    Examples:
      vmotion license status
      vmotion license status --json | jq .days_left
    """
    with reach(cluster) as control:
        found = _view(control)
    if as_json:
        print_json(_row(found))
        return
    click.echo(f"licences: {found.status.text}")
    if found.status.mode is not Mode.EVALUATION:
        away = "away" if found.status.server_away else "answers"
        at = f", its file is {found.held_at}" if found.held_at else ""
        click.echo(f"licence server: {away}{at}")
        table = _table("feature", "installed", "used", "free")
        for use in found.status.uses:
            used = 1 if use.feature is Feature.VIRTUALCENTER and use.installed else use.used
            free = use.installed - used
            table.add_row(use.feature.title, str(use.installed), str(used), str(free))
        Console(highlight=False).print(table)


@group.command()
@cluster_option
@json_option
def usage(cluster: str | None, as_json: bool) -> None:
    """Show how many licences of each feature each host takes, and what it may not use and why.

    \b
    Example:
      vmotion license usage
    """
    with reach(cluster) as control:
        found = _view(control)
    if as_json:
        print_json(_row(found)["hosts"])
        return
    table = _table("host", *(feature.title for feature in HOST_FEATURES), "")
    for host in found.hosts:
        lacking = dict(host.lacking)
        marks = [
            str(host.needed) if f in host.ticked and f not in lacking else "–"
            for f in HOST_FEATURES
        ]
        why = next((why for f, why in host.lacking if f in host.ticked), "")
        table.add_row(host.host, *marks, why)
    Console(highlight=False).print(table)
    if found.status.mode is Mode.EVALUATION:
        click.echo(f"licences: {found.status.text}; all hosts may use everything")


@group.command()
@click.argument("what", type=click.Choice(["start", "stop"]))
@cluster_option
def server(what: str, cluster: str | None) -> None:
    """Start the licence server, or stop it.

    While it is away nothing new can be licensed; after 14 days nothing is.

    \b
    Examples:
      vmotion license server stop
      vmotion license server start
    """
    with reach(cluster) as control:
        if _view(control).status.mode is Mode.EVALUATION:
            stop("no licence file is installed, so there is no licence server")
        control.call(CENTER, "licence_server", runs=what == "start")
        end_s = time.monotonic() + _NOTICED_S_MAX
        while (found := _view(control)).status.server_away == (what == "start"):
            if time.monotonic() > end_s:
                stop(f"VirtualCenter has not noticed within {_NOTICED_S_MAX:.0f} s")
            time.sleep(_LOOK_S)
    said = "answers" if what == "start" else "is stopped"
    click.echo(f"the licence server {said}; licences: {found.status.text}")


# Inside.


def _hosts(control: Control, hosts: tuple[str, ...], every: bool) -> tuple[str, ...]:
    if every == bool(hosts):
        stop("name hosts, or take --all", BAD_INPUT)
    if every:
        names: tuple[str, ...] = control.call(CENTER, "names")[0]
        return names
    for name in hosts:
        known_host(control, name)
    return hosts


def _given(names: tuple[str, ...]) -> tuple[Feature, ...]:
    if "all" in names:
        return HOST_FEATURES
    return tuple(FeatureName(name).feature for name in names)


def _features(names: tuple[str, ...]) -> tuple[Feature, ...]:
    """Return them with what they need."""
    from cluster.inventory.licence_terms import NEEDS

    given = _given(names)
    return tuple(dict.fromkeys(one for feature in given for one in (*NEEDS[feature], feature)))


def _view(control: Control) -> LicenceView:
    found: LicenceView | None = control.call(CENTER, "licences")
    if found is None:
        stop("the cluster is only starting; ask again in a moment")
    return found


def _row(found: LicenceView) -> dict[str, Any]:
    return {
        "mode": found.status.mode.value,
        "days_left": found.status.days_left,
        "server_away": found.status.server_away,
        "file": found.held_at or None,
        "features": [
            {"feature": use.feature.title, "installed": use.installed, "used": use.used}
            for use in found.status.uses
        ],
        "hosts": [
            {
                "host": host.host,
                "licences_needed": host.needed,
                "ticked": [feature.title for feature in host.ticked],
                "lacking": {feature.title: why for feature, why in host.lacking},
            }
            for host in found.hosts
        ],
    }


def _table(*columns: str) -> Table:
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
    for number, name in enumerate(columns):
        table.add_column(name, justify="left" if number == 0 or not name else "right")
    return table
