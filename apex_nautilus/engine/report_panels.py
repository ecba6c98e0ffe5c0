"""Figures that a report shows below its curves: lines over time, and probabilities held against outcomes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

__all__ = ["Panel", "Reliability", "lines_panel", "reliability", "reliability_panel"]


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
            go.Scatter(x=[0, 1], y=[0, 1], mode="lines", name="as stated", line={"dash": "dot"}),
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
                marker={"size": 9, "color": "#2b5f9e"},
            ),
        ]
    )
    figure.update_xaxes(title_text="stated probability of the take-profit", range=[0, 1])
    figure.update_yaxes(title_text="share that reached it", range=[0, 1])
    figure.update_layout(template="plotly_white", height=420, margin={"l": 70, "r": 20, "t": 20, "b": 50})
    total = int(found.count.sum())
    note = f"{total:,} trades in bins, with Wilson's 95 % interval; on the dotted line as often as stated."
    return Panel("Stated probability and outcome", figure, note)


def lines_panel(
    title: str, lines: Sequence[tuple[str, np.ndarray, np.ndarray]], *, unit: str, note: str = ""
) -> Panel | None:
    """(name, UTC nanoseconds, values) lines as steps over engine time; None where there is none."""
    if not lines:
        return None
    figure = go.Figure()
    for name, ts_ns, values in lines:
        figure.add_trace(
            go.Scatter(
                x=np.asarray(ts_ns, dtype=np.int64).astype("datetime64[ns]"),
                y=values,
                name=name,
                mode="lines+markers",
                marker={"size": 4},
                line={"shape": "hv", "width": 1.5},
            )
        )
    top = max((float(np.nanmax(v)) for _, _, v in lines if len(v)), default=math.nan)
    figure.update_yaxes(title_text=unit, range=[0, 1.08 * top] if math.isfinite(top) and top > 0 else None)
    figure.update_xaxes(title_text="engine time (UTC)")
    figure.update_layout(template="plotly_white", height=340, margin={"l": 70, "r": 20, "t": 20, "b": 50})
    return Panel(title, figure, note)
