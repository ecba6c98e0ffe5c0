"""Signed volume as a share of all volume over a trailing window."""

from __future__ import annotations

from apex_nautilus.features.kernel import NOW_NS, TRADE_SIDE, TRADE_SIZE, shifted
from apex_nautilus.features.registry import FeatureSpec, Kernels, register
from apex_nautilus.features.window import BUCKET_WORDS, SECOND_NS, SUM, add, advance, bucket_ns

# State: one window of bought size, then one of sold size. The parameter of the second is copied from the
# first at the first call, as parameters are written at the start of a state only.


def _on_trade(view, state):
    bought = state
    sold = shifted(state, BUCKET_WORDS)
    sold[0] = bought[0]
    if view[TRADE_SIDE] > 0:
        advance(bought, view[NOW_NS])
        add(bought, view[TRADE_SIZE])
    elif view[TRADE_SIDE] < 0:
        advance(sold, view[NOW_NS])
        add(sold, view[TRADE_SIZE])


def _value(view, state):
    bought = state
    sold = shifted(state, BUCKET_WORDS)
    sold[0] = bought[0]
    advance(bought, view[NOW_NS])
    advance(sold, view[NOW_NS])
    total = bought[SUM] + sold[SUM]
    if total == 0:
        return 0.0
    return (bought[SUM] - sold[SUM]) / total


for _seconds in (1, 10, 60):
    register(
        FeatureSpec(
            name=f"trade_imbalance_{_seconds}s",
            kind="book",
            unit="ratio",
            low=-1.0,
            high=1.0,
            inputs=("trades",),
            warmup_ns=_seconds * SECOND_NS,
            formula=f"(bought - sold) / (bought + sold), sizes by aggressor over the last {_seconds} s",
            source="trade imbalance, Chordia, Roll & Subrahmanyam 2002",
            kernels=Kernels(
                value=_value,
                on_trade=_on_trade,
                state_size=2 * BUCKET_WORDS,
                parameters=(bucket_ns(_seconds * SECOND_NS),),
            ),
        )
    )
