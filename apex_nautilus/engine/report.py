"""A run as one HTML file: what happened on one time line, further figures and tables. Needs nothing but a
browser.

The input is plain data (curves, happenings, tables), so backtests and the arena share it. Plotly's script
is written into the file; nothing is fetched when it is opened.
"""

from __future__ import annotations

import html
import os
from collections.abc import Sequence
from dataclasses import dataclass, field

from apex_nautilus import _page
from apex_nautilus.engine.report_panels import Panel
from apex_nautilus.engine.report_timeline import Curve, Happening, timeline

__all__ = ["Curve", "Happening", "ReportTable", "write_report"]

_STYLE = """
table { width: 100% } .wide { max-height: 32rem } p.links a { margin-right: 1.2em }
@media (max-width: 600px) { body { margin: .8rem auto; padding: 0 .6rem; font-size: 14px } }
"""


@dataclass(frozen=True, slots=True)
class ReportTable:
    """A table: a title, headers, rows of text or numbers, and a sentence on how to read it."""

    title: str
    headers: Sequence[str]
    rows: Sequence[Sequence[object]] = field(default_factory=tuple)
    note: str = ""


def write_report(
    path: str | os.PathLike[str],
    *,
    title: str,
    subtitle: str = "",
    curves: Sequence[Curve] = (),
    weights: Sequence[Curve] = (),
    happenings: Sequence[Happening] = (),
    panels: Sequence[Panel] = (),
    tables: Sequence[ReportTable] = (),
    links: Sequence[tuple[str, str]] = (),
    words: Sequence[str] = (),
    unit: str = "USDT",
) -> None:
    """Write a report; the file appears when it is complete and needs no network.

    Parameters
    ----------
    path : where to.
    title, subtitle : heading.
    curves, weights, happenings : drawn on one time line, see `report_timeline.timeline`.
    panels : further figures, below the first, in order.
    tables : written below the figures, in order; one without rows says so.
    links : (text, file beside the report) below the heading.
    words : sentences below the links.
    unit : of the curves.
    """
    charts = _page.Charts()
    parts = []
    if links:
        anchors = "".join(f'<a href="{html.escape(to)}">{html.escape(text)}</a>' for text, to in links)
        parts.append(f"<p class=links>{anchors}</p>")
    parts += [f"<p>{html.escape(sentence)}</p>" for sentence in words]
    if curves or weights or happenings:
        parts.append(charts.add(timeline(curves, weights, happenings, unit=unit)))
    for panel in panels:
        parts.append(f"{_heading(panel.title, panel.note)}{charts.add(panel.figure)}")
    for table in tables:
        parts.append(_heading(table.title, table.note))
        parts.append(_page.table(table.headers, table.rows) if table.rows else "<p class=sub>None.</p>")
    _page.write_page(path, title=title, subtitle=subtitle, body="".join(parts), style=_STYLE)


def _heading(title: str, note: str) -> str:
    below = f"<p class=sub>{html.escape(note)}</p>" if note else ""
    return f"<h2>{html.escape(title)}</h2>{below}"
