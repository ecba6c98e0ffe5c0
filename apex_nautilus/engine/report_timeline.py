"""The picture of a run: equity, weights and what happened, one above the other on one time axis."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

__all__ = ["COLOURS", "DASHES", "Curve", "Happening", "timeline"]

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#444444")
"""Apart for every kind of colour vision (Okabe and Ito 2008), their yellow left out: it is too light for a
line on white."""

DASHES = ("solid", "dash", "dot", "dashdot")
"""The second round of colours is dashed, and so on."""

_ASIDE = "#b8bec8"
_POINTS = 40_000
"""Points drawn in one picture, and at most an eighth of them of one curve: beyond what a screen resolves they
only make the file large."""
_HAPPENINGS = 2_000
_SYMBOLS = {
    "birth": ("star", "#009e73"),
    "death": ("x", "#d00000"),
    "swap": ("diamond", "#0072b2"),
    "replacement": ("circle-open", "#e69f00"),
    "promotion": ("triangle-up", "#cc79a7"),
    "take_profit": ("triangle-up", "#0072b2"),
    "stop": ("triangle-down", "#d55e00"),
    "max_hold": ("line-ns-open", "#444444"),
}


@dataclass(frozen=True, slots=True)
class Curve:
    """One line: an agent's equity, or its weight, over engine time.

    Attributes
    ----------
    name : str
        Shown when the pointer rests on it.
    ts_ns : (n,) int64
        Nanoseconds since the epoch.
    values : (n,) float64
        NaN leaves a gap.
    group : str
        Curves of one group (a slot's generations) share a colour and an entry of the legend; the name where
        it is left out.
    aside : bool
        Drawn grey, and only when its group is asked for in the legend.
    """

    name: str
    ts_ns: np.ndarray
    values: np.ndarray
    group: str = ""
    aside: bool = False


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


def timeline(
    curves: Sequence[Curve],
    weights: Sequence[Curve] = (),
    happenings: Sequence[Happening] = (),
    *,
    unit: str = "USDT",
) -> go.Figure:
    """Draw a run; its parts zoom together.

    Parameters
    ----------
    curves : drawn in the first part, in `unit`.
    weights : drawn below them, in the colours of their groups; the part is left out where there are none.
    happenings : drawn at the bottom, each in its lane. Of a kind with very many, evenly spaced ones.
    unit : of the curves.
    """
    lanes = list(dict.fromkeys(h.lane for h in happenings))
    heights = [360.0]
    if weights:
        heights.append(150.0)
    if lanes:
        heights.append(40.0 + len(lanes) * (30.0 if len(lanes) <= 12 else 18.0))
    figure = make_subplots(
        rows=len(heights),
        cols=1,
        shared_xaxes=True,
        vertical_spacing=44.0 / (sum(heights) + 44.0 * len(heights)) if len(heights) > 1 else 0.0,
        row_heights=heights,
    )
    groups = list(dict.fromkeys(c.group or c.name for c in (*curves, *weights) if not c.aside))
    shown: set[str] = set()
    drawn = max(20, min(_POINTS // 8, _POINTS // max(len(curves) + len(weights), 1)))
    for row, part in ((1, curves), (2, weights)):
        for curve in part:
            group = curve.group or curve.name
            figure.add_trace(_line(curve, groups, drawn, is_first=group not in shown), row=row, col=1)
            shown.add(group)
    by_kind: dict[str, list[Happening]] = {}
    for happening in happenings:
        by_kind.setdefault(happening.kind, []).append(happening)
    shares = _shares({kind: len(chosen) for kind, chosen in by_kind.items()}, _HAPPENINGS)
    for kind, chosen in by_kind.items():
        figure.add_trace(_markers(kind, chosen, shares[kind]), row=len(heights), col=1)
    figure.update_yaxes(title_text=f"equity ({unit})", row=1, col=1)
    if weights:
        figure.update_yaxes(title_text="weight", rangemode="tozero", row=2, col=1)
    if lanes:
        figure.update_yaxes(
            categoryorder="array", categoryarray=lanes[::-1], row=len(heights), col=1,
            range=[-0.7, len(lanes) - 0.3], tickmode="array", tickvals=lanes, ticktext=lanes,
        )  # fmt: skip
    figure.update_xaxes(type="date", showline=True, linecolor="#c9d0da")
    figure.update_xaxes(title_text="engine time (UTC)", row=len(heights), col=1)
    figure.update_yaxes(automargin=True, showline=True, linecolor="#c9d0da")
    legend = {"orientation": "h", "x": 0, "yanchor": "bottom", "font": {"size": 11}, "tracegroupgap": 0}
    drawing = sum(heights) + 44.0 * (len(heights) - 1)
    top = 70 if len(groups) <= 8 else 105
    figure.update_layout(
        template="plotly_white",
        height=drawing + top + 50 + (40 if lanes else 0),
        margin={"l": 55, "r": 15, "t": top, "b": 50},
        legend={**legend, "y": 1.01, "maxheight": 66},
        legend2={**legend, "y": -62.0 / drawing, "yanchor": "top"},
        hovermode="closest",
        dragmode="zoom",
        modebar={"remove": ["select2d", "lasso2d", "autoScale2d"]},
    )
    return figure


def _shares(counts: dict[str, int], most: int) -> dict[str, int]:
    """How many of each kind are drawn when there is room for `most`: all of a rare one, of the others alike
    many."""
    shares: dict[str, int] = {}
    for kind in sorted(counts, key=lambda kind: counts[kind]):
        shares[kind] = min(counts[kind], (most - sum(shares.values())) // (len(counts) - len(shares)))
    return shares


def _line(curve: Curve, groups: list[str], drawn: int, *, is_first: bool) -> go.Scatter:
    ts_ns, values = thinned(curve, drawn)
    group = curve.group or curve.name
    line: dict[str, object] = {"width": 1, "color": _ASIDE, "shape": "hv"}
    if not curve.aside:
        at = groups.index(group)
        line["color"] = COLOURS[at % len(COLOURS)]
        line["dash"] = DASHES[at // len(COLOURS) % len(DASHES)]
        line["width"] = 1.6
    return go.Scatter(
        # Milliseconds, and values in single precision: a picture needs no more, and text is thrice as long.
        x=ts_ns / 1e6,
        y=values.astype(np.float32),
        name=group,
        legendgroup=group,
        showlegend=is_first,
        visible="legendonly" if curve.aside else True,
        mode="lines",
        line=line,
        hovertemplate="%{y:,.4~f}<br>%{x}<extra>" + html.escape(curve.name) + "</extra>",
    )


def _markers(kind: str, chosen: Sequence[Happening], share: int) -> go.Scatter:
    name = kind.replace("_", " ")
    if len(chosen) > share:
        name += f" ({share:,} of {len(chosen):,} shown)"
        chosen = [chosen[i * len(chosen) // share] for i in range(share)]
    symbol, colour = _SYMBOLS.get(kind, ("circle", "#444444"))
    return go.Scatter(
        x=np.array([h.ts_ns for h in chosen], dtype=np.int64) / 1e6,
        y=[h.lane for h in chosen],
        text=[html.escape(h.text) for h in chosen],
        name=name,
        legend="legend2",
        mode="markers",
        # A replacement comes within seconds of a death: a ring around its cross.
        marker={
            "symbol": symbol,
            "color": colour,
            "size": 16 if kind == "replacement" else 9,
            "line": {"width": 2 if symbol.endswith("-open") else 0, "color": colour},
        },
        hovertemplate="%{y} %{x}<br>%{text}<extra>" + html.escape(kind) + "</extra>",
    )


def thinned(curve: Curve, most: int) -> tuple[np.ndarray, np.ndarray]:
    """At most about `most` points that keep the lowest and highest value of every stretch."""
    n = len(curve.values)
    if n <= most:
        return curve.ts_ns, curve.values
    keep = [0, n - 1]
    for stretch in np.array_split(np.arange(n), most // 2):
        values = curve.values[stretch]
        if np.isfinite(values).any():
            keep += [int(stretch[np.nanargmin(values)]), int(stretch[np.nanargmax(values)])]
        else:
            keep.append(int(stretch[0]))
    at = np.unique(keep)
    return curve.ts_ns[at], curve.values[at]
