"""Multi-timeframe alignment: sign and strength of the trend on 1m, 5m, 15m and 1h, combined.

The trend of a timeframe is the efficiency ratio of its last 10 closes' moves, with its sign: net move over
the path walked, +1 for a straight rise, -1 for a straight fall, near 0 for a walk that leads nowhere. The
feature is the mean over the timeframes that the clock can build, so it is near +-1 only when they agree.

A timeframe's bar closes with the clock's bar that ends on its boundary; where that one is missing, with
the last bar seen before, once a later bar shows that the boundary has passed. An open bar is never used.
"""

from __future__ import annotations

from typing import Final

from apex_nautilus.features.kernel import NOW_NS, PERIOD_NS, bar_close, load_float, shifted, store_float
from apex_nautilus.features.registry import FeatureSpec, Kernels, register
from apex_nautilus.features.ring import is_full, item, push, ring_words

_MOVES: Final = 10
_CLOSES: Final = _MOVES + 1
_MINUTE_NS: Final = 60_000_000_000
_TIMEFRAMES: Final = 4

# State of a timeframe: the boundary its open bar ends on (0: none open), the last close seen in it, then a
# ring of closes.
_END_NS: Final = 0
_LAST_CLOSE: Final = 1
_RING_AT: Final = 2
_WORDS: Final = _RING_AT + ring_words(_CLOSES)


def _value(view, state):
    now = view[NOW_NS]
    close = bar_close(view)
    total = 0.0
    used = 0
    for k in range(_TIMEFRAMES):
        width = _MINUTE_NS
        if k == 1:
            width = 5 * _MINUTE_NS
        elif k == 2:
            width = 15 * _MINUTE_NS
        elif k == 3:
            width = 60 * _MINUTE_NS
        if width < view[PERIOD_NS]:
            continue
        used += 1
        frame = shifted(state, k * _WORDS)
        closes = shifted(frame, _RING_AT)
        end = (now + width - 1) // width * width
        if frame[_END_NS] != 0 and frame[_END_NS] < end:
            push(closes, _CLOSES, load_float(frame, _LAST_CLOSE))
        store_float(frame, _LAST_CLOSE, close)
        frame[_END_NS] = end
        if now == end:
            push(closes, _CLOSES, close)
            frame[_END_NS] = 0
        if not is_full(closes, _CLOSES):
            continue
        path = 0.0
        before = item(closes, _CLOSES, 0)
        first = before
        for j in range(1, _CLOSES):
            after = item(closes, _CLOSES, j)
            path += abs(after - before)
            before = after
        if path > 0.0:
            total += min(max((before - first) / path, -1.0), 1.0)
    return total / used


register(
    FeatureSpec(
        name="mtfa",
        kind="bar",
        unit="ratio",
        low=-1.0,
        high=1.0,
        inputs=("close",),
        warmup_ns=(_CLOSES + 1) * 60 * _MINUTE_NS,
        formula=(
            f"mean over 1m, 5m, 15m, 1h (none finer than the clock) of (close - close {_MOVES} bars ago) / "
            "sum of |moves|, closed bars only"
        ),
        source="efficiency ratio, Kaufman 1995",
        kernels=Kernels(value=_value, state_size=_TIMEFRAMES * _WORDS),
    )
)
