"""Half spread and slippage from recorded books, and a half spread from bars where no book was recorded.

Once a second the book stands still and orders of several sizes, as shares of what was traded in the window
before, walk it on either side. What each pays beyond the touch, as a share of the mid, is regressed on
sigma * sqrt(quantity / volume); sigma (realised, of one-second mids) and volume are of the same window, so
only the past is used. The slope is k.

What is measured is the price of immediacy in the displayed book: no order of ours moved it, nobody stepped
aside or in, and nothing decays. It is the right number for orders that are small and sent at once, which
ours are; it is not the impact of a large order worked over time.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from apex_nautilus.features import KIND_TRADE, Ladder
from apex_nautilus.forge.errors import ForgeError
from apex_nautilus.risk import InstrumentSpec
from apex_nautilus.risk.cost_file import FitNote

__all__ = ["SHARES", "BookSamples", "abdi_ranaldo", "fit_half_spread", "fit_impact", "sample_books"]

SHARES: Final = (0.003, 0.01, 0.03, 0.1, 0.3)
"""Order sizes, as shares of the volume of the window before."""

_SECOND: Final = 1_000_000_000
_BLOCK_S: Final = 10
"""Seconds whose errors may be alike; the standard errors are clustered by such blocks."""

_TRAIN: Final = 0.6
_LEVELS: Final = 2000


class BookSamples(NamedTuple):
    """Books looked at once a second; T of them, Q sizes.

    Attributes
    ----------
    ts_ns : (T,) int64
    mid, half_spread : (T,) float64
        Price units.
    sigma, volume : (T,) float64
        Deviation of the log return of one window, and base units traded, over the window before.
    quantity : (T, Q) float64
        Base units.
    slippage : (T, 2, Q) float64
        Of a buy and a sell beyond the touch, a share of the mid; NaN where the book has not so much.
    window_ns : int
    """

    ts_ns: NDArray[np.int64]
    mid: NDArray[np.float64]
    half_spread: NDArray[np.float64]
    sigma: NDArray[np.float64]
    volume: NDArray[np.float64]
    quantity: NDArray[np.float64]
    slippage: NDArray[np.float64]
    window_ns: int


def _beyond_touch(levels: NDArray[np.int64], quantities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Average price less the best one, in price units, of orders that walk `levels`, best first; NaN where
    they do not suffice."""
    prices = np.abs(levels[:, 0] - levels[0, 0]).astype(np.float64)
    sizes = np.cumsum(levels[:, 1].astype(np.float64))
    paid = np.cumsum(prices * levels[:, 1])
    at = np.searchsorted(sizes, quantities)
    out = np.full(quantities.shape, np.nan)
    enough = at < sizes.size
    place = at[enough]
    before_size = np.where(place > 0, sizes[place - 1], 0.0)
    before_paid = np.where(place > 0, paid[place - 1], 0.0)
    wanted = quantities[enough]
    out[enough] = (before_paid + (wanted - before_size) * prices[place]) / wanted
    return out


def sample_books(
    events: Iterable[NDArray[np.void]] | NDArray[np.void], spec: InstrumentSpec, *, window_s: int = 60
) -> BookSamples:
    """Walk the recorded book once a second.

    Parameters
    ----------
    events : EVENT records in order of receipt, one array or several
    spec : InstrumentSpec
    window_s : int
        Length of the window that sigma and volume are taken from; the first books wait for it.

    Raises
    ------
    ForgeError
        When fewer than two windows are recorded, or nothing was traded.
    """
    if window_s < 10:
        raise ForgeError(f"window_s must be at least 10 seconds, got {window_s}")
    whole = events if isinstance(events, np.ndarray) else np.concatenate(list(events))
    if whole.size == 0:
        raise ForgeError(f"{spec.id}: no events of a book")
    price, size = 10.0**spec.price_precision, 10.0**spec.size_precision
    times = whole["ts_init_ns"]
    edges = np.arange(-(-int(times[0]) // _SECOND) * _SECOND, int(times[-1]) + 1, _SECOND)
    cuts = np.searchsorted(times, edges, side="right")
    trades = np.where(whole["kind"] == KIND_TRADE, whole["size"], 0).astype(np.float64) / size
    traded = np.concatenate([[0.0], np.cumsum(trades)])[cuts]
    ladder = Ladder(4 * _LEVELS)
    seen: list[tuple[int, float, float]] = []  # second, mid, half spread; in price units
    books: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
    done = 0
    for second, cut in enumerate(cuts):
        ladder.apply(whole[done:cut])
        done = int(cut)
        bids, asks = ladder.bids(_LEVELS), ladder.asks(_LEVELS)
        if len(bids) and len(asks) and bids[0, 0] < asks[0, 0]:
            bid, ask = bids[0, 0] / price, asks[0, 0] / price
            seen.append((second, 0.5 * (bid + ask), 0.5 * (ask - bid)))
            books.append((asks, bids))
    return _samples(spec, seen, books, edges, traded, window_s, size, price)


def _samples(spec, seen, books, edges, traded, window_s, size, price) -> BookSamples:
    seconds = np.array([s for s, _, _ in seen], dtype=np.int64)
    mids, halves = (np.array([row[i] for row in seen]) for i in (1, 2))
    rows = []
    for i, second in enumerate(seconds):
        if second < window_s + (seconds[0] if seconds.size else 0):
            continue
        past = (seconds > second - window_s) & (seconds <= second)
        moves = np.diff(np.log(mids[past]))
        volume = traded[second] - traded[second - window_s]
        if moves.size >= window_s // 2 and volume > 0.0:
            sigma = math.sqrt(float(np.mean(moves**2)) * window_s)
            quantity = volume * np.array(SHARES)
            slip = [_beyond_touch(side, quantity * size) / price / mids[i] for side in books[i]]
            rows.append((edges[second], mids[i], halves[i], sigma, volume, quantity, slip))
    if len(rows) < window_s:
        raise ForgeError(
            f"{spec.id}: {len(rows)} seconds of a whole book with {window_s} s of trades before them; record "
            "longer or use a shorter window"
        )
    columns = list(zip(*rows, strict=True))
    return BookSamples(*(np.array(c) for c in columns), window_s * _SECOND)  # pyright: ignore


class _Line(NamedTuple):
    slope: float
    error: float
    r2: float


def _through_origin(x, y, block) -> _Line:
    """Least squares without a constant; standard error clustered by block (Liang and Zeger 1986)."""
    squares = float(x @ x)
    slope = float(x @ y) / squares
    left = y - slope * x
    _, place = np.unique(block, return_inverse=True)
    sums = np.bincount(place, weights=x * left)
    n = sums.size
    error = math.sqrt(float(sums @ sums) * n / max(n - 1, 1)) / squares
    total = float(y @ y)
    return _Line(slope, error, 1.0 - float(left @ left) / total if total > 0.0 else math.nan)


def _held_out(x, y, train) -> tuple[float, float]:
    """R^2 (uncentred) and root mean squared error of the later part, by a slope of the earlier one."""
    slope = float(x[train] @ y[train]) / float(x[train] @ x[train])
    left = y[~train] - slope * x[~train]
    total = float(y[~train] @ y[~train])
    return (
        1.0 - float(left @ left) / total if total > 0.0 else math.nan,
        math.sqrt(float(left @ left) / left.size),
    )


def fit_impact(samples: BookSamples, *, source: str) -> FitNote:
    """Return k of ``slippage = k * sigma * sqrt(quantity / volume)``, with its error.

    `standard_error` is clustered by blocks of ten seconds. The held-out numbers are of the last two fifths of
    the time, by a fit on the first three; `held_out_error` is a share of the price.

    Raises
    ------
    ForgeError
        When the books hold none of the sizes, or the price never moved.
    """
    x = samples.sigma[:, None, None] * np.sqrt(samples.quantity / samples.volume[:, None])[:, None, :]
    x = np.broadcast_to(x, samples.slippage.shape)
    when = np.broadcast_to(samples.ts_ns[:, None, None], x.shape)
    known = np.isfinite(samples.slippage) & (x > 0.0)
    if not known.any():
        raise ForgeError(f"{source}: no book holds the sizes to be walked, or its price never moved")
    x, y, when = x[known], samples.slippage[known], when[known]
    line = _through_origin(x, y, when // (_BLOCK_S * _SECOND))
    cut = samples.ts_ns[0] + _TRAIN * (samples.ts_ns[-1] - samples.ts_ns[0])
    held_r2, held_error = _held_out(x, y, when <= cut)
    return FitNote(
        name="impact",
        method="displayed book walked once a second, least squares through the origin on sigma sqrt(q / V); "
        f"sizes {SHARES[0]:g} to {SHARES[-1]:g} of the volume of {samples.window_ns // _SECOND} s; errors "
        "are shares of the price",
        source=source,
        span_ns=(int(samples.ts_ns[0]), int(samples.ts_ns[-1])),
        samples=int(x.size),
        value=line.slope,
        standard_error=line.error,
        r2=line.r2,
        held_out_r2=held_r2,
        held_out_error=held_error,
    )


def fit_half_spread(samples: BookSamples, *, source: str) -> FitNote:
    """Return the mean half spread in basis points, with its error; `r2` is not given, as nothing varies with
    anything. `held_out_error` is of the last two fifths by the mean of the first three, basis points."""
    bps = 1e4 * samples.half_spread / samples.mid
    line = _through_origin(np.ones(bps.size), bps, samples.ts_ns // (_BLOCK_S * _SECOND))
    cut = samples.ts_ns[0] + _TRAIN * (samples.ts_ns[-1] - samples.ts_ns[0])
    _, held_error = _held_out(np.ones(bps.size), bps, samples.ts_ns <= cut)
    return FitNote(
        name="half_spread_bps",
        method="mean half spread of the recorded book, once a second; errors in basis points",
        source=source,
        span_ns=(int(samples.ts_ns[0]), int(samples.ts_ns[-1])),
        samples=int(bps.size),
        value=line.slope,
        standard_error=line.error,
        held_out_error=held_error,
    )


def abdi_ranaldo(
    high: ArrayLike, low: ArrayLike, close: ArrayLike, *, source: str, span_ns: tuple[int, int] | None = None
) -> FitNote:
    """Return the half spread that bars alone suggest, in basis points.

    Abdi and Ranaldo (2017), "A simple estimation of bid-ask spreads from daily close, high, and low prices",
    Rev. Financ. Stud. 30(12), eq. (10): with c the log close and h the middle of log high and log low,
    ``s^2 = 4 E[(c_t - h_t)(c_t - h_{t+1})]``, 0 where that is negative. Its noise is of the order of the
    bars' volatility: for the most liquid markets, whose spread is a hundredth of that, it tells an upper
    bound at best, and the standard error says so.

    Raises
    ------
    ForgeError
        When there are fewer than 100 bars or a price is not positive.
    """
    prices = [np.ascontiguousarray(p, dtype=np.float64) for p in (high, low, close)]
    if prices[0].size < 100 or any(p.shape != prices[0].shape for p in prices):
        raise ForgeError(f"{source}: an estimate of the spread needs 100 bars, got {prices[0].size}")
    if not all((np.isfinite(p) & (p > 0.0)).all() for p in prices):
        raise ForgeError(f"{source}: prices must be finite and positive")
    upper, lower, last = (np.log(p) for p in prices)
    middle = 0.5 * (upper + lower)
    terms = 4.0 * (last[:-1] - middle[:-1]) * (last[:-1] - middle[1:])
    mean, error = float(terms.mean()), float(terms.std(ddof=1)) / math.sqrt(terms.size)
    half = 0.5 * math.sqrt(max(mean, 0.0))
    # Of the square's error, what the root makes of it; where the square is not above its error, the root of
    # the error itself.
    spread_error = error / (8.0 * half) if mean > error else 0.5 * math.sqrt(error)
    return FitNote(
        name="half_spread_bps",
        method="Abdi and Ranaldo (2017) from closed bars; no book was recorded",
        source=source,
        span_ns=span_ns,
        samples=int(terms.size),
        value=1e4 * half,
        standard_error=1e4 * spread_error,
    )
