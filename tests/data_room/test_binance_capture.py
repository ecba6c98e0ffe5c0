"""Binance captures: the sequence rule, the venue's own touch as the oracle, and every kind of damage."""

from __future__ import annotations

import bisect
import gzip
import hashlib
import json
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
import synthetic_capture as sc
from nautilus_trader.model.book import OrderBook
from nautilus_trader.model.data import OrderBookDelta, TradeTick
from nautilus_trader.model.enums import BookType, RecordFlag
from nautilus_trader.persistence.catalog import ParquetDataCatalog

from apex_nautilus.data import (
    DataError,
    ImportRefused,
    binance_instrument,
    import_binance_capture,
    read_events,
)
from apex_nautilus.data.importers import BinanceCapture, kept_reports
from apex_nautilus.data.ladder import Ladder
from apex_nautilus.features import FLAG_LAST, KIND_CLEAR, KIND_TRADE

BTC = "BTCUSDT-PERP.BINANCE"


def parse(lines: list[bytes], tmp_path: Path, instrument: str = BTC, **options):
    """Return (events, capture) of lines, through a file; all bad rows are allowed unless told."""
    path = sc.write(tmp_path / "capture.gz", lines)
    capture = BinanceCapture(binance_instrument(instrument), **({"max_bad_share": 1.0} | options))
    chunks = list(capture.events([path]))
    return np.concatenate(chunks) if chunks else np.empty(0), capture


def touch_of(events: np.ndarray) -> tuple[int, int]:
    ladder = Ladder()
    ladder.apply(events)
    return ladder.bid[0], ladder.ask[0]


def test_a_recorded_capture_reads_back_through_nautilus_with_the_venues_own_touch(btc_import, btc_capture):
    catalog, report = btc_import
    tickers = []
    with gzip.open(btc_capture, "rt") as file:
        for row in file:
            message = json.loads(row.partition(" ")[2])
            if "bookTicker" in message.get("stream", ""):
                tickers.append((message["data"]["u"], message["data"]))
    ids = [u for u, _ in tickers]

    stored = ParquetDataCatalog(str(catalog))
    deltas = stored.query(OrderBookDelta, [BTC])
    book = OrderBook(deltas[0].instrument_id, BookType.L2_MBP)
    compared = 0
    for delta in deltas:
        book.apply_delta(delta)
        if delta.flags & RecordFlag.F_LAST:
            place = bisect.bisect_right(ids, delta.sequence) - 1
            if place >= 0 and place + 1 < len(ids):
                t = tickers[place][1]
                mine = (
                    book.best_bid_price(),
                    book.best_bid_size(),
                    book.best_ask_price(),
                    book.best_ask_size(),
                )
                assert [x.as_decimal() for x in mine] == [Decimal(t[k]) for k in ("b", "B", "a", "A")]
                compared += 1
    assert compared > 1_700
    assert len(deltas) == report.written["deltas"]
    assert len(stored.query(TradeTick, [BTC])) == report.written["trades"] == report.kept["trade"]


def test_the_report_of_a_clean_recording(btc_import):
    catalog, report = btc_import
    assert report.refused == {}
    assert report.noted == {"diff_before_snapshot": 4}
    assert report.rows == 21_486 == sum(report.kept.values()) + sum(report.noted.values())
    assert report.touch.compared > 1_700
    assert report.touch.share == 1.0
    # The recorder's clock was 1.27 s behind the venue's; that is kept, not mended.
    assert -1_300 < report.skew_ms_min <= report.skew_ms_mean <= report.skew_ms_max < -1_200
    events = np.concatenate(list(read_events(catalog, BTC)))
    assert (events["ts_init_ns"] < events["ts_event_ns"]).all()
    assert [r.rows for r in kept_reports(catalog, BTC)] == [report.rows]


def test_spot_diffs_that_arrive_before_the_snapshot_are_applied_after_it(shared_data, tmp_path):
    path = shared_data / "binance-capture-2024-08" / "spot" / "btcusdt_20240808.gz"
    report = import_binance_capture([path], tmp_path / "catalog", "BTCUSDT.BINANCE")
    assert "crossed_book" not in report.refused
    # The second diff spans the snapshot's id and came before it: without it the book would stay crossed.
    assert report.noted["diff_before_snapshot"] == 2
    assert report.touch.share > 0.999


def test_eth_capture_of_the_whole_span(shared_data, tmp_path):
    path = shared_data / "binance-capture-2024-08" / "usdm" / "ethusdt_20240808.gz"
    report = import_binance_capture([path], tmp_path / "catalog", "ETHUSDT-PERP.BINANCE")
    assert report.refused == {}
    assert report.touch.share == 1.0
    assert report.kept["depth"] == 6_581


def test_a_small_capture_becomes_these_events(tmp_path):
    events, capture = parse(sc.small_futures_capture(), tmp_path)
    assert capture.rows.refused == {}
    assert capture.rows.kept == {"snapshot": 1, "trade": 2, "depth": 3, "bookTicker": 3}
    assert capture.rows.noted == {"diff_before_snapshot": 1}
    assert capture.touch.compared == capture.touch.equal_touches == 2
    trades = events[events["kind"] == KIND_TRADE]
    assert [(int(t["price"]), int(t["size"]), int(t["side"])) for t in trades] == [
        (1000, 500, 1),
        (1002, 100, 1),
    ]
    assert touch_of(events) == (999, 1002)
    assert events["ts_init_ns"][0] == sc.at(1)


def test_the_snapshot_takes_in_the_buffered_diff_that_spans_it(tmp_path):
    lines = [
        sc.depth(0, 95, 105, 90, [("100.0", "1.000")]),
        sc.depth(1, 106, 107, 105, [("99.8", "4.000")]),
        sc.snapshot(2, 100),
        sc.depth(3, 108, 110, 107, [("99.7", "4.000")]),
    ]
    events, capture = parse(lines, tmp_path)
    assert capture.rows.refused == {}
    first = events[: int(np.flatnonzero(events["flags"] & FLAG_LAST)[0]) + 1]
    assert first["kind"][0] == KIND_CLEAR
    assert sorted(int(p) for p in first["price"][first["side"] == 1]) == [998, 999, 1000]
    assert set(first["ts_init_ns"]) == {sc.at(2)}  # known only since the snapshot came
    assert set(first["sequence"]) == {107}


@pytest.mark.parametrize(
    ("U", "u", "pu", "joins"),
    [
        (100, 105, 99, True),
        (95, 100, 90, True),
        (101, 105, 100, True),  # the id lies between two diffs: nothing happened there
        (102, 105, 101, False),  # a diff is missing in between
    ],
)
def test_futures_rule_for_the_first_diff_after_a_snapshot(U, u, pu, joins, tmp_path):
    events, capture = parse([sc.snapshot(0, 100), sc.depth(1, U, u, pu, [("99.8", "1.000")])], tmp_path)
    assert (998 in events["price"]) == joins
    assert capture.rows.refused.get("sequence_break", 0) == (not joins)


@pytest.mark.parametrize(
    ("U", "u", "fate"), [(101, 105, "applied"), (90, 101, "applied"), (90, 100, "old"), (102, 105, "break")]
)
def test_spot_rule_for_the_first_diff_after_a_snapshot(U, u, fate, tmp_path):
    lines = [
        sc.snapshot(0, 100, [("99.90", "1.0")], [("100.10", "1.0")]),
        sc.depth(1, U, u, None, [("99.80", "1.0")]),
    ]
    events, capture = parse(lines, tmp_path, "BTCUSDT.BINANCE")
    assert (9980 in events["price"]) == (fate == "applied")
    assert capture.rows.noted.get("diff_before_snapshot", 0) == (fate == "old")
    assert capture.rows.refused.get("sequence_break", 0) == (fate == "break")


def test_a_lost_book_is_emptied_and_begins_again_at_the_next_snapshot(tmp_path):
    lines = [
        *sc.small_futures_capture(),
        sc.depth(10, 130, 135, 129, [("99.5", "1.000")]),  # 121..129 never came
        sc.depth(11, 136, 140, 135, [("99.6", "1.000")]),
        sc.snapshot(12, 138, [("99.0", "1.000")], [("101.0", "1.000")]),
        sc.depth(13, 141, 150, 140, [("99.2", "1.000")]),
    ]
    events, capture = parse(lines, tmp_path)
    assert capture.rows.refused == {"sequence_break": 1}
    clears = events[events["kind"] == KIND_CLEAR]
    assert [int(t) for t in clears["ts_init_ns"]] == [sc.at(1), sc.at(10), sc.at(12)]
    assert touch_of(events[events["ts_init_ns"] <= sc.at(10)]) == touch_of(
        clears
    )  # nobody trades on a stale book
    assert touch_of(events) == (996, 1010)  # the diff 136..140 spans the snapshot and is in


def test_diffs_between_a_lost_book_and_the_next_snapshot_are_refused(tmp_path):
    lines = [
        *sc.small_futures_capture(),
        sc.depth(10, 130, 135, 129),
        sc.depth(11, 136, 140, 135),
        sc.depth(12, 142, 150, 141),  # another one lost
        sc.snapshot(13, 200),
    ]
    _, capture = parse(lines, tmp_path)
    assert capture.rows.refused == {"sequence_break": 1, "out_of_step": 2}
    assert capture.rows.rows == sum(capture.rows.refused.values()) + sum(capture.rows.kept.values()) + 1


@pytest.mark.parametrize(
    ("reason", "place", "bad"),
    [
        ("bad_json", 3, b'1700000000030000000 {"stream":"btcusdt@depth@0ms","data":{"U":1\n'),
        ("bad_json", 3, b'1700000000030000000 {"stream":"btcusdt@trade","data":{"s":"BTCUSDT","t":"x"}}\n'),
        ("bad_json", 3, b"1700000000030000000 \xff\xfe\n"),
        ("bad_line", 3, b'{"stream":"btcusdt@depth@0ms"}\n'),
        ("bad_line", 3, b"\n"),
        ("bad_line", 3, b"9" * 5000 + b' {"stream":"btcusdt@trade","data":{}}\n'),
        ("bad_line", 3, b"9" * 19 + b' {"stream":"btcusdt@trade","data":{}}\n'),
        ("bad_json", 3, b'1700000000030000000 {"stream":"x@y","data":' + b"[" * 200_000 + b"\n"),
        ("bad_json", 3, b'1700000000030000000 {"unknown":' + b"[" * 200_000 + b"\n"),
        ("bad_json", 3, sc.trade(3, 2**63)),
        ("bad_json", 3, sc.trade(3, 2, T=10**17)),
        ("bad_json", 3, sc.trade(3, 2, T=-1)),
        ("bad_json", 10, sc.depth(10, 121, 2**70, 120)),
        ("wrong_symbol", 3, sc.depth(3, 106, 110, 105, [("99.9", "2.000")], symbol="ETHUSDT")),
        ("time_backwards", 3, sc.trade(1, 77)),
        ("duplicate", 3, sc.trade(3, 1)),
        ("non_positive_price", 3, sc.trade(3, 2, price="0.0")),
        ("non_positive_price", 3, sc.trade(3, 2, price="-1.0")),
        ("negative_size", 3, sc.trade(3, 2, size="-0.1")),
        ("off_grid", 3, sc.trade(3, 2, price="100.05")),
        ("off_grid", 3, sc.trade(3, 2, price="1e300")),
        ("non_positive_price", 10, sc.depth(10, 121, 125, 120, [("-99.0", "1.000")])),
        ("negative_size", 10, sc.depth(10, 121, 125, 120, [("99.0", "-1.000")])),
        ("off_grid", 10, sc.depth(10, 121, 125, 120, [("99.0", "0.0001")])),
        ("off_grid", 10, sc.depth(10, 121, 125, 120, [("99.0", "1e200")])),
        ("bad_json", 10, sc.depth(10, 121, 125, 120, [("99.0", "1e400")])),
        ("bad_update_ids", 10, sc.depth(10, 125, 121, 120)),
        ("duplicate", 10, sc.depth(10, 111, 120, 110)),
        ("crossed_book", 10, sc.depth(10, 121, 125, 120, [("100.2", "1.000")])),
        ("sequence_break", 10, sc.depth(10, 122, 125, 121)),
    ],
)
def test_each_kind_of_bad_row_is_refused_and_counted(reason, place, bad, tmp_path):
    lines = sc.small_futures_capture()
    lines.insert(place, bad)
    _, capture = parse(lines, tmp_path)
    assert capture.rows.refused == {reason: 1}
    assert capture.rows.examples[0].startswith(f"capture.gz:{place + 1}: {reason}: ")
    kept = sum(capture.rows.kept.values()) + sum(capture.rows.noted.values())
    assert kept == 10
    catalog = tmp_path / "catalog"
    with pytest.raises(ImportRefused, match=f"1 of 11 rows are bad .*{reason} 1"):
        import_binance_capture([tmp_path / "capture.gz"], catalog, BTC)
    assert not list(catalog.rglob("*.parquet"))


def test_a_crossed_snapshot_is_refused(tmp_path):
    lines = [sc.snapshot(0, 50, [("101.0", "1.000")], [("100.0", "1.000")]), *sc.small_futures_capture()[1:]]
    events, capture = parse(lines, tmp_path)
    assert capture.rows.refused == {"crossed_book": 1}
    assert touch_of(events) == (999, 1002)


def test_rows_that_are_no_part_of_the_data_are_noted(tmp_path):
    lines = sc.small_futures_capture()
    lines.insert(5, sc.line(sc.at(4), {"stream": "btcusdt@markPrice", "data": {"p": "1"}}))
    lines.insert(6, sc.line(sc.at(4), {"result": None, "id": 1}))
    lines.insert(7, sc.trade(5, 3, X="INSURANCE_FUND"))
    lines.insert(8, sc.snapshot(5, 104))
    lines[11] = sc.trade(7, 9, "100.2", "0.100")
    _, capture = parse(lines, tmp_path)
    assert capture.rows.refused == {}
    assert capture.rows.noted == {
        "diff_before_snapshot": 1,
        "other_stream:markPrice": 1,
        "other_stream:none": 1,
        "trade_off_book:INSURANCE_FUND": 1,
        "snapshot_not_needed": 1,
        "trade_ids_missing": 7,
    }


def test_truncated_gzip_is_refused_unless_allowed(btc_capture, tmp_path):
    broken = tmp_path / "broken.gz"
    broken.write_bytes(btc_capture.read_bytes()[:400_000])
    with pytest.raises(ImportRefused, match=r"broken.gz: the packed data end in the middle, after line \d+"):
        import_binance_capture([broken], tmp_path / "a", BTC)
    assert not list((tmp_path / "a").rglob("*.parquet"))
    report = import_binance_capture([broken], tmp_path / "a", BTC, allow_truncated=True)
    assert report.noted["truncated_file"] == 1
    assert report.touch.share == 1.0


def test_corrupt_gzip_is_always_refused(btc_capture, tmp_path):
    data = bytearray(btc_capture.read_bytes())
    data[200_000:200_064] = bytes(64)
    (tmp_path / "corrupt.gz").write_bytes(data)
    with pytest.raises(ImportRefused):
        import_binance_capture([tmp_path / "corrupt.gz"], tmp_path / "a", BTC, allow_truncated=True)


def test_a_line_without_end_is_refused_before_it_fills_the_memory(tmp_path):
    path = tmp_path / "bomb.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(40):
            file.write(b" " * (1 << 20))
    with pytest.raises(ImportRefused, match="line 1 is longer than 16 MiB"):
        import_binance_capture([path], tmp_path / "a", BTC)


def test_names_of_other_streams_do_not_pile_up(tmp_path):
    lines = sc.small_futures_capture()
    lines += [sc.line(sc.at(10), {"stream": f"x@{i:0100d}", "data": 1}) for i in range(3)]
    lines += [sc.line(sc.at(10), {"stream": f"x@s{i}", "data": 1}) for i in range(500)]
    _, capture = parse(lines, tmp_path)
    assert len(capture.rows.noted) <= 51
    assert capture.rows.noted["other_stream:more"] > 400
    assert max(map(len, capture.rows.noted)) < 60


def test_a_coin_margined_capture_under_another_name_says_what_it_is(shared_data, tmp_path):
    path = shared_data / "binance-capture-2024-08" / "cm" / "btcusd_perp_20240808.gz"
    with pytest.raises(ImportRefused, match="BTCUSD_PERP, not BTCUSDT"):
        import_binance_capture([path], tmp_path / "a", BTC)


def test_a_capture_without_a_snapshot_is_refused(tmp_path):
    path = sc.write(tmp_path / "c.gz", [sc.depth(0, 1, 2, 0), sc.trade(1, 1)])
    with pytest.raises(ImportRefused, match="no depth snapshot"):
        import_binance_capture([path], tmp_path / "a", BTC)


@pytest.mark.parametrize(
    ("instrument", "match"),
    [
        ("BTCUSD_PERP.BINANCE", "Nautilus calls it BTCUSD-PERP.BINANCE"),
        ("BTCUSD_240927.BINANCE", "an expiry are not supported; import the perpetual, BTCUSD-PERP"),
        ("BTCUSDT_240927.BINANCE", "an expiry are not supported; import the perpetual, BTCUSDT-PERP"),
        ("btcusdt", "expected SYMBOL-PERP.BINANCE"),
    ],
)
def test_unknown_instruments_are_refused(instrument, match, btc_capture, tmp_path):
    with pytest.raises(DataError, match=match):
        import_binance_capture([btc_capture], tmp_path / "a", instrument)


def tree(folder: Path) -> dict[str, str]:
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p.name != ".writer.lock"
    }


def test_importing_twice_changes_nothing_and_other_data_of_the_span_are_not_overwritten(tmp_path):
    capture = sc.write(tmp_path / "c.gz", sc.small_futures_capture())
    catalog = tmp_path / "catalog"
    import_binance_capture([capture], catalog, BTC)
    before = tree(catalog)
    import_binance_capture([capture], catalog, BTC)
    assert tree(catalog) == before
    shorter = sc.write(tmp_path / "d.gz", sc.small_futures_capture()[:6])
    with pytest.raises(DataError, match="already holds"):
        import_binance_capture([shorter], catalog, BTC)
    assert tree(catalog) == before
    report = import_binance_capture([shorter], catalog, BTC, replace=True)
    assert sum(chunk.size for chunk in read_events(catalog, BTC)) == report.written["deltas"] + 1
