"""Whole books, one after the other: the catalog's book is each recorded one, level by level."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from apex_nautilus.data import DataError, ImportRefused, read_events
from apex_nautilus.data.importers.lob1000 import import_lob1000
from apex_nautilus.data.ladder import Ladder
from apex_nautilus.features import FLAG_LAST, KIND_CLEAR, KIND_TRADE, NO_ASK, NO_BID

PERP = "BTCUSDT-PERP.BINANCE"
START_MS = 1_771_214_400_000
Side = list[tuple[float, float]]


def book(i: int, bids: Side, asks: Side, **other) -> dict:
    """The i-th recorded book; `other` overrides a column."""
    row = {
        "ts_ms": START_MS + 100 * i,
        "exch_ts_ms": START_MS + 100 * i - 50,
        "venue": "Binance",
        "market_type": "fut",
        "symbol": "BTCUSDT",
        "seq": 1000 + 7 * i,
        "best_bid": bids[0][0] if bids else None,
        "best_ask": asks[0][0] if asks else None,
    }
    for name, side in (("bids", bids), ("asks", asks)):
        row[f"{name}_px"], row[f"{name}_qty"] = [p for p, _ in side], [q for _, q in side]
    return row | other


def trade(i: int, number: int, price: float = 100.1, size: float = 0.5, side: str = "buy", **other) -> dict:
    row = {"ts_ms": START_MS + 100 * i + 30, "exch_ts_ms": START_MS + 100 * i, "venue": "Binance"}
    row |= {"market_type": "fut", "symbol": "BTCUSDT", "trade_id": str(number)}
    return row | {"price": price, "qty": size, "side": side} | other


def parquet(path: Path, rows: list[dict]) -> Path:
    pl.DataFrame(rows, infer_schema_length=None).write_parquet(path)
    return path


def walk(events: np.ndarray):
    """Yield (batch, ladder after it), checking that no prefix of a batch shows a touch that never was."""
    ladder = Ladder()
    start = 0
    for end in np.flatnonzero(events["flags"] & FLAG_LAST) + 1:
        batch = events[start:end]
        before = ladder.bid[0], ladder.ask[0]
        seen = []
        for event in batch:
            ladder.apply(event.reshape(1))
            seen.append((ladder.bid[0], ladder.ask[0]))
        if batch["kind"][0] != KIND_CLEAR:
            after = seen[-1]
            assert all(bid < ask for bid, ask in seen)
            assert all(b in (before[0], after[0]) and a in (before[1], after[1]) for b, a in seen)
        yield batch, ladder
        start = end


def stored(catalog: Path, instrument: str) -> tuple[np.ndarray, np.ndarray]:
    events = np.concatenate(list(read_events(catalog, instrument)))
    is_trade = events["kind"] == KIND_TRADE
    return events[~is_trade], events[is_trade]


@pytest.mark.parametrize(
    ("market", "instrument", "places"), [("fut", PERP, (1, 3)), ("spot", "BTCUSDT.BINANCE", (2, 8))]
)
def test_the_rebuilt_book_is_every_recorded_one(market, instrument, places, shared_data, tmp_path):
    folder = shared_data / "binance-lob1000-2026-02"
    paths = [folder / f"{kind}_btc_{market}_2026-02-16_04.parquet" for kind in ("trades", "lobdeep")]
    (report,) = import_lob1000(paths, tmp_path)
    assert report.refused == {}
    assert report.kept["book"] == report.touch.equal_touches == 2559
    assert report.noted["book_repeated"] == 2
    books, trades = stored(tmp_path, instrument)
    assert trades.size == report.kept["trade"] == pl.read_parquet(paths[0]).height

    recorded = pl.read_parquet(paths[1]).unique("seq", keep="first", maintain_order=True)
    by_id = {row["seq"]: row for row in recorded.iter_rows(named=True)}
    # Every batch is checked for its prefixes in one stretch, and every single book against the recording.
    ladder, checked = Ladder(), 0
    start = 0
    for end in np.flatnonzero(books["flags"] & FLAG_LAST) + 1:
        ladder.apply(books[start:end])
        row = by_id[int(books["sequence"][start])]
        for mine, name in ((ladder.bids(2000), "bids"), (ladder.asks(2000), "asks")):
            prices = np.rint(np.array(row[f"{name}_px"]) * 10.0 ** places[0])
            sizes = np.rint(np.array(row[f"{name}_qty"]) * 10.0 ** places[1])
            assert (mine == np.column_stack([prices, sizes])).all()
        checked += 1
        start = end
    assert checked == report.written["batches"] > 2_400
    stretch = books[: int(np.flatnonzero(books["flags"] & FLAG_LAST)[100]) + 1]
    assert sum(1 for _ in walk(stretch)) == 101


BOOKS = [
    book(0, [(100.0, 1.0), (99.9, 2.0)], [(100.1, 1.0), (100.2, 3.0)]),
    book(1, [(100.0, 1.5), (99.9, 2.0)], [(100.1, 1.0), (100.2, 3.0)]),
    book(2, [(99.8, 1.0), (99.7, 2.0)], [(99.9, 4.0), (100.2, 3.0)]),  # the touch falls through
    book(3, [(100.3, 1.0), (100.2, 2.0)], [(100.4, 4.0), (100.5, 3.0)]),  # and jumps above the old ask
]


def test_books_become_the_changes_between_them(tmp_path):
    paths = [
        parquet(tmp_path / "books.parquet", BOOKS),
        parquet(tmp_path / "trades.parquet", [trade(0, 5), trade(1, 7, 100.0, 0.25, "sell")]),
    ]
    (report,) = import_lob1000(paths, tmp_path / "c")
    assert report.kept == {"book": 4, "trade": 2}
    assert report.noted == {"trade_ids_missing": 1}
    books, trades = stored(tmp_path / "c", PERP)
    assert [(int(t["price"]), int(t["size"]), int(t["side"])) for t in trades] == [
        (1001, 500, 1),
        (1000, 250, -1),
    ]
    batches = [(len(batch), ladder.bid, ladder.ask) for batch, ladder in walk(books)]
    assert batches == [
        (5, (1000, 1000), (1001, 1000)),
        (1, (1000, 1500), (1001, 1000)),
        (6, (998, 1000), (999, 4000)),
        (8, (1003, 1000), (1004, 4000)),
    ]
    assert (books["ts_event_ns"] + 50_000_000 == books["ts_init_ns"]).all()
    assert set(books["sequence"].tolist()) == {1000, 1007, 1014, 1021}


@pytest.mark.parametrize(
    ("reason", "bad"),
    [
        ("crossed_book", book(2, [(100.3, 1.0)], [(100.3, 1.0)])),
        ("non_positive_price", book(2, [(0.0, 1.0)], [(100.3, 1.0)])),
        ("negative_size", book(2, [(100.0, -1.0)], [(100.3, 1.0)])),
        ("off_grid", book(2, [(100.04, 1.0)], [(100.3, 1.0)])),
        ("bad_row", book(2, [], [(100.3, 1.0)])),
        ("bad_row", book(2, [(99.0, 1.0), (100.0, 1.0)], [(100.3, 1.0)])),
        ("bad_row", book(2, [(100.0, 1.0)], [(100.3, 1.0)], bids_qty=[1.0, 2.0])),
        ("bad_row", book(2, [(100.0, 1.0)], [(100.3, 1.0)], ts_ms=-5)),
        ("wrong_symbol", book(2, [(100.0, 1.0)], [(100.3, 1.0)], symbol="ETHUSDT")),
        ("wrong_symbol", book(2, [(100.0, 1.0)], [(100.3, 1.0)], market_type="spot")),
        ("time_backwards", book(2, [(100.0, 1.0)], [(100.3, 1.0)], ts_ms=START_MS)),
        ("sequence_break", book(2, [(100.0, 1.0)], [(100.3, 1.0)], seq=3)),
    ],
)
def test_a_bad_book_is_refused_and_nobody_trades_until_the_next_good_one(reason, bad, tmp_path):
    path = parquet(tmp_path / "books.parquet", [*BOOKS[:2], bad, BOOKS[3]])
    with pytest.raises(ImportRefused, match=rf"books.parquet:3: {reason}"):
        import_lob1000([path], tmp_path / "c")
    assert not list((tmp_path / "c").rglob("*.parquet"))
    (report,) = import_lob1000([path], tmp_path / "c", max_bad_share=1.0)
    assert report.refused == {reason: 1}
    books, _ = stored(tmp_path / "c", PERP)
    touches = [(ladder.bid[0], ladder.ask[0]) for _, ladder in walk(books)]
    assert touches == [(1000, 1001), (1000, 1001), (NO_BID, NO_ASK), (1003, 1004)]


@pytest.mark.parametrize(
    ("reason", "bad"),
    [
        ("non_positive_price", trade(1, 6, 0.0)),
        ("negative_size", trade(1, 6, 100.1, -0.5)),
        ("off_grid", trade(1, 6, 100.15)),
        ("duplicate", trade(1, 5)),
        ("bad_row", trade(1, 6, side="?")),
        ("bad_row", trade(1, 6, trade_id="x6")),
        ("time_backwards", trade(-1, 6)),
        ("wrong_symbol", trade(1, 6, symbol="ETHUSDT")),
    ],
)
def test_a_bad_trade_is_refused_with_its_place(reason, bad, tmp_path):
    paths = [
        parquet(tmp_path / "books.parquet", BOOKS),
        parquet(tmp_path / "trades.parquet", [trade(0, 5), bad, trade(2, 7)]),
    ]
    (report,) = import_lob1000(paths, tmp_path / "c", max_bad_share=1.0)
    assert report.refused == {reason: 1}
    assert report.examples[0].startswith(f"trades.parquet:2: {reason}: ")
    assert stored(tmp_path / "c", PERP)[1]["sequence"].tolist() == [5, 7]


def test_files_are_sorted_out_by_what_they_hold(tmp_path):
    spot = {"market_type": "spot"}
    rows = [book(i, [(100.0 + i, 1.0)], [(101.0 + i, 1.0)], **spot) for i in range(3)]
    paths = [
        parquet(tmp_path / "b.parquet", [trade(0, 5, **spot)]),
        parquet(tmp_path / "a.parquet", rows),
        parquet(tmp_path / "c.parquet", BOOKS),
    ]
    reports = import_lob1000(paths, tmp_path / "market")
    assert [(r.instrument_id, r.kept) for r in reports] == [
        (PERP, {"book": 4}),
        ("BTCUSDT.BINANCE", {"trade": 1, "book": 3}),
    ]
    (report,) = import_lob1000(paths, tmp_path / "other", "BTCUSDT.BINANCE")
    assert report.instrument_id == "BTCUSDT.BINANCE"
    with pytest.raises(ImportRefused, match=r"ETHUSDT\.BINANCE is not in the files"):
        import_lob1000(paths, tmp_path / "other", "ETHUSDT.BINANCE")


def test_an_unknown_symbol_takes_its_steps_from_the_data(tmp_path):
    rows = [book(i, [(1.25 + i, 10.0)], [(2.5 + i, 0.5)], symbol="NOPEUSDT") for i in range(2)]
    (report,) = import_lob1000([parquet(tmp_path / "b.parquet", rows)], tmp_path / "c")
    assert report.noted["instrument_inferred"] == 1
    assert report.kept == {"book": 2}


def test_what_cannot_be_read_is_named(tmp_path):
    text = tmp_path / "x.parquet"
    text.write_bytes(b"PAR1 no PAR1")
    with pytest.raises(ImportRefused, match=r"x\.parquet: not a parquet file"):
        import_lob1000([text], tmp_path / "c")
    other = parquet(tmp_path / "y.parquet", [{"a": 1}])
    with pytest.raises(ImportRefused, match=r"neither books .* its columns are a"):
        import_lob1000([other], tmp_path / "c")
    bybit = parquet(tmp_path / "z.parquet", [book(0, [(1.0, 1.0)], [(2.0, 1.0)], venue="Bybit")])
    with pytest.raises(ImportRefused, match="of 'Bybit'"):
        import_lob1000([bybit], tmp_path / "c")
    whole = parquet(tmp_path / "w.parquet", BOOKS)
    whole.write_bytes(whole.read_bytes()[:-200])
    with pytest.raises(DataError, match=r"w\.parquet"):
        import_lob1000([whole], tmp_path / "c")
    assert not (tmp_path / "c").exists()
