"""Trend and swings of the price by variational mode decomposition of the last 64 bars.

The log closes of the window are brought to mean 0 and variance 1 and split into a trend, a slow and a fast
swing, whose frequencies are found. Only the window's last values are used, see `apex_nautilus.features.vmd`.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numba import njit

from apex_nautilus.features.kernel import EVENT_COUNT, bar_close, load_float, shifted, store_float
from apex_nautilus.features.registry import FeatureSpec, Kernels, register
from apex_nautilus.features.ring import is_full, item, push, ring_words
from apex_nautilus.features.vmd import ALPHA, MAX_ITERATIONS, TOLERANCE, last_values

_WINDOW: Final = 64
_MODES: Final = 3

# State: the bar it was computed at, the outputs (values of the modes in bps, then their shares of the
# energy), then a ring of log closes. The features of the family share it: the first one asked computes all.
_DONE: Final = 0
_OUT: Final = 1
_RING_AT: Final = _OUT + 2 * _MODES


@njit(cache=True, error_model="numpy")
def _compute(view, state):
    if state[_DONE] == view[EVENT_COUNT]:
        return
    state[_DONE] = view[EVENT_COUNT]
    for k in range(2 * _MODES):
        store_float(state, _OUT + k, 0.0)
    closes = shifted(state, _RING_AT)
    push(closes, _WINDOW, math.log(bar_close(view)))
    if not is_full(closes, _WINDOW):
        return
    signal = np.empty(_WINDOW)
    mean = 0.0
    for k in range(_WINDOW):
        signal[k] = item(closes, _WINDOW, k)
        mean += signal[k]
    mean /= _WINDOW
    squares = 0.0
    for k in range(_WINDOW):
        signal[k] -= mean
        squares += signal[k] * signal[k]
    spread = math.sqrt(squares / _WINDOW)
    # Below a hundred-millionth of a basis point it is rounding that would be decomposed.
    if spread <= 1e-12:
        return
    last = signal[_WINDOW - 1]
    for k in range(_WINDOW):
        signal[k] /= spread
    modes = last_values(signal, _MODES, ALPHA, TOLERANCE, MAX_ITERATIONS)
    energy = 0.0
    for k in range(_MODES):
        energy += modes[k, 1]
    for k in range(_MODES):
        store_float(state, _OUT + k, 1e4 * spread * modes[k, 0])
        store_float(state, _OUT + _MODES + k, modes[k, 1] / energy)
    store_float(state, _OUT, 1e4 * (spread * modes[0, 0] - last))


def _trend_value(view, state):
    _compute(view, state)
    return load_float(state, _OUT)


def _slow_value(view, state):
    _compute(view, state)
    return load_float(state, _OUT + 1)


def _fast_value(view, state):
    _compute(view, state)
    return load_float(state, _OUT + 2)


def _trend_energy(view, state):
    _compute(view, state)
    return load_float(state, _OUT + _MODES)


def _slow_energy(view, state):
    _compute(view, state)
    return load_float(state, _OUT + _MODES + 1)


def _fast_energy(view, state):
    _compute(view, state)
    return load_float(state, _OUT + _MODES + 2)


_OF: Final = f"VMD of the last {_WINDOW} log closes into {_MODES} modes, alpha {ALPHA:g}"
_VALUE: Final = ("bps", float("-inf"), float("inf"))
_SHARE: Final = ("ratio", 0.0, 1.0)
for _name, _kernel, (_unit, _low, _high), _formula in (
    ("vmd_trend_bps", _trend_value, _VALUE, f"1e4 (trend's last value - ln close), {_OF}"),
    ("vmd_slow_bps", _slow_value, _VALUE, f"1e4 x last value of the slower of the two swings, {_OF}"),
    ("vmd_fast_bps", _fast_value, _VALUE, f"1e4 x last value of the faster of the two swings, {_OF}"),
    ("vmd_trend_energy", _trend_energy, _SHARE, f"share of the trend in the energy of the modes, {_OF}"),
    ("vmd_slow_energy", _slow_energy, _SHARE, f"share of the slower swing in the energy of the modes, {_OF}"),
    ("vmd_fast_energy", _fast_energy, _SHARE, f"share of the faster swing in the energy of the modes, {_OF}"),
):
    register(
        FeatureSpec(
            name=_name,
            kind="bar",
            unit=_unit,
            low=_low,
            high=_high,
            inputs=("close",),
            warmup_rows=_WINDOW - 1,
            formula=_formula,
            source="Dragomiretskiy & Zosso 2014",
            kernels=Kernels(value=_kernel, state_size=_RING_AT + ring_words(_WINDOW), shared="vmd"),
        )
    )
