"""Options of more than one command."""

from collections.abc import Callable
from typing import Any

import click


def watching_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options by which a live cluster's metrics and log are had."""
    for option in reversed(_WATCHING):
        command = option(command)
    return command


_WATCHING = (
    click.option(
        "--metrics-port",
        type=click.IntRange(1, 65535),
        help="Serve Prometheus metrics on this port. Default 9400, or a free one if that is taken.",
    ),
    click.option(
        "--host-metrics",
        is_flag=True,
        help="Let each host serve its own metrics too; /sd beside /metrics lists where, for "
        "Prometheus' HTTP service discovery.",
    ),
    click.option(
        "--vm-metrics/--no-vm-metrics",
        default=True,
        help="Metrics that have a series a VM; leave them out of large clusters.",
    ),
    click.option(
        "--log",
        metavar="FILE",
        envvar="VMOTION_LOG",
        help="Add a line of JSON for everything that happens, when it happens; - is stderr. Without "
        "it there are none. Also $VMOTION_LOG.",
    ),
    click.option(
        "--log-level",
        type=click.Choice(["debug", "info", "warning", "error"]),
        default="info",
        envvar="VMOTION_LOG_LEVEL",
        help="Of the log. debug tells each step of each migration. Also $VMOTION_LOG_LEVEL.",
    ),
)
