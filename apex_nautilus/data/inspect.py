"""What a catalog holds, and whether it can be trusted: spans, counts, gaps, crossed books, duplicates,
clock skew."""

from __future__ import annotations

import os

import msgspec
import numpy as np

from apex_nautilus.data.bars import minutes_of
from apex_nautilus.data.catalog import (
    bar_types,
    data_files,
    instrument_ids,
    load_instrument,
    read_bars,
    read_events,
)
from apex_nautilus.data.errors import DataError
from apex_nautilus.data.importers.reports_kept import kept_reports
from apex_nautilus.data.ladder import Ladder
from apex_nautilus.features import EVENT, KIND_CLEAR, KIND_TRADE, NO_ASK, NO_BID

__all__ = ["BarsSummary", "CatalogSummary", "StreamSummary", "inspect_catalog"]

_SAME_TRADE = ("sequence", "ts_event_ns", "price", "size", "side")


class StreamSummary(msgspec.Struct, kw_only=True):
    """The book and trades of one instrument.

    Attributes
    ----------
    span_ns : receive times of the first and last event.
    levels, batches, trades : counts of level changes, book batches, trades.
    clears : how often the book was emptied (each but a first one is a loss of the book).
    gaps, longest_gap_s : silences longer than the limit asked for, and the longest silence of all.
    crossed, locked, one_sided : shares of batches after which bid > ask, bid = ask, or a side is empty.
    duplicate_trades : trades that repeat the one before, id, time, price and size.
    event_time_backwards : events whose venue time lies before that of an earlier event of their kind.
    skew_ms : least, mean and largest receive time minus venue time; negative when the recorder's clock is
    behind. refused : rows that the imports refused, by reason.
    """

    instrument_id: str
    span_ns: tuple[int, int]
    levels: int
    batches: int
    trades: int
    clears: int
    gaps: int
    longest_gap_s: float
    crossed: float
    locked: float
    one_sided: float
    duplicate_trades: int
    event_time_backwards: int
    skew_ms: tuple[float, float, float]
    refused: dict[str, int]


class BarsSummary(msgspec.Struct, kw_only=True):
    """One series of bars: `missing` counts the holes in bars, `refused` what the imports refused."""

    bar_type: str
    span_ns: tuple[int, int]
    bars: int
    missing: int


class CatalogSummary(msgspec.Struct):
    """All a catalog holds."""

    streams: list[StreamSummary]
    bars: list[BarsSummary]


def _stream(catalog_path: str | os.PathLike[str], instrument_id: str, gap_s: float) -> StreamSummary:
    ladder = Ladder()
    first = last = 0
    levels = batches = trades = clears = gaps = crossed = locked = one_sided = duplicates = backwards = 0
    longest = 0
    newest = {False: -1, True: -1}  # venue time, of book events and of trades
    last_trade = np.empty(0, dtype=EVENT)
    total, least, most, count = 0.0, np.inf, -np.inf, 0
    for chunk in read_events(catalog_path, instrument_id):
        ts = chunk["ts_init_ns"]
        silences = np.diff(ts, prepend=last or ts[0])
        first, last = first or int(ts[0]), int(ts[-1])
        gaps += int((silences > gap_s * 1e9).sum())
        longest = max(longest, int(silences.max()))
        is_trade = chunk["kind"] == KIND_TRADE
        skew = (ts - chunk["ts_event_ns"])[chunk["ts_event_ns"] > 0] / 1e6
        if skew.size:
            total, count = total + float(skew.sum()), count + skew.size
            least, most = min(least, float(skew.min())), max(most, float(skew.max()))
        for kind in (False, True):
            times = chunk["ts_event_ns"][is_trade == kind]
            if times.size:
                peaks = np.maximum.accumulate(np.concatenate([[newest[kind]], times]))
                backwards += int((times < peaks[:-1]).sum())
                newest[kind] = int(peaks[-1])
        deals = np.concatenate([last_trade, chunk[is_trade]])
        duplicates += int(np.all([deals[f][1:] == deals[f][:-1] for f in _SAME_TRADE], axis=0).sum())
        trades += deals.size - last_trade.size
        last_trade = deals[-1:]
        book = chunk[~is_trade]
        clears += int((book["kind"] == KIND_CLEAR).sum())
        levels += int((book["kind"] != KIND_CLEAR).sum())
        touches = ladder.apply(book)
        bid, ask = touches[:, 2], touches[:, 3]
        empty = (bid == NO_BID) | (ask == NO_ASK)
        batches += bid.size
        one_sided += int(empty.sum())
        crossed += int((~empty & (bid > ask)).sum())
        locked += int((~empty & (bid == ask)).sum())
    refused: dict[str, int] = {}
    for report in kept_reports(catalog_path, instrument_id):
        for reason, n in report.refused.items():
            refused[reason] = refused.get(reason, 0) + n
    share = 1.0 / max(batches, 1)
    return StreamSummary(
        instrument_id=instrument_id,
        span_ns=(first, last),
        levels=levels,
        batches=batches,
        trades=trades,
        clears=clears,
        gaps=gaps,
        longest_gap_s=longest / 1e9,
        crossed=crossed * share,
        locked=locked * share,
        one_sided=one_sided * share,
        duplicate_trades=duplicates,
        event_time_backwards=backwards,
        skew_ms=(least, total / count, most) if count else (0.0, 0.0, 0.0),
        refused=refused,
    )


def _bars(catalog_path: str | os.PathLike[str], bar_type: str) -> BarsSummary:
    bars = read_bars(catalog_path, bar_type)
    minutes = minutes_of(bar_type)
    steps = np.diff(bars["ts_ns"]) // (minutes * 60_000_000_000) if minutes else np.ones(0, dtype=np.int64)
    return BarsSummary(
        bar_type=bar_type,
        span_ns=(int(bars["ts_ns"][0]), int(bars["ts_ns"][-1])) if bars.size else (0, 0),
        bars=bars.size,
        missing=int((steps - 1).sum()),
    )


def inspect_catalog(
    catalog_path: str | os.PathLike[str], instrument_id: str | None = None, *, gap_s: float = 5.0
) -> CatalogSummary:
    """Read a catalog through and summarise it.

    Parameters
    ----------
    instrument_id : one instrument, all when left out.
    gap_s : silence that counts as a gap, seconds.

    Raises
    ------
    DataError
        When there is no catalog, or it does not define the instrument.
    """
    if not gap_s > 0:
        raise DataError(f"gap_s must be positive, got {gap_s!r}")
    if instrument_id is not None:
        load_instrument(catalog_path, instrument_id)
    ids = [instrument_id] if instrument_id is not None else instrument_ids(catalog_path)
    summary = CatalogSummary(streams=[], bars=[])
    for name in ids:
        if any(data_files(catalog_path, folder, name) for folder in ("order_book_deltas", "trade_tick")):
            summary.streams.append(_stream(catalog_path, name, gap_s))
        summary.bars.extend(_bars(catalog_path, bar_type) for bar_type in bar_types(catalog_path, name))
    return summary
