"""Realised volatility of the mid over a trailing window.

The mid is sampled at the end of each of the window's 64 buckets (previous tick), not at every update:
sampling more finely than the spread's bounce adds noise and no information (Andersen, Bollerslev,
Diebold & Labys 2003). The current bucket counts with its return so far, so that the value answers at once.
"""

from __future__ import annotations

import math

from apex_nautilus.features.kernel import NOW_NS, log_mid
from apex_nautilus.features.registry import FeatureSpec, Kernels, register
from apex_nautilus.features.window import BUCKET_WORDS, SECOND_NS, SUM, add, advance, bucket_ns

# State: a window of squared returns, then the log mid at the end of the bucket before the current one and
# the latest log mid, both in units of 1e-9, and whether there is one. A bucket's return is clipped at
# +-0.2 so that 64 squares fit into an int64.
_ANCHOR = BUCKET_WORDS
_LATEST = BUCKET_WORDS + 1
_HAS_MID = BUCKET_WORDS + 2
_CLIP = 200_000_000


def _on_book(view, state):
    now = view[NOW_NS]
    latest = state[_LATEST]
    move = min(max(latest - state[_ANCHOR], -_CLIP), _CLIP)
    # The bucket that ends gets its return before the window moves on.
    if now >= state[1] and state[_HAS_MID]:
        add(state, move * move)
        state[_ANCHOR] = latest
    advance(state, now)
    state[_LATEST] = log_mid(view)
    if state[_HAS_MID] == 0:
        state[_HAS_MID] = 1
        state[_ANCHOR] = state[_LATEST]


def _value(view, state):
    if state[_HAS_MID] == 0:
        return 0.0
    now = view[NOW_NS]
    latest = state[_LATEST]
    move = min(max(latest - state[_ANCHOR], -_CLIP), _CLIP)
    if now >= state[1]:
        add(state, move * move)
        state[_ANCHOR] = latest
        advance(state, now)
        move = 0
    return math.sqrt(float(state[SUM] + move * move)) / 1e5


for _seconds in (1, 10, 60):
    register(
        FeatureSpec(
            name=f"realised_volatility_{_seconds}s",
            kind="book",
            unit="bps",
            low=0.0,
            high=16_000.0,
            inputs=("touch",),
            warmup_ns=_seconds * SECOND_NS,
            formula=(
                f"1e4 sqrt(sum of squared log returns of the mid over the last {_seconds} s, sampled every "
                f"{_seconds}/64 s)"
            ),
            source="Andersen, Bollerslev, Diebold & Labys 2003",
            kernels=Kernels(
                value=_value,
                on_book=_on_book,
                state_size=BUCKET_WORDS + 3,
                parameters=(bucket_ns(_seconds * SECOND_NS),),
            ),
        )
    )
