"""Volume of buyers less that of sellers, by aggressor, over a trailing window."""

from __future__ import annotations

from apex_nautilus.features.kernel import NOW_NS, SIZE_UNITS, TRADE_SIDE, TRADE_SIZE
from apex_nautilus.features.registry import FeatureSpec, Kernels, register
from apex_nautilus.features.window import BUCKET_WORDS, SECOND_NS, SUM, add, advance, bucket_ns


def _on_trade(view, state):
    advance(state, view[NOW_NS])
    add(state, view[TRADE_SIDE] * view[TRADE_SIZE])


def _value(view, state):
    advance(state, view[NOW_NS])
    return state[SUM] / view[SIZE_UNITS]


for _seconds in (1, 10, 60):
    register(
        FeatureSpec(
            name=f"signed_volume_{_seconds}s",
            kind="book",
            unit="base currency",
            low=float("-inf"),
            high=float("inf"),
            inputs=("trades",),
            warmup_ns=_seconds * SECOND_NS,
            formula=f"sum of side x size over the trades of the last {_seconds} s, side by aggressor",
            source="signed volume, Hasbrouck 1991",
            kernels=Kernels(
                value=_value,
                on_trade=_on_trade,
                state_size=BUCKET_WORDS,
                parameters=(bucket_ns(_seconds * SECOND_NS),),
            ),
        )
    )
