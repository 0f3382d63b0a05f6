"""What the network between nodes was measured to carry."""

from dataclasses import dataclass, field

from cluster.policy.messages import LinksMeasured


@dataclass(frozen=True, slots=True)
class Links:
    """Rates between nodes, asked for by host. Empty: nothing was measured, or there is one node."""

    nodes: dict[str, str] = field(default_factory=dict)
    rates: dict[tuple[str, str], float] = field(default_factory=dict)

    @classmethod
    def of(cls, event: LinksMeasured) -> "Links":
        """Take a measurement over."""
        return cls(dict(event.nodes), {(a, b): rate for a, b, rate in event.rates})

    def rate(self, source: str, destination: str) -> float | None:
        """Return payload bytes a second from one host to another; None on one node, or not known."""
        ends = (self.nodes.get(source, ""), self.nodes.get(destination, ""))
        return self.rates.get(ends)

    @property
    def slowest(self) -> float | None:
        """The slowest of all, which DRS counts with; None if none was measured."""
        return min(self.rates.values(), default=None)
