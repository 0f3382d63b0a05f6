"""`vmotion` in this process: what a command says and its exit status, without a Python's start."""

import signal
from dataclasses import dataclass

from click.testing import CliRunner

from cluster.cli.main import main


@dataclass(frozen=True)
class Said:
    """As of a finished process."""

    returncode: int
    stdout: str
    stderr: str


def vmotion(*arguments, **environment) -> Said:
    """Run a command; an exception that would be a traceback on a terminal is raised."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        result = CliRunner().invoke(
            main, [*map(str, arguments)], env=environment, catch_exceptions=False
        )
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    return Said(result.exit_code, result.stdout, result.stderr)
