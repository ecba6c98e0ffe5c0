"""Figures that a report shows below its curves: probabilities held against outcomes, and delays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from apex_nautilus.engine.delays import DelayReport, bin_start_ns
from apex_nautilus.engine.report_timeline import COLOURS, DASHES

__all__ = ["Panel", "Reliability", "delays_panel", "reliability", "reliability_panel"]


_EIGHTHS = 4
"""Bins of a run's delays that are drawn as one: with few messages finer ones show noise."""


@dataclass(frozen=True, slots=True)
class Panel:
    """A figure with its heading and one sentence on how to read it."""

    title: str
    figure: go.Figure
    note: str = ""


@dataclass(frozen=True, slots=True)
class Reliability:
    """Stated probabilities in bins of nearly equal numbers of trades, and how often each bin came true.

    Attributes
    ----------
    stated : (m,) float64
        Mean probability of the bin.
    observed : (m,) float64
        Share of its trades that won.
    low, high : (m,) float64
        Wilson's 95 % interval of that share.
    count : (m,) int64
        Trades of the bin.
    """

    stated: np.ndarray
    observed: np.ndarray
    low: np.ndarray
    high: np.ndarray
    count: np.ndarray


def reliability(p: Sequence[float], won: Sequence[bool], *, bins: int = 10, z: float = 1.96) -> Reliability:
    """Hold stated probabilities against what came of them.

    Equal probabilities are never split between bins. The interval is Wilson's (1927): it stays inside [0, 1]
    and has a width where all or none of a bin's trades won.

    Parameters
    ----------
    p : (n,) float
        Stated probabilities; trades where it is NaN are left out.
    won : (n,) bool
        Whether the stated event happened.
    bins : int
        Largest number of bins.
    z : float
        Normal quantile of the interval.

    Raises
    ------
    ValueError
        When the lengths differ, `bins` is below 1 or a probability is outside [0, 1].
    """
    stated, outcome = np.asarray(p, dtype=np.float64), np.asarray(won, dtype=np.float64)
    if stated.shape != outcome.shape or stated.ndim != 1:
        raise ValueError(f"reliability: p and won must be of one length, got {stated.shape}, {outcome.shape}")
    if bins < 1:
        raise ValueError(f"reliability: bins must be at least 1, got {bins!r}")
    known = ~np.isnan(stated)
    stated, outcome = stated[known], outcome[known]
    if ((stated < 0.0) | (stated > 1.0)).any():
        raise ValueError("reliability: a probability is outside [0, 1]")
    if not stated.size:
        empty = np.empty(0)
        return Reliability(empty, empty, empty, empty, np.empty(0, dtype=np.int64))
    edges = np.unique(np.quantile(stated, np.linspace(0.0, 1.0, bins + 1)[1:-1], method="lower"))
    place = np.searchsorted(edges, stated, side="left")
    _, place, count = np.unique(place, return_inverse=True, return_counts=True)
    mean = np.bincount(place, weights=stated) / count
    share = np.bincount(place, weights=outcome) / count
    scale = 1.0 + z * z / count
    middle = (share + z * z / (2 * count)) / scale
    half = z / scale * np.sqrt(share * (1.0 - share) / count + z * z / (4.0 * count * count))
    return Reliability(mean, share, np.maximum(middle - half, 0.0), np.minimum(middle + half, 1.0), count)


def reliability_panel(p: Sequence[float], won: Sequence[bool]) -> Panel | None:
    """The plot of `reliability`; None where no trade stated a probability."""
    found = reliability(p, won)
    if not found.count.size:
        return None
    figure = go.Figure(
        [
            go.Scatter(
                x=[0, 1], y=[0, 1], mode="lines", name="as stated", line={"dash": "dot", "color": "#444444"}
            ),
            go.Scatter(
                x=found.stated,
                y=found.observed,
                mode="markers",
                name="trades",
                text=[f"{n:,} trades" for n in found.count],
                error_y={
                    "type": "data",
                    "symmetric": False,
                    "array": found.high - found.observed,
                    "arrayminus": found.observed - found.low,
                },
                marker={"size": 9, "color": COLOURS[0]},
                hovertemplate="stated %{x:.3f}, came true %{y:.3f}<br>%{text}<extra></extra>",
            ),
        ]
    )
    figure.update_xaxes(title_text="stated probability of the take-profit", range=[0, 1])
    figure.update_yaxes(title_text="share that reached it", range=[-0.03, 1.03])
    figure.update_layout(
        template="plotly_white",
        height=420,
        margin={"l": 55, "r": 15, "t": 50, "b": 50},
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
    )
    total = int(found.count.sum())
    stated = float(np.average(found.stated, weights=found.count))
    came = float(np.average(found.observed, weights=found.count))
    note = (
        f"{total:,} trades in bins, with Wilson's 95 % interval; on the dotted line as often as stated. In "
        f"all {stated:.1%} was stated and {came:.1%} reached the take-profit."
    )
    return Panel("Stated probability and outcome", figure, note)


def delays_panel(delays: Sequence[DelayReport]) -> Panel | None:
    """How long messages were on their way, a line a class; None where nothing travelled."""
    arrived = [d for d in delays if d.arrived]
    if not arrived:
        return None
    figure = go.Figure()
    for number, report in enumerate(arrived):
        places = np.array(report.bins) // _EIGHTHS
        counts = np.bincount(places - places[0], weights=report.counts, minlength=places[-1] - places[0] + 2)
        starts = np.array([bin_start_ns(_EIGHTHS * (places[0] + i)) for i in range(len(counts))]) / 1e6
        colour = COLOURS[number % len(COLOURS)]
        median, slow = (report.quantile_ns(q) / 1e6 for q in (0.5, 0.99))
        figure.add_trace(
            go.Scatter(
                x=starts,
                y=100.0 * counts / report.arrived,
                name=f"{report.name}: median {median:.3g} ms, p99 {slow:.3g} ms",
                mode="lines",
                line={"shape": "hv", "width": 1.6, "color": colour, "dash": DASHES[number % len(DASHES)]},
                hovertemplate="%{x:.3~g} ms: %{y:.2f} %<extra>" + report.name + "</extra>",
            )
        )
    figure.update_xaxes(type="log", title_text="delay (ms)", dtick=1, showline=True, linecolor="#c9d0da")
    figure.update_yaxes(title_text="% of the messages", rangemode="tozero", automargin=True)
    figure.update_layout(
        template="plotly_white",
        height=360,
        margin={"l": 55, "r": 15, "t": 60, "b": 50},
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
    )
    note = "From sending to arrival, the wait behind earlier messages included; a bin is half an octave."
    return Panel("Delays of the network", figure, note)
