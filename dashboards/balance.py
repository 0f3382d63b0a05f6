"""Is the cluster balanced?"""

from typing import Any

from dashboards.panels import (
    ANY_IS_BAD,
    BYTES,
    GREEN,
    LOAD_STEPS,
    OF,
    ORANGE,
    RED,
    SECONDS,
    SHARE,
    YELLOW,
    board,
    figure,
    lines,
    linked_to_host,
    q,
    row,
)

_SPAN = "$__rate_interval"


def build() -> Any:
    """Make the dashboard."""
    made = board(
        "vmotion-balance",
        "Is the cluster balanced?",
        "Load of the hosts, the imbalance that DRS works on, what it recommends, and what is left "
        "for a failure.",
    )
    for panel in (*_now(), *_balance()):
        made = made.with_panel(panel)
    made = made.with_row(row("What DRS does"))
    for panel in _drs():
        made = made.with_panel(panel)
    made = made.with_row(row("Rules, failover, licences"))
    for panel in (*_bounds(), *_failures()):
        made = made.with_panel(panel)
    return made


def _now() -> tuple[Any, ...]:
    above = f"drs_imbalance_ratio{{{OF}}} / drs_imbalance_target_ratio{{{OF}}}"
    return (
        figure(
            "Imbalance over target",
            "Above 1 the migration threshold asks for migrations.",
            q(f"max({above})"),
            steps=((None, GREEN), (1.0, YELLOW), (2.0, RED)),
        ),
        figure(
            "Unmet demand",
            "Share of the VMs' CPU demand that hosts cannot serve.",
            q(f"max(drs_unmet_demand_ratio{{{OF}}})"),
            unit=SHARE,
            steps=((None, GREEN), (0.01, YELLOW), (0.05, RED)),
        ),
        figure(
            "Rules violated",
            "Placement rules that are violated now.",
            q(f"sum(drs_rule_violations{{{OF}}})"),
            steps=ANY_IS_BAD,
        ),
        figure(
            "Hosts connected",
            "Hosts that can run VMs.",
            q(f'sum(vmotion_host_state{{{OF}, state="connected"}})'),
        ),
        figure(
            "Spare after a loss",
            "Memory left when the largest connected host has failed and all VMs run on the others.",
            q(f"min(cluster:vmotion_failover_memory_bytes:spare{{{OF}}})"),
            unit=BYTES,
            steps=((None, RED), (0.0, GREEN)),
        ),
        figure(
            "Least happy host",
            "Smallest share of their CPU demand that the VMs of a host get together.",
            q(f"min(drs_host_happiness_ratio{{{OF}}})"),
            unit=SHARE,
            steps=((None, RED), (0.95, YELLOW), (0.999, GREEN)),
        ),
    )


def _balance() -> tuple[Any, ...]:
    return (
        lines(
            "Imbalance",
            "Standard deviation of the hosts' normalised load, and the target of the migration "
            "threshold.",
            q(f"drs_imbalance_ratio{{{OF}}}", "imbalance, {{run}}"),
            q(f"drs_imbalance_target_ratio{{{OF}}} < +Inf", "target, {{run}}"),
        ),
        lines(
            "Imbalance by resource",
            "Which resource is uneven.",
            q(f"drs_resource_imbalance_ratio{{{OF}}}", "{{resource}}, {{run}}"),
        ),
        linked_to_host(
            lines(
                "CPU load",
                "CPU entitlements of a host's VMs over its capacity. A click leads to the host.",
                q(f"vmotion_host_cpu_load_ratio{{{OF}}}", "{{host}}"),
                unit=SHARE,
                steps=LOAD_STEPS,
            )
        ),
        linked_to_host(
            lines(
                "Memory load",
                "Memory of a host's VMs over its capacity. A click leads to the host.",
                q(f"vmotion_host_memory_load_ratio{{{OF}}}", "{{host}}"),
                unit=SHARE,
                steps=LOAD_STEPS,
            )
        ),
        linked_to_host(
            lines(
                "Happiness",
                "Share of their CPU demand that a host's VMs get, all of them together.",
                q(f"drs_host_happiness_ratio{{{OF}}}", "{{host}}"),
                unit=SHARE,
            )
        ),
        linked_to_host(
            lines(
                "VMs",
                "VMs on each host.",
                q(f"vmotion_host_vms{{{OF}}}", "{{host}}"),
                stacked=True,
            )
        ),
    )


def _drs() -> tuple[Any, ...]:
    per_priority = f"sum by (priority) (increase(drs_recommendations_total{{{OF}}}[{_SPAN}]))"
    solve = f"sum by (le) (rate(drs_solve_seconds_bucket{{{OF}}}[{_SPAN}]))"
    return (
        lines(
            "Recommendations by priority",
            "1 is mandatory, 5 marginal.",
            q(per_priority, "priority {{priority}}"),
            stacked=True,
            bars=True,
        ),
        lines(
            "Passes, applied, refused",
            "How often DRS looked; recommendations requested as migrations; of those, the ones that "
            "VirtualCenter refused to start.",
            q(f"sum(increase(drs_passes_total{{{OF}}}[{_SPAN}]))", "passes"),
            q(f"sum(increase(drs_applied_recommendations_total{{{OF}}}[{_SPAN}]))", "applied"),
            q(f"sum(increase(drs_refused_recommendations_total{{{OF}}}[{_SPAN}]))", "refused"),
        ),
        lines(
            "Solve time",
            "Time DRS took to find a plan.",
            q(f"histogram_quantile(0.5, {solve})", "p50"),
            q(f"histogram_quantile(0.99, {solve})", "p99"),
            unit=SECONDS,
        ),
        lines(
            "Refused, by reason",
            "Recommendations that VirtualCenter refused to start, by the check that forbade them.",
            q(
                f"sum by (reason) (increase(drs_refused_recommendations_total{{{OF}}}[{_SPAN}]))",
                "{{reason}}",
            ),
            stacked=True,
            bars=True,
        ),
        lines(
            "Unmet demand",
            "Share of the VMs' CPU demand that hosts cannot serve.",
            q(f"drs_unmet_demand_ratio{{{OF}}}", "{{run}}"),
            unit=SHARE,
            width=24,
        ),
    )


def _bounds() -> tuple[Any, ...]:
    return (
        lines(
            "Rules violated",
            "Placement rules that are violated; migrations pass through violations for seconds.",
            q(f"drs_rule_violations{{{OF}}}", "{{run}}"),
            width=8,
        ),
        lines(
            "Spare memory after a loss",
            "Below 0 the cluster cannot restart every VM of its largest host.",
            q(f"cluster:vmotion_failover_memory_bytes:spare{{{OF}}}", "{{run}}"),
            unit=BYTES,
            width=8,
            low=None,
        ),
        lines(
            "Licences used",
            "Licences of each feature that hosts use. A cluster without licences has none.",
            q(f'vmotion_licences{{{OF}, state="used"}}', "{{feature}}"),
            width=8,
        ),
    )


def _failures() -> tuple[Any, ...]:
    def counted(metric: str) -> str:
        return f"sum(increase({metric}{{{OF}}}[$__range]))"

    return (
        figure(
            "Hosts lost",
            "Hosts that were lost with their VMs, in the time shown.",
            q(counted("vmotion_hosts_lost_total")),
            width=4,
            steps=ANY_IS_BAD,
        ),
        figure(
            "VMs failed",
            "VMs that stopped without having been told to, in the time shown.",
            q(counted("vmotion_vm_failures_total")),
            width=4,
            steps=ANY_IS_BAD,
        ),
        figure(
            "Restarted by HA",
            "VMs that HA restarted, without their memory, in the time shown.",
            q(counted("vmotion_ha_restarts_total")),
            width=4,
        ),
        figure(
            "Waiting for a host",
            "VMs that HA has to restart, and that no host has room for.",
            q(f"sum(vmotion_ha_waiting_vms{{{OF}}})"),
            width=4,
            steps=ANY_IS_BAD,
        ),
        figure(
            "VirtualCenter answers",
            "1 while it does. VMs run on without it, and nothing migrates.",
            q(f"min(vmotion_virtualcenter_up{{{OF}}})"),
            width=4,
            steps=((None, RED), (1.0, GREEN)),
        ),
        figure(
            "VirtualCenter restarts",
            "Times that it died and began again from its journal, in the time shown.",
            q(counted("vmotion_virtualcenter_restarts_total")),
            width=4,
            steps=((None, GREEN), (0.5, ORANGE)),
        ),
    )
