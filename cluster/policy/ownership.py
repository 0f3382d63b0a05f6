"""Who may run a VM: one record each, changed by compare-and-set at one commit point."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """At `epoch` and until a higher one, only `host` may run the VM; None is nobody."""

    epoch: int
    host: str | None


class Ownership:
    """All records. Invariant: a VM's epoch never goes back, and each epoch has one host."""

    def __init__(self) -> None:
        self._records: dict[str, Record] = {}

    def get(self, vm: str) -> Record | None:
        """Return a VM's record; None if no host may run it."""
        return self._records.get(vm)

    def next_epoch(self, vm: str) -> int:
        """Return the epoch that the next owner would get."""
        record = self._records.get(vm)
        return 1 if record is None else record.epoch + 1

    def claim(self, vm: str, *, epoch: int, source: str | None, host: str) -> str:
        """Give the VM to `host` at `epoch` if `source` still owns it; return "" or why not.

        Asking again for what was granted is granted again, so that a lost answer does no harm.
        `source` None is a power-on.
        """
        record = self._records.get(vm)
        wanted = Record(epoch=epoch, host=host)
        if record == wanted:
            return ""
        owner = None if record is None else record.host
        if owner != source:
            return f"{vm} belongs to {owner or 'no host'}, not to {source or 'no host'}"
        if epoch != self.next_epoch(vm):
            return f"epoch {epoch} of {vm} is not the next, {self.next_epoch(vm)}"
        self._records[vm] = wanted
        return ""

    def release(self, vm: str, *, epoch: int) -> bool:
        """Nobody runs the VM any more, unless somebody has owned it since `epoch`."""
        record = self._records.get(vm)
        if record is None or record.epoch != epoch:
            return False
        self._records[vm] = Record(epoch=epoch, host=None)
        return True
