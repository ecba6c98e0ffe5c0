"""The order-flow regressions as a page that stands by itself: a table and a scatter of each."""

from __future__ import annotations

import html
import os
from dataclasses import dataclass

import numpy as np

from apex_nautilus.data.order_flow import OrderFlow
from apex_nautilus.stats.ofi_regression import OfiRegression
from apex_nautilus.store.atomic import write_atomic

__all__ = ["Measured", "write_page"]

_MOST_POINTS = 5_000
_STYLE = (
    "body{font-family:system-ui,sans-serif;margin:2rem auto;max-width:1100px;color:#222}"
    "table{border-collapse:collapse}td,th{padding:.25rem .7rem;text-align:right;border-bottom:1px solid #ddd}"
    "td:first-child,th:first-child{text-align:left}p{color:#555}"
)
_HEADERS = ("instrument", "interval", "n", "slope", "error", "t", "R²", "R² trades", "R² both", "dropped")


@dataclass(frozen=True, slots=True)
class Measured:
    """One instrument at one interval."""

    instrument_id: str
    flow: OrderFlow
    fits: OfiRegression

    def cells(self) -> list[str]:
        """Texts of the columns interval to dropped."""
        fit = self.fits.ofi
        shares = ["-" if other is None else f"{other.r2:.1%}" for other in (self.fits.trades, self.fits.both)]
        return [
            f"{self.flow.seconds} s",
            f"{fit.n:,}",
            f"{fit.slope:.4g}",
            f"{fit.slope_error:.2g}",
            f"{fit.t:.1f}",
            f"{fit.r2:.1%}",
            *shares,
            f"{self.flow.dropped:,}",
        ]


def write_page(path: str | os.PathLike[str], measured: list[Measured]) -> None:
    """Write the page; it appears when it is complete and needs no network."""
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    names = list(dict.fromkeys(m.instrument_id for m in measured))
    lengths = list(dict.fromkeys(m.flow.seconds for m in measured))
    figure = make_subplots(
        rows=len(names), cols=len(lengths), subplot_titles=[f"{n}, {s} s" for n in names for s in lengths]
    )
    for m in measured:
        row, col = names.index(m.instrument_id) + 1, lengths.index(m.flow.seconds) + 1
        # Evenly thinned: a picture of a million points would not open.
        step = -(-m.flow.ofi.size // _MOST_POINTS)
        x, y = m.flow.ofi[::step], m.flow.mid_change[::step]
        figure.add_trace(
            go.Scatter(x=x, y=y, mode="markers", marker={"size": 4, "opacity": 0.4, "color": "#3366aa"}),
            row=row,
            col=col,
        )
        ends = np.array([m.flow.ofi.min(), m.flow.ofi.max()])
        line = m.fits.ofi.coefficients[0] + m.fits.ofi.slope * ends
        figure.add_trace(
            go.Scatter(x=ends, y=line, mode="lines", line={"color": "#cc3311"}), row=row, col=col
        )
        figure.update_xaxes(title_text="order-flow imbalance (base units)", row=row, col=col)
        figure.update_yaxes(title_text="mid-price change (ticks)", row=row, col=col)
    figure.update_layout(template="plotly_white", showlegend=False, height=380 * len(names), width=1100)
    # A fixed id instead of a random one: the same data write the same bytes.
    chart = figure.to_html(
        full_html=False, include_plotlyjs=True, div_id="ofi", config={"displaylogo": False}
    )
    head = "".join(f"<th>{h}</th>" for h in _HEADERS)
    rows = "".join(
        "<tr>" + "".join(f"<td>{html.escape(c)}</td>" for c in (m.instrument_id, *m.cells())) + "</tr>"
        for m in measured
    )
    page = (
        "<!DOCTYPE html><html lang=en><head><meta charset=utf-8><title>Order flow and price</title>"
        f"<style>{_STYLE}</style></head><body><h1>Order flow and price</h1>"
        "<p>Change of the mid-price in ticks, regressed on order-flow imbalance at the touch. Errors are "
        f"Newey-West's.</p><table><tr>{head}</tr>{rows}</table>{chart}</body></html>\n"
    )
    write_atomic(path, page.encode("utf-8"))
