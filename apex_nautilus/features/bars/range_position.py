"""Where the close lies in the range of the last 20 bars."""

from __future__ import annotations

from typing import Final

from apex_nautilus.features.kernel import bar_close, bar_high, bar_low, shifted
from apex_nautilus.features.registry import FeatureSpec, Kernels, register
from apex_nautilus.features.ring import is_full, item, push, ring_words

_WINDOW: Final = 20
_LOWS_AT: Final = ring_words(_WINDOW)


def _value(view, state):
    highs = state
    lows = shifted(state, _LOWS_AT)
    push(highs, _WINDOW, bar_high(view))
    push(lows, _WINDOW, bar_low(view))
    if not is_full(highs, _WINDOW):
        return 0.5
    highest = item(highs, _WINDOW, 0)
    lowest = item(lows, _WINDOW, 0)
    for k in range(1, _WINDOW):
        highest = max(highest, item(highs, _WINDOW, k))
        lowest = min(lowest, item(lows, _WINDOW, k))
    if highest <= lowest:
        return 0.5
    return (bar_close(view) - lowest) / (highest - lowest)


register(
    FeatureSpec(
        name="range_position",
        kind="bar",
        unit="ratio",
        low=0.0,
        high=1.0,
        neutral=0.5,
        inputs=("high", "low", "close"),
        warmup_rows=_WINDOW - 1,
        formula=f"(close - lowest low) / (highest high - lowest low), over {_WINDOW} bars with this one",
        source="stochastic %K, Lane 1984",
        kernels=Kernels(value=_value, state_size=2 * ring_words(_WINDOW)),
    )
)
