"""What is this host or VM doing?"""

from typing import Any

from dashboards.panels import (
    BYTES,
    DOWNTIME_STEPS,
    LOAD_STEPS,
    OF,
    RATE,
    SECONDS,
    SHARE,
    board,
    choice,
    lines,
    q,
    row,
    states,
)

_HOST = f'{OF}, host=~"$host"'
_VM = f'{OF}, vm=~"$vm"'
_SPAN = "$__rate_interval"


def build() -> Any:
    """Make the dashboard."""
    made = board(
        "vmotion-host-vm",
        "What is this host or VM doing?",
        "One host or VM, or some: state, load, traffic, and the migrations it takes part in.",
        variables=(
            choice("host", "Host", f"vmotion_host_vms{{{OF}}}"),
            choice("vm", "VM", f"vmotion_vm_owner_epoch{{{OF}}}"),
        ),
    )
    made = made.with_row(row("Hosts"))
    for panel in _hosts():
        made = made.with_panel(panel)
    made = made.with_row(row("VMs"))
    for panel in _vms():
        made = made.with_panel(panel)
    return made


def _hosts() -> tuple[Any, ...]:
    return (
        states(
            "State",
            "The state of each host over time.",
            q(f"vmotion_host_state{{{_HOST}}} == 1", "{{host}}: {{state}}"),
        ),
        lines(
            "Load",
            "Entitlements of the host's VMs over its capacity; above 1 it is overcommitted.",
            q(f"vmotion_host_cpu_load_ratio{{{_HOST}}}", "{{host}} CPU"),
            q(f"vmotion_host_memory_load_ratio{{{_HOST}}}", "{{host}} memory"),
            unit=SHARE,
            steps=LOAD_STEPS,
        ),
        lines(
            "VMs and happiness",
            "VMs on the host, and the share of their CPU demand that they get.",
            q(f"vmotion_host_vms{{{_HOST}}}", "{{host}} VMs"),
            q(f"drs_host_happiness_ratio{{{_HOST}}}", "{{host}} happiness"),
        ),
        lines(
            "VMotion traffic",
            "What the host's VMotion network card sends, and receives (below zero).",
            q(f"rate(vmotion_host_transmit_bytes_total{{{_HOST}}}[{_SPAN}])", "{{host}} sends"),
            q(f"-rate(vmotion_host_receive_bytes_total{{{_HOST}}}[{_SPAN}])", "{{host}} receives"),
            unit=RATE,
            low=None,
        ),
        lines(
            "Migrations under way",
            "Away from the host (out) and towards it (in).",
            q(f"vmotion_active_migrations{{{_HOST}}}", "{{host}} {{direction}}"),
            stacked=True,
        ),
        lines(
            "Requests answered",
            "Clients' requests that the host's guests answer, a second.",
            q(f"rate(vmotion_host_guest_requests_total{{{_HOST}}}[{_SPAN}])", "{{host}}"),
        ),
        lines(
            "Late guests",
            "Seconds of guest time a second that the machine was late with, and steps a second that "
            "took longer than their quantum.",
            q(
                f"rate(vmotion_host_guest_behind_seconds_total{{{_HOST}}}[{_SPAN}])",
                "{{host}} behind (s)",
            ),
            q(f"rate(vmotion_host_guest_overruns_total{{{_HOST}}}[{_SPAN}])", "{{host}} overruns"),
        ),
    )


def _vms() -> tuple[Any, ...]:
    return (
        lines(
            "Happiness",
            "Share of its CPU demand that the VM gets.",
            q(f"drs_vm_happiness_ratio{{{_VM}}}", "{{vm}}"),
            unit=SHARE,
            width=24,
        ),
        lines(
            "Still to send",
            "Memory that is dirty in the VM's migration under way; it falls from round to round "
            "where pre-copy converges.",
            q(f"vmotion_vm_migration_dirty_bytes{{{_VM}}}", "{{vm}}"),
            unit=BYTES,
        ),
        lines(
            "Sending",
            "Rate of the VM's migration under way.",
            q(f"vmotion_vm_migration_rate_bytes_per_second{{{_VM}}}", "{{vm}}"),
            unit=RATE,
        ),
        lines(
            "Round",
            "Round of the VM's migration under way.",
            q(f"vmotion_vm_migration_round{{{_VM}}}", "{{vm}}"),
            width=8,
        ),
        lines(
            "Downtime of the last migration",
            "Lines: 50 ms, 300 ms and 1 s.",
            q(f"vmotion_vm_last_downtime_seconds{{{_VM}}}", "{{vm}}"),
            unit=SECONDS,
            width=8,
            steps=DOWNTIME_STEPS,
            logarithmic=True,
        ),
        lines(
            "Ownership epoch",
            "It grows by one with each migration; a VM that moves often climbs.",
            q(f"vmotion_vm_owner_epoch{{{_VM}}}", "{{vm}}"),
            width=8,
        ),
    )
