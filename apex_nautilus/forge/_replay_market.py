"""What the replay walks: decision rows, and the path of touches between them, as plain read-only arrays."""

from __future__ import annotations

import math
import os
import tempfile
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from apex_nautilus.forge._replay_fills import EXTREMES
from apex_nautilus.risk import log_returns_kernel

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


class MarketArrays(NamedTuple):
    """Rows to decide on and the path to trade on; make it with `book_market`, `bar_market` or
    `dataset_market`.

    N rows, M path events, F features. Every array is read-only; `features` is kept column by column (Fortran
    order), because a genome reads few of them, and whole rows would fetch the others from memory as well; all
    else is in C order. In a book market the low, high and open arrays are the touch itself; in a bar market
    they are the bar's prices with the modelled half spread taken off (bid) or put on (ask), and `bid` and
    `ask` are those of the close.

    Attributes
    ----------
    features : (N, F) float64
    row_event : (N,) int64
        Path event at which each row's decision is taken, not falling.
    log_returns : (N - 1,) float64
        Of the mid, from each row to the next.
    ts_ns : (M,) int64
        Time of each path event, not falling; of a bar, its close.
    bid, ask : (M,) float64
    low_bid, high_bid, low_ask, high_ask, open_bid, open_ask : (M,) float64
    depth : (M, 4, K) float64
        Bid prices, bid sizes, ask prices, ask sizes, best level first; K = 0 in a bar market.
    is_bars : int
        1 for a bar market.
    lowest_bid, highest_bid, lowest_ask, highest_ask : (ceil(M / 16),) float64
        Extremes of `low_bid`, `high_bid`, `low_ask` and `high_ask` over each 16 path events, which an open
        position passes at one look.
    impact : float
        k of the cost model of bars; 0 where there is none, and then the two that follow are empty.
    sigma, volume : (M,) or (0,) float64
        Forecast deviation of each bar's log return and mean volume of the bars before it, base units.
    """

    features: Floats
    row_event: Integers
    log_returns: Floats
    ts_ns: Integers
    bid: Floats
    ask: Floats
    low_bid: Floats
    high_bid: Floats
    low_ask: Floats
    high_ask: Floats
    open_bid: Floats
    open_ask: Floats
    depth: Floats
    is_bars: int
    lowest_bid: Floats
    highest_bid: Floats
    lowest_ask: Floats
    highest_ask: Floats
    impact: float
    sigma: Floats
    volume: Floats


class DatasetLike(Protocol):
    """What `dataset_market` reads of a dataset; the last five are read where `is_bars`.

    Of bars it also reads, where they are there and not None, `bar_costs`, `path_sigma` and `path_volume`, the
    cost model and what it says of each bar, and `instrument`, for its price precision.
    """

    is_bars: bool
    features: Floats
    row_event: Integers
    path_ts_ns: Integers
    path_bid: Floats
    path_ask: Floats
    path_depth: Floats
    path_open: Floats | None
    path_high: Floats | None
    path_low: Floats | None
    path_close: Floats | None
    path_half_spread: Floats | None


def _frozen(values: ArrayLike, dtype: type, ndim: int, name: str) -> NDArray:
    """Return `values` as a plain read-only C array (a view where possible), so that kernels compile once."""
    array = np.asarray(values)
    if array.ndim != ndim:
        raise ValueError(f"replay: {name} must have {ndim} dimension(s), got shape {array.shape}")
    view = np.ascontiguousarray(array, dtype=dtype).view(np.ndarray).view()
    view.flags.writeable = False
    return view


#: Rows looked at once where there may be more than the memory holds.
_BLOCK = 1 << 16


def _memory_limit() -> int:
    """An eighth of the machine's memory, in bytes: several studies may run on it."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 8


def _columns(features: ArrayLike) -> Floats:
    """Return the feature matrix in Fortran order, read-only; a copy, unless it is so already.

    A copy larger than an eighth of the memory is laid in a file of the temporary folder (``TMPDIR``), block
    by block, and mapped; it has no name and goes with the process.
    """
    array = np.asarray(features)
    if array.ndim != 2:
        raise ValueError(f"replay: features must have shape (rows, features), got {array.shape}")
    if array.shape[1] < 2:
        # A single column is in both orders, to numba another type, for which it would compile all again.
        array = np.hstack([array, np.zeros((array.shape[0], 2 - array.shape[1]))])
    if not array.flags.f_contiguous and array.size * 8 > _memory_limit():
        columns = _scratch_columns(array)
    else:
        columns = np.asfortranarray(array, dtype=np.float64)
    view = columns.view(np.ndarray).view()
    view.flags.writeable = False
    return view


def _scratch(shape: tuple[int, ...], what: str) -> NDArray:
    """Return an array of float64 in a temporary file."""
    size = 8 * math.prod(shape)
    try:
        with tempfile.TemporaryFile(prefix="apex-columns-") as file:
            # The room is asked for now: a full disk is an error here, and not a fault of the memory later.
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
            return np.memmap(file, np.float64, "r+", shape=shape).view(np.ndarray)
    except OSError as error:
        raise OSError(
            f"replay: {size / 1e9:.1f} GB of {what} are more than an eighth of the memory and did not fit "
            f"into {tempfile.gettempdir()} ({error}); set TMPDIR to a folder with room, or build the "
            "dataset with fewer features or a shorter span"
        ) from error


def _scratch_columns(array: NDArray) -> Floats:
    rows, count = array.shape
    columns = _scratch((count, rows), "features")
    for lo in range(0, rows, _BLOCK):
        columns[:, lo : lo + _BLOCK] = array[lo : lo + _BLOCK].T
    return columns.T


_NONE: Floats = np.zeros(0)
_NONE.flags.writeable = False


def _check_path(ts_ns: Integers, row_event: Integers, features: Floats, prices: dict[str, Floats]) -> None:
    for name, array in prices.items():
        if array.shape[0] != ts_ns.shape[0]:
            raise ValueError(
                f"replay: {name} has {array.shape[0]} path events, the path has {ts_ns.shape[0]}"
            )
    if row_event.shape[0] != features.shape[0]:
        raise ValueError(f"replay: {features.shape[0]} rows of features, {row_event.shape[0]} of row_event")
    if _falls(ts_ns):
        raise ValueError("replay: the path goes back in time; sort it by ts_ns")
    if row_event.size and (row_event[0] < 0 or row_event[-1] >= ts_ns.shape[0] or _falls(row_event)):
        raise ValueError("replay: row_event must not fall and must point into the path")


def _falls(values: Integers) -> bool:
    """Whether an entry is lower than the one before; a block at a time, as there may be very many."""
    return any(
        bool(np.any(np.diff(values[lo : lo + _BLOCK + 1]) < 0)) for lo in range(0, values.shape[0], _BLOCK)
    )


def _mid_log_returns(bid: Floats, ask: Floats, row_event: Integers) -> Floats:
    count = max(row_event.shape[0] - 1, 0)
    out = _scratch((count,), "returns") if 8 * count > _memory_limit() else np.empty(count)
    for lo in range(0, count, _BLOCK):
        events = row_event[lo : min(lo + _BLOCK, count) + 1]
        log_returns_kernel(0.5 * (bid[events] + ask[events]), out[lo : lo + _BLOCK])
    return _frozen(out, np.float64, 1, "log_returns")


def _extremes(ufunc: np.ufunc, prices: Floats) -> Floats:
    """Reduce each `EXTREMES` prices to one; a price that is none reaches no barrier, so it is passed over."""
    if prices.size == 0:
        return _frozen(prices, np.float64, 1, "extremes")
    return _frozen(ufunc.reduceat(prices, np.arange(0, prices.size, EXTREMES)), np.float64, 1, "extremes")


def book_market(
    *,
    features: ArrayLike,
    row_event: ArrayLike,
    ts_ns: ArrayLike,
    bid: ArrayLike,
    ask: ArrayLike,
    depth: ArrayLike | None = None,
) -> MarketArrays:
    """Return a market of order-book events.

    Parameters
    ----------
    features : (N, F) array_like
        One row a decision.
    row_event : (N,) array_like
        Path event of each row.
    ts_ns, bid, ask : (M,) array_like
        The path: time and touch at every event on a two-sided, uncrossed book.
    depth : (M, 4, K) array_like, optional
        Displayed levels at each event; without it every market order fills at the touch.

    Raises
    ------
    ValueError
        When shapes disagree, time goes back, or a row points outside the path.
    """
    times = _frozen(ts_ns, np.int64, 1, "ts_ns")
    bids = _frozen(bid, np.float64, 1, "bid")
    asks = _frozen(ask, np.float64, 1, "ask")
    levels = _frozen(np.zeros((times.shape[0], 4, 0)) if depth is None else depth, np.float64, 3, "depth")
    matrix = _columns(features)
    events = _frozen(row_event, np.int64, 1, "row_event")
    _check_path(times, events, matrix, {"bid": bids, "ask": asks, "depth": levels})
    if levels.shape[1] != 4:
        raise ValueError(f"replay: depth must have shape (M, 4, K), got {levels.shape}")
    returns = _mid_log_returns(bids, asks, events)
    return MarketArrays(
        matrix, events, returns, times, bids, asks, bids, bids, asks, asks, bids, asks, levels, 0,
        _extremes(np.fmin, bids), _extremes(np.fmax, bids), _extremes(np.fmin, asks),
        _extremes(np.fmax, asks), 0.0, _NONE, _NONE,
    )  # fmt: skip


def bar_market(
    *,
    features: ArrayLike,
    ts_ns: ArrayLike,
    open: ArrayLike,  # noqa: A002 - the bar's own word, as in every table of candles
    high: ArrayLike,
    low: ArrayLike,
    close: ArrayLike,
    half_spread: ArrayLike,
    row_event: ArrayLike | None = None,
    price_precision: int | None = None,
    impact: float = 0.0,
    sigma: ArrayLike | None = None,
    volume: ArrayLike | None = None,
) -> MarketArrays:
    """Return a market of closed bars.

    Parameters
    ----------
    features : (N, F) array_like
        One row a decision.
    ts_ns, open, high, low, close : (M,) array_like
        The bars, `ts_ns` their close. A bar opens when the one before it closed.
    half_spread : float or (M,) array_like
        Modelled half spread in price units, positive.
    row_event : (N,) array_like, optional
        Bar at whose close each row is decided; row i at bar i where it is left out.
    price_precision : int, optional
        Decimal places of prices. Given it, each bid and ask is the float nearest to its decimal number, so
        that a price which equals a barrier equals it here too.
    impact : float
        k of the cost model (`apex_nautilus.risk.BarCosts`); 0 fills orders of any size at the touch.
    sigma, volume : (M,) array_like, optional
        Of each bar, from those before it; needed where `impact` is not 0.

    Raises
    ------
    ValueError
        When shapes disagree, time goes back, a row points outside the bars, or a half spread, a sigma or a
        volume is not what it must be.
    """
    times = _frozen(ts_ns, np.int64, 1, "ts_ns")
    matrix = _columns(features)
    events = _frozen(np.arange(matrix.shape[0]) if row_event is None else row_event, np.int64, 1, "row_event")
    prices = {
        name: _frozen(values, np.float64, 1, name)
        for name, values in (("open", open), ("high", high), ("low", low), ("close", close))
    }
    _check_path(times, events, matrix, prices)
    half = np.broadcast_to(np.asarray(half_spread, dtype=np.float64), times.shape)
    if not np.all(half > 0.0):
        raise ValueError(
            "replay: half_spread must be positive; a spread of nothing makes every stop tradable"
        )

    sigmas = volumes = _NONE
    if impact != 0.0:
        if sigma is None or volume is None or not (np.isfinite(impact) and impact > 0.0):
            raise ValueError(
                f"replay: an impact of {impact!r} needs sigma and volume of every bar and must be positive"
            )
        sigmas = _frozen(sigma, np.float64, 1, "sigma")
        volumes = _frozen(volume, np.float64, 1, "volume")
        _check_path(times, events, matrix, {"sigma": sigmas, "volume": volumes})
        if not (np.all(sigmas >= 0.0) and np.all(volumes > 0.0)):
            raise ValueError("replay: sigma must not be negative and volume must be positive, in every bar")

    def shifted(name: str, sign: float) -> Floats:
        moved = prices[name] + sign * half
        if price_precision is not None:
            fine = 10.0**price_precision * 1e3  # as `risk.bar_touch`
            moved = np.maximum(np.rint(moved * fine), 1e3) / fine
        return _frozen(moved, np.float64, 1, name)

    bids, asks = shifted("close", -1.0), shifted("close", 1.0)
    levels = _frozen(np.zeros((times.shape[0], 4, 0)), np.float64, 3, "depth")
    low_bid, high_bid = shifted("low", -1.0), shifted("high", -1.0)
    low_ask, high_ask = shifted("low", 1.0), shifted("high", 1.0)
    return MarketArrays(
        matrix, events, _mid_log_returns(bids, asks, events), times, bids, asks, low_bid, high_bid, low_ask,
        high_ask, shifted("open", -1.0), shifted("open", 1.0), levels, 1, _extremes(np.fmin, low_bid),
        _extremes(np.fmax, high_bid), _extremes(np.fmin, low_ask), _extremes(np.fmax, high_ask),
        float(impact), sigmas, volumes,
    )  # fmt: skip


def dataset_market(dataset: DatasetLike) -> MarketArrays:
    """Return the market of a dataset, of order-book events or of bars.

    Its feature columns are copied, into memory or, where they would fill more than an eighth of it, into a
    temporary file; the path of a book is used as it is mapped.

    Raises
    ------
    ValueError
        When a path of bars lacks a price or a positive half spread.
    OSError
        When the columns need a temporary file and the disk has no room for it.
    """
    if not getattr(dataset, "is_bars", False):
        return book_market(
            features=dataset.features,
            row_event=dataset.row_event,
            ts_ns=dataset.path_ts_ns,
            bid=dataset.path_bid,
            ask=dataset.path_ask,
            depth=dataset.path_depth,
        )
    bars = {
        name: getattr(dataset, f"path_{name}") for name in ("open", "high", "low", "close", "half_spread")
    }
    for name, values in bars.items():
        if values is None:
            raise ValueError(f"replay: a dataset of bars without path_{name}; build it again")
    costs = getattr(dataset, "bar_costs", None)
    if costs is not None and costs.impact > 0.0:
        bars |= {"impact": costs.impact, "sigma": dataset.path_sigma, "volume": dataset.path_volume}
    instrument = getattr(dataset, "instrument", None)
    return bar_market(
        features=dataset.features,
        row_event=dataset.row_event,
        ts_ns=dataset.path_ts_ns,
        price_precision=None if instrument is None else instrument.price_precision,
        **bars,
    )
