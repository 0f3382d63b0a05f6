"""Starts keepers: processes that go on when the command has ended."""

import os
import pickle
import subprocess
import sys
import time

from cluster.actors import places
from cluster.actors.keeper import Orders
from cluster.cli.groups.common import stop

_START_S_MAX = 120.0


def start_keeper(orders: Orders) -> places.Standing:
    """Start a keeper and return the cluster when it answers; why it does not ends the command."""
    place = places.place_of(orders.standing.name)
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        log = (place / "keeper.log").open("ab")
    except OSError as error:
        stop(f"{place} cannot be written: {error.strerror}; set VMOTION_STATE_DIR")
    with log:
        process = subprocess.Popen(
            [sys.executable, "-m", "cluster.actors.keeper", orders.standing.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            start_new_session=True,
        )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        with process.stdin as orders_to:
            pickle.dump(orders, orders_to)
        with process.stdout as said_by:
            said = said_by.readline().decode().strip()
    except KeyboardInterrupt:
        process.terminate()
        process.wait(_START_S_MAX)
        raise
    if said != "ready":
        process.wait(_START_S_MAX)
        stop(said.removeprefix("failed: ") or f"the keeper has ended; see {place / 'keeper.log'}")
    # It outlives this command, which is not to wait for it: else Popen warns of a child that runs on.
    process.returncode = 0
    found = places.read(orders.standing.name)
    assert found is not None
    return found


def join(standing: places.Standing) -> places.Standing:
    """Give a cluster on somebody's Ray another keeper: the one it had has died."""
    return start_keeper(Orders(standing=standing, scenario=None))


def end_keeper(standing: places.Standing, *, silence_s_max: float) -> bool:
    """Return whether a keeper has ended, having waited for it."""
    end_s = time.monotonic() + silence_s_max
    while time.monotonic() < end_s:
        if not standing.alive:
            return True
        time.sleep(0.05)
    return False
