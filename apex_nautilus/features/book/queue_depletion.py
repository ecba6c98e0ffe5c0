"""How fast the queue at the touch is being used up, by trades and by cancellations.

Taken off is what a whole book shows less of than the one before it: the drop in size while the best price
stays, all of the old size when the best price falls back. A queue that is bettered is not used up. What is
added again between two updates cannot be seen, so the rate is a lower bound.
"""

from __future__ import annotations

from numba import njit

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
# price as side x price (higher is better on both sides) and size; then three windows: sizes taken off, sizes
# shown, and books. The bucket of the second and third is copied from the first, as parameters are written at
# the start of a state only.
_SIDE, _SECONDS, _HAS_PREVIOUS, _PRICE, _SIZE, _WINDOWS_AT = range(6)
_WINDOWS = 3


@njit(cache=True)
def _advance(view, state):
    bucket = state[_WINDOWS_AT]
    for k in range(_WINDOWS):
        window = shifted(state, _WINDOWS_AT + k * BUCKET_WORDS)
        window[0] = bucket
        advance(window, view[NOW_NS])


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
    _advance(view, state)
    add(shifted(state, _WINDOWS_AT), taken)
    add(shifted(state, _WINDOWS_AT + BUCKET_WORDS), size)
    add(shifted(state, _WINDOWS_AT + 2 * BUCKET_WORDS), 1)


def _value(view, state):
    _advance(view, state)
    taken = shifted(state, _WINDOWS_AT)[SUM]
    shown = shifted(state, _WINDOWS_AT + BUCKET_WORDS)[SUM]
    books = shifted(state, _WINDOWS_AT + 2 * BUCKET_WORDS)[SUM]
    if shown <= 0:
        return 0.0
    return float(taken) * books / shown / state[_SECONDS]


for _side, _sign in (("bid", 1), ("ask", -1)):
    for _seconds in (1, 10, 60):
        register(
            FeatureSpec(
                name=f"queue_depletion_{_side}_{_seconds}s",
                kind="book",
                unit="mean queues/s",
                low=0.0,
                high=float("inf"),
                inputs=("touch",),
                warmup_ns=_seconds * SECOND_NS,
                formula=(
                    f"size taken off the best {_side} queue in the last {_seconds} s, a second, in multiples "
                    "of its mean size over the books of that time; taken off: b - b' while B' = B, b when B' "
                    "is worse"
                ),
                source="departures of the queue at the touch, Cont & de Larrard 2013",
                kernels=Kernels(
                    value=_value,
                    on_book=_on_book,
                    state_size=_WINDOWS_AT + _WINDOWS * BUCKET_WORDS,
                    parameters=(_sign, _seconds, 0, 0, 0, bucket_ns(_seconds * SECOND_NS)),
                ),
            )
        )
