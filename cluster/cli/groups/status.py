"""`vmotion status`: what an operator wants to see, on one screen."""

import contextlib
import time
from collections import Counter

import click
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from cluster.actors import places
from cluster.actors.control import Control
from cluster.actors.views import ClusterView, HostView, MigrationView, VmView
from cluster.cli.groups.common import (
    CENTER,
    cluster_option,
    json_option,
    print_json,
    reach,
    standing,
)
from cluster.cli.showing import Showing
from cluster.inventory.model import Scenario
from cluster.observe import words
from cluster.observe.live import EVENTS_SHOWN, open_view
from cluster.observe.story_rows import event_row
from cluster.policy.forecast import Queued
from cluster.policy.state import HostState, PowerState

_LOOK_S = 1.0
_NAMED_MAX = 10
_CALM = (HostState.CONNECTED,)


@click.command()
@click.option("--watch", is_flag=True, help="Look again every second, until Ctrl-C.")
@cluster_option
@json_option
def status(watch: bool, cluster: str | None, as_json: bool) -> None:
    """Show hosts, migrations under way, and what is wrong.

    \b
    Examples:
      vmotion status
      vmotion status --watch
      vmotion status --json | jq '.hosts[] | {name, state, vms}'
    """
    found = standing(cluster)
    with reach(found.name) as control:
        if as_json:
            row = _row(found, *_look(control))
            print_json({**row, "virtualcenter_pid": control.call(CENTER, "process")})
            return
        console = Console(highlight=False)
        if not watch:
            console.print(_screen(found, *_look(control)))
            return
        with contextlib.suppress(KeyboardInterrupt):
            _watch(found, control, console)


def _watch(found: places.Standing, control: Control, console: Console) -> None:
    """Draw the live view, or print lines where there is no terminal, until Ctrl-C."""
    scenario: Scenario = control.call(CENTER, "scenario")
    showing = Showing(
        f"{found.name}: {scenario.name}",
        duration_s=None,
        drs_interval_s=scenario.drs.interval_s if scenario.drs.enabled else None,
        sample_s=scenario.sample_s,
    )
    seen = 0
    with open_view(console) as screen:
        while True:
            view: ClusterView = control.call(CENTER, "view", seen)
            # The first look tells all that has happened so far: as counts, and its last lines.
            for one in view.happened[-EVENTS_SHOWN:] if seen == 0 else view.happened:
                screen.note(event_row(one.time_s, one.record))
            seen = view.number
            notes = (f"metrics: {found.metrics}", _licences(view))
            screen.show(showing.look(view, notes, tuple(_problems(control, view))))
            time.sleep(_LOOK_S)


def _look(control: Control) -> tuple[ClusterView, list[Queued], list[str]]:
    view: ClusterView = control.call(CENTER, "view", 1 << 62)
    queued: list[Queued] = list(control.call(CENTER, "queue"))
    return view, queued, _problems(control, view)


def _problems(control: Control, view: ClusterView) -> list[str]:
    """Return what an operator should know of, in sentences."""
    found = [
        f"{host.name} is {host.state.value}"
        for host in view.hosts
        if host.state in (HostState.NOT_RESPONDING, HostState.STARTING)
    ]
    off = [name for name, _, power in view.vms if power is PowerState.OFF]
    for name in off[:_NAMED_MAX]:
        vm: VmView | None = control.call(CENTER, "vm", name)
        found.append(f"{name} is off: {vm.ended_reason if vm else ''}".rstrip(": "))
    if len(off) > _NAMED_MAX:
        found.append(f"and {len(off) - _NAMED_MAX} more VMs are off")
    found += _blocked(control, view)
    if view.balance.rule_violations:
        found.append(f"{words.count(view.balance.rule_violations, 'rule')} broken by the placement")
    return [*found, *control.call(CENTER, "defects")]


def _blocked(control: Control, view: ClusterView) -> list[str]:
    """What keeps a host from entering maintenance mode, as it was said last."""
    entering = {h.name for h in view.hosts if h.state is HostState.ENTERING_MAINTENANCE}
    if not entering:
        return []
    said: dict[str, str] = {}
    for one in control.call(CENTER, "records", 0):
        host = dict(one.note.record.fields).get("host")
        if one.what == "maintenance_blocked" and host in entering:
            said[str(host)] = one.text
    return list(said.values())


def _screen(
    found: places.Standing, view: ClusterView, queued: list[Queued], problems: list[str]
) -> RenderableType:
    on = sum(power is PowerState.ON for _, _, power in view.vms)
    balance = view.balance
    target = "" if balance.target == float("inf") else f" (target {balance.target:.3f})"
    head = Text.assemble(
        (f"{found.name}", "bold"),
        f"  {words.clock(view.time_s)}  {len(view.hosts)} hosts, {on} of {len(view.vms)} VMs on, "
        f"imbalance {balance.imbalance:.3f}{target}",
    )
    parts: list[RenderableType] = [head, _trackers(view), Text(_licences(view), style="dim")]
    parts += [Text(f"metrics: {found.metrics}", style="dim"), ""]
    parts.append(_hosts(view.hosts))
    if view.migrations:
        parts += ["", _migrations(view.migrations, queued)]
    parts.append("")
    if problems:
        parts += [
            Text("problems", style="dim"),
            *(Text(f"  {one}", style="red") for one in problems),
        ]
    else:
        parts.append(Text("no problems", style="green"))
    return Group(*parts)


def _trackers(view: ClusterView) -> Text:
    kinds = Counter(host.facts.tracker.value for host in view.hosts if host.facts)
    why = next((h.facts.tracker_why for h in view.hosts if h.facts and h.facts.tracker_why), "")
    named = ", ".join(f"{kind} on {count}" for kind, count in sorted(kinds.items())) or "not known"
    return Text(f"dirty tracking: {named}" + (f" ({why})" if why else ""), style="dim")


def _licences(view: ClusterView) -> str:
    return f"licences: {'not known' if view.licences is None else view.licences.text}"


def _hosts(hosts: tuple[HostView, ...]) -> Table:
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("host")
    table.add_column("state")
    for name in ("VMs", "CPU", "memory"):
        table.add_column(name, justify="right")
    for host in hosts:
        calm = host.state in _CALM
        table.add_row(
            host.name,
            Text(host.state.value, style="" if calm else "yellow"),
            str(host.vms),
            f"{host.demand_mhz / host.cpu_mhz:.0%}",
            f"{host.used_mib / host.memory_mib:.0%}",
        )
    return table


def _migrations(migrations: tuple[MigrationView, ...], queued: list[Queued]) -> Table:
    places_in_queue = {one.spec.id: one for one in queued}
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
    for name in ("migrating", "", "phase", "round", "sent", "why"):
        table.add_column(name, overflow="fold")
    for one in migrations:
        progress, waits = one.progress, places_in_queue.get(one.spec.id)
        phase = "begins" if progress is None else progress.phase.replace("_", " ")
        if waits is not None:
            soon = "" if waits.starts_in_s is None else f", in about {waits.starts_in_s:.0f} s"
            phase = f"waits, place {waits.position}{soon}: {waits.waiting_for}"
        sent = 0.0 if progress is None else progress.sent_bytes / max(one.spec.memory_bytes, 1)
        table.add_row(
            one.spec.vm,
            f"{one.spec.source} → {one.spec.destination}",
            phase,
            str(progress.round) if progress else "",
            f"{min(sent, 1.0):.0%}",
            one.spec.trigger.value,
        )
    return table


def _row(
    found: places.Standing, view: ClusterView, queued: list[Queued], problems: list[str]
) -> dict[str, object]:
    waiting = {one.spec.id: one for one in queued}
    return {
        "cluster": found.name,
        "scenario": found.scenario,
        "database": found.database,
        "metrics": found.metrics,
        "time_s": round(view.time_s, 3),
        "all_up": view.all_up,
        "imbalance": view.balance.imbalance,
        "imbalance_target": None if view.balance.target > 1e9 else view.balance.target,
        "licences": _licences(view),
        "hosts": [host_row(host) for host in view.hosts],
        "vms": [
            {"name": name, "host": host, "power": power.value} for name, host, power in view.vms
        ],
        "migrations": [
            {
                "id": one.spec.id,
                "vm": one.spec.vm,
                "source": one.spec.source,
                "destination": one.spec.destination,
                "mode": one.spec.mode.value,
                "trigger": one.spec.trigger.value,
                "phase": one.progress.phase if one.progress else "queued",
                "queue_position": waiting[one.spec.id].position if one.spec.id in waiting else None,
                "waiting_for": one.waiting_for or None,
                "sent_bytes": one.progress.sent_bytes if one.progress else 0,
            }
            for one in view.migrations
        ],
        "problems": problems,
    }


def host_row(host: HostView) -> dict[str, object]:
    """Return a host for JSON."""
    return {
        "name": host.name,
        "state": host.state.value,
        "vms": host.vms,
        "cpu_mhz": host.cpu_mhz,
        "memory_mib": host.memory_mib,
        "cpu_load": round(host.demand_mhz / host.cpu_mhz, 4),
        "memory_load": round(host.used_mib / host.memory_mib, 4),
        "pid": host.facts.pid if host.facts else None,
        "node": host.facts.node if host.facts else None,
        "tracker": host.facts.tracker.value if host.facts else None,
    }
