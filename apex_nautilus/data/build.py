"""Datasets out of the catalog: book clocks from deltas and trades, bar clocks from bars."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from apex_nautilus.data.bars import MINUTES, minutes_of, resample
from apex_nautilus.data.book_rows import BookRowsBuilder, EventDigest, definitions_of
from apex_nautilus.data.catalog import bar_types, data_files, load_instrument
from apex_nautilus.data.catalog_reader import read_bars, read_events
from apex_nautilus.data.dataset import BOOK_CLOCKS, DEPTH, Dataset, DatasetCard, DatasetWriter
from apex_nautilus.data.errors import DatasetError
from apex_nautilus.data.external_columns import ExternalColumns
from apex_nautilus.data.nautilus_tables import BARS
from apex_nautilus.features import batch_bars, scale
from apex_nautilus.risk import BarCosts, InstrumentSpec, bar_cost_path

__all__ = ["DEFAULT_HALF_SPREAD_BPS", "BuildProgress", "build_dataset", "dataset_from_bars"]

DEFAULT_HALF_SPREAD_BPS = 0.5
"""Wide for the largest perpetuals (recorded half spreads of BTCUSDT and ETHUSDT are 0.01 to 0.02 bps, one
tick), about right for the smaller ones, whose tick is 1 bp or so."""


class BuildProgress(NamedTuple):
    """How far a build has come: `done` of about `total` events read, and the rows that came of them."""

    done: int
    total: int
    rows: int


def build_dataset(
    catalog_path: str | os.PathLike[str],
    instrument_id: str,
    clock: str,
    feature_names: Sequence[str],
    out_dir: str | os.PathLike[str],
    start: int | None = None,
    end: int | None = None,
    *,
    conflate_ms: int = 0,
    half_spread_bps: float = DEFAULT_HALF_SPREAD_BPS,
    bar_costs: BarCosts | None = None,
    depth: int = DEPTH,
    progress: Callable[[BuildProgress], None] | None = None,
) -> Dataset:
    """Build a dataset folder from a catalog and open it.

    The book clocks read deltas and trades chunk by chunk, so memory stays flat. The bar clocks read the
    bars of the clock's length, or make them from shorter ones; the path is the shortest bars stored that
    divide the clock. Bars are held in memory: ten years of minutes are half a gigabyte.

    A build that is interrupted, or killed, leaves the dataset that was there, or none; run again, it starts
    clean.

    Parameters
    ----------
    clock : {"book", "1s", "1m", "5m", "15m"}
    feature_names : columns in order: book features for the first two clocks, bar features for the others,
        and names of external series of the catalog
    out_dir : folder to write; a dataset already there is replaced
    start, end : receive times in nanoseconds (of bars: closing times), start included, end not
    conflate_ms : least time between two rows of the book clock
    half_spread_bps : modelled half spread of bars; not read where there is a cost model
    bar_costs : cost model of bars of the path's length; see `apex_nautilus.risk.BarCosts`
    depth : levels kept in a path of books, 5 or 10
    progress : called after each chunk of a book's events

    Raises
    ------
    DatasetError, DataError, FeatureError
        When the data, the clock or a feature is not there; the message says what is.
    """
    names = tuple(feature_names)
    source = f"catalog {Path(catalog_path).resolve().name}"
    instrument = load_instrument(catalog_path, instrument_id)
    external = ExternalColumns.of_catalog(catalog_path, instrument_id, names)
    if clock in BOOK_CLOCKS:
        builder = BookRowsBuilder(instrument, clock, names, conflate_ms, depth=depth, external=external)
        total = _stored_events(catalog_path, instrument_id, start, end) if progress is not None else 0
        with DatasetWriter(out_dir, len(names), depth=depth) as writer:
            for events in read_events(catalog_path, instrument_id, start, end):
                writer.append(builder.add(events))
                if progress is not None:
                    progress(BuildProgress(builder.events, max(total, builder.events), writer.rows))
            writer.commit(builder.card(source))
        return Dataset.open(out_dir)
    if clock not in MINUTES:
        raise DatasetError(f"clock {clock!r} is not one of {', '.join((*BOOK_CLOCKS, *MINUTES))}")
    minutes = MINUTES[clock]
    stored = {
        m: t for t in bar_types(catalog_path, instrument_id) if (m := minutes_of(t)) and minutes % m == 0
    }
    if not stored:
        raise DatasetError(
            f"{catalog_path}: no bars of {instrument_id} that a clock of {clock} could use; stored are "
            f"{', '.join(bar_types(catalog_path, instrument_id)) or 'none'}. Import candles first"
        )
    if minutes in stored:
        named = stored[minutes]
        rows = read_bars(catalog_path, named, start, end)
    else:
        named = f"{minutes} minutes of {stored[min(stored)]}"
        fine = read_bars(catalog_path, stored[min(stored)], start, end)
        rows = resample(fine, min(stored), minutes)
    path, path_name = rows, named
    for length in sorted(stored):
        candidate = read_bars(catalog_path, stored[length], start, end)
        if _covers(candidate, length, rows, minutes):
            path, path_name = candidate, stored[length]
            break
    dataset = dataset_from_bars(
        rows, instrument, clock, names, path=path, half_spread_bps=half_spread_bps, bar_costs=bar_costs,
        source=f"{source}: {named}, path {path_name}", external=external,
    )  # fmt: skip
    return dataset.save(out_dir)


def _stored_events(
    catalog_path: str | os.PathLike[str], instrument_id: str, start: int | None, end: int | None
) -> int:
    """Events in the files that reach into a span, by what the files say of themselves."""
    total = 0
    for folder in ("order_book_deltas", "trade_tick"):
        for path, first, last in data_files(catalog_path, folder, instrument_id):
            if (start is None or last >= start) and (end is None or first < end):
                try:
                    total += pq.read_metadata(path).num_rows
                except (pa.ArrowException, OSError):
                    continue  # reading it will say what is wrong with it
    return total


def _covers(path: np.ndarray, length: int, rows: np.ndarray, minutes: int) -> bool:
    """Whether bars of `length` minutes run through the whole span of `rows`, bar for bar."""
    if path.size == 0 or rows.size == 0:
        return False
    lo, hi = np.searchsorted(path["ts_ns"], [rows["ts_ns"][0], rows["ts_ns"][-1]], side="left")
    ends = hi < path.size and path["ts_ns"][lo] == rows["ts_ns"][0] and path["ts_ns"][hi] == rows["ts_ns"][-1]
    return bool(ends) and (hi - lo) * length >= 0.99 * (rows.size - 1) * minutes


def dataset_from_bars(
    bars: np.ndarray,
    instrument: InstrumentSpec,
    clock: str,
    feature_names: Sequence[str],
    *,
    path: np.ndarray | None = None,
    half_spread_bps: float = DEFAULT_HALF_SPREAD_BPS,
    bar_costs: BarCosts | None = None,
    source: str = "bars",
    external: ExternalColumns | None = None,
) -> Dataset:
    """Build a dataset in memory from closed bars.

    Parameters
    ----------
    bars : ndarray of BARS
        One row each.
    path : ndarray of BARS, optional
        Shorter bars to trade on; `bars` themselves when left out. Rows that no path bar has closed by are
        left out.
    half_spread_bps : float
        Modelled half spread as a share of the close before; up to the next whole tick, so that the touch
        lies on the grid of prices as a real one does.
    bar_costs : BarCosts, optional
        The cost model of bars of the path's length; it has a half spread of its own.
    external : ExternalColumns, optional
        Columns among the names that are joined to the rows.

    Raises
    ------
    DatasetError
        When no row results or the cost model cannot be used.
    """
    names = tuple(feature_names)
    if clock not in MINUTES:
        raise DatasetError(f"clock {clock!r} is not one of bars ({', '.join(MINUTES)})")
    costs = BarCosts(half_spread_bps=half_spread_bps) if bar_costs is None else bar_costs
    walked = bars if path is None else path
    units = scale(instrument.price_precision)
    prices = {name: bars[name] / units for name in ("open", "high", "low", "close")}
    columns = external or ExternalColumns.none(names)
    out = batch_bars(
        bars["ts_ns"], **prices, volume=bars["volume"] / scale(instrument.size_precision),
        names=columns.computed(fallback="bar_return"), clock=clock,
    )  # fmt: skip
    # A row is decided at the last path bar that has closed by its own close.
    at = np.searchsorted(walked["ts_ns"], out.ts_ns, side="right") - 1
    keep = out.warm & (at >= 0)
    if not keep.any():
        raise DatasetError(
            f"{instrument.id}: {bars.size} bars of {clock} gave no row after the features' warm-up; use a "
            f"longer span"
        )
    close = walked["close"] / units
    try:
        half, sigma, volume = bar_cost_path(
            costs, instrument, walked["open"] / units, close, walked["volume"]
        )
    except ValueError as error:
        raise DatasetError(str(error)) from None
    digest = EventDigest(BARS)
    digest.update(bars)
    if path is not None:
        digest.update(path)
    span = (int(bars["ts_ns"][0]), int(bars["ts_ns"][-1]))
    card = DatasetCard(
        id=digest.id(instrument, clock, names, costs, bars.size, definitions_of(names), columns.digests),
        instrument=instrument,
        clock=clock,
        feature_names=names,
        external=columns.names,
        path="bars",
        depth=0,
        half_spread_bps=costs.half_spread_bps,
        bar_costs=bar_costs,
        source=source,
        span_ns=span,
        counts={
            "rows": int(keep.sum()),
            "cold_rows": int((~keep).sum()),
            "path": int(walked.size),
            "bars": int(bars.size),
        },
    )
    at = at[keep]
    return Dataset(
        card=card,
        ts_ns=out.ts_ns[keep],
        features=columns.join(out.ts_ns, out.features)[keep],
        # As the replay counts it: the middle of the modelled touch, not the close itself, whose last bit
        # may differ.
        mid=0.5 * ((close - half)[at] + (close + half)[at]),
        row_event=at,
        path_ts_ns=walked["ts_ns"].copy(),
        path_bid=close - half,
        path_ask=close + half,
        path_depth=np.zeros((walked.size, 4, 0)),
        path_open=walked["open"] / units,
        path_high=walked["high"] / units,
        path_low=walked["low"] / units,
        path_close=close,
        path_half_spread=half,
        path_sigma=None if bar_costs is None else sigma,
        path_volume=None if bar_costs is None else volume,
    )
