"""Range of a bar, the gap to the previous close included."""

from __future__ import annotations

from apex_nautilus.features.kernel import bar_close, bar_high, bar_low, load_float, store_float
from apex_nautilus.features.registry import FeatureSpec, Kernels, register


def _value(view, state):
    previous = load_float(state, 0)
    store_float(state, 0, bar_close(view))
    if previous <= 0.0:
        return 0.0
    return 1e4 * (max(bar_high(view), previous) - min(bar_low(view), previous)) / previous


register(
    FeatureSpec(
        name="true_range",
        kind="bar",
        unit="bps",
        low=0.0,
        high=float("inf"),
        inputs=("high", "low", "close"),
        warmup_rows=1,
        formula="1e4 (max(high, previous close) - min(low, previous close)) / previous close",
        source="Wilder 1978",
        kernels=Kernels(value=_value, state_size=1),
    )
)
