"""cryptofeed's recordings go to the venue's importer, or are refused with the reason."""

from __future__ import annotations

import json

import bybit_messages as bm
import numpy as np
import pytest
import synthetic_capture as sc

from apex_nautilus.data import DataError, ImportRefused, load_instrument, read_events
from apex_nautilus.data.importers.binance_capture import import_binance_capture
from apex_nautilus.data.importers.cryptofeed import import_cryptofeed

BTC = "BTCUSDT-PERP.BINANCE"
INFO = {
    "symbols": [
        {
            "symbol": "BTCUSDT",
            "baseAsset": "BTC",
            "quoteAsset": "USDT",
            "contractType": "PERPETUAL",
            "filters": [
                {"filterType": "PRICE_FILTER", "tickSize": "0.10"},
                {"filterType": "LOT_SIZE", "stepSize": "0.001", "minQty": "0.001", "maxQty": "1000"},
                {"filterType": "MIN_NOTIONAL", "notional": "5"},
            ],
        }
    ]
}


def record(kind: str, ts_ns: int = sc.START_NS, **fields) -> bytes:
    return json.dumps({"t": kind, "conn": "X.ws.1", "ts": ts_ns / 1e9} | fields).encode() + b"\n"


def header(exchange: str) -> bytes:
    return record("header", exchange=exchange, format=2)


def session(lines: list[bytes], exchange: str = "BINANCE_FUTURES") -> list[bytes]:
    """A raw capture as cryptofeed records it: REST answers first, then what the socket brought."""
    head, tail = [header(exchange)], []
    head.append(record("http", url="https://fapi.binance.com/fapi/v1/exchangeInfo", data=json.dumps(INFO)))
    for raw in lines:
        stamp, _, text = raw.partition(b" ")
        if b"lastUpdateId" in text:
            url = "https://fapi.binance.com/fapi/v1/depth?symbol=BTCUSDT&limit=1000"
            head.append(record("http", int(stamp), url=url, data=text.decode().strip()))
        else:
            tail.append(record("recv", int(stamp), data=text.decode().strip()))
    return head + tail


def stored(catalog, name=BTC):
    return np.concatenate(list(read_events(catalog, name)))


def test_a_session_of_binance_gives_what_its_raw_capture_gives(tmp_path):
    raw = sc.write(tmp_path / "raw.gz", sc.small_futures_capture())
    feed = bm.write(tmp_path / "feed.gz", session(sc.small_futures_capture()))
    (report,) = import_cryptofeed([feed], tmp_path / "feed")
    import_binance_capture([raw], tmp_path / "raw", BTC)
    assert report.refused == {}
    assert report.touch.share == 1.0
    np.testing.assert_array_equal(stored(tmp_path / "feed"), stored(tmp_path / "raw"))
    assert load_instrument(tmp_path / "feed", BTC).min_notional == 5.0  # the recording's, not the table's


def test_aggregated_trades_stand_for_trades(tmp_path):
    lines = []
    for raw in sc.small_futures_capture():
        stamp, _, text = raw.partition(b" ")
        message = json.loads(text)
        if message.get("stream") == "btcusdt@trade":
            data = message["data"]
            data["a"] = data.pop("t")
            message = {"stream": "btcusdt@aggTrade", "data": data | {"f": 1, "l": 2}}
        lines.append(sc.line(int(stamp), message))
    feed = bm.write(tmp_path / "feed.gz", session(lines))
    (report,) = import_cryptofeed([feed], tmp_path / "feed")
    raw = sc.write(tmp_path / "raw.gz", sc.small_futures_capture())
    import_binance_capture([raw], tmp_path / "raw", BTC)
    assert report.kept["trade"] == 2
    np.testing.assert_array_equal(stored(tmp_path / "feed"), stored(tmp_path / "raw"))


@pytest.mark.parametrize(
    ("name", "suffix", "compared"),
    [("BINANCE.2021-10", ".BINANCE", 141), ("BINANCE_FUTURES.2021-07", "-PERP.BINANCE", 722)],
)
def test_recorded_sessions_of_binance_agree_with_the_venues_touch(
    shared_data, tmp_path, name, suffix, compared
):
    path = shared_data / "ws-captures" / f"{name}.jsonl.zst"
    reports = import_cryptofeed([path], tmp_path / "catalog")
    assert len(reports) == 4
    assert all(r.instrument_id.endswith(suffix) and r.refused == {} for r in reports)
    assert sum(r.touch.compared for r in reports) == sum(r.touch.equal_touches for r in reports) == compared


def test_a_session_of_bybit_is_bybits(samples, tmp_path):
    reports = import_cryptofeed([samples / "bybit_v5_20260809.jsonl.gz"], tmp_path / "catalog", bm.DOGE)
    assert [r.instrument_id for r in reports] == [bm.DOGE]


def test_what_cannot_be_built_is_refused_and_says_why(tmp_path):
    lines = session(sc.small_futures_capture())
    without = [x for x in lines if b"lastUpdateId" not in x]
    for content, name, match in (
        ([header("KRAKEN")], None, "KRAKEN cannot be imported: no rules"),
        ([header("BINANCE_DELIVERY")], None, "coin-margined"),
        ([b"5 {}\n"], None, "no header that names the exchange"),
        ([], None, "no header"),
        (without, None, "no REST depth snapshot of BTCUSDT"),
        (lines, "ETHUSDT-PERP.BINANCE", "nothing of ETHUSDT-PERP.BINANCE in it; it holds BTCUSDT-PERP"),
        (lines, "BTCUSDT.BINANCE", "nothing of BTCUSDT.BINANCE"),
        ([*lines, record("recv", data="{]")], None, "bad_json 1"),
        ([lines[0], record("http", url="exchangeInfo", data="{}"), *lines[2:]], None, "exchange information"),
    ):
        path = bm.write(tmp_path / "c.gz", content)
        with pytest.raises(DataError, match=match):
            import_cryptofeed([path], tmp_path / "catalog", name)
        assert not list((tmp_path / "catalog").rglob("*.parquet"))
    two = [bm.write(tmp_path / n, [header(n)]) for n in ("KRAKEN", "BYBIT")]
    with pytest.raises(ImportRefused, match="several exchanges"):
        import_cryptofeed(two, tmp_path / "catalog")
