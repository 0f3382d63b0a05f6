"""`vmotion up` and `down`: a cluster that goes on when the command has ended."""

import contextlib
import os
import signal
import sys
import time
from pathlib import Path

import click
from rich.console import Console

from cluster.actors import places
from cluster.actors.control import Control, Failed, NotReached
from cluster.actors.views import ClusterView
from cluster.cli.exit_status import BAD_INPUT, FAILED
from cluster.cli.groups.common import (
    CENTER,
    DEFAULT,
    KEEPER,
    cluster_option,
    json_option,
    print_json,
    reach,
    standing,
    stop,
)
from cluster.cli.options import watching_options
from cluster.policy.state import HostState, PowerState

_LOOK_S = 0.2
_SILENCE_S_MAX = 120.0
_DOWN_S_MAX = 60.0


@click.command()
@click.argument("scenario", type=click.Path())
@cluster_option
@click.option("--ray-address", metavar="HOST:PORT", help="Run on this Ray, from one of its nodes.")
@click.option(
    "--database",
    type=click.Path(dir_okay=False),
    help="VirtualCenter's database. It stays after vmotion down; without this option it goes.",
)
@watching_options
@click.option("--seed", type=click.IntRange(0), help="Instead of the scenario's own seed.")
@click.option(
    "--wait/--no-wait", default=True, help="Return when all VMs are on, or when it has begun."
)
@json_option
def up(
    scenario: str,
    cluster: str | None,
    ray_address: str | None,
    database: str | None,
    metrics_port: int | None,
    host_metrics: bool,
    vm_metrics: bool,
    log: str | None,
    log_level: str,
    seed: int | None,
    wait: bool,
    as_json: bool,
) -> None:
    """Start a scenario's cluster, and return while it goes on.

    Its clock, its clients, DRS and its timed events begin when all VMs are on; its duration
    does not end it, vmotion down does. OTEL_EXPORTER_OTLP_ENDPOINT names where traces of its
    migrations and DRS passes go.

    \b
    Examples:
      vmotion up examples/quickstart.toml
      vmotion up lab.toml --cluster lab --database lab.db
      vmotion up lab.toml --ray-address 10.0.0.1:6379 --host-metrics
      vmotion up lab.toml --log lab.log --log-level debug
    """
    from cluster.actors.keeper import Orders
    from cluster.cli.groups.starting import start_keeper
    from cluster.cli.run import load_scenario

    name = cluster or DEFAULT
    read = load_scenario(scenario, seed=seed, duration_s=None)
    if read is None:
        raise SystemExit(BAD_INPUT)
    try:
        place = places.place_of(name)
        other = places.read(name)
    except places.BadPlace as error:
        stop(str(error), BAD_INPUT)
    if other is not None and (other.alive or other.ray_address):
        stop(
            f"cluster {name} is up already, from {other.scenario}. "
            f"End it with vmotion down --cluster {name}, or give this one another --cluster"
        )
    path = Path(database).absolute() if database else place / "vmotion.db"
    _must_be_a_journal(path)
    wanted = places.Standing(
        name=name,
        scenario=str(Path(scenario).absolute()),
        keeper=0,
        keeper_began="",
        database=str(path),
        ray_address=ray_address,
        watching=places.Watching(
            metrics_port=metrics_port,
            host_metrics=host_metrics,
            vm_metrics=vm_metrics,
            # A keeper that joins later may begin elsewhere.
            log=log if log in (None, "-") else str(Path(log).absolute()),
            log_level=log_level,
        ),
    )
    orders = Orders(standing=wanted, scenario=read)
    console = Console(file=sys.stderr, highlight=False)
    try:
        with console.status(f"starting cluster {name}: Ray") as status:
            found = start_keeper(orders)
            if not wait:
                _say_up(found, None, as_json)
                return
            with Control(found.control, found.key.encode()) as control:
                view = _until_up(control, lambda text: status.update(f"starting {name}: {text}"))
    except KeyboardInterrupt:
        with contextlib.suppress(SystemExit):
            _end(name)
        click.echo("vmotion: interrupted; nothing is left running", err=True)
        raise SystemExit(130) from None
    except NotReached as error:
        stop(f"cluster {name} does not answer: {error}")
    except Failed as error:
        with contextlib.suppress(SystemExit):
            _end(name)
        stop(str(error))
    _say_up(found, view, as_json)
    later = read.arriving
    off = [vm for vm, _, power in view.vms if power is PowerState.OFF and vm not in later]
    if off:
        stop(f"not powered on: {', '.join(off)}; vmotion vm show says why")


def _must_be_a_journal(path: Path) -> None:
    """A file that is something else should be said now, and is not touched."""
    from cluster.journal.database import JournalFailed
    from cluster.journal.journal import Journal

    if path.exists():
        try:
            Journal(path).close()
        except JournalFailed as error:
            stop(str(error), BAD_INPUT)
    elif not path.parent.exists() and path.parent != places.place_of(DEFAULT).parent:
        with contextlib.suppress(OSError):
            path.parent.mkdir(mode=0o700, parents=True)


def _until_up(control: Control, say: "object") -> ClusterView:
    """Look until every VM has started or failed to.

    Raises:
        NotReached: If nothing has changed for too long.
    """
    assert callable(say)
    changed_s, before = time.monotonic(), None
    while True:
        view: ClusterView = control.call(CENTER, "view", 1 << 62)
        connected = sum(host.state is not HostState.STARTING for host in view.hosts)
        on = sum(power is PowerState.ON for _, _, power in view.vms)
        say(f"{connected} of {len(view.hosts)} hosts, {on} of {len(view.vms)} VMs")
        if view.all_up:
            return view
        if (connected, on) != before:
            changed_s, before = time.monotonic(), (connected, on)
        elif time.monotonic() - changed_s > _SILENCE_S_MAX:
            raise NotReached(f"no host or VM has come up for {_SILENCE_S_MAX:.0f} s")
        time.sleep(_LOOK_S)


def _say_up(found: places.Standing, view: ClusterView | None, as_json: bool) -> None:
    on = 0 if view is None else sum(power is PowerState.ON for _, _, power in view.vms)
    if as_json:
        print_json(
            {
                "cluster": found.name,
                "scenario": found.scenario,
                "database": found.database,
                "keeper": found.keeper,
                "ray_address": found.ray_address,
                "metrics": found.metrics,
                "hosts": None if view is None else len(view.hosts),
                "vms": None if view is None else on,
            }
        )
        return
    if view is None:
        click.echo(f"cluster {found.name} is starting; vmotion status shows it")
        return
    click.echo(
        f"cluster {found.name} is up: {len(view.hosts)} hosts, {on} VMs. "
        f"vmotion status shows it, vmotion down ends it\nmetrics: {found.metrics}"
    )


@click.command()
@cluster_option
@json_option
def down(cluster: str | None, as_json: bool) -> None:
    """End a cluster, with everything that belongs to it and nothing else.

    \b
    Examples:
      vmotion down
      vmotion down --cluster lab
    """
    name = _end(cluster)
    if as_json:
        print_json({"cluster": name, "down": True})
    else:
        click.echo(f"cluster {name} is down; nothing of it is left")


def _end(cluster: str | None) -> str:
    """Have the keeper take the cluster down, or clear away what a dead one has left."""
    from cluster.cli.groups.starting import end_keeper

    found = standing(cluster)
    if not found.alive and found.ray_address is None:
        places.forget(found.name, database_too=not found.keeps_database)
        return found.name
    if found.ready:
        with reach(found.name) as control, contextlib.suppress(NotReached):
            control.call(KEEPER, "end")
        found = places.read(found.name) or found
    else:
        os.kill(found.keeper, signal.SIGTERM)
    if not end_keeper(found, silence_s_max=_DOWN_S_MAX):
        stop(f"the keeper of {found.name}, process {found.keeper}, does not end", FAILED)
    return found.name
