"""A market on a page: the book as a heat map, mid and trades in it, the spread below."""

from __future__ import annotations

import os

import numpy as np

from apex_nautilus import _page as page
from apex_nautilus.features import FLAG_LAST, KIND_TRADE, Ladder, scale
from apex_nautilus.risk import InstrumentSpec
from apex_nautilus.sim.observation import observe

__all__ = ["book_image", "write_page"]

_COLUMNS = 400
_ROWS = 140
_MOST_TRADES = 1500
_MOST_LEVELS = 1 << 20


def book_image(
    events: np.ndarray, times: np.ndarray, edges: np.ndarray, *, price: float, size: float
) -> np.ndarray:
    """Size that rests between prices at times; float64 (len(edges) - 1, len(times)), bids and asks together.

    Parameters
    ----------
    events : EVENT[n].
    times : int64, rising, nanoseconds of receipt.
    edges : float64, rising, in quote units.
    price, size : units of an event's price and size in 1.0.
    """
    ends = np.flatnonzero((events["flags"] & FLAG_LAST) != 0) + 1
    stops = np.searchsorted(events["ts_init_ns"][ends - 1], times, side="right") - 1
    ladder, done = Ladder(capacity=None), 0
    image = np.zeros((len(edges) - 1, len(times)))
    for column, stop in enumerate(stops):
        end = int(ends[stop]) if stop >= 0 else 0
        if end > done:
            ladder.apply(events[done:end])
            done = end
        for levels in (ladder.bids(limit=_MOST_LEVELS), ladder.asks(limit=_MOST_LEVELS)):
            image[:, column] += np.histogram(levels[:, 0] / price, edges, weights=levels[:, 1] / size)[0]
    return image


def write_page(path: str | os.PathLike[str], events: np.ndarray, instrument: InstrumentSpec) -> None:
    """Write the page; it appears when it is complete and needs no network.

    Raises
    ------
    ObservationError
        When there is no whole book to draw.
    """
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    observation = observe(events, instrument)
    start, end = observation.start_ns, observation.end_ns
    times = np.linspace(start, end - 1, _COLUMNS).astype(np.int64)
    at = np.searchsorted(observation.path_ns, times, side="right") - 1
    bid, _, ask, _ = observation.touch[at].T
    # As much of the book as the price has crossed, and as much again around it.
    low, high = float(bid.min()), float(ask.max())
    margin = max(0.5 * (high - low), 20.0 * instrument.tick, 2e-4 * high)
    rows = int(min(_ROWS, round((high - low + 2.0 * margin) / instrument.tick)))
    edges = np.linspace(low - margin, high + margin, rows + 1)
    image = book_image(
        events,
        times,
        edges,
        price=scale(instrument.price_precision),
        size=scale(instrument.size_precision),
    )
    seconds = (times - start) / 1e9
    # By the logarithm, or one large order would leave the rest dark; two decimals make a light page.
    typical = float(np.median(image[image > 0.0])) if image.any() else 1.0
    shade = np.round(np.log2(1.0 + image / typical), 2)

    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, row_heights=[0.8, 0.2], vertical_spacing=0.03)
    figure.add_trace(
        go.Heatmap(
            x=np.round(seconds, 3).tolist(),
            y=np.round(0.5 * (edges[1:] + edges[:-1]), instrument.price_precision + 2).tolist(),
            z=[[float(v) if v > 0.0 else None for v in row] for row in shade],
            colorscale="Blues",
            showscale=False,
            hoverinfo="skip",
        ),
        row=1,
        col=1,
    )
    digits = instrument.price_precision + 1
    mid = np.round(0.5 * (bid + ask), digits)
    figure.add_trace(
        go.Scatter(
            x=np.round(seconds, 3).tolist(), y=mid.tolist(), name="mid", line={"color": "#222", "width": 1.2}
        ),
        row=1,
        col=1,
    )
    for side, name, colour in ((1.0, "bought", "#229977"), (-1.0, "sold", "#cc3311")):
        x, y, worth = _largest(observation.trade_ns, observation.trade, side, start)
        top = float(worth.max()) if len(worth) else 1.0
        figure.add_trace(
            go.Scatter(
                x=x.tolist(),
                y=np.round(y, digits).tolist(),
                name=name,
                mode="markers",
                marker={
                    "color": colour,
                    "opacity": 0.6,
                    "size": np.round(3.0 + 9.0 * np.sqrt(worth / top), 1).tolist(),
                },
            ),
            row=1,
            col=1,
        )
    spread_x, spread_y = _extremes(observation.path_ns, observation.touch, start)
    figure.add_trace(
        go.Scatter(
            x=spread_x.tolist(),
            y=spread_y.tolist(),
            name="spread",
            line={"color": "#775599", "width": 1.0},
        ),
        row=2,
        col=1,
    )
    figure.update_yaxes(title_text=instrument.quote, row=1, col=1)
    figure.update_yaxes(title_text="spread, bps", rangemode="tozero", row=2, col=1)
    figure.update_xaxes(title_text="seconds", row=2, col=1)
    figure.update_layout(template="plotly_white", height=760, margin={"t": 30}, legend={"orientation": "h"})
    trades = int(np.count_nonzero(events["kind"] == KIND_TRADE))
    shown = sum(len(t.x) for t in figure.data if t.name in ("bought", "sold"))
    counts = f"{len(observation.path_ns):,} books, {trades:,} trades"
    of = f", the {shown:,} largest shown" if shown < trades else ""
    page.write_page(
        path,
        title=instrument.id,
        subtitle=f"{observation.seconds:,.0f} s, {counts}{of}. Darker: more size rests there (logarithmic).",
        body=page.Charts().add(figure),
    )


def _largest(
    times: np.ndarray, trade: np.ndarray, side: float, start: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Seconds, prices and worths of the largest trades of a side, in order of time."""
    chosen = np.flatnonzero(trade[:, 2] == side)
    worth = trade[chosen, 0] * trade[chosen, 1]
    if len(chosen) > _MOST_TRADES // 2:
        keep = np.sort(np.argsort(-worth, kind="stable")[: _MOST_TRADES // 2])
        chosen, worth = chosen[keep], worth[keep]
    return np.round((times[chosen] - start) / 1e9, 3), trade[chosen, 0], worth


def _extremes(times: np.ndarray, touch: np.ndarray, start: int) -> tuple[np.ndarray, np.ndarray]:
    """The spread in basis points: of each of 400 stretches the smallest and the largest."""
    spread = 2e4 * (touch[:, 2] - touch[:, 0]) / (touch[:, 2] + touch[:, 0])
    kept = []
    for part in np.array_split(np.arange(len(spread)), min(_COLUMNS, len(spread))):
        kept += sorted({int(part[np.argmin(spread[part])]), int(part[np.argmax(spread[part])])})
    return np.round((times[kept] - start) / 1e9, 3), np.round(spread[kept], 4)
