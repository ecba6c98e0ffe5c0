"""Log return from close to close."""

from __future__ import annotations

import math

from apex_nautilus.features.kernel import bar_close, load_float, store_float
from apex_nautilus.features.registry import FeatureSpec, Kernels, register


def _value(view, state):
    close = bar_close(view)
    previous = load_float(state, 0)
    store_float(state, 0, close)
    if previous <= 0.0:
        return 0.0
    return 1e4 * math.log(close / previous)


register(
    FeatureSpec(
        name="bar_return",
        kind="bar",
        unit="bps",
        low=float("-inf"),
        high=float("inf"),
        inputs=("close",),
        warmup_rows=1,
        formula="1e4 ln(close / previous close)",
        source="log return",
        kernels=Kernels(value=_value, state_size=1),
    )
)
