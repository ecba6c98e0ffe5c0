"""How fast the queue at the touch is being used up, by trades and by cancellations.

Taken off is what a whole book shows less of than the one before it: the drop in size while the best price
stays, all of the old size when the best price falls back. A queue that is bettered is not used up. What is
added again between two updates cannot be seen, so the rate is a lower bound.
"""

from __future__ import annotations

from apex_nautilus.features.kernel import (
    NOW_NS,
    ask_price,
    ask_size,
    bid_price,
    bid_size,
    shifted,
)
from apex_nautilus.features.registry import FeatureSpec, Kernels, register
from apex_nautilus.features.window import BUCKET_WORDS, SECOND_NS, SUM, add, advance, bucket_ns

# State: the side (+1 bid, -1 ask), the window's length in seconds, whether there is a previous book, its best
# price as side x price (higher is better on both sides) and size, then a window of sizes taken off.
_SIDE, _SECONDS, _HAS_PREVIOUS, _PRICE, _SIZE, _WINDOW_AT = range(6)


def _on_book(view, state):
    if state[_SIDE] > 0:
        price = bid_price(view, 0)
        size = bid_size(view, 0)
    else:
        price = -ask_price(view, 0)
        size = ask_size(view, 0)
    taken = 0
    if state[_HAS_PREVIOUS]:
        if price < state[_PRICE]:
            taken = state[_SIZE]
        elif price == state[_PRICE] and size < state[_SIZE]:
            taken = state[_SIZE] - size
    state[_HAS_PREVIOUS] = 1
    state[_PRICE] = price
    state[_SIZE] = size
    if taken > 0:
        window = shifted(state, _WINDOW_AT)
        advance(window, view[NOW_NS])
        add(window, taken)


def _value(view, state):
    window = shifted(state, _WINDOW_AT)
    advance(window, view[NOW_NS])
    if state[_SIZE] <= 0:
        return 0.0
    return window[SUM] / (state[_SIZE] * state[_SECONDS])


for _side, _sign in (("bid", 1), ("ask", -1)):
    for _seconds in (1, 10, 60):
        register(
            FeatureSpec(
                name=f"queue_depletion_{_side}_{_seconds}s",
                kind="book",
                unit="1/s",
                low=0.0,
                high=float("inf"),
                inputs=("touch",),
                warmup_ns=_seconds * SECOND_NS,
                formula=(
                    f"size taken off the best {_side} queue in the last {_seconds} s, a second, over its "
                    "size now; taken off: b - b' while B' = B, b when B' is worse"
                ),
                source="departures of the queue at the touch, Cont & de Larrard 2013",
                kernels=Kernels(
                    value=_value,
                    on_book=_on_book,
                    state_size=_WINDOW_AT + BUCKET_WORDS,
                    parameters=(_sign, _seconds, 0, 0, 0, bucket_ns(_seconds * SECOND_NS)),
                ),
            )
        )
