"""An inspected catalog as one HTML file with pictures. Needs nothing but a browser."""

from __future__ import annotations

import html
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from apex_nautilus._page import Charts, table, write_page
from apex_nautilus.data.inspect_report import (
    BarsSummary,
    CatalogSummary,
    DepthProfile,
    Gap,
    PriceLine,
    Quantiles,
    QuotesSummary,
    StreamSummary,
    Timeline,
)

if TYPE_CHECKING:
    import plotly.graph_objects as go

__all__ = ["write_inspect_page"]

_STYLE = "p.bad { background: #fdecea; padding: .5rem .8rem; border-radius: 4px }"
_BLUE, _ORANGE, _GREEN, _GREY = "#2f6fb5", "#d9822b", "#3a9a5b", "#9aa5b1"


def write_inspect_page(path: str | os.PathLike[str], summary: CatalogSummary, *, title: str) -> None:
    """Write the page; the file appears when it is complete and fetches nothing when it is opened.

    Parameters
    ----------
    summary : of `inspect_catalog` with ``timeline=True``
    """
    parts = [
        f"<p class=bad>{html.escape(problem.file)}: {html.escape(problem.what)}</p>"
        for problem in summary.problems
    ]
    charts = Charts()
    parts.append(charts.add(_coverage(summary)))
    for stream in summary.streams:
        parts += [f"<h2>{html.escape(stream.instrument_id)}</h2>", _facts(stream)]
        if stream.timeline is not None:
            parts.append(charts.add(_over_time(stream.timeline, "book batches", "trades")))
        if stream.depth is not None:
            parts.append(charts.add(_depth(stream.depth)))
        parts.append(_gaps("Longest silences", stream.longest_gaps))
    if summary.bars:
        parts.append("<h2>Bars</h2>" + _bars_table(summary.bars))
        for bars in summary.bars:
            if bars.prices is not None:
                parts += [f"<h3>{html.escape(bars.bar_type)}</h3>", charts.add(_prices(bars.prices))]
            parts.append(_gaps(f"Longest holes in {bars.bar_type}", bars.holes))
    for quotes in summary.quotes:
        parts += [f"<h2>Quotes of {html.escape(quotes.instrument_id)}</h2>", _quote_facts(quotes)]
        if quotes.timeline is not None:
            parts.append(charts.add(_over_time(quotes.timeline, "quotes")))
        parts.append(_gaps("Longest silences", quotes.longest_gaps))
    if summary.external:
        rows = [
            (e.name, e.instrument_id or "the market", *map(_time, e.span_ns), e.values, e.stale)
            for e in summary.external
        ]
        headers = ("series", "of", "from (UTC)", "to (UTC)", "values", "silences beyond its age limit")
        parts.append("<h2>Published from outside</h2>" + table(headers, rows))
    if summary.other:
        rows = [(o.kind, o.identifier, *map(_time, o.span_ns), o.files, o.rows) for o in summary.other]
        headers = ("kind", "of", "from (UTC)", "to (UTC)", "files", "rows")
        parts.append("<h2>Not read here</h2>" + table(headers, rows))
    what = f"Books and trades of {len(summary.streams)}, {len(summary.bars)} series of bars"
    if summary.quotes:
        what += f", quotes of {len(summary.quotes)}"
    write_page(
        path,
        title=title,
        subtitle=f"{what}. Times are UTC; each picture shows up to 600 stretches of the span.",
        body="".join(parts),
        style=_STYLE,
    )


def _layout(figure: go.Figure, height: int) -> go.Figure:
    return figure.update_layout(
        template="plotly_white",
        height=height,
        margin={"l": 75, "r": 20, "t": 30, "b": 40},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"},
        hovermode="x unified",
    )


def _times(timeline: Timeline) -> np.ndarray:
    """Middles of the stretches."""
    steps = np.arange(len(timeline.batches)) * timeline.width_ns + timeline.width_ns // 2
    return (timeline.start_ns + steps).astype("datetime64[ns]")


def _coverage(summary: CatalogSummary) -> go.Figure:
    """One lane a series: coloured where there are data, with the longest gaps marked."""
    import plotly.graph_objects as go

    figure = go.Figure()
    lanes: list[str] = []

    def lane(name: str, runs: list[tuple[int, int]], colour: str, gaps: Sequence[Gap]) -> None:
        lanes.append(name)
        x: list[object] = []
        for begin, end in runs:
            x += [np.datetime64(begin, "ns"), np.datetime64(end, "ns"), None]
        figure.add_trace(
            go.Scatter(
                x=x,
                y=[name] * len(x),
                mode="lines+markers",  # the markers show what is too short to be seen as a line
                line={"width": 12, "color": colour},
                marker={"symbol": "line-ns-open", "size": 12, "line": {"width": 1.5, "color": colour}},
                showlegend=False,
                hoverinfo="x+y",
            )
        )
        if gaps:
            figure.add_trace(
                go.Scatter(
                    x=[np.datetime64(g.start_ns + int(g.seconds * 5e8), "ns") for g in gaps],
                    y=[name] * len(gaps),
                    mode="markers",
                    showlegend=False,
                    marker={"symbol": "line-ns-open", "size": 18, "color": "#c0392b", "line": {"width": 2}},
                    text=[f"{g.seconds:,.1f} s from {_time(g.start_ns)}" for g in gaps],
                    hovertemplate="%{text}<extra></extra>",
                )
            )

    for s in summary.streams:
        if s.timeline is not None:
            t = s.timeline
            runs = _runs(np.array(t.batches) > 0, t.start_ns, t.width_ns)
            lane(f"{s.instrument_id} book", runs, _BLUE, s.longest_gaps)
            lane(
                f"{s.instrument_id} trades",
                _runs(np.array(t.trades) > 0, t.start_ns, t.width_ns),
                _ORANGE,
                (),
            )
    for q in summary.quotes:
        if q.timeline is not None:
            t = q.timeline
            runs = _runs(np.array(t.batches) > 0, t.start_ns, t.width_ns)
            lane(f"{q.instrument_id} quotes", runs, _BLUE, q.longest_gaps)
    for b in summary.bars:
        if b.timeline:
            width = max((b.span_ns[1] - b.span_ns[0]) // len(b.timeline), 1)
            runs = _runs(np.array(b.timeline) > 0, b.span_ns[0], width)
            lane(b.bar_type, runs, _GREEN, b.holes)
    for e in summary.external:
        name = e.name if e.instrument_id is None else f"{e.name} of {e.instrument_id}"
        lane(name, [e.span_ns], _GREY, ())
    figure.update_yaxes(categoryorder="array", categoryarray=lanes[::-1], automargin=True)
    return _layout(figure, 110 + 34 * max(len(lanes), 1)).update_layout(hovermode="closest")


def _runs(there: np.ndarray, start_ns: int, width_ns: int) -> list[tuple[int, int]]:
    """Begin and end of each run of stretches with data."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], there, [False]]).astype(np.int8)))
    return [
        (int(start_ns + width_ns * a), int(start_ns + width_ns * b))
        for a, b in zip(edges[::2], edges[1::2], strict=True)
    ]


def _band(figure: go.Figure, x: np.ndarray, row: int, low: Sequence, high: Sequence, name: str) -> None:
    """Shade what lies between the lowest and the highest value of each stretch."""
    import plotly.graph_objects as go

    quiet = {"mode": "lines", "line": {"width": 0}, "showlegend": False}
    shade = {"fill": "tonexty", "fillcolor": "rgba(47,111,181,.18)"}
    figure.add_trace(go.Scatter(x=x, y=low, name=f"lowest {name}", **quiet), row=row, col=1)
    figure.add_trace(go.Scatter(x=x, y=high, name=f"highest {name}", **shade, **quiet), row=row, col=1)


def _prices(line: PriceLine) -> go.Figure:
    """Closes of bars, with what lay between the lows and the highs."""
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    figure = make_subplots(rows=1, cols=1, subplot_titles=("close, with lows and highs",))
    there = [i for i, close in enumerate(line.last) if close is not None]
    steps = np.array(there, dtype=np.int64) * line.width_ns + line.width_ns // 2
    x = (line.start_ns + steps).astype("datetime64[ns]")
    _band(figure, x, 1, [line.low[i] for i in there], [line.high[i] for i in there], "price")
    close = {"mode": "lines", "line": {"width": 1.3, "color": _BLUE}, "showlegend": False}
    figure.add_trace(go.Scatter(x=x, y=[line.last[i] for i in there], name="close", **close), row=1, col=1)
    return _layout(figure, 300)


def _over_time(t: Timeline, batches: str, trades: str | None = None) -> go.Figure:
    """Mid, spread, rates and clock skew below each other; `batches` and `trades` name what is counted."""
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    titles = ("mid price, with its range", "spread, bps (mean)", "a second", "receive - venue time, ms")
    figure = make_subplots(
        rows=4,
        cols=1,
        shared_xaxes=True,
        vertical_spacing=0.05,
        row_heights=[3, 2, 2, 2],
        subplot_titles=titles,
    )
    x = _times(t)

    def line(row: int, y: Sequence, name: str, colour: str, *, legend: bool = False) -> None:
        figure.add_trace(
            go.Scatter(
                x=x, y=y, name=name, mode="lines", line={"width": 1.3, "color": colour}, showlegend=legend
            ),
            row=row,
            col=1,
        )

    seconds = t.width_ns / 1e9
    _band(figure, x, 1, t.mid_low, t.mid_high, "mid")
    line(1, t.mid, "mid", _BLUE)
    line(2, t.spread_bps, "spread", _BLUE)
    line(3, [n / seconds for n in t.batches], batches, _BLUE, legend=True)
    if trades is not None:
        line(3, [n / seconds for n in t.trades], trades, _ORANGE, legend=True)
    _band(figure, x, 4, t.skew_low_ms, t.skew_high_ms, "skew")
    line(4, t.skew_ms, "skew", _BLUE)
    return _layout(figure, 760)


def _depth(depth: DepthProfile) -> go.Figure:
    """Mean size of each level, bids to the left."""
    import plotly.graph_objects as go

    levels = np.arange(1, len(depth.bid_sizes) + 1)
    figure = go.Figure(
        [
            go.Bar(x=-levels, y=depth.bid_sizes, name="bid", marker_color=_GREEN),
            go.Bar(x=levels, y=depth.ask_sizes, name="ask", marker_color=_ORANGE),
        ]
    )
    figure.update_xaxes(
        tickvals=[*-levels, *levels], ticktext=[str(n) for n in (*levels, *levels)], title_text="level"
    )
    figure.update_yaxes(title_text=f"base units, mean of {depth.samples}")
    return _layout(figure, 300).update_layout(hovermode="closest")


def _facts(s: StreamSummary) -> str:
    rows = [
        ("span", f"{_time(s.span_ns[0])} to {_time(s.span_ns[1])}"),
        ("level changes, batches, trades", f"{s.levels:,}, {s.batches:,}, {s.trades:,}"),
        ("batches, trades a second", f"{s.batches_per_s:,.1f}, {s.trades_per_s:,.2f}"),
        ("silences, longest", f"{s.gaps:,}, {s.longest_gap_s:,.2f} s"),
        ("crossed, locked, one-sided", f"{s.crossed:.3%}, {s.locked:.3%}, {s.one_sided:.3%}"),
        ("book emptied", f"{s.clears:,}"),
        ("duplicate trades, venue time backwards", f"{s.duplicate_trades:,}, {s.event_time_backwards:,}"),
        ("spread, bps", _spread(s.spread_bps)),
        ("receive - venue time, ms", _spread(s.skew)),
        ("refused at import", ", ".join(f"{k} {n:,}" for k, n in sorted(s.refused.items())) or "none"),
    ]
    return table((), rows)


def _quote_facts(q: QuotesSummary) -> str:
    rows = [
        ("span", f"{_time(q.span_ns[0])} to {_time(q.span_ns[1])}"),
        ("quotes, repeated", f"{q.quotes:,}, {q.repeated:,}"),
        ("silences, longest", f"{q.gaps:,}, {q.longest_gap_s:,.2f} s"),
        ("crossed, locked, one-sided", f"{q.crossed:.3%}, {q.locked:.3%}, {q.one_sided:.3%}"),
        ("venue time backwards", f"{q.event_time_backwards:,}"),
        ("spread, bps", _spread(q.spread_bps)),
        ("receive - venue time, ms", _spread(q.skew)),
    ]
    return table((), rows)


def _spread(q: Quantiles | None) -> str:
    if q is None:
        return "–"
    return (
        f"mean {q.mean:.4g}; 1 % {q.p1:.4g}, 50 % {q.p50:.4g}, 95 % {q.p95:.4g}, 99 % {q.p99:.4g}; "
        f"{q.least:.4g} to {q.most:.4g}"
    )


def _bars_table(series: Sequence[BarsSummary]) -> str:
    headers = (
        "bars",
        "from (UTC)",
        "to (UTC)",
        "count",
        "missing",
        "duplicates",
        "no volume",
        "impossible",
        "outliers",
        "largest move, bps",
    )
    rows = [
        (
            b.bar_type,
            *map(_time, b.span_ns),
            b.bars,
            b.missing,
            b.duplicates,
            b.zero_volume,
            b.outside_range,
            b.outliers,
            f"{b.worst[0][1]:+,.1f}, {_time(b.worst[0][0])}" if b.worst else "–",
        )
        for b in series
    ]
    return table(headers, rows)


def _gaps(title: str, gaps: Sequence[Gap]) -> str:
    if not gaps:
        return ""
    rows = [(_time(g.start_ns), f"{g.seconds:,.2f}") for g in gaps]
    return f"<h3>{html.escape(title)}</h3>" + table(("after (UTC)", "seconds"), rows)


def _time(ns: int) -> str:
    return str(np.datetime64(ns // 1_000_000, "ms")).replace("T", " ")
