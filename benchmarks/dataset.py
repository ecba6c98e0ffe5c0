"""Datasets: reading a catalog through, building rows out of it, and labels over long holding times.

The catalog is the recording of a real perpetual kept with the tests. Peers: Nautilus reading the same files
and keeping its `OrderBook` (Rust) by them, the least that an inspection has to do; and, as no library labels
rows on a path of books, a plain compiled walk from each row to its first touch.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numba import njit

from apex_nautilus.data import Bracket, build_dataset, import_binance_capture, inspect_catalog
from apex_nautilus.data.labels import book_prices, label_blocks
from apex_nautilus.risk import InstrumentSpec
from benchmarks.harness import Row, compare, peer_version

__all__ = ["run"]

CAPTURE = Path(__file__).resolve().parents[1] / "tests" / "data" / "btcusdt_usdm_20240808.gz"
BTC = "BTCUSDT-PERP.BINANCE"
SPEC = InstrumentSpec(
    id="X.Y", base="X", quote="Y", price_precision=1, size_precision=0, tick=0.1, lot=1.0, maker_fee=0.0,
    taker_fee=0.0,
)  # fmt: skip


def run(quick: bool) -> Iterator[Row]:
    """Yield the rows of this benchmark; `quick` takes fewer repeats and a shorter path."""
    with tempfile.TemporaryDirectory() as folder:
        yield from _catalog_rows(Path(folder), repeats=3 if quick else 5)
    yield _label_row(200_000 if quick else 2_000_000, repeats=3 if quick else 5)


def _catalog_rows(folder: Path, repeats: int) -> Iterator[Row]:
    from nautilus_trader.model.book import OrderBook
    from nautilus_trader.model.enums import BookType, RecordFlag
    from nautilus_trader.model.identifiers import InstrumentId
    from nautilus_trader.persistence.catalog import ParquetDataCatalog

    catalog = folder / "market"
    import_binance_capture([CAPTURE], catalog, BTC)
    found: dict[str, tuple[int, int, int]] = {}
    instrument = InstrumentId.from_str(BTC)

    def inspected() -> None:
        (stream,) = inspect_catalog(catalog, timeline=True).streams
        found["ours"] = (stream.batches, round(stream.crossed * stream.batches), stream.trades)

    def theirs() -> None:
        source = ParquetDataCatalog(str(catalog))
        book = OrderBook(instrument, BookType.L2_MBP)
        batches = crossed = 0
        for delta in source.order_book_deltas([BTC]):
            book.apply_delta(delta)
            if delta.flags & RecordFlag.F_LAST:
                batches += 1
                bid, ask = book.best_bid_price(), book.best_ask_price()
                crossed += bid is not None and ask is not None and bid > ask
        found["theirs"] = (batches, crossed, len(source.trade_ticks([BTC])))

    inspected()
    (stream,) = inspect_catalog(catalog).streams
    events = stream.levels + stream.clears + stream.trades
    row = compare(
        "inspect: a catalog read through, all its figures",
        inspected,
        theirs,
        work=events,
        unit="events/s",
        peer=f"{peer_version('nautilus_trader')}: catalog, OrderBook, crossed books",
        goal_ratio=None,
        same_work="batches, crossed books and trades counted alike",
        repeats=repeats,
    )
    _must_be_equal(found["ours"], found["theirs"])
    yield row

    def built() -> None:
        data = build_dataset(catalog, BTC, "book", ["imbalance", "ofi_5"], folder / "dataset", depth=10)
        found["books"] = (int(data.path_ts_ns.size), 0, data.card.counts["trades"])

    row = compare(
        "dataset: catalog to rows of 2 features, path of 10 levels, on disk",
        built,
        theirs,
        work=events,
        unit="events/s",
        peer=f"{peer_version('nautilus_trader')}: catalog, OrderBook, crossed books",
        goal_ratio=None,
        same_work="books and trades of the same number; the peer computes and writes nothing",
        repeats=repeats,
    )
    # The book that the first batch clears is not a whole one.
    _must_be_equal(found["books"], (found["theirs"][0] - found["theirs"][1], 0, found["theirs"][2]), 1)
    yield row


@njit
def _walk(row_event, ts, bid, ask, stop_bps, reward_risk, max_hold, tick, code, exits):
    """From each row entry by entry to the first touch; barriers on the tick, away from the entry."""
    for i in range(row_event.shape[0]):
        start = row_event[i]
        for column in range(2):
            side = 1 if column == 0 else -1
            touch = ask[start] if side > 0 else bid[start]
            distance = touch * stop_bps / 1e4
            up = np.ceil((touch + (reward_risk if side > 0 else 1.0) * distance) / tick - 1e-9) * tick
            down = np.floor((touch - (1.0 if side > 0 else reward_risk) * distance) / tick + 1e-9) * tick
            code[i, column] = 4
            for e in range(start + 1, ts.shape[0]):
                price = bid[e] if side > 0 else ask[e]
                over, under = price >= up - 1e-9, price <= down + 1e-9
                if over or under:
                    code[i, column] = 1 if over == (side > 0) else 2
                elif ts[e] >= ts[start] + max_hold:
                    code[i, column] = 3
                else:
                    continue
                exits[i, column] = e
                break


def _label_row(n: int, repeats: int) -> Row:
    rng = np.random.default_rng(7)
    ts = np.arange(n, dtype=np.int64) * 50_000_000
    units = 600_000 + np.cumsum(rng.integers(-1, 2, n))
    bid, ask = units / 10, (units + 1) / 10
    row_event = np.arange(0, n, 20, dtype=np.int64)
    mid = 0.5 * (bid + ask)[row_event]
    bracket = Bracket("bps", 10.0, 3_600_000_000_000)
    code = np.empty((row_event.size, 2), dtype=np.uint8)
    exits = np.full((row_event.size, 2), -1, dtype=np.int64)
    found = {}

    def ours() -> None:
        blocks = label_blocks(
            bracket, SPEC, (0, row_event.size), row_event=row_event, path_ts_ns=ts, mid=mid,
            prices=book_prices(bid, ask), bars=False,
        )  # fmt: skip
        found["labels"] = np.concatenate(list(blocks))

    def theirs() -> None:
        exits[:] = -1
        _walk(row_event, ts, bid, ask, 10.0, 3.0, bracket.max_hold_ns, SPEC.tick, code, exits)

    row = compare(
        "labels: both sides, an hour of 72,000 books at most",
        ours,
        theirs,
        work=float(row_event.size),
        unit="rows/s",
        peer="a walk entry by entry, numba",
        goal_ratio=None,
        same_work="outcome and exit of every row and side equal",
        repeats=repeats,
    )
    labels = found["labels"]
    if not (np.array_equal(labels["code"], code) and np.array_equal(labels["exit_event"], exits)):
        raise RuntimeError("labels and the walk disagree")
    return row


def _must_be_equal(ours: tuple, theirs: tuple, slack: int = 0) -> None:
    if any(abs(a - b) > slack for a, b in zip(ours, theirs, strict=True)):
        raise RuntimeError(f"not the same work: {ours} and {theirs}")
