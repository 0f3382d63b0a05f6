"""How `make test` divides the suite between two processes, and what no test may depend on."""

import os
import signal
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# A machine that others use too is slow at times, which is nobody's defect; pytest's timeout
# ends what hangs.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

# Ray starts itself when it is asked for something outside a session, and the next session then
# fails. Here the call does. Read when Ray is imported.
os.environ["RAY_ENABLE_AUTO_CONNECT"] = "0"

# A shell lets what it starts in the background ignore Ctrl-C, and all their children: tests that
# interrupt a command would wait in vain.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).parent


@cache
def starts_ray(file: str) -> bool:
    """Whether a file of tests starts Ray, which two of them must not do at once."""
    rooms = ("tests/actors/", "tests/netlab/")
    return file.startswith(rooms) or "mark.ray" in (ROOT.parent / file).read_text()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """All files that start Ray go to one worker, one after the other; the rest one by one to any.

    Ray's tests wait most of their time, and the others compute meanwhile. A scheduler of our own
    because xdist's groups change the names of tests, by which a failed one is run again.
    """
    from xdist.scheduler import LoadScopeScheduling

    class RayApart(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.split("::", 1)[0]
            return "ray" if starts_ray(file) else nodeid

    return RayApart(config, log)
