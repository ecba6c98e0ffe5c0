"""Facts, and the comparison of markets, as pages that stand by themselves."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import numpy as np

from apex_nautilus import _page as page
from apex_nautilus.cli._facts import FactTable, distance, verdict_text
from apex_nautilus.sim.facts import facts
from apex_nautilus.sim.observation import Observation
from apex_nautilus.sim.realism import FactRealism

__all__ = ["write_page", "write_realism_page"]

_QUANTILES = np.linspace(0.01, 0.99, 99)
_COLOURS = ("#222222", "#cc3311", "#3366aa", "#229977", "#aa7711", "#775599", "#888888")
_STYLE = (
    "table { font-size: .85rem } td, th { text-align: right } "
    "td:nth-child(-n+2), th:nth-child(-n+2) { text-align: left } "
    ".fails { color: #cc3311 } .passes { color: #227744 }"
)


def write_page(path: str | os.PathLike[str], table: FactTable, observed: Sequence[Observation]) -> None:
    """Write the facts of several markets: the table, and a picture a fact."""
    page.write_page(
        path,
        title="Stylised facts",
        subtitle="Errors are standard errors of the stationary bootstrap.",
        body=page.table(table.headers(), table.rows())
        + _pictures(dict(zip(_distinct(table.names), observed, strict=True))),
        style=_STYLE,
    )


def write_realism_page(
    path: str | os.PathLike[str],
    name: str,
    real: Observation,
    window_s: float,
    candidates: Mapping[str, Observation],
    lines: Sequence[FactRealism],
) -> None:
    """Write the comparison: verdicts, and a picture a fact with the recording in black."""
    heads = ["fact", "what it is", "W1, 95 % of real", "L1, 95 % of real"]
    for candidate in candidates:
        heads += [f"{candidate}: W1", "L1", ""]
    rows = []
    for line in lines:
        cells = [line.fact.name, line.fact.doc, distance(line.wasserstein_limit), distance(line.l1_limit)]
        for verdict in line.verdicts.values():
            cells += [distance(verdict.wasserstein), distance(verdict.l1), verdict_text(verdict)]
        rows.append(cells)
    page.write_page(
        path,
        title=f"{name} and simulated markets",
        subtitle=f"{real.seconds / 60:.1f} minutes in windows of {window_s:g} s. W1 and L1: mean distance of "
        "a market's windows from the recording's. A fact passes when W1 lies within 95 % of the recording's "
        "own distances.",
        body=page.table(heads, rows, marks=("fails", "passes")) + _pictures({name: real, **candidates}),
        style=_STYLE,
    )


def _distinct(names: Sequence[str]) -> list[str]:
    """Names, numbered where they repeat."""
    return [f"{n} ({names[:i].count(n) + 1})" if names.count(n) > 1 else n for i, n in enumerate(names)]


def _pictures(markets: Mapping[str, Observation]) -> str:
    """One panel a fact: quantiles of distributions, points of curves."""
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    every = list(facts().values())
    columns = 3
    count = -(-len(every) // columns)
    figure = make_subplots(
        rows=count,
        cols=columns,
        subplot_titles=[f"{f.name} ({f.unit})" if f.unit else f.name for f in every],
        vertical_spacing=0.35 / count,
    )
    for place, fact in enumerate(every):
        row, col = place // columns + 1, place % columns + 1
        for at, (name, observation) in enumerate(markets.items()):
            rows = fact.rows(observation)
            if fact.shape == "distribution":
                known = np.minimum(rows[~np.isnan(rows[:, 0]), 0], fact.cap)
                x = np.quantile(known, _QUANTILES) if len(known) else np.zeros(0)
                y, mode = _QUANTILES, "lines"
            else:
                x, y, mode = np.array(fact.points), fact.statistic(rows), "lines+markers"
            figure.add_trace(
                go.Scatter(
                    # Lists, not arrays: plotly packs those in base64, whose bytes nobody can read.
                    x=x.tolist(),
                    y=[None if np.isnan(v) else float(v) for v in y],
                    mode=mode,
                    name=name,
                    legendgroup=name,
                    showlegend=place == 0,
                    line={"color": _COLOURS[at % len(_COLOURS)], "width": 1.5},
                ),
                row=row,
                col=col,
            )
        if fact.shape == "distribution":
            figure.update_xaxes(type="log" if fact.scale == "log" else "linear", row=row, col=col)
            figure.update_yaxes(title_text="share below", row=row, col=col)
        elif fact.scale == "log":
            figure.update_yaxes(type="log", row=row, col=col)
    figure.update_layout(
        template="plotly_white",
        height=290 * count,
        width=1150,
        font={"size": 11},
        legend={"orientation": "h", "y": 1.03, "yanchor": "bottom"},
        margin={"t": 90},
    )
    return page.Charts().add(figure)
