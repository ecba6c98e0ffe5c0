"""Pages that stand by themselves: one HTML file that fetches nothing; the same data write the same bytes.

Every report of the package is made of these parts, so that they look alike and text is escaped in one place.
"""

from __future__ import annotations

import html
import math
import os
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from apex_nautilus.store.atomic import write_atomic

if TYPE_CHECKING:
    import plotly.graph_objects as go

__all__ = ["Charts", "cell_text", "table", "write_page"]

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 1200px; padding: 0 1rem;
color: #1c2430 } h1 { font-size: 1.5rem; margin-bottom: 0 } h2 { font-size: 1.15rem; margin-top: 2.2rem }
h3 { font-size: 1rem; margin-bottom: .3rem } p.sub { color: #5b6675; margin-top: .2rem }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .25rem .7rem; border-bottom: 1px solid #e3e7ed; text-align: left; white-space: nowrap }
td.n, th.n { text-align: right } .wide { overflow: auto }
thead th { position: sticky; top: 0; background: #fff }
"""


def write_page(
    path: str | os.PathLike[str], *, title: str, subtitle: str = "", body: str, style: str = ""
) -> None:
    """Write a page; the file appears when it is complete.

    Parameters
    ----------
    title, subtitle
        Plain text, escaped here; the title heads the page too.
    body
        HTML of what follows, put together by the caller, who has escaped what is not its own.
    style
        Rules of CSS that this page adds to those all pages share.
    """
    heading = html.escape(title)
    below = f"<p class=sub>{html.escape(subtitle)}</p>" if subtitle else ""
    page = (
        "<!DOCTYPE html><html lang=en><head><meta charset=utf-8>"
        '<meta name=viewport content="width=device-width">'
        f"<title>{heading}</title><style>{_STYLE}{style}</style></head>"
        f"<body><h1>{heading}</h1>{below}{body}</body></html>\n"
    )
    write_atomic(path, page.encode("utf-8"))


class Charts:
    """Figures of one page as HTML: plotly's script with the first only, ids counted and not random."""

    def __init__(self) -> None:
        self._count = 0

    def add(self, figure: go.Figure) -> str:
        """Return the figure as a part of the page's body."""
        self._count += 1
        return figure.to_html(
            full_html=False,
            include_plotlyjs=self._count == 1,
            div_id=f"chart{self._count}",
            config={"displaylogo": False},
        )


def table(headers: Sequence[str], rows: Iterable[Sequence[object]], *, marks: Collection[str] = ()) -> str:
    """Return a table that scrolls where it is too wide; numbers, and the heads of their columns, stand to the
    right.

    Parameters
    ----------
    headers
        May be empty: a table of names and values needs none.
    rows
        Of text and numbers, written as `cell_text` does and escaped.
    marks
        Texts whose cells carry the text itself as their class, for the page's `style` to colour.
    """
    rows = list(rows)
    first = rows[0] if rows else ()
    head = "".join(
        f"<th{' class=n' if k < len(first) and _is_number(first[k]) else ''}>{html.escape(h)}</th>"
        for k, h in enumerate(headers)
    )
    body = "".join("<tr>" + "".join(_cell(v, marks) for v in row) + "</tr>" for row in rows)
    return f"<div class=wide><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"


def cell_text(value: object) -> str:
    """Write a number as people read it: thousands apart, at most four decimals (four digits of a small one),
    a dash if not finite."""
    if isinstance(value, float) and 0.0 < abs(value) < 0.001:
        return f"{value:.4g}"
    if isinstance(value, float):
        return f"{value:,.4f}".rstrip("0").rstrip(".") if math.isfinite(value) else "–"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _cell(value: object, marks: Collection[str]) -> str:
    kind = ""
    if _is_number(value):
        kind = " class=n"
    elif value in marks:
        kind = f" class={value}"
    return f"<td{kind}>{html.escape(cell_text(value))}</td>"
