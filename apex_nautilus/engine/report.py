"""A run as one HTML file: equity curves, what happened when, trades and tables. Needs nothing but a
browser.

The input is plain data (series, happenings, tables), so backtests and the arena share it. Plotly's script
is written into the file; nothing is fetched when it is opened.
"""

from __future__ import annotations

import html
import os
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import plotly.graph_objects as go
from plotly.colors import qualitative
from plotly.subplots import make_subplots

from apex_nautilus.engine.report_panels import Panel
from apex_nautilus.store.atomic import write_atomic

__all__ = ["Curve", "Happening", "ReportTable", "write_report"]

_MAX_POINTS = 5_000
"""Points drawn of one curve: beyond what a screen resolves they only make the file large."""

_SYMBOLS = {
    "birth": "star",
    "death": "x",
    "swap": "diamond",
    "replacement": "circle-open",
    "promotion": "triangle-up",
    "take_profit": "triangle-up",
    "stop": "triangle-down",
}


@dataclass(frozen=True, slots=True)
class Curve:
    """One line: an agent's equity over engine time.

    Attributes
    ----------
    name : str
        Shown in the legend.
    ts_ns : (n,) int64
        Nanoseconds since the epoch.
    values : (n,) float64
        Quote units. NaN leaves a gap.
    group : str
        Curves of one group (a slot's generations) share a colour.
    """

    name: str
    ts_ns: np.ndarray
    values: np.ndarray
    group: str = ""


@dataclass(frozen=True, slots=True)
class Happening:
    """Something at one moment: a birth, a death, a swap, the end of a trade.

    Attributes
    ----------
    ts_ns : int
    kind : str
        Decides the symbol; each kind is one entry of the legend.
    lane : str
        Row of the time line, usually the slot.
    text : str
        Shown when the pointer rests on it.
    """

    ts_ns: int
    kind: str
    lane: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class ReportTable:
    """A table: a title, headers, and rows of text or numbers."""

    title: str
    headers: Sequence[str]
    rows: Sequence[Sequence[object]] = field(default_factory=tuple)


def _thin(curve: Curve) -> tuple[np.ndarray, np.ndarray]:
    """At most `_MAX_POINTS` points that keep the lowest and highest value of every stretch."""
    n = len(curve.values)
    if n <= _MAX_POINTS:
        return curve.ts_ns, curve.values
    keep = [0, n - 1]
    for stretch in np.array_split(np.arange(n), _MAX_POINTS // 2):
        values = curve.values[stretch]
        if np.isfinite(values).any():
            keep += [int(stretch[np.nanargmin(values)]), int(stretch[np.nanargmax(values)])]
        else:
            keep.append(int(stretch[0]))
    at = np.unique(keep)
    return curve.ts_ns[at], curve.values[at]


def _figure(curves: Sequence[Curve], happenings: Sequence[Happening], unit: str) -> go.Figure:
    lanes = list(dict.fromkeys(h.lane for h in happenings))
    share = min(0.6, 0.08 + 0.06 * len(lanes)) if lanes else 0.0
    figure = make_subplots(
        rows=2 if lanes else 1,
        cols=1,
        shared_xaxes=True,
        vertical_spacing=0.05,
        row_heights=[1.0 - share, share] if lanes else None,
    )
    groups = list(dict.fromkeys(c.group or c.name for c in curves))
    for curve in curves:
        ts_ns, values = _thin(curve)
        colour = qualitative.Plotly[groups.index(curve.group or curve.name) % len(qualitative.Plotly)]
        figure.add_trace(
            go.Scatter(
                x=ts_ns.astype("datetime64[ns]"),
                y=values,
                name=curve.name,
                mode="lines",
                line={"width": 1.5, "color": colour, "shape": "hv"},
            ),
            row=1,
            col=1,
        )
    for kind in dict.fromkeys(h.kind for h in happenings):
        chosen = [h for h in happenings if h.kind == kind]
        figure.add_trace(
            go.Scatter(
                x=np.array([h.ts_ns for h in chosen], dtype=np.int64).astype("datetime64[ns]"),
                y=[h.lane for h in chosen],
                text=[h.text for h in chosen],
                name=kind,
                mode="markers",
                # a replacement comes within seconds of a death: a ring around its cross
                marker={"symbol": _SYMBOLS.get(kind, "circle"), "size": 16 if kind == "replacement" else 9},
                hovertemplate="%{y} %{x}<br>%{text}<extra>" + html.escape(kind) + "</extra>",
            ),
            row=2,
            col=1,
        )
    figure.update_yaxes(title_text=f"equity ({unit})", row=1, col=1)
    if lanes:
        figure.update_yaxes(categoryorder="array", categoryarray=lanes[::-1], row=2, col=1)
    figure.update_xaxes(title_text="engine time (UTC)", row=2 if lanes else 1, col=1)
    figure.update_layout(
        template="plotly_white",
        height=460 + 40 * len(lanes),
        margin={"l": 70, "r": 20, "t": 20, "b": 50},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"},
        hovermode="closest",
    )
    return figure


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.4f}".rstrip("0").rstrip(".") if np.isfinite(value) else "–"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return html.escape(str(value))


def _table(table: ReportTable) -> str:
    head = "".join(f"<th>{html.escape(h)}</th>" for h in table.headers)
    body = "".join(
        "<tr>"
        + "".join(f"<td{' class=n' if isinstance(v, int | float) else ''}>{_cell(v)}</td>" for v in row)
        + "</tr>"
        for row in table.rows
    )
    return (
        f"<h2>{html.escape(table.title)}</h2><div class=wide><table><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )


def _panel(panel: Panel, div_id: str) -> str:
    chart = panel.figure.to_html(
        full_html=False, include_plotlyjs=False, div_id=div_id, config={"displaylogo": False}
    )
    return f"<h2>{html.escape(panel.title)}</h2><p class=sub>{html.escape(panel.note)}</p>{chart}"


_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 1200px; padding: 0 1rem; color:
#1c2430 } h1 { font-size: 1.5rem; margin-bottom: 0 } h2 { font-size: 1.1rem; margin-top: 2rem } p.sub {
color: #5b6675 } table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
th, td { padding: .3rem .6rem; border-bottom: 1px solid #e3e7ed; text-align: left; white-space: nowrap }
td.n { text-align: right } .wide { overflow-x: auto; max-height: 32rem; overflow-y: auto }
thead th { position: sticky; top: 0; background: #fff }
"""


def write_report(
    path: str | os.PathLike[str],
    *,
    title: str,
    subtitle: str = "",
    curves: Sequence[Curve] = (),
    happenings: Sequence[Happening] = (),
    panels: Sequence[Panel] = (),
    tables: Sequence[ReportTable] = (),
    unit: str = "USDT",
) -> None:
    """Write a report; the file appears when it is complete and needs no network.

    Parameters
    ----------
    path : where to.
    title, subtitle : heading.
    curves : equity curves, drawn in one figure.
    happenings : drawn on a time line below, one lane each.
    panels : further figures, below the first, in order.
    tables : written below the figures, in order.
    unit : of the curves.
    """
    figure = _figure(curves, happenings, unit)
    # A fixed id instead of a random one: the same run writes the same bytes.
    chart = figure.to_html(
        full_html=False, include_plotlyjs=True, div_id="equity", config={"displaylogo": False}
    )
    further = "".join(_panel(panel, f"panel-{k}") for k, panel in enumerate(panels))
    page = (
        f"<!DOCTYPE html><html lang=en><head><meta charset=utf-8><title>{html.escape(title)}</title>"
        f"<style>{_STYLE}</style></head><body><h1>{html.escape(title)}</h1>"
        f"<p class=sub>{html.escape(subtitle)}</p>{chart}{further}"
        f"{''.join(map(_table, tables))}</body></html>\n"
    )
    write_atomic(path, page.encode("utf-8"))
