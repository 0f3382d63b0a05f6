"""`vmotion events`: the cluster's story."""

import json
import time
from collections.abc import Sequence

import click

from cluster.cli.groups.common import CENTER, cluster_option, json_option, reach
from cluster.journal.journal import Noted
from cluster.observe import words
from cluster.observe.rows import to_json

_LOOK_S = 0.3


@click.command()
@click.option("--follow", is_flag=True, help="Go on with what happens, until Ctrl-C.")
@click.option("--last", type=click.IntRange(1), default=50, help="So many of the newest; 50.")
@cluster_option
@json_option
def events(follow: bool, last: int, cluster: str | None, as_json: bool) -> None:
    """Print what has happened, the oldest first; with --json one object a line.

    \b
    Examples:
      vmotion events
      vmotion events --follow
      vmotion events --last 1000 --json | jq 'select(.topic == "host")'
    """
    with reach(cluster) as control:
        try:
            found: list[Noted] = control.call(CENTER, "records", 0, last)
            _print(found, as_json)
            while follow:
                newest = found[-1].number if found else 0
                time.sleep(_LOOK_S)
                more = control.call(CENTER, "records", newest)
                _print(more, as_json)
                found = more or found
        except (KeyboardInterrupt, BrokenPipeError):
            return


def _print(entries: Sequence[Noted], as_json: bool) -> None:
    for entry in entries:
        if not as_json:
            click.echo(f"{words.clock(entry.time_s)}  {entry.text}")
            continue
        row = {
            "number": entry.number,
            "time_s": round(entry.time_s, 3),
            "unix_s": round(entry.unix_s, 3),
            "topic": entry.topic,
            "what": entry.what,
            "text": entry.text,
            **dict(entry.note.record.fields),
        }
        click.echo(json.dumps(to_json(row)))
