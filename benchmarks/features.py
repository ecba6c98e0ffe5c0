"""Features: events a second over arrays, time of a live update, bars against polars and pandas.

The book is the 96 s of a real perpetual kept with the tests, the bars are its one-minute candles, repeated
end to end. Peers: Nautilus's `OrderBook` (Rust), which keeps a book as the ladder does but computes no
feature, the same bar features as rolling expressions of polars and pandas, and vmdpy. All book features
together are measured beside eight of them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np

from apex_nautilus.features import (
    EVENT,
    FLAG_LAST,
    KIND_CLEAR,
    KIND_LEVEL,
    KIND_TRADE,
    BookFeatures,
    batch_bars,
    batch_book,
    names,
)
from apex_nautilus.features.vmd import ALPHA, TOLERANCE, last_values
from benchmarks.harness import MissingPeer, Row, compare, missing_row, peer_version, require_peer

DATA = Path(__file__).resolve().parents[1] / "tests" / "data" / "features"

EIGHT = (
    "imbalance",
    "pressure",
    "clv",
    "ofi_1",
    "ofi_5",
    "microprice_minus_mid_bps",
    "signed_volume_10s",
    "realised_volatility_10s",
)
BAR_FEATURES = ("bar_return", "true_range", "bar_volatility", "volume_zscore", "range_position")
PRECISION = {"price_precision": 1, "size_precision": 3}


def _events() -> np.ndarray:
    with np.load(DATA / "btcusdt_perp_book.npz") as columns:
        events = np.zeros(len(columns["kind"]), dtype=EVENT)
        for name in columns.files:
            differences = name in ("ts_init_ns", "ts_event_ns", "sequence")
            events[name] = np.cumsum(columns[name]) if differences else columns[name]
    return events


def _bars(n: int) -> list[np.ndarray]:
    with np.load(DATA / "btcusdt_perp_1m.npz") as columns:
        times = columns["close_ns"][0] + 60_000_000_000 * np.arange(n)
        return [times, *(np.resize(columns[c], n) for c in ("open", "high", "low", "close", "volume"))]


def _nautilus_deltas(model: ModuleType, events: np.ndarray, instrument_id: object) -> list[object]:
    """The level changes as Nautilus deltas, one `OrderBookDeltas` a batch."""
    from nautilus_trader.core.rust.model import BookAction, OrderSide  # the pinned engine's own place of them

    batches: list[object] = []
    batch: list[object] = []
    for ts_event, ts_init, price, size, sequence, kind, side, flags in events.tolist():
        if kind == KIND_TRADE:
            continue
        if kind == KIND_CLEAR:
            batch.append(model.OrderBookDelta.clear(instrument_id, sequence, ts_event, ts_init))
            continue
        order = model.BookOrder(
            OrderSide.BUY if side > 0 else OrderSide.SELL,
            model.Price(price / 10, 1),
            model.Quantity(size / 1000, 3),
            0,
        )
        action = BookAction.UPDATE if size else BookAction.DELETE
        batch.append(
            model.OrderBookDelta(instrument_id, action, order, 128 * flags, sequence, ts_event, ts_init)
        )
        if flags & FLAG_LAST:
            batches.append(model.OrderBookDeltas(instrument_id, batch))
            batch = []
    return batches


def _book_rows(events: np.ndarray, repeats: int, wanted: tuple[str, ...]) -> Iterator[Row]:
    work = len(events)
    unit = "events/s"
    name = f"book -> path of 5 levels -> {_count(wanted)} features, over an array"

    def ours() -> object:
        return batch_book(events, wanted, **PRECISION)

    try:
        data = require_peer("nautilus_trader.model.data")
        book_module = require_peer("nautilus_trader.model.book")
        from nautilus_trader.model.enums import BookType
        from nautilus_trader.model.identifiers import InstrumentId
        from nautilus_trader.model.objects import Price, Quantity
    except (MissingPeer, ImportError) as error:
        yield missing_row(name, unit, "nautilus_trader OrderBook", "", str(error))
        return

    model = ModuleType("model")
    model.OrderBookDelta, model.OrderBookDeltas, model.BookOrder = (  # type: ignore[attr-defined]
        data.OrderBookDelta,
        data.OrderBookDeltas,
        data.BookOrder,
    )
    model.Price, model.Quantity = Price, Quantity  # type: ignore[attr-defined]
    instrument_id = InstrumentId.from_str("BTCUSDT-PERP.BINANCE")
    batches = _nautilus_deltas(model, events, instrument_id)

    def theirs() -> object:
        book = book_module.OrderBook(instrument_id, BookType.L2_MBP)
        for deltas in batches:
            book.apply_deltas(deltas)
        return book

    rows, book = ours(), theirs()
    same = (rows.path_bid[-1], rows.path_ask[-1]) == (  # type: ignore[attr-defined]
        book.best_bid_price().as_double(),  # type: ignore[attr-defined]
        book.best_ask_price().as_double(),  # type: ignore[attr-defined]
    )
    yield compare(
        name,
        ours,
        theirs,
        work=work,
        unit=unit,
        peer=peer_version("nautilus_trader") + " OrderBook (book alone, no path, no feature)",
        goal_ratio=None,
        same_work="same touch at the end" if same else "TOUCH DIFFERS",
        repeats=repeats,
    )


def _count(wanted: tuple[str, ...]) -> str:
    return f"all {len(wanted)}" if wanted == names("book") else str(len(wanted))


def _live_machine(events: np.ndarray, wanted: tuple[str, ...]) -> tuple[BookFeatures, np.ndarray]:
    """A machine that has seen the events, and a batch of five level changes around its touch."""
    machine = BookFeatures(wanted, **PRECISION)
    machine.run(events)
    levels = events[events["kind"] == KIND_LEVEL][-5:].copy()
    levels["flags"] = (0, 0, 0, 0, FLAG_LAST)
    # Two batches in turn, so that every update changes five levels and the touch.
    bid, ask = round(machine.bid * 10), round(machine.ask * 10)
    levels["side"] = (1, 1, 1, -1, -1)
    levels["price"] = (bid, bid - 1, bid - 2, ask, ask + 1)
    machine.buffer[:5] = levels
    return machine, levels


def _full_set_row(events: np.ndarray, repeats: int, calls: int) -> Row:
    """One live update with every book feature, beside one with eight."""
    medians = []
    for wanted in (names("book"), EIGHT):
        machine, _ = _live_machine(events, wanted)
        took = np.empty((repeats, calls))
        for k in range(calls * repeats):
            start = time.perf_counter_ns()
            machine.apply_buffer(5)
            took[k // calls, k % calls] = time.perf_counter_ns() - start
        medians.append(np.median(took, axis=1))
    every, eight = (float(np.median(m)) for m in medians)
    return Row(
        name=f"live, from Python: 5 deltas (own buffer) -> book -> {_count(names('book'))} features, p50",
        unit="ns",
        ours=every,
        peer="ours, 8 features",
        theirs=eight,
        ratio=eight / every,
        goal="",
        holds=None,
        same_work="more features, the same updates",
        repeats=repeats,
        spread=float((medians[0].max() - medians[0].min()) / every),
    )


def _live_rows(events: np.ndarray, repeats: int, calls: int) -> Iterator[Row]:
    machine, levels = _live_machine(events, EIGHT)
    sizes = np.random.default_rng(0).integers(1, 5_000, (64, 5))

    for label, update in (
        ("live, from Python: 5 deltas (EVENT array) -> book -> 8 features", lambda: machine.apply(levels)),
        ("live, from Python: 5 deltas (own buffer) -> book -> 8 features", lambda: machine.apply_buffer(5)),
    ):
        before = machine.row_count
        took = np.empty((repeats, calls))
        for k in range(calls * repeats):
            if k % 1024 == 0:
                levels["size"] = machine.buffer["size"][:5] = sizes[(k >> 10) & 63]
            start = time.perf_counter_ns()
            update()
            took[k // calls, k % calls] = time.perf_counter_ns() - start
        closed = machine.row_count - before == calls * repeats
        for share, goal in ((50, 1_000.0), (99, 2_500.0)):
            each = np.percentile(took, share, axis=1)
            nanoseconds = float(np.median(each))
            yield Row(
                name=f"{label}, p{share}",
                unit="ns",
                ours=nanoseconds,
                peer="bound",
                theirs=goal,
                ratio=goal / nanoseconds,
                goal=f"<= {goal:.0f} ns",
                holds=nanoseconds <= goal,
                same_work="each update closed a row" if closed else "ROWS MISSING",
                repeats=repeats,
                spread=float((each.max() - each.min()) / nanoseconds),
            )


def _polars_bars(pl: ModuleType, columns: list[np.ndarray]) -> np.ndarray:
    frame = pl.DataFrame(dict(zip(("open", "high", "low", "close", "volume"), columns[1:], strict=True)))
    close, high, low, volume = (pl.col(c) for c in ("close", "high", "low", "volume"))
    previous = close.shift(1)
    ret = (close / previous).log()
    mean = volume.rolling_mean(20)
    highest, lowest = high.rolling_max(20), low.rolling_min(20)
    out = frame.select(
        (ret * 1e4).fill_null(0.0).alias("bar_return"),
        (1e4 * (pl.max_horizontal(high, previous) - pl.min_horizontal(low, previous)) / previous)
        .fill_null(0.0)
        .alias("true_range"),
        (ret.rolling_std(20, ddof=0) * 1e4).fill_null(0.0).alias("bar_volatility"),
        ((volume - mean) / volume.rolling_std(20, ddof=0)).fill_null(0.0).alias("volume_zscore"),
        ((close - lowest) / (highest - lowest)).fill_null(0.5).alias("range_position"),
    )
    return out.to_numpy()


def _pandas_bars(pd: ModuleType, columns: list[np.ndarray]) -> np.ndarray:
    frame = pd.DataFrame(dict(zip(("open", "high", "low", "close", "volume"), columns[1:], strict=True)))
    previous = frame.close.shift()
    ret = np.log(frame.close / previous)
    rolled = frame.volume.rolling(20)
    highest, lowest = frame.high.rolling(20).max(), frame.low.rolling(20).min()
    gap = np.maximum(frame.high, previous) - np.minimum(frame.low, previous)
    out = {
        "bar_return": (ret * 1e4).fillna(0.0),
        "true_range": (1e4 * gap / previous).fillna(0.0),
        "bar_volatility": (ret.rolling(20).std(ddof=0) * 1e4).fillna(0.0),
        "volume_zscore": ((frame.volume - rolled.mean()) / rolled.std(ddof=0)).fillna(0.0),
        "range_position": ((frame.close - lowest) / (highest - lowest)).fillna(0.5),
    }
    return pd.DataFrame(out).to_numpy()


def _bar_rows(n: int, repeats: int) -> Iterator[Row]:
    columns = _bars(n)
    name, unit = "5 bar features, over an array", "bars/s"
    expected = batch_bars(*columns, BAR_FEATURES, "1m").features
    for peer, theirs in (("polars", _polars_bars), ("pandas", _pandas_bars)):
        try:
            module = require_peer(peer)
        except MissingPeer as error:
            yield missing_row(name, unit, peer, "", str(error))
            continue
        got = theirs(module, columns)
        # Their running sums drift by rounding; ours are summed anew in each window.
        same = np.allclose(got[1:], expected[1:], rtol=1e-4, atol=1e-4)
        yield compare(
            name,
            lambda: batch_bars(*columns, BAR_FEATURES, "1m"),
            lambda module=module, theirs=theirs: theirs(module, columns),
            work=n,
            unit=unit,
            peer=peer_version(peer),
            goal_ratio=None,
            same_work="all values within 1e-4" if same else "VALUES DIFFER",
            repeats=repeats,
        )


def _vmd_row(windows: int, repeats: int) -> Row:
    name, unit = "mode decomposition, last values of windows of 64", "windows/s"
    try:
        peer = require_peer("vmdpy")
    except MissingPeer as error:
        return missing_row(name, unit, "vmdpy", "", str(error))
    closes = np.log(_bars(64 * windows)[4]).reshape(windows, 64)
    signals = (closes - closes.mean(axis=1, keepdims=True)) / closes.std(axis=1, keepdims=True)

    def ours(tolerance: float = TOLERANCE, iterations: int = 500) -> np.ndarray:
        return np.array([last_values(s, 3, ALPHA, tolerance, iterations)[:, 0] for s in signals])

    def theirs(tolerance: float = TOLERANCE) -> np.ndarray:
        out = np.empty((windows, 3))
        for k, signal in enumerate(signals):
            modes, _, centres = peer.VMD(signal, ALPHA, 0.0, 3, 0, 1, tolerance)
            out[k] = modes[np.argsort(centres[-1], kind="stable"), -1]
        return out

    # With no tolerance both stop by count, at iterates that can be compared: the peer gives its 498th.
    same = np.allclose(ours(0.0, 498), theirs(0.0), rtol=1e-6, atol=1e-6)
    return compare(
        name,
        ours,
        theirs,
        work=windows,
        unit=unit,
        peer=peer_version("vmdpy"),
        goal_ratio=None,
        same_work="equal to 1e-6 after 498 rounds" if same else "VALUES DIFFER",
        repeats=repeats,
    )


def run(quick: bool) -> Iterator[Row]:
    """Yield the rows of the table."""
    repeats = 5
    events = _events()
    if quick:
        ends = np.flatnonzero(events["flags"] & FLAG_LAST)
        events = events[: ends[len(ends) // 2] + 1]
    for wanted in (EIGHT, names("book")):
        yield from _book_rows(events, repeats, wanted)
    yield from _live_rows(events, repeats, 20_000 if quick else 200_000)
    yield _full_set_row(events, repeats, 20_000 if quick else 200_000)
    yield from _bar_rows(100_000 if quick else 1_000_000, repeats)
    yield _vmd_row(16 if quick else 62, repeats)
