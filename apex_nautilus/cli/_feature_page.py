"""Features over time as a page that stands by itself: the price on top, a panel a feature below it."""

from __future__ import annotations

import html
import os
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from apex_nautilus import _page as page
from apex_nautilus.cli._thin import MinMaxThinner
from apex_nautilus.features import FeatureSpec

__all__ = ["write_page"]

_INK, _LINE, _GREY = "#1c2430", "#2a6fb0", "#5b6675"
_STYLE = (
    "dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; font-size: .9rem } "
    "dt { font-weight: 600 } dd { margin: 0 }"
)


def _times(ts_ns: np.ndarray) -> np.ndarray:
    return ts_ns.astype("datetime64[ns]")


def _figure(
    specs: Sequence[FeatureSpec], series: MinMaxThinner, price: str, first_warm_ns: int | None
) -> go.Figure:
    rows = 1 + len(specs)
    heights = [1.6] + [1.0] * len(specs)
    figure = make_subplots(
        rows=rows, cols=1, shared_xaxes=True, vertical_spacing=0.12 / rows, row_heights=heights
    )
    titles = [price] + [
        f"{s.name}<br><span style='font-size:11px'>{html.escape(s.unit)}</span>" for s in specs
    ]
    for column, title in enumerate(titles):
        ts_ns, values = series.points(column)
        figure.add_trace(
            go.Scatter(
                x=_times(ts_ns),
                y=values,
                mode="lines",
                line={"width": 1, "color": _INK if column == 0 else _LINE},
                showlegend=False,
                hovertemplate="%{y:.6g}<br>%{x}<extra></extra>",
            ),
            row=column + 1,
            col=1,
        )
        figure.update_yaxes(title_text=title, title_font_size=12, row=column + 1, col=1)
        if column and specs[column - 1].low < 0.0 < specs[column - 1].high:
            figure.add_hline(y=0.0, line_width=1, line_color="#c3cad4", row=column + 1, col=1)  # pyright: ignore
    first_ns = int(series.points(0)[0][0])
    if first_warm_ns is None or first_warm_ns > first_ns:
        end = int(series.points(0)[0][-1]) if first_warm_ns is None else first_warm_ns
        figure.add_vrect(
            x0=str(np.datetime64(first_ns, "ns")),
            x1=str(np.datetime64(end, "ns")),
            fillcolor="#8a93a0",
            opacity=0.15,
            line_width=0,
        )
    figure.update_xaxes(title_text="time (UTC)", row=rows, col=1)
    figure.update_layout(
        template="plotly_white",
        height=270 + 165 * len(specs),
        margin={"l": 90, "r": 20, "t": 15, "b": 50},
        hovermode="x",
        font={"color": _GREY},
    )
    return figure


def write_page(
    path: str | os.PathLike[str],
    *,
    title: str,
    subtitle: str,
    specs: Sequence[FeatureSpec],
    series: MinMaxThinner,
    price: str,
    first_warm_ns: int | None,
) -> None:
    """Write the page; it appears when it is complete and needs no network.

    Parameters
    ----------
    specs : the features, columns 1 and on of `series`; column 0 is the price.
    price : what the price is, to be written at its axis.
    first_warm_ns : time of the first row past every warm-up; what is before it is shaded. None: no row is.
    """
    meanings = "".join(
        f"<dt>{html.escape(s.name)}</dt><dd>{html.escape(s.formula)} ({html.escape(s.source)})</dd>"
        for s in specs
    )
    chart = page.Charts().add(_figure(specs, series, price, first_warm_ns))
    page.write_page(path, title=title, subtitle=subtitle, body=f"{chart}<dl>{meanings}</dl>", style=_STYLE)
