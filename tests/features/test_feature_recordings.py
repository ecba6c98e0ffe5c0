"""Every feature on whole recordings: the same value live and in batch, and nothing of the future."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from apex_nautilus.data import (
    import_binance_capture,
    import_freqtrade,
    load_instrument,
    read_bars,
    read_events,
)
from apex_nautilus.features import (
    FLAG_LAST,
    BarFeatures,
    BookFeatures,
    batch_bars,
    batch_book,
    get,
    names,
    scale,
)

DATA = Path(__file__).resolve().parents[1] / "data"
BOOK, BARS = names("book"), names("bar")
SECOND = 1_000_000_000


def book_of(path: Path, instrument: str, tmp_path: Path):
    """Events of a capture, their precisions, and a way to read them from a later start."""
    catalog = tmp_path / "market"
    import_binance_capture([path], catalog, instrument)
    spec = load_instrument(catalog, instrument)
    precision = {"price_precision": spec.price_precision, "size_precision": spec.size_precision}
    events = np.concatenate(list(read_events(catalog, instrument)))

    def since(start: int) -> np.ndarray:
        return np.concatenate(list(read_events(catalog, instrument, start)))

    return events, precision, since


def check_book(events, precision, since, clock):
    batch = batch_book(events, BOOK, **precision, clock=clock)
    live = BookFeatures(BOOK, **precision, clock=clock)
    rows = []
    start = 0
    for end in (np.flatnonzero(events["flags"] & FLAG_LAST) + 1).tolist():
        if live.apply(events[start:end]):
            rows.append(live.row.copy())
        start = end
    assert np.array(rows).tobytes() == batch.features.tobytes()

    assert np.isfinite(batch.features).all()
    for column, name in enumerate(BOOK):
        spec = get(name)
        values = batch.features[:, column]
        assert spec.low <= values.min() <= values.max() <= spec.high, name
        assert values[batch.warm].std() > 0, f"{name} never moves"

    cut = len(events) // 2
    other = events.copy()
    future = other[cut:]
    rng = np.random.default_rng(9)
    future["price"] += rng.integers(-50, 50, len(future))
    future["size"] = rng.integers(0, 9_999, len(future))
    future["side"] = rng.choice([-1, 1], len(future))
    past = batch_book(events[:cut], BOOK, **precision, clock=clock).features
    assert len(past) > 20
    for stream in (events, other):
        whole = batch_book(stream, BOOK, **precision, clock=clock).features
        assert whole[: len(past)].tobytes() == past.tobytes()

    late = batch_book(since(int(events["ts_init_ns"][0]) + 15 * SECOND), BOOK, **precision, clock=clock)
    n = int(late.warm.sum())
    assert 5 < n < len(batch.ts_ns)
    assert late.ts_ns[-n:].tobytes() == batch.ts_ns[-n:].tobytes()
    assert late.features[-n:].tobytes() == batch.features[-n:].tobytes()


@pytest.mark.parametrize("clock", ["book", "1s"])
@pytest.mark.parametrize("symbol", ["btcusdt", "ethusdt"])
def test_book_features_hold_on_the_excerpts(tmp_path, symbol, clock):
    instrument = f"{symbol.upper()}-PERP.BINANCE"
    check_book(*book_of(DATA / f"{symbol}_usdm_20240808.gz", instrument, tmp_path), clock)


def test_book_features_hold_on_a_whole_capture(tmp_path, shared_data):
    path = shared_data / "binance-capture-2024-08" / "usdm" / "btcusdt_20240808.gz"
    check_book(*book_of(path, "BTCUSDT-PERP.BINANCE", tmp_path), "book")


def check_bars(path: Path, tmp_path: Path, instrument: str, minutes: int):
    catalog = tmp_path / "market"
    import_freqtrade([path], catalog)
    spec = load_instrument(catalog, instrument)
    stored = read_bars(catalog, f"{instrument}-{minutes}-MINUTE-LAST-EXTERNAL")[:10_000]
    units = scale(spec.price_precision)
    columns = [stored["ts_ns"], *(stored[c] / units for c in ("open", "high", "low", "close"))]
    columns.append(stored["volume"] / scale(spec.size_precision))
    clock = f"{minutes}m"
    batch = batch_bars(*columns, BARS, clock)
    live = BarFeatures(BARS, clock)
    rows = []
    for bar in zip(*(c.tolist() for c in columns), strict=True):
        live.apply(*bar)
        rows.append(live.row.copy())
    assert np.array(rows).tobytes() == batch.features.tobytes()
    assert np.isfinite(batch.features).all()
    for column, name in enumerate(BARS):
        spec_of = get(name)
        values = batch.features[:, column]
        assert spec_of.low <= values.min() <= values.max() <= spec_of.high, name
        assert values[batch.warm].std() > 0, f"{name} never moves"
    late = batch_bars(*(c[301:] for c in columns), BARS, clock)
    n = int(late.warm.sum())
    assert 0 < n < len(late.warm)
    assert late.features[-n:].tobytes() == batch.features[-n:].tobytes()
    cut = len(columns[0]) // 2
    assert (
        batch_bars(*(c[:cut] for c in columns), BARS, clock).features.tobytes()
        == batch.features[:cut].tobytes()
    )


@pytest.mark.parametrize("symbol", ["BTC", "ETH"])
def test_bar_features_hold_on_the_candles_of_a_crash(tmp_path, symbol):
    check_bars(DATA / f"{symbol}_USDT_USDT-5m-futures.feather", tmp_path, f"{symbol}USDT-PERP.BINANCE", 5)


@pytest.mark.parametrize("symbol", ["BTC", "ADA"])
def test_bar_features_hold_on_a_week_of_minutes(tmp_path, shared_data, symbol):
    path = shared_data / "perp-candles-2025" / f"{symbol}_USDT_USDT-1m-futures.feather"
    check_bars(path, tmp_path, f"{symbol}USDT-PERP.BINANCE", 1)
