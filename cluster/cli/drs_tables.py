"""What `vmotion drs …` prints for people: tables made of the same documents that --json prints."""

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

# On a pipe rich would break lines at 80 columns, in the middle of names.
WIDTH_MIN = 120
ROWS_MAX = 200
PRIORITIES = {1: "1 mandatory", 2: "2 high", 3: "3", 4: "4", 5: "5 marginal"}


def _console() -> Console:
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=WIDTH_MIN)


def show_plan(said: dict[str, Any], name: str) -> None:
    """One row a migration, in the order in which they begin, with its reason."""
    console = _console()
    even = said["imbalance"]
    target = "none" if even["target"] is None else f"{even['target']:.4f}"
    console.print(
        f"{escape(name)}: {said['status'].replace('_', ' ')}. Imbalance {even['before']:.4f} -> "
        f"{even['after']:.4f} (target {target}), {said['moves']} moves, "
        f"{said['moved_bytes'] / 2**30:.1f} GiB, done after {said['makespan_s']:.1f} s; "
        f"solved in {said['solve_s']:.2f} s"
    )
    glad = said["happiness"]
    if glad is not None and glad["before"] is not None and glad["after"] is not None:
        console.print(f"Demand met, mean of all VMs: {glad['before']:.1%} -> {glad['after']:.1%}")
    if said["actions"]:
        console.print(_actions(said))
    left = len(said["actions"]) - ROWS_MAX
    if left > 0:
        console.print(f"... and {left} more; --json has all")
    for problem in said["problems"]:
        console.print(f"{'error' if problem['fatal'] else 'note'}: {escape(problem['message'])}")


def _actions(said: dict[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("#", "start s", "end s", "VM", "source", "destination", "priority", "why"):
        table.add_column(
            title,
            justify="right" if title in ("#", "start s", "end s") else "left",
            no_wrap=title != "why",
        )
    why = {r["vm"]: r for r in said["recommendations"]}
    for action in said["actions"][:ROWS_MAX]:
        reason = why[action["vm"]]
        stop = action["destination"] != reason["destination"]
        table.add_row(
            str(action["order"] + 1),
            f"{action['start_s']:.1f}",
            f"{action['end_s']:.1f}",
            escape(action["vm"]),
            escape(action["source"]),
            escape(action["destination"]),
            PRIORITIES[reason["priority"]],
            "stop on the way: breaks a cycle" if stop else escape(reason["sentence"]),
        )
    return table


def show_situation(said: dict[str, Any]) -> None:
    """One row a host, then what is wrong."""
    console = _console()
    target = "none" if said["target"] is None else f"{said['target']:.4f}"
    worth = "worth balancing" if said["worth_balancing"] else "even enough"
    console.print(f"Imbalance {said['imbalance']:.4f} (target {target}): {worth}")
    if said["happiness"] is not None:
        console.print(f"Demand met, mean of all VMs: {said['happiness']:.1%}")
    resources = list(said["hosts"][0]["load"]) if said["hosts"] else []
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("host", "state", "VMs", *resources, "demand met"):
        table.add_column(title, justify="left" if title in ("host", "state") else "right")
    for host in said["hosts"][:ROWS_MAX]:
        table.add_row(
            escape(host["name"]),
            host["state"].replace("_", " "),
            str(host["vms"]),
            *(f"{host['load'][r]:.1%}" for r in resources),
            "-" if host["happiness"] is None else f"{host['happiness']:.1%}",
        )
    console.print(table)
    for broken in said["broken_rules"]:
        console.print(f"broken ({broken['strength']}): {escape(broken['message'])}")
    for text in said["problems"]:
        console.print(f"note: {escape(text)}")
    if said["conflict"] is not None:
        console.print(escape(said["conflict"]["sentence"]), style="bold")


def show_vm(said: dict[str, Any]) -> None:
    """What one VM gets and where it could go."""
    console = _console()
    where = "not placed" if said["host"] is None else f"on {said['host']}"
    glad = "" if said["happiness"] is None else f", {said['happiness']:.1%} of its demand met"
    console.print(f"{escape(said['vm'])} is {escape(where)}{glad}")
    for name, wanted in said["demand"].items():
        console.print(
            f"  {escape(name)}: demands {wanted:g}, entitled to {said['entitlement'][name]:g}"
        )
    if said["rules"]:
        console.print(f"  rules: {escape(', '.join(said['rules']))}")
    console.print(f"could go to: {escape(', '.join(said['can_go_to'])) or 'no host'}")
    for blocker in said["blockers"][:ROWS_MAX]:
        obstacle = blocker["obstacle"].replace("_", " ")
        console.print(f"  not {escape(blocker['host'])}: {obstacle} ({escape(blocker['detail'])})")


def show_check(said: dict[str, Any]) -> None:
    """Everything that is wrong, one line each."""
    console = _console()
    for problem in said["problems"]:
        console.print(f"{'error' if problem['fatal'] else 'note'}: {escape(problem['message'])}")
    for broken in said["violations"]:
        when = "at the start" if broken["at_s"] is None else f"at {broken['at_s']:.1f} s"
        console.print(f"{when}, {escape(broken['rule'])}: {escape(broken['message'])}")
    if not said["problems"] and not said["violations"]:
        console.print("nothing is wrong")
    if said["objective"] is not None:
        figures = ", ".join(f"{k} {v:g}" for k, v in said["objective"].items())
        console.print(f"objective: {figures}")
