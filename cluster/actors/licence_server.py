"""The licence server: an actor that keeps the installed licence file and answers as long as it lives.

VirtualCenter asks it every second. When it does not answer the grace period begins.
"""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError

from cluster.actors.named import LICENCES
from cluster.policy.center import Center
from cluster.policy.licence_file import LicenceFile, combine, read, write
from cluster.policy.messages import Event, LicenceServerBack, LicenceServerLost

_LOOK_S = 1.0
_ANSWER_S_MAX = 5.0
# Ray starts a process for it first.
_START_S_MAX = 60.0


class LicenceServer:
    """Owns one licence file on its disk; what other vendors have in it stays there."""

    def hold(self, path: str, text: str) -> str:
        """Have these licences in the file in place of our last ones; return what is wrong, or ""."""
        at = Path(path)
        wanted, problems = read(text)
        try:
            if at.exists():
                there, found = read(at.read_text(encoding="utf-8"))
                problems += found
                wanted, found = combine(
                    [LicenceFile(server=there.server, others=there.others), wanted]
                )
                problems += found
            if problems:
                return f"{path}: {'; '.join(problem.text for problem in problems)}"
            _write(at, write(wanted))
        except (OSError, UnicodeDecodeError) as error:
            return f"{path}: {error}"
        return ""


class LicenceLink:
    """VirtualCenter's end: has the server started, and notices when it goes and comes."""

    def __init__(
        self, center: Center, feed: Callable[[Event], object], tell: Callable[[str], None]
    ) -> None:
        """`tell` takes what the server has to say against its file, each new sentence once."""
        self._center = center
        self._feed = feed
        self._tell = tell
        self._said = ""
        self._known = False
        self._starting = False

    async def watch(self, default_path: Path) -> None:
        """Look every second whether the server answers; `default_path`: where its file is."""
        while True:
            await asyncio.sleep(_LOOK_S)
            licensing = self._center.state.licensing
            if licensing is None or licensing.file is None:
                continue
            if not self._known and not licensing.server_away:
                self.start()
            path = self._center.state.licences_at or str(default_path)
            answers = await self._holds(path, write(licensing.file))
            if answers and licensing.server_away:
                self._feed(LicenceServerBack())
            elif not answers and not licensing.server_away:
                self._feed(LicenceServerLost())

    def start(self) -> None:
        """Start the server if it does not run; it outlives VirtualCenter."""
        self._known = self._starting = True
        options: dict[str, Any] = {
            "name": LICENCES,
            "lifetime": "detached",
            "get_if_exists": True,
            "num_cpus": 0,
            "max_restarts": 0,
        }
        ray.remote(LicenceServer).options(**options).remote()

    def stop(self) -> bool:
        """End the server; return whether there was one."""
        self._known, self._starting = True, False
        try:
            ray.kill(ray.get_actor(LICENCES))
        except ValueError:
            return False
        return True

    async def _holds(self, path: str, text: str) -> bool:
        limit_s = _START_S_MAX if self._starting else _ANSWER_S_MAX
        try:
            server = ray.get_actor(LICENCES)
            said: str = await asyncio.wait_for(server.hold.remote(path, text), limit_s)
        except (ValueError, RayError, TimeoutError):
            return False
        self._starting = False
        if said and said != self._said:
            self._tell(f"licence server: {said}")
        self._said = said
        return True


def _write(path: Path, text: str) -> None:
    """Write it whole or not at all, and only if it is not there already."""
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
