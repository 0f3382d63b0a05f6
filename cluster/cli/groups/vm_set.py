"""`vmotion vm set`: what a VM is connected to and bound to, changed while it runs."""

from typing import Any

import click

from cluster.cli.exit_status import BAD_INPUT
from cluster.cli.groups.common import (
    ask,
    cluster_option,
    complete_vms,
    json_option,
    known_vm,
    reach,
    stop,
)
from cluster.cli.groups.vm import vm
from cluster.inventory.model import Automation, RestartPriority
from cluster.policy.messages import VmReconfigured

_NONE = "none"


@vm.command("set")
@click.argument("name", shell_complete=complete_vms)
@click.option("--iso", metavar="IMAGE|none", help="Attach a local image, or detach all devices.")
@click.option("--affinity", metavar="CPUS|none", help="Bind it to CPUs of its host, such as 0,1.")
@click.option("--clustered/--not-clustered", default=None, help="It shares a disk (MSCS).")
@click.option("--datastore", help="Where its disks are.")
@click.option("--swap-datastore", metavar="NAME|none", help="Where its swap file is.")
@click.option("--networks", metavar="NAME,...", help="The networks that it needs.")
@click.option("--mask", metavar="FEATURES|none", help="CPU features that are hidden from it.")
@click.option(
    "--automation",
    type=click.Choice([*(a.value for a in Automation), "default"]),
    help="How far DRS may go with it; default is the cluster's level.",
)
@click.option(
    "--restart-priority",
    type=click.Choice([p.value for p in RestartPriority]),
    help="When HA restarts it.",
)
@cluster_option
@json_option
def set_vm(
    name: str,
    iso: str | None,
    affinity: str | None,
    clustered: bool | None,
    datastore: str | None,
    swap_datastore: str | None,
    networks: str | None,
    mask: str | None,
    automation: str | None,
    restart_priority: str | None,
    cluster: str | None,
    as_json: bool,
) -> None:
    """Change what a VM is connected to and bound to; a migration under way is judged anew.

    What keeps a VM where it is stops its migration before the commit.

    \b
    Examples:
      vmotion vm set web-1 --iso /isos/rescue.iso
      vmotion vm set web-1 --iso none --affinity none
      vmotion vm set db-1 --automation manual --restart-priority high
    """
    changes: dict[str, Any] = {}
    if iso is not None:
        changes["local_devices"] = () if iso == _NONE else (f"CD/DVD drive 1 ({iso})",)
    if affinity is not None:
        changes["cpu_affinity"] = _cpus(affinity)
    if clustered is not None:
        changes["clustered"] = clustered
    if datastore is not None:
        changes["datastore"] = datastore
    if swap_datastore is not None:
        changes["swap_datastore"] = None if swap_datastore == _NONE else swap_datastore
    if networks is not None:
        changes["networks"] = tuple(filter(None, networks.split(",")))
    if mask is not None:
        changes["masked_features"] = () if mask == _NONE else tuple(mask.split(","))
    if automation is not None:
        changes["automation"] = None if automation == "default" else Automation(automation)
    if restart_priority is not None:
        changes["restart_priority"] = RestartPriority(restart_priority)
    if not changes:
        stop("say what to change; see vmotion vm set --help", BAD_INPUT)
    with reach(cluster) as control:
        known_vm(control, name)
        wish = VmReconfigured(vm=name, changes=tuple(changes.items()))
        ask(control, wish, as_json=as_json)


def _cpus(text: str) -> tuple[int, ...]:
    if text == _NONE:
        return ()
    parts = text.split(",")
    if not all(part.isascii() and part.isdigit() for part in parts):
        stop(f"--affinity {text}: numbers of CPUs are wanted, such as 0,1, or none", BAD_INPUT)
    return tuple(int(part) for part in parts)
