"""A guest that does nothing: the cheapest VM there is."""

from collections.abc import Sequence
from typing import ClassVar

from cluster.guests.base import Guest


class Idle(Guest):
    """Writes nothing and answers every request with the request itself."""

    period_s = 0.1
    replayable: ClassVar[bool] = True

    def handle(self, request: object) -> object:
        """Return the request."""
        return request

    def replay(self, log: Sequence[tuple[object, object]]) -> None:
        """Write nothing, as the original."""
