"""What a host remembers of migrations that have ended, in case somebody asks again."""

_MIGRATIONS_MAX = 10_000


def keep_latest(ids: dict[str, None], new: str) -> None:
    """Add an id, and forget the oldest of more than can be asked for again."""
    ids[new] = None
    if len(ids) > _MIGRATIONS_MAX:
        del ids[next(iter(ids))]
