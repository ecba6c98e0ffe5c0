"""What trading costs where there are bars and no book: half spread, volatility, slippage.

A bar says at what prices trades were made, not at what prices an order of ours would have been filled. The
model puts a touch around each price and charges an order for its size:

    touch    = price -+ half spread
    half     = last close * (a + b * sigma), up to a whole tick, one tick at least
    slippage = price * k * sigma * sqrt(quantity / volume)

sigma is the forecast of the bar's log return (`egarch`), volume the mean of the bars that closed before.
Both are of bars of one length; the quotient sigma / sqrt(volume) is the same for any length where returns
are independent and trading is steady, so that a k fitted on seconds serves for minutes. The square root is
the law of Toth et al. (2011), "Anomalous price impact and the critical nature of liquidity", Phys. Rev. X 1.

Nothing of a bar enters its own half spread, sigma or volume. The replay and the venue in Nautilus step the
same kernel bar by bar and fill by the same kernel, so that they charge the same to the last bit.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import msgspec
import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from apex_nautilus.risk.egarch import Egarch, egarch_step_kernel
from apex_nautilus.risk.instrument import InstrumentSpec

__all__ = [
    "DEFAULT_BAR_COSTS",
    "BarCostPath",
    "BarCostTracker",
    "BarCosts",
    "bar_cost_path",
    "bar_fill_kernel",
    "bar_touch",
    "slippage_kernel",
]

#: A price within this share of a tick of the grid is on it: what is left of a subtraction is no tick.
ON_GRID = 1e-6


class BarCosts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The cost model of one instrument on bars of one length.

    Parameters
    ----------
    half_spread_bps : float
        The constant part a of the half spread, basis points of the price.
    half_spread_sigma : float
        The part b that goes with the forecast sigma.
    impact : float
        k: what an order of one bar's volume slips, in sigmas.
    volume_window : int
        Bars whose volume is averaged.
    egarch : Egarch, optional
        Where it is left out sigma is 0, and so are the second part of the half spread and the slippage.
    """

    half_spread_bps: float
    half_spread_sigma: float = 0.0
    impact: float = 0.0
    volume_window: int = 48
    egarch: Egarch | None = None

    def check(self, where: str = "costs") -> None:
        """Raise ValueError, naming the field, when a parameter cannot be used."""
        for name in ("half_spread_bps", "half_spread_sigma", "impact"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0.0):
                raise ValueError(f"{where}.{name}: must be finite and not negative, got {value!r}")
        if self.half_spread_bps > 1000.0:
            raise ValueError(
                f"{where}.half_spread_bps: must not exceed 1000 bps, got {self.half_spread_bps!r}"
            )
        if not 1 <= self.volume_window <= 100_000:
            raise ValueError(f"{where}.volume_window: must lie in [1, 100000], got {self.volume_window}")
        if self.egarch is not None:
            self.egarch.check(f"{where}.egarch")
        elif self.impact > 0.0 or self.half_spread_sigma > 0.0:
            raise ValueError(f"{where}.egarch: needed, as impact or half_spread_sigma is not 0")


DEFAULT_BAR_COSTS = BarCosts(half_spread_bps=0.5)
"""A constant half spread and no slippage: wide for the largest perpetuals, about right for smaller ones."""

# State of a tracker, float64 words; the ring of volumes follows. Volumes are whole size units, so that their
# running sum is exact.
_LOG_VARIANCE, _LAST, _SUM, _COUNT, _RING = 0, 1, 2, 3, 4

# The model as a kernel reads it.
_A, _B, _OMEGA, _ALPHA, _GAMMA, _BETA, _LOW, _HIGH, _SCALE, _HAS_SIGMA = range(10)


@njit(cache=True, error_model="numpy")
def slippage_kernel(impact: float, sigma: float, quantity: float, volume: float) -> float:
    """Return k * sigma * sqrt(quantity / volume), a share of the price."""
    return impact * sigma * math.sqrt(quantity / volume)


@njit(cache=True, error_model="numpy")
def bar_fill_kernel(
    direction: int, base: float, quantity: float, impact: float, sigma: float, volume: float,
    tick_units: int, price_scale: float,
) -> float:  # fmt: skip
    """Return the price of a market order that meets `base`: slipped against it, up to the next whole tick.

    Without slippage it is `base` itself.
    """
    slip = base * slippage_kernel(impact, sigma, quantity, volume) if impact > 0.0 else 0.0
    if not slip > 0.0:
        return base
    ticks = (base + direction * slip) * price_scale / tick_units
    ticks = math.ceil(ticks - ON_GRID) if direction > 0 else max(math.floor(ticks + ON_GRID), 1.0)
    return ticks * tick_units / price_scale


@njit(cache=True, error_model="numpy")
def bar_touch(price: float, side: int, half: float, price_scale: float) -> float:
    """Return `price` moved by a half spread, down (side -1, a bid) or up (+1, an ask); a bid stays positive.

    A sum that is a price of the instrument's precision is the float nearest to that decimal number, as
    Nautilus's prices are: what the subtraction leaves must not decide whether a barrier was touched.
    """
    fine = price_scale * 1e3
    return max(np.rint((price + side * half) * fine), 1e3) / fine


@njit(cache=True, error_model="numpy")
def _values(model, state, tick_units, price_scale, size_scale):
    sigma = math.exp(0.5 * state[_LOG_VARIANCE]) / model[_SCALE] if model[_HAS_SIGMA] != 0.0 else 0.0
    count = min(state[_COUNT], state.shape[0] - _RING)
    volume = max(state[_SUM] / count, 1.0) if count > 0.0 else 1.0
    half = state[_LAST] * (model[_A] + model[_B] * sigma)
    ticks = max(math.ceil(half * price_scale / tick_units - ON_GRID), 1.0)
    return ticks * tick_units / price_scale, sigma, volume / size_scale


@njit(cache=True, error_model="numpy")
def _close(model, state, close, volume_units):
    if model[_HAS_SIGMA] != 0.0:
        state[_LOG_VARIANCE] = egarch_step_kernel(
            state[_LOG_VARIANCE], math.log(close / state[_LAST]) * model[_SCALE], model[_OMEGA],
            model[_ALPHA], model[_GAMMA], model[_BETA], model[_LOW], model[_HIGH],
        )  # fmt: skip
    state[_LAST] = close
    slot = _RING + np.int64(state[_COUNT]) % (state.shape[0] - _RING)
    state[_SUM] += volume_units - state[slot]
    state[slot] = volume_units
    state[_COUNT] += 1.0


@njit(cache=True, error_model="numpy")
def _path(model, state, close, volume_units, tick_units, price_scale, size_scale, half, sigma, volume):
    for i in range(close.shape[0]):
        half[i], sigma[i], volume[i] = _values(model, state, tick_units, price_scale, size_scale)
        _close(model, state, close[i], volume_units[i])


def _model(costs: BarCosts) -> NDArray[np.float64]:
    egarch = costs.egarch
    head = [costs.half_spread_bps / 1e4, costs.half_spread_sigma]
    if egarch is None:
        return np.array([*head, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0])
    terms = [egarch.omega, egarch.alpha, egarch.gamma, egarch.beta, egarch.low, egarch.high, egarch.scale]
    return np.array([*head, *terms, 1.0])


class BarCostTracker:
    """Half spread, sigma and volume of the bar under way, stepped by one closed bar after the other.

    Parameters
    ----------
    costs : BarCosts
    instrument : InstrumentSpec
    first_open : float
        Open of the first bar; stands for the close before it.

    Attributes
    ----------
    half_spread : float
        Of the bar under way, price units, whole ticks.
    sigma : float
        Deviation of its log return, as forecast.
    volume : float
        Mean volume of the bars before, base units; one size unit where they traded nothing.

    Raises
    ------
    ValueError
        When the model cannot be used or the open is not positive.
    """

    __slots__ = ("_model", "_scales", "_state", "half_spread", "sigma", "volume")

    def __init__(self, costs: BarCosts, instrument: InstrumentSpec, first_open: float) -> None:
        costs.check()
        if not (math.isfinite(first_open) and first_open > 0.0):
            raise ValueError(f"bar costs: the first open must be positive, got {first_open!r}")
        self._model = _model(costs)
        self._scales = _scales(instrument)
        self._state = _new_state(costs, first_open)
        self._read()

    def close_bar(self, close: float, volume_units: int) -> None:
        """A bar has closed; the attributes are of the next one from now on.

        Parameters
        ----------
        close : float
        volume_units : int
            Its volume in the instrument's smallest size units.
        """
        _close(self._model, self._state, close, float(volume_units))
        self._read()

    def _read(self) -> None:
        self.half_spread, self.sigma, self.volume = _values(self._model, self._state, *self._scales)


def _scales(instrument: InstrumentSpec) -> tuple[int, float, float]:
    return (
        int(instrument.tick_units),
        float(10**instrument.price_precision),
        float(10**instrument.size_precision),
    )


def _new_state(costs: BarCosts, first_open: float) -> NDArray[np.float64]:
    state = np.zeros(_RING + costs.volume_window)
    state[_LOG_VARIANCE] = 0.0 if costs.egarch is None else costs.egarch.start
    state[_LAST] = first_open
    return state


class BarCostPath(NamedTuple):
    """What `bar_cost_path` returns, one entry a bar; see `BarCostTracker` for the meaning."""

    half_spread: NDArray[np.float64]
    sigma: NDArray[np.float64]
    volume: NDArray[np.float64]


def bar_cost_path(
    costs: BarCosts, instrument: InstrumentSpec, open_: ArrayLike, close: ArrayLike, volume_units: ArrayLike
) -> BarCostPath:
    """Half spread, sigma and volume of every bar of a series, each from the bars before it.

    Parameters
    ----------
    costs : BarCosts
    instrument : InstrumentSpec
    open_, close : (n,) array_like
        Prices, positive; of the opens only the first is read.
    volume_units : (n,) array_like
        Whole numbers of the smallest size unit.

    Returns
    -------
    BarCostPath
        Bit for bit what a `BarCostTracker` says before each bar.

    Raises
    ------
    ValueError
        When shapes differ, a close is not positive, or the model cannot be used.
    """
    costs.check()
    closes = np.ascontiguousarray(close, dtype=np.float64)
    units = np.ascontiguousarray(volume_units, dtype=np.float64)
    n = closes.shape[0] if closes.ndim == 1 else -1
    if n < 0 or units.shape != closes.shape or np.shape(open_) != closes.shape:
        raise ValueError(
            f"bar_cost_path: open, close and volume must be (n,), got {np.shape(open_)}, {closes.shape}, "
            f"{units.shape}"
        )
    if not (np.isfinite(closes) & (closes > 0.0)).all():
        raise ValueError("bar_cost_path: every close must be finite and positive")
    out = BarCostPath(np.empty(n), np.empty(n), np.empty(n))
    if n:
        state = _new_state(costs, float(np.asarray(open_)[0]))
        _path(_model(costs), state, closes, units, *_scales(instrument), *out)
    return out
