"""Reads when each step of a migration was done from its machine's story. Not a benchmark."""

from collections.abc import Iterable
from dataclasses import dataclass

from cluster.migration.messages import Prepare, SendDirty, SendRemainder, SendState, Succeeded
from cluster.migration.story import Entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """When a migration's steps were over, in seconds after it began; None is never.

    Attributes:
        prepare_s: The destination was ready.
        last_page_s: The last page had arrived.
        missing_pages: Pages that were on the source when the VM ran at the destination.
        last_pages: Pages that a stop-and-copy sent.
    """

    prepare_s: float | None
    last_page_s: float | None
    missing_pages: int | None
    last_pages: int | None

    @property
    def transfer_s(self) -> float | None:
        """From the destination being ready to the last page."""
        if self.prepare_s is None or self.last_page_s is None:
            return None
        return self.last_page_s - self.prepare_s


def steps_of(story: Iterable[Entry], began_s: float) -> Steps:
    """Match each answer with its command."""
    asked: dict[int, object] = {}
    prepare_s = last_page_s = missing_pages = last_pages = None
    for entry in story:
        event = entry.event
        if isinstance(event, Succeeded):
            match asked.get(event.reply_to):
                case Prepare():
                    prepare_s = entry.now_s - began_s
                case SendState(bitmap_only=True):
                    missing_pages = event.pages_dirty
                    last_page_s = entry.now_s - began_s
                case SendState():
                    last_pages = event.pages_sent
                    last_page_s = entry.now_s - began_s
                case SendDirty() | SendRemainder():
                    last_page_s = entry.now_s - began_s
        asked |= {command.seq: command for command in entry.commands}
    return Steps(
        prepare_s=prepare_s,
        last_page_s=last_page_s,
        missing_pages=missing_pages,
        last_pages=last_pages,
    )
