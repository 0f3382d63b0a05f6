"""Who gets how much of the network: max–min shares of the migrations under way, told when they change."""

from collections.abc import Iterable
from dataclasses import replace

from cluster.migration.spec import MigrationSpec
from cluster.policy.messages import Command, SetShares, StartMigration
from cluster.policy.sharing import max_min_shares
from cluster.policy.state import ClusterState


class Shares:
    """Keeps what was told of each migration, so that only changes are told."""

    def __init__(self, state: ClusterState) -> None:
        self._state = state
        self._told: dict[str, float | None] = {}

    def settle(self, commands: list[Command]) -> list[Command]:
        """Return the commands with new migrations' shares filled in, and the others told theirs."""
        running = self._state.running()
        if [spec.id for spec in running] == list(self._told):
            return commands
        before, self._told = self._told, self._rates(running)
        filled = [
            StartMigration(spec=replace(c.spec, rate_bytes_per_second=self._told[c.spec.id]))
            if isinstance(c, StartMigration)
            else c
            for c in commands
        ]
        return [*filled, *self._changes(running, before)]

    def filled(self, spec: MigrationSpec) -> MigrationSpec:
        """Return a migration's spec with the share that was told last."""
        return replace(spec, rate_bytes_per_second=self._told.get(spec.id))

    def of(self, migrations: Iterable[str]) -> tuple[tuple[str, float | None], ...]:
        """Return what was told of these."""
        return tuple((m, self._told[m]) for m in migrations if m in self._told)

    def _changes(
        self, running: Iterable[MigrationSpec], before: dict[str, float | None]
    ) -> list[SetShares]:
        """A migration that has just begun knows its share from its spec."""
        by_host: dict[str, list[tuple[str, float | None]]] = {}
        for spec in running:
            if spec.id in before and before[spec.id] != self._told[spec.id]:
                by_host.setdefault(spec.destination, []).append((spec.id, self._told[spec.id]))
        return [
            SetShares(host=host, shares=tuple(shares)) for host, shares in sorted(by_host.items())
        ]

    def _rates(self, running: list[MigrationSpec]) -> dict[str, float | None]:
        # Only the cards in use: there may be thousands of others.
        used = dict.fromkeys(host for s in running for host in (s.source, s.destination))
        cards = {name: at for at, name in enumerate(used)}
        rates = [self._state.hosts[host].spec.nic.rate_bytes_per_second for host in used]
        # A card is two links: what it sends, and behind those what it receives.
        capacity = [float("inf") if rate is None else rate for rate in (*rates, *rates)]
        links = [(cards[s.source], len(rates) + cards[s.destination]) for s in running]
        shares = max_min_shares(links, capacity).tolist()
        return {
            spec.id: None if share == float("inf") else share
            for spec, share in zip(running, shares, strict=True)
        }
