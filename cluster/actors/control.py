"""How a command talks to a cluster that stays: over its keeper's Unix socket, without Ray.

A call names one of the cluster's actors and a method of it. Joining Ray costs a command a
second or two, and every one that joins is a driver more; this costs milliseconds.
"""

import contextlib
import time
from collections.abc import Callable
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener
from threading import Thread
from typing import Any

_REPLY_S_MAX = 60.0
# VirtualCenter may be starting again just now.
_AWAY_S_MAX = 60.0
_AGAIN_S = 0.1

DONE, AWAY, FAILED = "done", "away", "failed"


class NotReached(Exception):
    """The cluster does not answer; the message says why and what to do."""


class Failed(Exception):
    """The cluster has answered with an error; the message is for the user."""


class Control:
    """A command's end. One call at a time.

    Attributes:
        away_s: For how long VirtualCenter was waited for, in all calls.
    """

    def __init__(self, path: str, key: bytes) -> None:
        """Raises:
        NotReached: If nobody listens there.
        """
        self.away_s = 0.0
        try:
            self._line = Client(path, family="AF_UNIX", authkey=key)
        except (OSError, EOFError, AuthenticationError) as error:
            raise NotReached(f"its keeper does not answer: {error}") from error

    def call(self, actor: str, method: str, *args: object, **named: object) -> Any:
        """Return what a method of one of the cluster's actors returns.

        An actor that is starting again is asked again, so a call may be made twice.

        Raises:
            Failed: If it raised.
            NotReached: If it has not answered.
        """
        began = time.monotonic()
        while True:
            outcome, value = self._ask((actor, method, args, named))
            if outcome == DONE:
                return value
            if outcome == FAILED:
                raise Failed(value)
            waited_s = time.monotonic() - began
            if waited_s > _AWAY_S_MAX:
                raise NotReached(f"{actor} has been away for {waited_s:.0f} s: {value}")
            time.sleep(_AGAIN_S)
            self.away_s += _AGAIN_S

    def close(self) -> None:
        """Hang up."""
        self._line.close()

    def _ask(self, question: object) -> tuple[str, Any]:
        try:
            self._line.send(question)
            if not self._line.poll(_REPLY_S_MAX):
                raise NotReached(f"no answer within {_REPLY_S_MAX:.0f} s")
            answer: tuple[str, Any] = self._line.recv()
        except (OSError, EOFError) as error:
            raise NotReached(f"its keeper has hung up: {error}") from error
        return answer

    def __enter__(self) -> "Control":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class Switchboard:
    """The keeper's end: a thread for each caller."""

    def __init__(self, path: str, key: bytes, answer: Callable[..., tuple[str, Any]]) -> None:
        """`answer` takes (actor, method, args, named) and returns (outcome, value)."""
        self._answer = answer
        self._listener = Listener(path, family="AF_UNIX", authkey=key, backlog=32)
        Thread(target=self._accept, daemon=True, name="switchboard").start()

    def close(self) -> None:
        """Take no more calls."""
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                line = self._listener.accept()
            except AuthenticationError:
                continue
            except (OSError, EOFError) as error:
                if isinstance(error, EOFError):
                    continue  # hung up in the middle of the greeting
                return
            Thread(target=self._serve, args=(line,), daemon=True, name="caller").start()

    def _serve(self, line: "Connection[Any, Any]") -> None:
        with line, contextlib.suppress(OSError, EOFError):
            while True:
                actor, method, args, named = line.recv()
                line.send(self._answer(actor, method, args, named))
