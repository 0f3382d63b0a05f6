"""`vmotion vm`: the VMs of a cluster that stays, on and off."""

import click
from rich.console import Console
from rich.table import Table

from cluster.actors.views import ClusterView, VmView
from cluster.cli.groups.common import (
    CENTER,
    ask,
    cluster_option,
    complete_hosts,
    complete_vms,
    json_option,
    known_host,
    known_vm,
    print_json,
    reach,
    wait_option,
)
from cluster.policy.messages import PowerOffRequested, PowerOnRequested


@click.group()
def vm() -> None:
    """Look at VMs, and power them on and off."""


@vm.command("list")
@cluster_option
@json_option
def list_vms(cluster: str | None, as_json: bool) -> None:
    """List the VMs, where they run and what they ask for.

    \b
    Example:
      vmotion vm list --json | jq -r '.[] | select(.host == "esx-1") | .name'
    """
    with reach(cluster) as control:
        view: ClusterView = control.call(CENTER, "view", 1 << 62)
    demand = {one.vm: one for sample in view.samples.values() for one in sample.vms}
    rows = [
        {
            "name": name,
            "host": host,
            "power": power.value,
            "demand_mhz": round(demand[name].demand_mhz, 1) if name in demand else None,
            "granted_mhz": round(demand[name].granted_mhz, 1) if name in demand else None,
        }
        for name, host, power in view.vms
    ]
    if as_json:
        print_json(rows)
        return
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
    for title in ("VM", "host", "power", "demand", "granted"):
        table.add_column(title)
    for row in rows:
        table.add_row(
            str(row["name"]),
            str(row["host"] or "–"),
            str(row["power"]),
            "–" if row["demand_mhz"] is None else f"{row['demand_mhz']} MHz",
            "–" if row["granted_mhz"] is None else f"{row['granted_mhz']} MHz",
        )
    Console(highlight=False).print(table)


@vm.command("show")
@click.argument("name", shell_complete=complete_vms)
@cluster_option
@json_option
def show_vm(name: str, cluster: str | None, as_json: bool) -> None:
    """Show a VM: where it runs, its epoch, its load, or why it is off.

    \b
    Example:
      vmotion vm show web-1
    """
    with reach(cluster) as control:
        known_vm(control, name)
        found: VmView = control.call(CENTER, "vm", name)
    sample = found.sample
    row: dict[str, object] = {
        "name": name,
        "power": found.power.value,
        "host": found.host,
        "epoch": found.epoch,
        "off_because": found.ended_reason or None,
        "memory_mib": found.spec.memory_mib,
        "cpu_mhz": found.spec.cpu_mhz,
        "guest": found.spec.guest.program,
        "demand_mhz": round(found.demand_mhz, 1),
        "granted_mhz": None if sample is None else round(sample.granted_mhz, 1),
        "requests": None if sample is None else sample.requests,
        "networks": list(found.spec.networks),
        "datastore": found.spec.datastore,
        "restart_priority": found.spec.restart_priority.value,
        "automation": found.spec.automation.value if found.spec.automation else None,
    }
    if as_json:
        print_json(row)
        return
    for key, value in row.items():
        shown = ", ".join(map(str, value)) if isinstance(value, list) else value
        click.echo(f"{key.replace('_', ' '):<18} {'–' if shown is None else shown}")


@vm.command("power-on")
@click.argument("name", shell_complete=complete_vms)
@click.argument("host", required=False, shell_complete=complete_hosts)
@wait_option
@cluster_option
@json_option
def power_on(name: str, host: str | None, wait: bool, cluster: str | None, as_json: bool) -> None:
    """Power a VM on, on HOST or where DRS places it; admission control may refuse.

    \b
    Examples:
      vmotion vm power-on web-1
      vmotion vm power-on web-1 esx-2
    """
    with reach(cluster) as control:
        known_vm(control, name)
        if host is not None:
            known_host(control, host)
        ask(control, PowerOnRequested(vm=name, host=host), wait=wait, as_json=as_json)


@vm.command("power-off")
@click.argument("name", shell_complete=complete_vms)
@wait_option
@cluster_option
@json_option
def power_off(name: str, wait: bool, cluster: str | None, as_json: bool) -> None:
    """Power a VM off. Its memory is given up.

    \b
    Example:
      vmotion vm power-off web-1
    """
    with reach(cluster) as control:
        known_vm(control, name)
        ask(control, PowerOffRequested(vm=name), wait=wait, as_json=as_json)
