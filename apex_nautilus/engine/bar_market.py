"""Bars out of a Nautilus catalog, and the quotes that stand for what happened inside them.

Nautilus can match orders on bars itself: as four trades, open, high, low, close, with no spread between bid
and ask. Which barrier of a bracket comes first then hangs on that order, and not on caution. So the venue is
given quotes instead, five a bar:

======  ==========================  ===============================================================
quote   bid, ask                    what it does
======  ==========================  ===============================================================
open    open -+ half spread         fills entries decided at the close before; stops that a gap passed
stress  low - half, high + half     triggers every stop, of longs and shorts alike, before any profit
high    high -+ half spread         fills the take-profits of longs
low     low -+ half spread          fills the take-profits of shorts
close   close -+ half spread        what time-outs and marks meet
======  ==========================  ===============================================================

A bar opens at the time at which the one before it closed; the other four quotes carry the time of its close,
as nobody knows better. The bar itself follows the close quote: agents see it then, and never the quotes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from operator import attrgetter
from typing import Final, NamedTuple

import numpy as np
from nautilus_trader.core.data import Data
from nautilus_trader.model.data import Bar, BarType, QuoteTick
from nautilus_trader.model.objects import FIXED_PRECISION
from nautilus_trader.persistence.catalog import ParquetDataCatalog

from apex_nautilus.engine.instruments import spec_of
from apex_nautilus.engine.market_data import MarketDataError
from apex_nautilus.risk import DEFAULT_BAR_COSTS, BarCosts, InstrumentSpec, bar_cost_path

__all__ = ["BAR_CLOCKS", "bar_batches", "bar_span", "bar_type_of", "clocks_over", "path_clock"]

BAR_CLOCKS: Final = {"1m": 1, "5m": 5, "15m": 15}
"""Minutes of the clocks that bars make."""

_NS_PER_MINUTE: Final = 60_000_000_000
_SIZE_UNITS: Final = 10**9  # displayed by every quote; the fill model fills whole orders
_ts_init = attrgetter("ts_init")


class _Bars(NamedTuple):
    """Closed bars of one length: closing times, prices and volume in the instrument's smallest units."""

    ts_ns: np.ndarray
    open: np.ndarray
    high: np.ndarray
    low: np.ndarray
    close: np.ndarray
    volume: np.ndarray

    def between(self, lo: int, hi: int) -> _Bars:
        return _Bars(*(column[lo:hi] for column in self))


def bar_type_of(instrument_id: str, clock: str) -> str:
    """The Nautilus bar type that a catalog holds for a clock: ``<instrument>-5-MINUTE-LAST-EXTERNAL``."""
    return f"{instrument_id}-{BAR_CLOCKS[clock]}-MINUTE-LAST-EXTERNAL"


def clocks_over(path: str) -> tuple[str, ...]:
    """The clocks whose bars are made of whole bars of `path`, shortest first."""
    return tuple(clock for clock, minutes in BAR_CLOCKS.items() if minutes % BAR_CLOCKS[path] == 0)


def path_clock(catalog_path: str | os.PathLike[str], instrument_id: str, wanted: str | None = None) -> str:
    """Return the clock of the bars that orders meet: `wanted`, or the shortest that is stored.

    Raises
    ------
    MarketDataError
        When no such bars are stored; the message says which are.
    """
    catalog = ParquetDataCatalog(str(catalog_path))
    stored = [clock for clock in BAR_CLOCKS if catalog.get_intervals(Bar, bar_type_of(instrument_id, clock))]
    if not stored or (wanted is not None and wanted not in stored):
        raise MarketDataError(
            f"{catalog_path}: no bars of {instrument_id} of {wanted or ' or '.join(BAR_CLOCKS)} are stored "
            f"(there are: {', '.join(stored) or 'none'}); import candles first (apex data import freqtrade)"
        )
    return wanted or stored[0]


def bar_span(catalog_path: str | os.PathLike[str], instrument_id: str, path: str) -> tuple[int, int]:
    """Return (first, last) closing time of the stored bars of a clock, nanoseconds.

    Raises
    ------
    MarketDataError
        When none are stored.
    """
    path_clock(catalog_path, instrument_id, path)
    catalog = ParquetDataCatalog(str(catalog_path))
    spans = catalog.get_intervals(Bar, bar_type_of(instrument_id, path))
    return spans[0][0], spans[-1][1]


def _read(
    catalog: ParquetDataCatalog, spec: InstrumentSpec, clock: str, start_ns: int | None, end_ns: int | None
) -> _Bars:
    found = catalog.query(Bar, identifiers=[bar_type_of(spec.id, clock)])
    price, size = (
        10 ** (FIXED_PRECISION - spec.price_precision),
        10 ** (FIXED_PRECISION - spec.size_precision),
    )
    rows = [
        (b.ts_init, b.open.raw // price, b.high.raw // price, b.low.raw // price, b.close.raw // price,
         b.volume.raw // size)
        for b in found
        if (start_ns is None or b.ts_init >= start_ns) and (end_ns is None or b.ts_init < end_ns)
    ]  # fmt: skip
    table = np.array(rows, dtype=np.int64).reshape(len(rows), 6)
    bars = _Bars(*(np.ascontiguousarray(table[:, i]) for i in range(6)))
    if (np.diff(bars.ts_ns) <= 0).any():
        raise MarketDataError(f"bars of {spec.id}, {clock}: closing times do not rise; import them again")
    return bars


def _gathered(bars: _Bars, minutes: int, into: int) -> _Bars:
    """Bars of `into` minutes made of shorter ones, by the rule of the datasets: a bar closes at a whole
    multiple of its length; one at either end that is not covered whole is left out."""
    length, fine = into * _NS_PER_MINUTE, minutes * _NS_PER_MINUTE
    close_ns = -(-bars.ts_ns // length) * length
    closes, first = np.unique(close_ns, return_index=True)
    if not closes.size:
        return bars
    last = np.append(first[1:], bars.ts_ns.size) - 1
    gathered = _Bars(
        closes,
        bars.open[first],
        np.maximum.reduceat(bars.high, first),
        np.minimum.reduceat(bars.low, first),
        bars.close[last],
        np.add.reduceat(bars.volume, first),
    )
    lo = 0 if bars.ts_ns[0] <= closes[0] - length + fine else 1
    hi = closes.size if bars.ts_ns[-1] == closes[-1] else closes.size - 1
    return gathered.between(lo, max(lo, hi))


class _Series:
    """One instrument's bars, and the objects that the engine is given for a stretch of them."""

    def __init__(
        self,
        catalog: ParquetDataCatalog,
        instrument_id: str,
        path: str,
        costs: BarCosts,
        start_ns: int | None,
        end_ns: int | None,
    ) -> None:
        (instrument,) = catalog.instruments(instrument_ids=[instrument_id])
        self._id = instrument.id
        self._spec = spec = spec_of(instrument)
        self.path = _read(catalog, spec, path, start_ns, end_ns)
        self._clocks: list[tuple[BarType, _Bars, bool]] = []
        for clock in clocks_over(path):
            stored = bool(catalog.get_intervals(Bar, bar_type_of(instrument_id, clock)))
            bars = self.path
            if clock != path:
                bars = (
                    _read(catalog, spec, clock, start_ns, end_ns)
                    if stored
                    else _gathered(self.path, BAR_CLOCKS[path], BAR_CLOCKS[clock])
                )
            self._clocks.append((BarType.from_str(bar_type_of(instrument_id, clock)), bars, clock == path))
        scale = 10.0**spec.price_precision
        half, _, _ = bar_cost_path(
            costs, spec, self.path.open / scale, self.path.close / scale, self.path.volume
        )
        self._half = np.rint(half * scale).astype(np.int64)
        period = BAR_CLOCKS[path] * _NS_PER_MINUTE
        self._open_ns = np.concatenate([self.path.ts_ns[:1] - period, self.path.ts_ns[:-1]])
        self._price = 10 ** (FIXED_PRECISION - spec.price_precision)
        self._size = 10 ** (FIXED_PRECISION - spec.size_precision)

    def objects(self, lo_ns: int, hi_ns: int) -> list[Data]:
        """What happens in the bars that close in (lo_ns, hi_ns], in order."""
        lo, hi = np.searchsorted(self.path.ts_ns, [lo_ns, hi_ns], side="right")
        out: list[Data] = []
        longer = [
            (bar_type, bars, np.searchsorted(bars.ts_ns, [lo_ns, hi_ns], side="right"))
            for bar_type, bars, is_path in self._clocks
            if not is_path
        ]
        places = [int(span[0]) for _, _, span in longer]
        path_type = next(bar_type for bar_type, _, is_path in self._clocks if is_path)
        columns = [column[lo:hi].tolist() for column in (self._open_ns, self._half, *self.path)]
        for opened_ns, half, ts_ns, open_, high, low, close, volume in zip(*columns, strict=True):
            self._quote(out, open_ - half, open_ + half, opened_ns)
            self._quote(out, low - half, high + half, ts_ns)
            self._quote(out, high - half, high + half, ts_ns)
            self._quote(out, low - half, low + half, ts_ns)
            self._quote(out, close - half, close + half, ts_ns)
            out.append(self._bar(path_type, ts_ns, open_, high, low, close, volume))
            for n, (bar_type, bars, span) in enumerate(longer):
                while places[n] < span[1] and bars.ts_ns[places[n]] <= ts_ns:
                    row = [int(column[places[n]]) for column in bars]
                    out.append(self._bar(bar_type, *row))
                    places[n] += 1
        return out

    def _quote(self, out: list[Data], bid: int, ask: int, ts_ns: int) -> None:
        size, precision = _SIZE_UNITS * self._size, self._spec.size_precision
        out.append(
            QuoteTick.from_raw(
                self._id, max(bid, 1) * self._price, ask * self._price, self._spec.price_precision,
                self._spec.price_precision, size, size, precision, precision, ts_ns, ts_ns,
            )
        )  # fmt: skip

    def _bar(self, bar_type: BarType, ts_ns: int, *row: int) -> Bar:
        open_, high, low, close, volume = row
        price = self._price
        return Bar.from_raw(
            bar_type, open_ * price, high * price, low * price, close * price, self._spec.price_precision,
            volume * self._size, self._spec.size_precision, ts_ns, ts_ns,
        )  # fmt: skip


def bar_batches(
    catalog_path: str | os.PathLike[str],
    paths: Mapping[str, str],
    *,
    costs: Mapping[str, BarCosts] | None = None,
    start_ns: int | None = None,
    end_ns: int | None = None,
    chunk_size: int = 100_000,
) -> Iterator[list[Data]]:
    """Yield quotes and bars of several instruments in time order, in lists.

    Parameters
    ----------
    catalog_path : path of the ParquetDataCatalog.
    paths : dict of str to str
        Instrument id to the clock of the bars that orders meet; see `path_clock`. Bars of longer clocks are
        read, or made of these where none are stored.
    costs : dict of str to BarCosts, optional
        The cost model of an instrument; `DEFAULT_BAR_COSTS` where it has none.
    start_ns, end_ns : int, optional
        Closing times; start is included, end is not.
    chunk_size : int
        About how many objects a list holds.

    Raises
    ------
    MarketDataError
        When an instrument or its bars are missing.
    """
    catalog = ParquetDataCatalog(str(catalog_path))
    known = {i.id.value for i in catalog.instruments()}
    for instrument_id in paths:
        if instrument_id not in known:
            raise MarketDataError(
                f"{catalog_path}: no instrument {instrument_id!r}; the catalog defines "
                f"{', '.join(sorted(known)) or 'none'}"
            )
        path_clock(catalog_path, instrument_id, paths[instrument_id])
    models = costs or {}
    series = [
        _Series(catalog, i, path, models.get(i, DEFAULT_BAR_COSTS), start_ns, end_ns)
        for i, path in paths.items()
    ]
    moments = np.unique(np.concatenate([s.path.ts_ns for s in series]))
    if not moments.size:
        return
    step = max(1, chunk_size // (6 * len(series)))
    yield from _stretches(
        series, [int(moments[0]) - 1, *moments[step - 1 :: step].tolist(), int(moments[-1])]
    )


def _stretches(series: Sequence[_Series], edges: Sequence[int]) -> Iterator[list[Data]]:
    for lo_ns, hi_ns in pairwise(edges):
        if hi_ns > lo_ns:
            found = [item for one in series for item in one.objects(lo_ns, hi_ns)]
            # Stable: what one instrument's bar does at one moment stays in its order.
            found.sort(key=_ts_init)
            yield found
