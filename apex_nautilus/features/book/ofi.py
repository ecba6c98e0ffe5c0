"""Order-flow imbalance between rows, at the touch and over five and ten levels."""

from __future__ import annotations

from apex_nautilus.features.kernel import ask_price, ask_size, bid_price, bid_size
from apex_nautilus.features.registry import FeatureSpec, Kernels, register

# State: the number of levels; whether there is a previous book; updates, flow and sizes accumulated since
# the last row; then the previous book as (bid price, bid size, ask price, ask size) a level.
_LEVELS, _HAS_PREVIOUS, _UPDATES, _FLOW, _SIZES, _PREVIOUS_AT = range(6)


def _on_book(view, state):
    levels = state[_LEVELS]
    flow = 0
    sizes = 0
    for level in range(levels):
        bid = bid_price(view, level)
        bid_now = bid_size(view, level)
        ask = ask_price(view, level)
        ask_now = ask_size(view, level)
        at = _PREVIOUS_AT + 4 * level
        bid_before = state[at + 1]
        ask_before = state[at + 3]
        # Cont, Kukanov & Stoikov 2014, the e_n of section 2.1.
        if bid >= state[at]:
            flow += bid_now
        if bid <= state[at]:
            flow -= bid_before
        if ask <= state[at + 2]:
            flow -= ask_now
        if ask >= state[at + 2]:
            flow += ask_before
        sizes += bid_now + bid_before + ask_now + ask_before
        state[at] = bid
        state[at + 1] = bid_now
        state[at + 2] = ask
        state[at + 3] = ask_now
    if state[_HAS_PREVIOUS]:
        state[_UPDATES] += 1
        state[_FLOW] += flow
        state[_SIZES] += sizes
    state[_HAS_PREVIOUS] = 1


def _value(view, state):
    sizes = state[_SIZES]
    queues = 4.0 * state[_LEVELS] * state[_UPDATES]
    flow = state[_FLOW]
    state[_UPDATES] = 0
    state[_FLOW] = 0
    state[_SIZES] = 0
    if sizes == 0:
        return 0.0
    return flow * queues / sizes


for _levels in (1, 5, 10):
    register(
        FeatureSpec(
            name=f"ofi_{_levels}",
            kind="book",
            unit="mean queues",
            low=float("-inf"),
            high=float("inf"),
            inputs=("touch",) if _levels == 1 else ("levels",),
            warmup_rows=1,
            formula=(
                "sum of e_n since the last row"
                + ("" if _levels == 1 else f", over {_levels} levels")
                + ", in multiples of the mean queue size of the same updates; "
                "e = b' [B' >= B] - b [B' <= B] - a' [A' <= A] + a [A' >= A]"
            ),
            source=(
                "Cont, Kukanov & Stoikov 2014"
                if _levels == 1
                else "Cont, Kukanov & Stoikov 2014; levels as in Xu, Gould & Howison 2018"
            ),
            kernels=Kernels(
                value=_value, on_book=_on_book, state_size=_PREVIOUS_AT + 4 * _levels, parameters=(_levels,)
            ),
        )
    )
