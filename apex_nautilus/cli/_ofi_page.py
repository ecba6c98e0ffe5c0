"""The order-flow regressions as a page that stands by itself: a table and a scatter of each."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np

from apex_nautilus import _page as page
from apex_nautilus.data.order_flow import OrderFlow
from apex_nautilus.stats.ofi_regression import OfiRegression

__all__ = ["Measured", "write_page"]

_MOST_POINTS = 5_000
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
    page.write_page(
        path,
        title="Order flow and price",
        subtitle="Change of the mid-price in ticks, regressed on order-flow imbalance at the touch. Errors "
        "are Newey-West's.",
        body=page.table(_HEADERS, [(m.instrument_id, *m.cells()) for m in measured])
        + page.Charts().add(figure),
        style="td, th { text-align: right } td:first-child, th:first-child { text-align: left }",
    )
