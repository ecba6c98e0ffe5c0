"""Rebuilt Binance books: the venue's own best bid and ask as the oracle, lost books, instruments."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
import synthetic_capture as sc

from apex_nautilus.data import (
    DataError,
    Dataset,
    binance_instrument,
    build_dataset,
    import_binance_capture,
    load_instrument,
    read_events,
    to_nautilus_instrument,
)
from apex_nautilus.data.errors import DatasetError
from apex_nautilus.data.importers import BinanceCapture
from apex_nautilus.data.labels import Bracket
from apex_nautilus.data.ladder import Ladder
from apex_nautilus.data.venues.binance import exchange_info_instrument, parse_symbol, raw_symbol
from apex_nautilus.engine.instruments import spec_of
from apex_nautilus.features import KIND_CLEAR, KIND_TRADE
from apex_nautilus.risk import InstrumentSpec

CAPTURES = {
    "BTCUSDT-PERP.BINANCE": ("usdm/btcusdt_20240808.gz",),
    "ETHUSDT-PERP.BINANCE": ("usdm/ethusdt_20240808.gz",),
    "BTCUSD-PERP.BINANCE": ("cm/btcusd_perp_20240808.gz", "cm/btcusd_perp_20240809.gz"),
    "ETHUSD-PERP.BINANCE": ("cm/ethusd_perp_20240808.gz", "cm/ethusd_perp_20240809.gz"),
    "BTCUSDT.BINANCE": ("spot/btcusdt_20240808.gz", "spot/btcusdt_20240809.gz"),
    "ETHUSDT.BINANCE": ("spot/ethusdt_20240808.gz", "spot/ethusdt_20240809.gz"),
}
COIN = "BTCUSD-PERP.BINANCE"


def capture_of(paths, instrument: str, **options) -> tuple[np.ndarray, BinanceCapture]:
    capture = BinanceCapture(binance_instrument(instrument), **({"max_bad_share": 1.0} | options))
    return np.concatenate(list(capture.events(paths))), capture


def book_after(events: np.ndarray) -> np.ndarray:
    """Every level of the book that events leave."""
    ladder = Ladder()
    ladder.apply(events[events["kind"] != KIND_TRADE])
    return ladder.snapshot(0, 0, 0)


@pytest.mark.parametrize("instrument", CAPTURES)
def test_every_recorded_book_has_the_venues_own_touch(instrument, shared_data, tmp_path):
    folder = shared_data / "binance-capture-2024-08"
    paths = [folder / name for name in CAPTURES[instrument]]
    report = import_binance_capture(paths, tmp_path / "catalog", instrument)
    assert report.refused == {}
    assert report.paths == [p.name for p in paths]
    assert report.touch.compared > 6_000
    # On spot BTCUSDT two touches of 6,492 differ: a diff takes the best bid away, the next one brings it
    # back, and the venue sent no ticker in between. Everywhere else all are equal, in price and in size.
    assert report.touch.compared - report.touch.equal_touches == (2 if instrument == "BTCUSDT.BINANCE" else 0)
    assert report.touch.share >= 0.999


def test_the_spot_book_whose_snapshot_is_older_than_a_buffered_diff_is_never_crossed(shared_data):
    path = shared_data / "binance-capture-2024-08" / "spot" / "btcusdt_20240808.gz"
    events, capture = capture_of([path], "BTCUSDT.BINANCE")
    book = events[events["kind"] != KIND_TRADE]
    after = Ladder().apply(book)[:, 2:]
    assert (after[:, 0] < after[:, 1]).all()
    assert len(after) > 3_000
    assert capture.touch.equal_touches == capture.touch.compared
    # The control: without the diff that came before the snapshot and is newer than it, the book is crossed.
    with gzip.open(path, "rb") as file:
        rows = [row.partition(b" ")[2] for row in file]
    snapshot = next(json.loads(r) for r in rows if b'"stream"' not in r)
    first = next(i for i, r in enumerate(rows) if b'"stream"' not in r)
    held = [json.loads(r)["data"] for r in rows[:first] if b"@depth" in r]
    needed = [d for d in held if d["u"] > snapshot["lastUpdateId"]]
    assert [d["U"] <= snapshot["lastUpdateId"] + 1 <= d["u"] for d in needed] == [True]
    naive = Ladder()
    for side, levels in ((1, snapshot["bids"]), (-1, snapshot["asks"])):
        for price, size in levels:
            naive.set(side, round(float(price) * 100), round(float(size) * 10**8))
    crossed = []
    for row in rows[first + 1 :]:
        if b"@depth" in row:
            data = json.loads(row)["data"]
            for side, levels in ((1, data["b"]), (-1, data["a"])):
                for price, size in levels:
                    naive.set(side, round(float(price) * 100), round(float(size) * 10**8))
            crossed.append(naive.bid[0] >= naive.ask[0])
    assert crossed[-1]


def test_a_cut_recording_regains_the_very_same_book(btc_capture, tmp_path):
    """Diffs are taken out, and a snapshot made of the true book stands later on."""
    with gzip.open(btc_capture, "rb") as file:
        rows = file.readlines()
    depth = [i for i, row in enumerate(rows) if b"@depth" in row[:120]]
    gap, there = depth[400:420], depth[600]
    whole, _ = capture_of([btc_capture], "BTCUSDT-PERP.BINANCE")
    message = json.loads(rows[there].partition(b" ")[2])["data"]
    receive = int(rows[there].partition(b" ")[0])
    truth = book_after(whole[(whole["ts_init_ns"] <= receive) & (whole["sequence"] <= message["u"])])[1:]
    levels = {
        side: [[f"{e['price'] / 10:.1f}", f"{e['size'] / 1000:.3f}"] for e in truth[truth["side"] == sign]]
        for side, sign in (("bids", 1), ("asks", -1))
    }
    snapshot = {
        "lastUpdateId": message["u"],
        "E": message["E"],
        "T": message["T"],
        "symbol": "BTCUSDT",
    } | levels
    cut = [row for i, row in enumerate(rows[: there + 1]) if i not in gap]
    cut += [sc.line(receive, snapshot), *rows[there + 1 :]]
    path = sc.write(tmp_path / "cut.gz", cut)

    events, capture = capture_of([path], "BTCUSDT-PERP.BINANCE")
    assert capture.rows.refused["sequence_break"] == 1
    # Diffs 420 to 600 come without forerunner: the first is the break, the last spans the snapshot and is in.
    assert capture.rows.refused["out_of_step"] == 179
    clears = events[events["kind"] == KIND_CLEAR]["ts_init_ns"]
    assert len(clears) == 3  # the first snapshot, the loss, the second snapshot
    for at in [*(int(rows[i].partition(b" ")[0]) for i in depth[601::50]), 2**62]:
        mine, true = (book_after(e[e["ts_init_ns"] <= at]) for e in (events, whole))
        assert (mine == true).all()
    lost = events[(events["ts_init_ns"] > clears[1]) & (events["ts_init_ns"] < clears[2])]
    assert (lost["kind"] == KIND_TRADE).all()  # between them nobody sees a stale book
    assert capture.touch.share == 1.0


def report_of(capture: BinanceCapture) -> bytes:
    return msgspec.json.encode(capture.report(["x"]))


def one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BinanceCapture, "_settle_by_columns", lambda self, run: False)


def test_a_run_settled_by_columns_gives_the_bits_of_one_settled_message_by_message(btc_capture, monkeypatch):
    fast, of_fast = capture_of([btc_capture], "BTCUSDT-PERP.BINANCE")
    one_by_one(monkeypatch)
    slow, of_slow = capture_of([btc_capture], "BTCUSDT-PERP.BINANCE")
    assert fast.size == slow.size
    assert (fast == slow).all()
    assert report_of(of_fast) == report_of(of_slow)


ODD = {
    "bad json": lambda rows, i: rows.__setitem__(i, rows[i][:60] + b"\n"),
    "lost line": lambda rows, i: rows.__delitem__(i),
    "twice": lambda rows, i: rows.insert(i, rows[i]),
    "swapped": lambda rows, i: rows.__setitem__(slice(i, i + 2), rows[i : i + 2][::-1]),
    "price 0": lambda rows, i: rows.__setitem__(i, rows[i].replace(b'"6', b'"0.0","6', 1)),
    "negative": lambda rows, i: rows.__setitem__(i, rows[i].replace(b',"', b',"-', 3)),
    "other symbol": lambda rows, i: rows.__setitem__(i, rows[i].replace(b'"BTCUSDT"', b'"ETHUSDT"')),
    "off grid": lambda rows, i: rows.__setitem__(i, rows[i].replace(b"0.", b"0.00001", 1)),
}


@pytest.mark.parametrize("seed", range(4))
def test_both_ways_agree_on_damaged_recordings(seed, btc_capture, tmp_path, monkeypatch):
    rng = np.random.default_rng(seed)
    with gzip.open(btc_capture, "rb") as file:
        rows = file.readlines()[:14_000]
    for name in rng.permutation(list(ODD)):
        ODD[name](rows, int(rng.integers(500, len(rows) - 10)))
    path = sc.write(tmp_path / "damaged.gz", rows)
    fast, of_fast = capture_of([path], "BTCUSDT-PERP.BINANCE")
    with monkeypatch.context() as patch:
        one_by_one(patch)
        slow, of_slow = capture_of([path], "BTCUSDT-PERP.BINANCE")
    assert fast.size == slow.size
    assert (fast == slow).all()
    assert report_of(of_fast) == report_of(of_slow)
    assert of_fast.rows.refused


def coin_capture() -> list[bytes]:
    return [row.replace(b'"BTCUSDT"', b'"BTCUSD_PERP"').replace(b'.000"', b'"') for row in (
        sc.snapshot(1, 100, [("99.9", "3"), ("99.8", "2")], [("100.1", "4")]),
        sc.depth(2, 101, 105, 100, [("99.9", "7")]),
        sc.trade(3, 1, "100.1", "2"),
        sc.depth(4, 106, 107, 105, [("99.7", "9")], [("100.2", "1")]),
    )]  # fmt: skip


def test_a_coin_margined_contract_is_stored_but_no_money_is_counted_in_it(tmp_path):
    path = sc.write(tmp_path / "c.gz", coin_capture())
    catalog = tmp_path / "catalog"
    import_binance_capture([path], catalog, COIN)
    spec = load_instrument(catalog, COIN)
    assert spec == binance_instrument(COIN)
    assert (spec.kind, spec.multiplier, spec.settlement, spec.lot) == ("inverse_perp", 100.0, "BTC", 1.0)
    stored = to_nautilus_instrument(spec)
    assert (stored.is_inverse, str(stored.multiplier), stored.settlement_currency.code) == (
        True,
        "100",
        "BTC",
    )
    assert stored.raw_symbol.value == "BTCUSD_PERP"
    assert np.concatenate(list(read_events(catalog, COIN)))["size"].tolist()[-1] == 1
    data = build_dataset(catalog, COIN, "book", ["imbalance"], tmp_path / "rows")
    assert Dataset.open(tmp_path / "rows").instrument.is_inverse
    with pytest.raises(DatasetError, match="labelling of an inverse"):
        data.labels(Bracket("bps", 10.0, 10**9))
    with pytest.raises(ValueError, match="inverse"):  # what a backtest asks first
        spec_of(stored)


@pytest.mark.parametrize(
    ("instrument", "symbol", "kind"),
    [
        ("BTCUSD-PERP.BINANCE", "BTCUSD_PERP", "inverse_perp"),
        ("BNBUSD-PERP.BINANCE", "BNBUSD_PERP", "inverse_perp"),  # ends in BUSD by chance
        ("BTCBUSD-PERP.BINANCE", "BTCBUSD", "linear_perp"),
        ("BTCUSDT-PERP.BINANCE", "BTCUSDT", "linear_perp"),
        ("BTCUSDT.BINANCE", "BTCUSDT", "spot"),
    ],
)
def test_ids_are_those_of_nautilus(instrument, symbol, kind):
    from nautilus_trader.adapters.binance.common.enums import BinanceAccountType
    from nautilus_trader.adapters.binance.common.symbol import BinanceSymbol

    accounts = {
        "spot": BinanceAccountType.SPOT,
        "linear_perp": BinanceAccountType.USDT_FUTURES,
        "inverse_perp": BinanceAccountType.COIN_FUTURES,
    }
    assert (raw_symbol(instrument), parse_symbol(instrument)[1]) == (symbol, kind)
    assert BinanceSymbol(symbol).parse_as_nautilus(accounts[kind]) + ".BINANCE" == instrument


SPOT_INFO = {
    "symbols": [
        {
            "symbol": "DOGEUSDT", "baseAsset": "DOGE", "quoteAsset": "USDT",
            "filters": [
                {"filterType": "PRICE_FILTER", "tickSize": "0.00001000", "minPrice": "0.00001000"},
                {"filterType": "LOT_SIZE", "stepSize": "1.00000000", "minQty": "1.0", "maxQty": "9000000"},
                {"filterType": "NOTIONAL", "minNotional": "1.00000000"},
            ],
        }
    ]
}  # fmt: skip
COIN_INFO = {
    "symbols": [
        {
            "symbol": "LTCUSD_PERP", "baseAsset": "LTC", "quoteAsset": "USD", "marginAsset": "LTC",
            "contractType": "PERPETUAL", "contractSize": 10,
            "filters": [
                {"filterType": "PRICE_FILTER", "tickSize": "0.01"},
                {"filterType": "LOT_SIZE", "stepSize": "1", "minQty": "1", "maxQty": "1000000"},
            ],
        }
    ]
}  # fmt: skip


def test_exchange_information_tells_tick_lot_and_limits(tmp_path):
    path = tmp_path / "info.json"
    path.write_text(json.dumps(SPOT_INFO))
    spec = exchange_info_instrument(path, "DOGEUSDT.BINANCE")
    assert (spec.price_precision, spec.tick, spec.size_precision, spec.lot) == (5, 1e-5, 8, 1.0)
    assert (spec.min_qty, spec.max_qty, spec.min_notional, spec.taker_fee) == (1.0, 9e6, 1.0, 0.001)
    path.write_text(json.dumps(COIN_INFO))
    spec = exchange_info_instrument(path, "LTCUSD-PERP.BINANCE")
    assert (spec.kind, spec.multiplier, spec.quote, spec.settlement) == ("inverse_perp", 10.0, "USD", "LTC")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({}, "BTCUSDT is not among its 1 symbols"),
        (
            {"symbol": "BTCUSDT", "contractType": "PERPETUAL"},
            "is linear_perp there, but BTCUSDT.B",
        ),
        ({"symbol": "BTCUSDT", "filters": []}, "has no PRICE_FILTER"),
        ({"symbol": "BTCUSDT", "filters": 3}, "not Binance's exchange information"),
    ],
)
def test_other_exchange_information_is_refused(change, says, tmp_path):
    path = tmp_path / "info.json"
    path.write_text(json.dumps({"symbols": [SPOT_INFO["symbols"][0] | change]}))
    with pytest.raises(DataError, match=says):
        exchange_info_instrument(path, "BTCUSDT.BINANCE")


def test_steps_of_an_unknown_symbol_are_read_off_the_capture_and_that_is_noted(tmp_path):
    lines = [row.replace(b'"BTCUSDT"', b'"NOPEUSDT"') for row in sc.small_futures_capture()]
    path = sc.write(tmp_path / "c.gz", lines)
    report = import_binance_capture([path], tmp_path / "a", "NOPEUSDT-PERP.BINANCE")
    assert report.noted["instrument_inferred"] == 1
    spec = load_instrument(tmp_path / "a", "NOPEUSDT-PERP.BINANCE")
    assert (spec.tick, spec.lot) == (0.1, 0.1)
    assert isinstance(spec, InstrumentSpec)
    empty = sc.write(tmp_path / "e.gz", [sc.line(1, {"result": None})])
    with pytest.raises(DataError, match="no depth or trade of NOPEUSDT"):
        import_binance_capture([empty], tmp_path / "b", "NOPEUSDT-PERP.BINANCE")


def test_a_long_import_tells_how_far_it_is(btc_capture: Path, tmp_path):
    from apex_nautilus.data.importers.progress import Progress

    times = iter([0.0, 0.5, 3.5, 4.0, 7.0, 8.0, 9.0, 10.0])
    told: list[str] = []
    progress = Progress(told.append, every_s=3.0, clock=lambda: next(times))
    capture = BinanceCapture(binance_instrument("BTCUSDT-PERP.BINANCE"))
    list(capture.events([btc_capture], progress))
    assert told == ["btcusdt_usdm_20240808.gz: 8,192 lines", "btcusdt_usdm_20240808.gz: 16,384 lines"]
