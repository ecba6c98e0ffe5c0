"""The model without intelligence beside theory: a table, a picture, a page."""

from __future__ import annotations

import html
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from apex_nautilus import _page as page
from apex_nautilus.sim.theory import FlowRates, MeanField, mean_field
from apex_nautilus.sim.zero_intelligence import FAR, ModelMeasurement

__all__ = ["Point", "svg", "write_page"]

_MEASURED, _THEORY = "#cc3311", "#3366aa"


@dataclass(frozen=True, slots=True)
class Point:
    """One granularity: theory, rates and what was measured."""

    HEADERS: ClassVar[tuple[str, ...]] = (
        "granularity",
        "spread / p_c",
        "mean field",
        "ratio",
        "orders within p_c",
        "mean field",
        "far depth x delta / alpha",
        "mean field",
    )
    theory: MeanField
    rates: FlowRates
    measured: ModelMeasurement

    def orders_within(self) -> tuple[float, float]:
        """Measured and predicted number of orders of a side up to p_c behind the best."""
        m = self.measured
        return float(np.interp(1.0, m.distance, m.orders_within)), float(
            self.theory.orders_within(np.array([1.0]))[0]
        )

    def cells(self) -> list[str]:
        """Texts under `HEADERS`."""
        m, within = self.measured, self.orders_within()
        return [
            f"{self.theory.granularity:g}",
            f"{m.spread:.3f} ± {m.spread_error:.3f}",
            f"{self.theory.spread:.3f}",
            f"{m.spread / self.theory.spread:.3f}",
            f"{within[0]:.1f}",
            f"{within[1]:.1f}",
            f"{m.far_depth:.3f} ± {m.far_depth_error:.3f}",
            f"{self.far_depth():.3f}",
        ]

    def far_depth(self) -> float:
        """Predicted depth where `ModelMeasurement.far_depth` is measured, in the same unit."""
        low, high = self.theory.orders_within(np.array(FAR))
        return float((high - low) / (FAR[1] - FAR[0]) * self.theory.granularity)

    def record(self) -> dict[str, float]:
        """The same for machines."""
        m, within = self.measured, self.orders_within()
        return {
            "granularity": self.theory.granularity,
            "tick_ratio": self.rates.tick_ratio,
            "spread": m.spread,
            "spread_error": m.spread_error,
            "spread_mean_field": self.theory.spread,
            "orders_within_pc": within[0],
            "orders_within_pc_mean_field": within[1],
            "far_depth": m.far_depth,
            "far_depth_error": m.far_depth_error,
            "far_depth_mean_field": self.far_depth(),
            "resting": m.resting,
            "one_sided_share": m.one_sided_share,
        }


def _ticks(low: float, high: float) -> list[float]:
    """Powers of ten within bounds; 1, 2 and 5 times them where those would be fewer than three."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks: list[float] = []
    for factors in ((1.0,), (1.0, 2.0, 5.0)):
        every = [f * 10.0**power for power in powers for f in factors]
        ticks = [tick for tick in every if low <= tick <= high]
        if len(ticks) >= 3:
            break
    return ticks


class _Panel:
    """A frame with logarithmic axes."""

    def __init__(self, left: float, title: str, x: tuple[float, float], y: tuple[float, float]) -> None:
        self._left, self._top, self._width, self._height = left, 40.0, 330.0, 250.0
        self._x, self._y = [math.log10(v) for v in x], [math.log10(v) for v in y]
        right, bottom = left + self._width, self._top + self._height
        self.parts = [
            f'<text x="{left:.0f}" y="24" font-weight="600">{html.escape(title)}</text>',
            f'<rect x="{left:.0f}" y="{self._top:.0f}" width="{self._width:.0f}" height="{self._height:.0f}" '
            'fill="none" stroke="#999"/>',
        ]
        for value in _ticks(*x):
            at = self.x(value)
            self._rule(at, self._top, at, bottom)
            self.parts.append(
                f'<text x="{at:.1f}" y="{bottom + 16:.0f}" text-anchor="middle">{value:g}</text>'
            )
        for value in _ticks(*y):
            at = self.y(value)
            self._rule(left, at, right, at)
            self.parts.append(f'<text x="{left - 6:.0f}" y="{at + 4:.1f}" text-anchor="end">{value:g}</text>')

    def _rule(self, x1: float, y1: float, x2: float, y2: float) -> None:
        place = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
        self.parts.append(f'<line {place} stroke="#eee"/>')

    def x(self, value: float) -> float:
        return self._left + self._width * (math.log10(value) - self._x[0]) / (self._x[1] - self._x[0])

    def y(self, value: float) -> float:
        return self._top + self._height * (1.0 - (math.log10(value) - self._y[0]) / (self._y[1] - self._y[0]))

    def line(self, xs: Sequence[float], ys: Sequence[float]) -> None:
        points = " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in zip(xs, ys, strict=True))
        self.parts.append(f'<polyline points="{points}" fill="none" stroke="{_THEORY}" stroke-width="1.5"/>')

    def dots(self, xs: Sequence[float], ys: Sequence[float]) -> None:
        self.parts += [
            f'<circle cx="{self.x(x):.1f}" cy="{self.y(y):.1f}" r="3" fill="{_MEASURED}"/>'
            for x, y in zip(xs, ys, strict=True)
        ]

    def label(self, x: float, y: float, text: str, anchor: str = "start") -> None:
        self.parts.append(
            f'<text x="{self.x(x):.1f}" y="{self.y(y):.1f}" text-anchor="{anchor}">{html.escape(text)}</text>'
        )


def svg(points: Sequence[Point]) -> str:
    """Spread over granularity, and orders behind the best over distance; lines are theory, dots measured."""
    epsilons = [p.theory.granularity for p in points]
    low, high = min(epsilons) / 1.5, max(epsilons) * 1.5
    curve = np.geomspace(max(low, 1e-3), min(high, 100.0), 40)
    predicted = [mean_field(float(e)).spread for e in curve]
    spreads = [p.measured.spread for p in points]
    spread = _Panel(
        60.0, "spread / p_c over granularity", (low, high), (min(predicted) / 1.5, max(spreads) * 1.5)
    )
    spread.line([float(e) for e in curve], predicted)
    spread.dots(epsilons, spreads)

    chosen = [points[i] for i in sorted({0, len(points) // 2, len(points) - 1})]
    distances = np.geomspace(0.1, 8.0, 40)
    most = max(float(p.measured.orders_within.max()) for p in chosen)
    depth = _Panel(
        470.0, "orders of a side within a distance (p_c) of the best", (0.1, 8.0), (0.9, most * 1.5)
    )
    for point in chosen:
        orders: Callable[[np.ndarray], np.ndarray] = point.theory.orders_within
        depth.line(distances.tolist(), orders(distances).tolist())
        m = point.measured
        some = distances[::3]
        depth.dots(some.tolist(), np.interp(some, m.distance, m.orders_within).tolist())
        depth.label(7.6, float(orders(np.array([7.6]))[0]) * 1.25, f"{point.theory.granularity:g}", "end")
    legend = (
        f'<text x="60" y="335"><tspan fill="{_MEASURED}">&#9679;</tspan> simulated  '
        f'<tspan fill="{_THEORY}">&#9472;</tspan> mean field</text>'
    )
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 830 345" font-family="system-ui,sans-serif" '
        'font-size="12" fill="#222"><rect width="830" height="345" fill="#fff"/>'
        + "".join(spread.parts + depth.parts)
        + legend
        + "</svg>\n"
    )


def write_page(path: str | os.PathLike[str], points: Sequence[Point]) -> None:
    """Write table and picture as one page that needs no network."""
    page.write_page(
        path,
        title="A market without intelligence",
        subtitle="Limit orders fall uniformly on prices at rate alpha, market orders come at rate mu, "
        "resting orders die at rate delta; p_c = mu / 2 alpha, granularity = 2 delta sigma / mu. Theory is "
        "the mean field of Smith, Farmer, Gillemot & Krishnamurthy (2003).",
        body=svg(points) + page.table(Point.HEADERS, [point.cells() for point in points]),
        style="td, th { text-align: right }",
    )
