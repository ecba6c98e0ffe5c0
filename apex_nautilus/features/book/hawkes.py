"""How thickly events come: intensities of a Hawkes process with exponential kernels.

Each event adds 1/tau to the intensity, which decays by exp(-t/tau): the self-exciting part of a Hawkes
process, with as much weight as gives the true rate of events that come steadily. Nothing is fitted. Events
are the prints of buyers, those of sellers, and whole books; tau is 0.1 s and 1 s.

An exponential never forgets quite, and a float that carries all of history would differ by where the data
began. So time is cut into blocks of 4 tau aligned to the epoch, each block is summed from zero, and the
intensity is that of the current block and the four before it. What is older than 16 tau, a share of
exp(-16) = 1e-7 of itself, is left out, and the bits are those of any run that saw five blocks.
"""

from __future__ import annotations

import math
from typing import Final

from numba import njit

from apex_nautilus.features.kernel import NOW_NS, TRADE_SIDE, load_float, store_float
from apex_nautilus.features.registry import FeatureSpec, Kernels, register

_TAUS: Final = 4  # length of a block, in tau
_BLOCKS: Final = 4  # whole blocks remembered
_KEEP: Final = math.exp(-_TAUS)  # what is left after a block

# State: tau; the end of the current block (0: no event yet); the time of the last event in it, or its
# start; the sum of exp(-age/tau) at that time, over everything remembered, and over the current block
# alone; then the sums of the blocks before, as of their ends, the newest first.
_TAU_NS, _BLOCK_END_NS, _LAST_NS, _SUM, _BLOCK_SUM, _PAST_AT = range(6)


@njit(cache=True, error_model="numpy")
def _advance(view, state):
    """Close the blocks that have ended, one after another, so that it is no matter when this is asked."""
    now = view[NOW_NS]
    if now < state[_BLOCK_END_NS]:
        return
    tau = state[_TAU_NS]
    width = _TAUS * tau
    start = now // width * width
    end = state[_BLOCK_END_NS]
    if end == 0 or start - end > _BLOCKS * width:  # all that is remembered has gone
        for k in range(_BLOCKS):
            store_float(state, _PAST_AT + k, 0.0)
        store_float(state, _SUM, 0.0)
    else:
        closing = load_float(state, _BLOCK_SUM) * math.exp((state[_LAST_NS] - end) / tau)
        while end <= start:
            for k in range(_BLOCKS - 1, 0, -1):
                store_float(state, _PAST_AT + k, load_float(state, _PAST_AT + k - 1))
            store_float(state, _PAST_AT, closing)
            closing = 0.0
            end += width
        remembered = 0.0
        for k in range(_BLOCKS - 1, -1, -1):
            remembered = remembered * _KEEP + load_float(state, _PAST_AT + k)
        store_float(state, _SUM, remembered)
    store_float(state, _BLOCK_SUM, 0.0)
    state[_LAST_NS] = start
    state[_BLOCK_END_NS] = start + width


@njit(cache=True, error_model="numpy")
def _add(view, state):
    _advance(view, state)
    now = view[NOW_NS]
    left = 1.0
    if now > state[_LAST_NS]:
        left = math.exp((state[_LAST_NS] - now) / state[_TAU_NS])
        state[_LAST_NS] = now
    store_float(state, _SUM, load_float(state, _SUM) * left + 1.0)
    store_float(state, _BLOCK_SUM, load_float(state, _BLOCK_SUM) * left + 1.0)


def _value(view, state):
    _advance(view, state)
    left = math.exp((state[_LAST_NS] - view[NOW_NS]) / state[_TAU_NS])
    return load_float(state, _SUM) * left * 1e9 / state[_TAU_NS]


def _on_buy(view, state):
    if view[TRADE_SIDE] > 0:
        _add(view, state)


def _on_sell(view, state):
    if view[TRADE_SIDE] < 0:
        _add(view, state)


def _on_book(view, state):
    _add(view, state)


for _tau_ms, _tau in ((100, "100ms"), (1_000, "1s")):
    for _events, _inputs, _hooks, _what in (
        ("buys", ("trades",), {"on_trade": _on_buy}, "trades bought by the aggressor"),
        ("sells", ("trades",), {"on_trade": _on_sell}, "trades sold by the aggressor"),
        ("books", ("touch",), {"on_book": _on_book}, "whole books"),
    ):
        register(
            FeatureSpec(
                name=f"hawkes_{_events}_{_tau}",
                kind="book",
                unit="1/s",
                low=0.0,
                high=float("inf"),
                inputs=_inputs,
                warmup_ns=(_BLOCKS + 1) * _TAUS * _tau_ms * 1_000_000,
                formula=(
                    f"sum of exp(-(t - t_i) / tau) / tau over the {_what} of the last 16 to 20 tau, "
                    f"tau = {_tau_ms / 1_000:g} s"
                ),
                source="Hawkes 1971; exponential kernels in finance, Bacry, Mastromatteo & Muzy 2015",
                kernels=Kernels(
                    value=_value,
                    state_size=_PAST_AT + _BLOCKS,
                    parameters=(_tau_ms * 1_000_000,),
                    **_hooks,
                ),
            )
        )
