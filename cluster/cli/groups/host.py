"""`vmotion host`: the hosts of a cluster that stays."""

import click
from rich.console import Console
from rich.table import Table

from cluster.actors.views import ClusterView
from cluster.cli.groups.common import (
    CENTER,
    ask,
    cluster_option,
    complete_hosts,
    json_option,
    known_host,
    print_json,
    reach,
    wait_option,
)
from cluster.cli.groups.status import host_row
from cluster.policy.messages import HostConnectRequested


@click.group()
def host() -> None:
    """Look at hosts, and connect lost ones again."""


@host.command("list")
@cluster_option
@json_option
def list_hosts(cluster: str | None, as_json: bool) -> None:
    """List the hosts with their state and load.

    \b
    Example:
      vmotion host list
    """
    with reach(cluster) as control:
        view: ClusterView = control.call(CENTER, "view", 1 << 62)
    rows = [host_row(one) for one in view.hosts]
    if as_json:
        print_json(rows)
        return
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
    for name in ("host", "state", "VMs", "CPU", "memory", "tracker"):
        table.add_column(name)
    for one in view.hosts:
        table.add_row(
            one.name,
            one.state.value,
            str(one.vms),
            f"{one.demand_mhz / one.cpu_mhz:.0%} of {one.cpu_mhz:,.0f} MHz",
            f"{one.used_mib:,} of {one.memory_mib:,} MiB",
            one.facts.tracker.value if one.facts else "",
        )
    Console(highlight=False).print(table)


@host.command("connect")
@click.argument("name", shell_complete=complete_hosts)
@wait_option
@cluster_option
@json_option
def connect_host(name: str, wait: bool, cluster: str | None, as_json: bool) -> None:
    """Begin the process of a host that does not respond anew, where it was.

    It comes back empty: its VMs were lost with it, and run elsewhere if HA restarted them.

    \b
    Example:
      vmotion host connect esx-1
    """
    with reach(cluster) as control:
        known_host(control, name)
        ask(control, HostConnectRequested(host=name), wait=wait, as_json=as_json)


@host.command("show")
@click.argument("name", shell_complete=complete_hosts)
@cluster_option
@json_option
def show_host(name: str, cluster: str | None, as_json: bool) -> None:
    """Show a host and the VMs on it.

    \b
    Example:
      vmotion host show esx-1
    """
    with reach(cluster) as control:
        known_host(control, name)
        view: ClusterView = control.call(CENTER, "view", 1 << 62)
        scenario = control.call(CENTER, "scenario")
    found = next(one for one in view.hosts if one.name == name)
    spec = next(one for one in scenario.hosts if one.name == name)
    vms = sorted(vm for vm, at, _ in view.vms if at == name)
    row = {
        **host_row(found),
        "networks": list(spec.networks),
        "datastores": list(spec.datastores),
        "nic_bytes_per_second": spec.nic.rate_bytes_per_second,
        "vmotion": spec.vmotion,
        "tx_bytes": found.tx_bytes,
        "rx_bytes": found.rx_bytes,
        "vm_names": vms,
    }
    if as_json:
        print_json(row)
        return
    for key, value in row.items():
        shown = ", ".join(map(str, value)) if isinstance(value, list) else value
        click.echo(f"{key.replace('_', ' '):<22} {shown}")
