"""`vmotion host configure`: VMotion on hosts, as the how-to configures it."""

import click

from cluster.actors.control import Control
from cluster.cli.exit_status import BAD_INPUT, DONE, FAILED
from cluster.cli.groups.common import (
    CENTER,
    begin,
    cluster_option,
    complete_hosts,
    follow,
    json_option,
    known_host,
    print_json,
    reach,
    stop,
    task_row,
    tell,
)
from cluster.cli.groups.host import host
from cluster.inventory.groups import NUMBER
from cluster.policy.messages import VMotionConfigured
from cluster.policy.networking import VMotionSetup
from cluster.policy.tasks import TaskState


@host.command()
@click.argument("names", nargs=-1, metavar="[HOST]...", shell_complete=complete_hosts)
@click.option("--all", "every", is_flag=True, help="All hosts.")
@click.option("--vmotion", type=click.Choice(["on", "off"]), help="Licensed Features, Add-Ons.")
@click.option("--ip", help="Address of the VMkernel port group; {} is the host's number from 1.")
@click.option("--mask", help="Its subnet mask, such as 255.255.255.0.")
@click.option("--nic", help="A free card for a new virtual switch of its own.")
@click.option("--switch", help="An existing virtual switch instead.")
@click.option("--port-group", default="VMotion", show_default=True, help="The port group's label.")
@click.option(
    "--use-for-vmotion/--no-use-for-vmotion",
    default=True,
    show_default=True,
    help="Use this port group for VMotion.",
)
@click.option("--vlan", type=int, help="Has to stay empty; given, it is refused.")
@click.option("--gateway", help="Has to stay empty; given, it is refused.")
@cluster_option
@json_option
def configure(
    names: tuple[str, ...],
    every: bool,
    vmotion: str | None,
    ip: str | None,
    mask: str | None,
    nic: str | None,
    switch: str | None,
    port_group: str,
    use_for_vmotion: bool,
    vlan: int | None,
    gateway: str | None,
    cluster: str | None,
    as_json: bool,
) -> None:
    """Turn VMotion on or off on hosts, and give them a VMkernel port group for it.

    Everything that stands against it is said at once, and then nothing of the host is changed.

    \b
    Examples:
      vmotion host configure esx-1 --vmotion on --nic vmnic1 --ip 10.0.0.1 --mask 255.255.255.0
      vmotion host configure --all --vmotion on --nic vmnic1 --ip 10.0.0.{} --mask 255.255.255.0
      vmotion host configure esx-2 --vmotion off
    """
    form = (ip, mask, nic, switch, vlan, gateway)
    if vmotion is None and all(field is None for field in form):
        stop("say what to configure: --vmotion on, or a port group with --ip and --mask", BAD_INPUT)
    with reach(cluster) as control:
        there: tuple[str, ...] = control.call(CENTER, "names")[0]
        hosts = _chosen(control, names, every, there)
        done = []
        for name in hosts:
            setup = None
            if any(field is not None for field in form):
                setup = VMotionSetup(
                    ip_address=None
                    if ip is None
                    else ip.replace(NUMBER, str(there.index(name) + 1)),
                    subnet_mask=mask,
                    switch=switch,
                    nic=nic,
                    label=port_group,
                    vmotion=use_for_vmotion,
                    vlan_id=vlan,
                    gateway=gateway,
                )
            on = None if vmotion is None else vmotion == "on"
            wish = VMotionConfigured(host=name, setup=setup, vmotion=on)
            done.append(follow(control, begin(control, wish), quiet=True))
            if not as_json or done[-1].state is TaskState.FAILED:
                tell(done[-1], as_json=False)
    if as_json:
        print_json([task_row(task) for task in done])
    raise SystemExit(FAILED if any(t.state is TaskState.FAILED for t in done) else DONE)


def _chosen(
    control: Control, names: tuple[str, ...], every: bool, there: tuple[str, ...]
) -> tuple[str, ...]:
    if every == bool(names):
        stop("name hosts, or take --all", BAD_INPUT)
    for name in names:
        known_host(control, name)
    return there if every else names
