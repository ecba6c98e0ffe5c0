"""Buyers against sellers over a trailing window: shares of the volume, and of the number of trades."""

from __future__ import annotations

from numba import njit

from apex_nautilus.features.kernel import NOW_NS, TRADE_SIDE, TRADE_SIZE, shifted
from apex_nautilus.features.registry import FeatureSpec, Kernels, register
from apex_nautilus.features.window import BUCKET_WORDS, SECOND_NS, SUM, add, advance, bucket_ns

# State: one window of bought terms, then one of sold terms. The parameter of the second is copied from the
# first at the first call, as parameters are written at the start of a state only.


@njit(cache=True)
def _add(view, state, term):
    bought = state
    sold = shifted(state, BUCKET_WORDS)
    sold[0] = bought[0]
    if view[TRADE_SIDE] > 0:
        advance(bought, view[NOW_NS])
        add(bought, term)
    elif view[TRADE_SIDE] < 0:
        advance(sold, view[NOW_NS])
        add(sold, term)


def _on_trade_size(view, state):
    _add(view, state, view[TRADE_SIZE])


def _on_trade_sign(view, state):
    _add(view, state, 1)


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


for _family, _on_trade, _what, _source in (
    ("trade_imbalance", _on_trade_size, "sizes", ""),
    ("trade_sign_imbalance", _on_trade_sign, "numbers of trades", " (their OIBNUM, as a share)"),
):
    for _seconds in (1, 10, 60):
        register(
            FeatureSpec(
                name=f"{_family}_{_seconds}s",
                kind="book",
                unit="ratio",
                low=-1.0,
                high=1.0,
                inputs=("trades",),
                warmup_ns=_seconds * SECOND_NS,
                formula=f"(bought - sold) / (bought + sold), {_what} by aggressor over the last {_seconds} s",
                source=f"trade imbalance, Chordia, Roll & Subrahmanyam 2002{_source}",
                kernels=Kernels(
                    value=_value,
                    on_trade=_on_trade,
                    state_size=2 * BUCKET_WORDS,
                    parameters=(bucket_ns(_seconds * SECOND_NS),),
                ),
            )
        )
