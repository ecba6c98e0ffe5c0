"""Binance's public archive: trades, aggregate trades and candles, of every market and time."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from apex_nautilus.data import (
    DataError,
    ImportRefused,
    bar_type_name,
    load_instrument,
    read_bars,
    read_events,
)
from apex_nautilus.data.importers.binance_klines import import_binance_klines
from apex_nautilus.data.importers.binance_trades import import_binance_trades

START_MS = 1_704_067_200_000  # 2024-01-01
SPOT, PERP, COIN = "BTCUSDT.BINANCE", "BTCUSDT-PERP.BINANCE", "BTCUSD-PERP.BINANCE"
SPOT_ROW = "{id},42283.58000000,0.00100000,42.28358000,{ms},{maker},True"
PERP_ROW = "{id},42283.5,0.001,42.28,{ms},{maker}"
PERP_HEADER = "id,price,qty,quote_qty,time,is_buyer_maker\n"


def zipped(path: Path, text: str) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(path.with_suffix(".csv").name, text)
    return path


def rows(row: str, n: int = 4, first: int = 10, step_ms: int = 1000) -> list[str]:
    return [
        row.format(
            id=first + i, ms=START_MS + step_ms * i, us=(START_MS + step_ms * i) * 1000, maker=i % 2 == 0
        )
        for i in range(n)
    ]


def text(lines: list[str], header: str = "") -> str:
    return header + "".join(f"{line}\n" for line in lines)


def trades_of(catalog: Path, instrument: str) -> np.ndarray:
    return np.concatenate(list(read_events(catalog, instrument)))


@pytest.mark.parametrize(
    ("name", "header", "row", "instrument", "units"),
    [
        ("BTCUSDT-trades-2024-01-01.zip", "", SPOT_ROW, SPOT, (4228358, 100_000)),
        ("BTCUSDT-trades-2025-01-01.zip", "", SPOT_ROW.replace("{ms}", "{us}"), SPOT, (4228358, 100_000)),
        ("BTCUSDT-trades-2024-01.zip", PERP_HEADER, PERP_ROW, PERP, (422835, 1)),
        ("BTCUSDT-trades-2021-01-01.zip", "", PERP_ROW.replace("{maker}", "true"), PERP, (422835, 1)),
        ("BTCUSD_PERP-trades-2024-01-01.zip", "", "{id},42283.5,3,0.0071,{ms},{maker}", COIN, (422835, 3)),
        (
            "BTCUSDT-aggTrades-2024-01-01.zip",
            "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker\n",
            "{id},42283.5,0.001,90,91,{ms},{maker}",
            PERP,
            (422835, 1),
        ),
        (
            "BTCUSDT-aggTrades-2024-01-02.zip",
            "",
            "{id},42283.58,0.001,90,91,{ms},{maker},True",
            SPOT,
            (4228358, 100_000),
        ),
    ],
)
def test_trades_of_every_market(name, header, row, instrument, units, tmp_path):
    path = zipped(tmp_path / name, text(rows(row), header))
    (report,) = import_binance_trades([path], tmp_path / "c")
    assert (report.instrument_id, report.kept, report.refused) == (instrument, {"trade": 4}, {})
    events = trades_of(tmp_path / "c", instrument)
    assert events["sequence"].tolist() == [10, 11, 12, 13]
    assert (events["ts_init_ns"] == [(START_MS + 1000 * i) * 10**6 for i in range(4)]).all()
    assert (events["ts_event_ns"] == events["ts_init_ns"]).all()
    assert set(zip(events["price"].tolist(), events["size"].tolist(), strict=True)) == {units}
    # Where the buyer was the maker the seller came to him.
    assert events["side"].tolist() == ([-1, 1, -1, 1] if "{maker}" in row else [-1] * 4)
    (again,) = import_binance_trades([path], tmp_path / "c")
    assert again.written == report.written


def test_files_that_overlap_are_merged_and_a_trade_counts_once(tmp_path):
    whole = rows(PERP_ROW, 20)
    paths = [
        zipped(tmp_path / "BTCUSDT-trades-2024-01-02.zip", text(whole[12:])),
        zipped(tmp_path / "BTCUSDT-trades-2024-01-01.zip", text(whole[:14])),
    ]
    packed = tmp_path / "BTCUSDT-trades-2024-01-03.csv.gz"
    packed.write_bytes(gzip.compress(text(rows(PERP_ROW, 2, first=40, step_ms=10**6)[1:]).encode()))
    (report,) = import_binance_trades([*paths, packed], tmp_path / "c", PERP)
    assert report.noted == {"repeated_trade": 2, "trade_ids_missing": 11}
    assert trades_of(tmp_path / "c", PERP)["sequence"].tolist() == [*range(10, 30), 41]


@pytest.mark.parametrize(
    ("reason", "bad"),
    [
        ("not_a_number", "99,x,0.001,1,{ms},True"),
        ("non_positive_price", "99,0,0.001,1,{ms},True"),
        ("negative_size", "99,42283.5,-0.001,1,{ms},True"),
        ("negative_size", "99,42283.5,0,1,{ms},True"),
        ("bad_time", "99,42283.5,0.001,1,soon,True"),
        ("bad_time", "99,42283.5,0.001,1"),
        ("bad_time", "99,42283.5,0.001,1,{ms},True,True,1"),
        ("bad_time", "99,42283.5,0.001,1,99999999999999999999,True"),
        ("bad_side", "99,42283.5,0.001,1,{ms},maybe"),
        ("off_grid", "99,42283.5,0.0001,1,{ms},True"),
        ("time_backwards", "99,42283.5,0.001,1,1600000000000,True"),
        ("duplicate", "11,42283.5,0.001,1,{ms},True"),
        ("bad_time", "\xff\xfe\x00"),
    ],
)
def test_each_bad_trade_is_refused_with_its_line(reason, bad, tmp_path):
    lines = rows(PERP_ROW, 3000)
    lines.insert(2, bad.replace("{ms}", str(START_MS + 1500)))
    path = zipped(tmp_path / "BTCUSDT-trades-2024-01-01.zip", "")
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("x.csv", text(lines, PERP_HEADER).encode("latin-1"))
    if reason == "off_grid":  # finer than the table's lot: the steps are then read off the data
        (report,) = import_binance_trades([path], tmp_path / "c")
        assert report.noted["instrument_inferred"] == 1
        assert load_instrument(tmp_path / "c", PERP).size_precision == 4
        return
    (report,) = import_binance_trades([path], tmp_path / "c")
    assert (report.refused, report.rows, report.kept["trade"]) == ({reason: 1}, 3001, 3000)
    assert report.examples[0].startswith(f"{path.name}:4: {reason}: ")
    with pytest.raises(ImportRefused, match=rf"1 of 3001 rows are bad .*{reason} 1"):
        import_binance_trades([path], tmp_path / "d", max_bad_share=0.0001)
    assert not list((tmp_path / "d").rglob("*.parquet"))


def test_a_line_after_a_bad_batch_keeps_its_number(tmp_path):
    lines = rows(PERP_ROW, 60_000, step_ms=1)
    lines[5] = lines[5].replace("42283.5", "0")
    lines[55_000] = lines[55_000].replace("42283.5", "0")
    path = zipped(tmp_path / "BTCUSDT-trades-2024-01-01.zip", text(lines))
    (report,) = import_binance_trades([path], tmp_path / "c")
    assert [e.split(":")[1] for e in report.examples] == ["6", "55001"]


def test_files_that_are_something_else_are_named(tmp_path):
    good = zipped(tmp_path / "BTCUSDT-trades-2024-01-01.zip", text(rows(PERP_ROW)))
    for name, content, says in [
        ("BTCUSDT-1m-2024-01.zip", text(rows(PERP_ROW)), "holds 1m; this importer reads trades"),
        ("trades.zip", "", "not a name of Binance's archive"),
        ("ETHUSDT-trades-2024-01-01.zip", text(["1,2,3"]), "its rows have 3 columns"),
        ("ETHUSDT-trades-2024-01-02.zip", PERP_HEADER, "holds no rows"),
    ]:
        with pytest.raises(ImportRefused, match=says):
            import_binance_trades([zipped(tmp_path / name, content)], tmp_path / "c")
    with pytest.raises(ImportRefused, match="holds BTCUSDT, not ETHUSDT"):
        import_binance_trades([good], tmp_path / "c", "ETHUSDT-PERP.BINANCE")
    with pytest.raises(
        ImportRefused, match=r"holds trades of BTCUSDT-PERP\.BINANCE, not of BTCUSDT\.BINANCE"
    ):
        import_binance_trades([good], tmp_path / "c", SPOT)
    both = zipped(
        tmp_path / "BTCUSDT-aggTrades-2024-01-01.zip", text(["1,42283.5,0.001,9,9,1704067200000,True"])
    )
    with pytest.raises(ImportRefused, match="counted twice"):
        import_binance_trades([good, both], tmp_path / "c")
    cut = tmp_path / "BTCUSDT-trades-2024-01-04.csv.gz"
    rng = np.random.default_rng(1)
    noisy = [
        r.replace("0.001", f"{q / 1000:.3f}")
        for r, q in zip(rows(PERP_ROW, 9000), rng.integers(1, 9999, 9000), strict=True)
    ]
    cut.write_bytes(gzip.compress(text(noisy).encode())[:-2000])
    with pytest.raises(ImportRefused, match="the packed data end in the middle"):
        import_binance_trades([cut], tmp_path / "c")
    assert not (tmp_path / "c" / "data").exists()
    (report,) = import_binance_trades([cut], tmp_path / "c", allow_truncated=True)
    assert report.noted["truncated_file"] == 1


# ---- candles


def candle(i: int, minutes: int = 1, micro: bool = False, **other) -> str:
    opens = START_MS + i * minutes * 60_000
    unit = 1000 if micro else 1
    row = {
        "time": opens * unit, "open": "42283.5", "high": "42290.0", "low": "42280.1", "close": "42285.0",
        "volume": "12.345", "close_time": (opens + minutes * 60_000 - 1) * unit, "quote": "1.0", "count": 7,
        "taker": "1.0", "taker_quote": "1.0", "ignore": 0,
    } | other  # fmt: skip
    return ",".join(str(v) for v in row.values())


KLINE_HEADER = "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker,taker_q,ignore\n"


@pytest.mark.parametrize(("header", "micro"), [("", False), (KLINE_HEADER, False), ("", True)])
def test_candles_become_bars_stamped_with_their_close(header, micro, tmp_path):
    first = zipped(
        tmp_path / "BTCUSDT-1m-2024-01-01.zip", text([candle(i, micro=micro) for i in range(5)], header)
    )
    later = zipped(
        tmp_path / "BTCUSDT-1m-2024-01-02.zip", text([candle(i, micro=micro) for i in range(7, 9)], header)
    )
    hours = zipped(
        tmp_path / "BTCUSDT-1h-2024-01.zip", text([candle(i, 60, micro=micro) for i in range(3)], header)
    )
    reports = import_binance_klines([later, hours, first], tmp_path / "c", PERP)
    assert [(r.source, r.kept, r.noted) for r in reports] == [
        ("binance-klines-1m", {"candle": 7}, {"missing_candles": 2}),
        ("binance-klines-60m", {"candle": 3}, {}),
    ]
    bars = read_bars(tmp_path / "c", bar_type_name(PERP, 1))
    assert bars["ts_ns"].tolist() == [(START_MS + 60_000 * (i + 1)) * 10**6 for i in (*range(5), 7, 8)]
    assert bars[0].tolist()[1:] == (422835, 422900, 422801, 422850, 12345)


@pytest.mark.parametrize(
    ("reason", "bad"),
    [
        ("non_positive_price", candle(3, low="0")),
        ("negative_size", candle(3, volume="-1")),
        ("outside_range", candle(3, high="1.0")),
        ("off_grid_time", candle(3, time=START_MS + 3 * 60_000 + 1)),
        ("not_a_number", candle(3, open="x")),
        ("not_a_number", candle(3, time="x")),
        ("not_a_number", "1,2,3"),
        ("duplicate", candle(2)),
        ("time_backwards", candle(1)),
    ],
)
def test_each_bad_candle_is_refused_with_its_line(reason, bad, tmp_path):
    lines = [candle(0), candle(1), candle(2), bad, candle(4)]
    path = zipped(tmp_path / "BTCUSDT-1m-2024-01-01.zip", text(lines))
    (report,) = import_binance_klines([path], tmp_path / "c", PERP, max_bad_share=1.0)
    assert report.refused == {reason: 1}
    assert report.examples[0].startswith(f"{path.name}:4: {reason}: ")
    assert read_bars(tmp_path / "c", bar_type_name(PERP, 1)).size == 4


def test_candles_of_another_kind_are_named(tmp_path):
    for name, content, says in [
        ("BTCUSDT-1s-2024-01.zip", text([candle(0)]), "candles of 1s"),
        ("BTCUSDT-1mo-2024-01.zip", text([candle(0)]), "candles of 1mo"),
        ("BTCUSDT-1m-2024-01.zip", text(["1,2"]), "its rows have 2 columns"),
        ("ETHUSDT-1m-2024-01.zip", text([candle(0)]), "holds ETHUSDT, not BTCUSDT"),
        ("BTCUSDT-1m-2024-02.zip", text([candle(0, open="x")]), "rows are bad"),
    ]:
        with pytest.raises(ImportRefused, match=says):
            import_binance_klines([zipped(tmp_path / name, content)], tmp_path / "c", PERP)
    assert not (tmp_path / "c").exists()


def test_exchange_information_sets_the_steps_of_archives(tmp_path):
    info = {
        "symbols": [
            {
                "symbol": "BTCUSDT", "baseAsset": "BTC", "quoteAsset": "USDT", "contractType": "PERPETUAL",
                "filters": [
                    {"filterType": "PRICE_FILTER", "tickSize": "0.5"},
                    {"filterType": "LOT_SIZE", "stepSize": "0.01", "minQty": "0.01", "maxQty": "100"},
                    {"filterType": "MIN_NOTIONAL", "notional": "50"},
                ],
            }
        ]
    }  # fmt: skip
    (tmp_path / "info.json").write_text(json.dumps(info))
    path = zipped(tmp_path / "BTCUSDT-trades-2024-01-01.zip", text(rows(PERP_ROW)))
    import_binance_trades([path], tmp_path / "c", exchange_info=tmp_path / "info.json")
    spec = load_instrument(tmp_path / "c", PERP)
    assert (spec.tick, spec.lot, spec.size_precision, spec.min_notional) == (0.5, 0.01, 3, 50.0)
    with pytest.raises(DataError, match="ETHUSDT is not among"):
        import_binance_klines(
            [zipped(tmp_path / "ETHUSDT-1m-2024-01.zip", text([candle(0)]))],
            tmp_path / "c",
            "ETHUSDT-PERP.BINANCE",
            exchange_info=tmp_path / "info.json",
        )


def test_polars_is_the_oracle_of_a_long_file(tmp_path):
    rng = np.random.default_rng(3)
    n = 120_000
    table = pl.DataFrame(
        {
            "id": np.arange(n) + 7,
            "price": np.round(42000 + rng.normal(0, 50, n), 1),
            "qty": np.round(rng.uniform(0.001, 5, n), 3),
            "quote": np.zeros(n),
            "time": START_MS + np.sort(rng.integers(0, 86_400_000, n)),
            "maker": rng.random(n) < 0.5,
        }
    )
    content = io.BytesIO()
    table.write_csv(content)
    path = zipped(tmp_path / "BTCUSDT-trades-2024-01-01.zip", content.getvalue().decode())
    (report,) = import_binance_trades([path], tmp_path / "c")
    assert (report.refused, report.kept["trade"]) == ({}, n)
    events = trades_of(tmp_path / "c", PERP)
    assert (events["price"] == np.rint(table["price"].to_numpy() * 10)).all()
    assert (events["size"] == np.rint(table["qty"].to_numpy() * 1000)).all()
    assert (events["ts_event_ns"] == table["time"].to_numpy() * 10**6).all()
    assert (events["side"] == np.where(table["maker"].to_numpy(), -1, 1)).all()
