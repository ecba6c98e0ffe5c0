"""How unusual the volume of a bar is among the last 20."""

from __future__ import annotations

import math
from typing import Final

from apex_nautilus.features.kernel import bar_volume
from apex_nautilus.features.registry import FeatureSpec, Kernels, register
from apex_nautilus.features.ring import is_full, item, push, ring_words

_WINDOW: Final = 20


def _value(view, state):
    volume = bar_volume(view)
    push(state, _WINDOW, volume)
    if not is_full(state, _WINDOW):
        return 0.0
    total = 0.0
    for k in range(_WINDOW):
        total += item(state, _WINDOW, k)
    mean = total / _WINDOW
    squares = 0.0
    for k in range(_WINDOW):
        deviation = item(state, _WINDOW, k) - mean
        squares += deviation * deviation
    spread = math.sqrt(squares / _WINDOW)
    # Equal volumes leave a spread of rounding errors, whose ratio would be noise.
    if spread <= 1e-12 * abs(mean):
        return 0.0
    bound = math.sqrt(_WINDOW - 1.0)
    return min(max((volume - mean) / spread, -bound), bound)


register(
    FeatureSpec(
        name="volume_zscore",
        kind="bar",
        unit="standard deviations",
        low=-math.sqrt(_WINDOW - 1.0),
        high=math.sqrt(_WINDOW - 1.0),
        inputs=("volume",),
        warmup_rows=_WINDOW - 1,
        formula=f"(volume - mean) / population standard deviation, over {_WINDOW} bars with this one",
        source="z-score; bound by Samuelson 1968",
        kernels=Kernels(value=_value, state_size=ring_words(_WINDOW)),
    )
)
