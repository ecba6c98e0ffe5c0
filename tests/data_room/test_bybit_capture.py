"""Bybit captures: the venue's rules, its own touch, a book of dictionaries, and every kind of damage."""

from __future__ import annotations

import gzip
import json
from decimal import Decimal

import bybit_messages as bm
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nautilus_trader.model.book import OrderBook
from nautilus_trader.model.data import OrderBookDelta
from nautilus_trader.model.enums import BookType
from nautilus_trader.persistence.catalog import ParquetDataCatalog

from apex_nautilus.data import DataError, ImportRefused, load_instrument, read_events
from apex_nautilus.data.importers import kept_reports
from apex_nautilus.data.importers.bybit_capture import import_bybit_capture
from apex_nautilus.data.ladder import Ladder
from apex_nautilus.features import FLAG_LAST, KIND_CLEAR, KIND_TRADE

BTC = "BTCUSDT-LINEAR.BYBIT"


def units(held: dict[str, str], spec) -> dict[int, int]:
    price, size = Decimal(10) ** spec.price_precision, Decimal(10) ** spec.size_precision
    return {int(Decimal(p) * price): int(Decimal(s) * size) for p, s in held.items()}


def ladder_of(events) -> Ladder:
    ladder = Ladder()
    ladder.apply(events)
    return ladder


def levels_of(ladder: Ladder) -> tuple[dict[int, int], dict[int, int]]:
    n = len(ladder)
    return dict(ladder.bids(n).tolist()), dict(ladder.asks(n).tolist())


def stored(catalog, instrument_id=BTC):
    return np.concatenate(list(read_events(catalog, instrument_id)))


def imported(tmp_path, messages, **options):
    """Import messages made by hand, `<receive_ns> <json>` a line; return (report, events)."""
    lines = [m if isinstance(m, bytes) else bm.line(bm.at(i), m) for i, m in enumerate(messages)]
    path = bm.write(tmp_path / "capture.gz", lines)
    settings = {"market": "linear", "max_bad_share": 1.0} | options
    (report,) = import_bybit_capture([path], tmp_path / "catalog", BTC, **settings)
    return report, stored(tmp_path / "catalog")


def recorded(samples) -> list[dict]:
    with gzip.open(samples / "bybit_v5_20260809.jsonl.gz", "rt") as file:
        return [json.loads(line) for line in file]


@pytest.fixture(scope="module")
def sample_import(samples, tmp_path_factory):
    catalog = tmp_path_factory.mktemp("bybit") / "catalog"
    return catalog, import_bybit_capture([samples / "bybit_v5_20260809.jsonl.gz"], catalog)


def books_of(lines: list[dict], symbol: str, conn: str) -> list[dict]:
    messages = [json.loads(x["data"]) for x in lines if x["t"] == "recv" and x["conn"] == conn]
    return [m for m in messages if m.get("topic") == f"orderbook.200.{symbol}"]


def test_one_import_brings_every_instrument_of_the_recording(sample_import):
    catalog, reports = sample_import
    assert [r.instrument_id for r in reports] == [bm.DOGE, bm.ETH]
    doge, eth = reports
    assert doge.kept == {"ticker": 164, "snapshot": 1, "delta": 379, "trade": 83}
    assert eth.kept == {"ticker": 40, "snapshot": 1, "delta": 249, "trade": 9}
    assert doge.refused == eth.refused == {}
    assert [r.rows for r in kept_reports(catalog, bm.DOGE)] == [doge.rows]
    # Receive times are the recorder's, event times the matching engine's.
    events = stored(catalog, bm.DOGE)
    assert 100 < doge.skew_ms_min < doge.skew_ms_mean < 400
    assert ((events["ts_init_ns"] - events["ts_event_ns"]) > 100_000_000).all()


def test_instruments_are_as_the_venue_described_them_in_the_recording(sample_import):
    catalog, _ = sample_import
    doge, eth = load_instrument(catalog, bm.DOGE), load_instrument(catalog, bm.ETH)
    assert (doge.kind, doge.base, doge.quote) == ("linear_perp", "DOGE", "USDT")
    assert (doge.tick, doge.lot, doge.min_notional) == (0.00001, 1.0, 5.0)
    assert (eth.kind, eth.tick, eth.lot) == ("spot", 0.01, 0.00001)


@pytest.mark.parametrize(("name", "conn"), [(bm.DOGE, "BYBIT.ws.2"), (bm.ETH, "BYBIT.ws.3")])
def test_the_stored_book_is_the_recorded_one_level_by_level_in_nautilus_too(
    sample_import, samples, name, conn
):
    catalog, _ = sample_import
    held = bm.replay(books_of(recorded(samples), name.partition("-")[0], conn))
    spec = load_instrument(catalog, name)
    assert levels_of(ladder_of(stored(catalog, name))) == (units(held["b"], spec), units(held["a"], spec))

    deltas = ParquetDataCatalog(str(catalog)).query(OrderBookDelta, [name])
    book = OrderBook(deltas[0].instrument_id, BookType.L2_MBP)
    for delta in deltas:
        book.apply_delta(delta)
    for mine, theirs in ((book.bids(), held["b"]), (book.asks(), held["a"])):
        assert {x.price.as_decimal(): Decimal(str(round(x.size(), 8))) for x in mine} == {
            Decimal(p): Decimal(str(float(s))) for p, s in theirs.items()
        }


def test_the_rebuilt_touch_is_the_one_the_venue_reports(sample_import):
    _, (doge, eth) = sample_import
    assert doge.touch.compared == doge.touch.equal_touches == 58
    assert doge.noted["quote_unsettled"] == 106  # the touch moved between the two bundles around the quote
    assert eth.touch.compared == 0  # spot tickers hold no bid and ask


def test_every_instrument_of_the_whole_recording_agrees_with_the_venue(shared_data, tmp_path):
    path = shared_data / "ws-captures" / "BYBIT.v5.2026-08.jsonl.zst"
    reports = import_bybit_capture([path], tmp_path / "catalog")
    assert len(reports) == 6
    assert all(r.refused == {} for r in reports)
    assert sum(r.touch.compared for r in reports) == sum(r.touch.equal_prices for r in reports) == 306
    assert sum(r.touch.equal_touches for r in reports) == 295
    assert sum(r.kept["delta"] for r in reports) == 2_142


@pytest.mark.parametrize(("name", "symbols"), [("ws.1.0", 4), ("ws.2.0", 6)])
def test_books_of_one_level_import_from_the_older_text(shared_data, tmp_path, name, symbols):
    path = shared_data / "ws-captures" / f"2025-06_BYBIT.{name}"
    reports = import_bybit_capture([path], tmp_path / "catalog")
    assert len(reports) == symbols
    for report in reports:
        events = stored(tmp_path / "catalog", report.instrument_id)
        assert (events["kind"] == KIND_CLEAR).sum() == 1  # later snapshots are written as what they change
        bids, asks = levels_of(ladder_of(events))
        assert len(bids) == len(asks) == 1


def test_a_small_capture_becomes_these_events(tmp_path):
    report, events = imported(tmp_path, bm.small_capture())
    assert report.refused == {}
    assert report.kept == {"snapshot": 1, "delta": 3, "trade": 2, "ticker": 1}
    assert report.touch.compared == report.touch.equal_touches == 1
    trades = events[events["kind"] == KIND_TRADE]
    assert trades["side"].tolist() == [1, -1]
    assert trades["price"].tolist() == [1000, 1003]
    assert trades["sequence"].tolist() == [1, 2]
    bids, asks = levels_of(ladder_of(events))
    assert bids == {1000: 1500, 999: 3000, 998: 2000, 997: 9000}
    assert asks == {1003: 4000}
    assert (events["ts_init_ns"] - bm.START_NS).max() == 600 * bm.MS


def test_a_missing_delta_empties_the_book_until_the_next_snapshot(tmp_path):
    messages = bm.small_capture()
    del messages[2]
    messages[5:] = [bm.book(5, 104, [("99.6", "1")]), bm.snapshot(6, 200), bm.book(7, 201, [("99.9", "7")])]
    report, events = imported(tmp_path, messages)
    assert report.refused == {"sequence_break": 1, "out_of_step": 1}
    clears = np.flatnonzero(events["kind"] == KIND_CLEAR)
    assert len(ladder_of(events[: clears[1] + 1])) == 0
    bids, asks = levels_of(ladder_of(events))
    assert bids == {999: 7000, 998: 2000}
    assert asks == {1001: 1000, 1002: 2000}


@pytest.mark.parametrize("restart", ["snapshot", "u = 1"])
@pytest.mark.parametrize("drop", [5, 40, 100])
def test_a_cut_recording_meets_the_next_snapshot_level_by_level(samples, tmp_path, restart, drop):
    lines = recorded(samples)
    books = [
        i for i, x in enumerate(lines) if x["t"] == "recv" and '"orderbook.200.DOGEUSDT"' in x.get("data", "")
    ]
    held = bm.replay([json.loads(lines[i]["data"]) for i in books[:200]])
    message = json.loads(lines[books[199]]["data"])
    message["data"] |= {side: [[p, s] for p, s in held[side].items()] for side in ("b", "a")}
    if restart == "snapshot":
        message["type"] = "snapshot"
    else:
        message["data"]["u"] = 1
    lines[books[199]]["data"] = json.dumps(message)
    last = books[199]
    cut = [x for i, x in enumerate(lines[: last + 1]) if i != books[drop]]
    path = bm.write(tmp_path / "cut.gz", [json.dumps(x).encode() + b"\n" for x in cut])
    (report,) = import_bybit_capture([path], tmp_path / "catalog", bm.DOGE, max_bad_share=1.0)
    assert report.refused == {"sequence_break": 1, "out_of_step": 197 - drop}
    spec = load_instrument(tmp_path / "catalog", bm.DOGE)
    events = stored(tmp_path / "catalog", bm.DOGE)
    assert levels_of(ladder_of(events)) == (units(held["b"], spec), units(held["a"], spec))


def test_a_snapshot_on_a_book_in_step_never_empties_it(tmp_path):
    messages = [*bm.small_capture(), bm.snapshot(7, 300, [("99.9", "5")], [("100.1", "6"), ("100.2", "2")])]
    report, events = imported(tmp_path, messages)
    assert report.kept["snapshot"] == 2
    assert (events["kind"] == KIND_CLEAR).sum() == 1
    assert levels_of(ladder_of(events)) == ({999: 5000}, {1001: 6000, 1002: 2000})


FAULTS = {
    "price 0": (bm.book(2, 101, [("0", "3")]), "non_positive_price"),
    "negative price": (bm.book(2, 101, [("-1", "3")]), "non_positive_price"),
    "nan price": (bm.book(2, 101, [("nan", "3")]), "non_positive_price"),
    "negative size": (bm.book(2, 101, [("99.9", "-3")]), "negative_size"),
    "off the grid": (bm.book(2, 101, [("99.95", "3")]), "off_grid"),
    "too large": (bm.book(2, 101, [("9e18", "3")]), "off_grid"),
    "crossed": (bm.book(2, 101, [("100.3", "3")]), "crossed_book"),
    "no number": (bm.book(2, 101, [("x", "3")]), "bad_json"),
    "three cells": (bm.book(2, 101, [("1", "3", "4")]), None),
    "wrong symbol": (bm.book(2, 101) | {"topic": "orderbook.200.ETHUSDT"}, None),
    "broken json": (bm.line(bm.at(2), bm.book(2, 101)).replace(b"]]", b"]", 1)[:-9] + b"\n", None),
    "no line": (b"hello\n", None),
    "not utf-8": (b'1700000000000000000 {"topic":"\xff\xfe"}\n', None),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_book_message_is_counted_and_the_book_resynchronised(tmp_path, fault):
    bad, reason = FAULTS[fault]
    after = [bm.book(3, 102, [("99.9", "8")]), bm.snapshot(4, 300), bm.book(5, 301, [("99.9", "9")])]
    deep = [(f"{99 - i / 10:.1f}", "1") for i in range(300)]
    messages = [bm.snapshot(0, 100, deep), bm.trade(1, 1), bad, *after]
    report, events = imported(tmp_path, messages)
    if reason is not None:  # a delta of this instrument: the book is lost with it
        assert report.refused == {reason: 1, "out_of_step": 1}
        assert report.examples[0].startswith(f"capture.gz:3: {reason}: ")
    else:  # nobody's: the hole shows at the next delta
        assert report.refused == {"sequence_break": 1}
        assert sum(n for r, n in report.noted.items() if r.startswith("capture:")) == 1
    assert levels_of(ladder_of(events))[0] == {999: 9000, 998: 2000}


def test_duplicates_and_time_that_runs_backwards_are_counted(tmp_path):
    messages = bm.small_capture()
    lines = [bm.line(bm.at(i), m) for i, m in enumerate(messages)]
    lines.insert(3, bm.line(bm.at(2), messages[2]))  # a delta twice
    lines.insert(3, bm.line(bm.at(2), messages[1]))  # a trade twice
    lines.append(bm.line(bm.at(1), bm.trade(7, 3)))
    report, events = imported(tmp_path, lines)
    assert report.refused == {"duplicate": 2, "time_backwards": 1}
    assert levels_of(ladder_of(events))[1] == {1003: 4000}


def test_block_trades_and_odd_trades_stay_out(tmp_path):
    odd = [
        bm.trade(7, 3, BT=True),
        bm.trade(8, 4, price="0"),
        bm.trade(9, 5, size="-1"),
        bm.trade(10, 6, side="Bought"),
        bm.trade(11, "no-id!"),
    ]
    report, events = imported(tmp_path, [*bm.small_capture(), *odd])
    assert report.noted["trade_off_book:block"] == 1
    assert report.refused == {"non_positive_price": 1, "negative_size": 1, "bad_json": 2}
    assert (events["kind"] == KIND_TRADE).sum() == 2


def test_deltas_before_the_first_snapshot_are_no_fault(tmp_path):
    report, _ = imported(tmp_path, [bm.book(0, 99, [("99.9", "3")]), *bm.small_capture()[:1]])
    assert report.refused == {}
    assert report.noted["delta_before_snapshot"] == 1


def test_the_best_level_topic_beside_a_deeper_one_is_a_check(tmp_path):
    best = [
        bm.snapshot(i, i, [("99.9", "3")], [("100.1", s)], depth=1, seq=1010) for i, s in ((3, "1"), (4, "2"))
    ]
    report, events = imported(tmp_path, [*bm.small_capture()[:3], *best, *bm.small_capture()[4:]])
    assert (report.touch.compared, report.touch.equal_prices, report.touch.equal_touches) == (2, 2, 1)
    assert report.kept["orderbook.1"] == 2
    assert len(ladder_of(events)) > 2


def test_a_capture_without_an_address_must_be_told_its_market(tmp_path):
    path = bm.write(tmp_path / "c.gz", [bm.line(bm.at(0), bm.snapshot(0, 1))])
    with pytest.raises(ImportRefused, match="--market linear"):
        import_bybit_capture([path], tmp_path / "catalog")
    assert not (tmp_path / "catalog").exists()
    (report,) = import_bybit_capture([path], tmp_path / "catalog", market="spot")
    assert report.instrument_id == "BTCUSDT-SPOT.BYBIT"


def test_an_instrument_above_the_limit_stops_all_of_them(samples, tmp_path):
    lines = [json.dumps(x).encode() + b"\n" for x in recorded(samples)]
    gone = next(i for i, x in enumerate(lines) if b"orderbook.200.ETHUSDT" in x and b"delta" in x)
    path = bm.write(tmp_path / "c.gz", lines[:gone] + lines[gone + 1 :])
    with pytest.raises(ImportRefused, match=r"ETHUSDT-SPOT.BYBIT: .*sequence_break 1.*c.gz:\d+"):
        import_bybit_capture([path], tmp_path / "catalog")
    assert not (tmp_path / "catalog").exists()
    (report,) = import_bybit_capture([path], tmp_path / "catalog", bm.DOGE)
    assert report.refused == {}


def test_files_that_cannot_be_read_are_refused_and_leave_nothing(samples, tmp_path):
    whole = (samples / "bybit_v5_20260809.jsonl.gz").read_bytes()
    (tmp_path / "cut.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "torn.gz").write_bytes(whole[:200] + b"\x00" * 50 + whole[250:])
    for name, match in (("cut.gz", "truncated"), ("empty", "nothing of"), ("torn.gz", "cannot be read")):
        with pytest.raises(ImportRefused, match=match):
            import_bybit_capture([tmp_path / name], tmp_path / "catalog", bm.DOGE)
        assert not (tmp_path / "catalog").exists()
    (report,) = import_bybit_capture(
        [tmp_path / "cut.gz"], tmp_path / "catalog", bm.DOGE, allow_truncated=True
    )
    assert report.noted["truncated_file"] == 1
    assert report.kept["delta"] > 100


@pytest.mark.parametrize(
    "name", ["BTCUSDT", "BTCUSD-INVERSE.BYBIT", "BTCUSDT-PERP.BINANCE", "btcusdt-LINEAR.BYBIT"]
)
def test_other_ids_are_refused(tmp_path, name):
    path = bm.write(tmp_path / "c.gz", [bm.line(bm.at(0), bm.snapshot(0, 1))])
    with pytest.raises(DataError, match=r"instrument id"):
        import_bybit_capture([path], tmp_path / "catalog", name, market="linear")


def test_a_second_import_of_the_same_capture_changes_nothing(samples, tmp_path):
    path = samples / "bybit_v5_20260809.jsonl.gz"
    import_bybit_capture([path], tmp_path / "catalog")
    before = {p: p.read_bytes() for p in (tmp_path / "catalog").rglob("*.parquet")}
    import_bybit_capture([path], tmp_path / "catalog")
    assert {p: p.read_bytes() for p in (tmp_path / "catalog").rglob("*.parquet")} == before


@given(data=st.data())
def test_mutated_recordings_end_in_an_import_or_a_refusal(samples, tmp_path_factory, data):
    lines = [bm.connect()] + [bm.feed_line(bm.at(i), m) for i, m in enumerate(bm.small_capture())]
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(lines) - 1))
        line = bytearray(lines[at])
        place = data.draw(st.integers(0, len(line) - 1))
        line[place : place + data.draw(st.integers(0, 6))] = data.draw(st.binary(max_size=6))
        lines[at] = bytes(line)
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "c").write_bytes(b"".join(lines))
    try:
        reports = import_bybit_capture([folder / "c"], folder / "catalog", max_bad_share=1.0)
    except DataError:
        assert not list(folder.glob("catalog/**/*.parquet"))
        return
    for report in reports:
        if not report.written:
            continue
        events = stored(folder / "catalog", report.instrument_id)
        touches = Ladder().apply(events)
        assert (touches[:, 2] < touches[:, 3]).all()
        assert events["flags"][events["kind"] != KIND_TRADE][-1:].tolist() in ([], [FLAG_LAST])


@given(junk=st.binary(max_size=400))
def test_random_bytes_are_refused(tmp_path_factory, junk):
    folder = tmp_path_factory.mktemp("junk")
    (folder / "c").write_bytes(junk)
    with pytest.raises(DataError):
        import_bybit_capture([folder / "c"], folder / "catalog", market="linear")
    assert not (folder / "catalog").exists()
