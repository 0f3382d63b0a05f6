"""A page with everything inside, which opens without a network."""

import json
from collections.abc import Sequence
from html import escape
from importlib import resources

from plotly.offline import get_plotlyjs

from cluster.observe.figure import Figure

# Nothing is loaded from anywhere, and the page says so to the browser.
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"
)

Section = tuple[str, str, Figure | None]
"""A figure's id on the page, its heading, and the figure; None is left out."""


def page(
    title: str,
    head: str,
    sections: Sequence[Section],
    tail: str,
    *,
    key: str,
    data: object,
) -> str:
    """Return the page (about 5 MB, of which the plotting library is nearly all).

    `head` and `tail` are HTML before and after the figures; `data` is in the page as JSON,
    as the element with the id `key`.
    """
    drawn = [(name, heading, figure) for name, heading, figure in sections if figure is not None]
    figures = {
        name: {"traces": figure.traces, "layout": figure.layout}
        | ({"choices": figure.choices} if figure.choices else {})
        for name, _, figure in drawn
    }
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            '<link rel="icon" href="data:,">',
            f"<title>{escape(title)}</title>",
            f"<style>{_asset('report.css')}</style></head><body><main>",
            head,
            *(_section(name, heading, figure) for name, heading, figure in drawn),
            tail,
            "</main>",
            _embedded(key, data),
            _embedded("figures", figures),
            f"<script>{get_plotlyjs()}</script>",
            f"<script>{_asset('report.js')}</script>",
            "</body></html>",
            "",
        ]
    )


def _section(key: str, heading: str, figure: Figure) -> str:
    note = f'<p class="quiet">{escape(figure.note)}</p>' if figure.note else ""
    chooser = ""
    if figure.choices:
        options = "".join(f"<option>{escape(label)}</option>" for label in figure.choices)
        chooser = f'<p><select aria-label="Migration" data-figure="{key}">{options}</select></p>'
    return (
        f"<section><h2>{escape(heading)}</h2>{note}{chooser}"
        f'<div class="figure" id="{key}"></div></section>'
    )


def _embedded(key: str, data: object) -> str:
    """Put data into the page; a `</script>` in a name cannot end it."""
    text = json.dumps(data, ensure_ascii=False).replace("<", "\\u003c")
    return f'<script type="application/json" id="{key}">{text}</script>'


def _asset(name: str) -> str:
    return (resources.files("cluster.observe") / "assets" / name).read_text(encoding="utf-8")
