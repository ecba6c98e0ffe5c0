"""Standard deviation of the log returns of the last 20 bars."""

from __future__ import annotations

import math
from typing import Final

from apex_nautilus.features.kernel import bar_close, load_float, shifted, store_float
from apex_nautilus.features.registry import FeatureSpec, Kernels, register
from apex_nautilus.features.ring import is_full, item, push, ring_words

_WINDOW: Final = 20


def _value(view, state):
    # State: previous close, then a ring of returns.
    close = bar_close(view)
    previous = load_float(state, 0)
    store_float(state, 0, close)
    returns = shifted(state, 1)
    if previous > 0.0:
        push(returns, _WINDOW, math.log(close / previous))
    if not is_full(returns, _WINDOW):
        return 0.0
    total = 0.0
    for k in range(_WINDOW):
        total += item(returns, _WINDOW, k)
    mean = total / _WINDOW
    squares = 0.0
    for k in range(_WINDOW):
        deviation = item(returns, _WINDOW, k) - mean
        squares += deviation * deviation
    return 1e4 * math.sqrt(squares / _WINDOW)


register(
    FeatureSpec(
        name="bar_volatility",
        kind="bar",
        unit="bps",
        low=0.0,
        high=float("inf"),
        inputs=("close",),
        warmup_rows=_WINDOW,
        formula=f"1e4 population standard deviation of the last {_WINDOW} log returns",
        source="close-to-close volatility",
        kernels=Kernels(value=_value, state_size=1 + ring_words(_WINDOW)),
    )
)
