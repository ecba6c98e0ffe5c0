"""freqtrade candles: names, times, instruments, and every kind of bad candle."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from apex_nautilus.data import (
    DataError,
    ImportRefused,
    bar_type_name,
    bar_types,
    import_freqtrade,
    load_instrument,
    read_bars,
)
from apex_nautilus.data.importers.freqtrade import parse_name
from apex_nautilus.data.steps import decimals

START = datetime(2025, 1, 1, tzinfo=UTC)
MINUTE = 60_000_000_000


def candles(n: int = 1_000) -> dict[str, list]:
    return {
        "date": [START + timedelta(minutes=5 * i) for i in range(n)],
        "open": [100.0 + i % 7 for i in range(n)],
        "high": [108.5] * n,
        "low": [99.25] * n,
        "close": [100.0 + (i + 1) % 7 for i in range(n)],
        "volume": [3.5] * n,
    }


def write(folder, columns, name="XYZ_USDT_USDT-5m-futures.feather"):
    frame = pl.DataFrame(columns, schema_overrides={"date": pl.Datetime("ms", "UTC")})
    frame.write_ipc(folder / name)
    return folder / name


def test_recorded_candles_come_back_stamped_with_their_close(samples, tmp_path):
    path = samples / "BTC_USDT_USDT-5m-futures.feather"
    (report,) = import_freqtrade([path], tmp_path)
    original = pl.read_ipc(path.open("rb"))
    bars = read_bars(tmp_path, bar_type_name("BTCUSDT-PERP.BINANCE", 5))
    spec = load_instrument(tmp_path, "BTCUSDT-PERP.BINANCE")
    assert report.refused == report.noted == {}
    assert report.written == {"bars": 2_880} == {"bars": original.height}
    opened = original["date"].dt.epoch("ns").to_numpy()
    np.testing.assert_array_equal(bars["ts_ns"], opened + 5 * MINUTE)
    for name in ("open", "high", "low", "close"):
        np.testing.assert_array_equal(bars[name] / 10**spec.price_precision, original[name].to_numpy())
    np.testing.assert_array_equal(bars["volume"] / 10**spec.size_precision, original["volume"].to_numpy())


def test_many_recorded_files_import(shared_data, tmp_path):
    paths = sorted((shared_data / "perp-candles-2025").glob("*[15]m-futures.feather"))[:12]
    paths += sorted((shared_data / "spot-candles-2024").glob("*.feather"))[:4]
    for report in import_freqtrade(paths, tmp_path):
        assert report.refused == {}
        (name,) = [t for t in bar_types(tmp_path, report.instrument_id) if f"-{report.source[10:-1]}-" in t]
        assert read_bars(tmp_path, name).size == report.rows


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("BTC_USDT-5m.feather", ("BTCUSDT.BINANCE", 5)),
        ("BTC_USDT_USDT-1h-futures.feather", ("BTCUSDT-PERP.BINANCE", 60)),
        ("1000SATS_USDT-1d.feather", ("1000SATSUSDT.BINANCE", 1440)),
    ],
)
def test_names_say_what_the_candles_are(name, expected):
    assert parse_name(name) == expected


@pytest.mark.parametrize(
    "name",
    [
        "BTC-5m.feather",
        "BTC_USDT_USDT-8h-funding_rate.feather",
        "BTC_USD_BTC-5m-futures.feather",
        "BTC_USDT-5m.parquet",
    ],
)
def test_other_names_are_refused(name):
    with pytest.raises(ImportRefused, match=name):
        parse_name(name)


@pytest.mark.parametrize(
    ("reason", "column", "value"),
    [
        ("not_a_number", "close", float("nan")),
        ("not_a_number", "volume", float("inf")),
        ("not_a_number", "open", None),
        ("not_a_number", "date", None),
        ("non_positive_price", "low", 0.0),
        ("negative_size", "volume", -1.0),
        ("too_large", "high", 1e300),
        ("too_large", "volume", 1e19),
        ("outside_range", "close", 109.0),
        ("outside_range", "low", 106.5),
        ("off_grid_time", "date", START + timedelta(minutes=7)),
        ("duplicate", "date", START + timedelta(minutes=5 * 499)),
        ("time_backwards", "date", START + timedelta(minutes=5 * 3)),
    ],
)
def test_each_kind_of_bad_candle_is_refused_and_counted(reason, column, value, tmp_path):
    columns = candles()
    columns[column][500] = value
    path = write(tmp_path, columns)
    (report,) = import_freqtrade([path], tmp_path / "c", max_bad_share=0.002)
    assert report.refused == {reason: 1}
    assert report.examples[0].startswith(f"{path.name}:501: {reason}: ")
    assert report.kept == {"candle": 999}
    assert report.noted["missing_candles"] == 1
    with pytest.raises(ImportRefused, match=f"1 of 1000 rows are bad .*{reason} 1"):
        import_freqtrade([path], tmp_path / "other", max_bad_share=0.0005)
    assert not (tmp_path / "other").exists()


def test_a_file_damaged_anywhere_is_refused_or_read_but_never_a_crash(samples, tmp_path):
    good = (samples / "BTC_USDT_USDT-5m-futures.feather").read_bytes()
    path = tmp_path / "BTC_USDT_USDT-5m-futures.feather"
    rng = np.random.default_rng(0)
    for cut in (3, len(good) // 2, len(good) - 1):
        path.write_bytes(good[:cut])
        with pytest.raises(ImportRefused):
            import_freqtrade([path], tmp_path / "c")
    for _ in range(150):
        content = np.frombuffer(good, dtype=np.uint8).copy()
        content[rng.integers(0, content.size, 5)] = rng.integers(0, 256, 5)
        path.write_bytes(content.tobytes())
        with contextlib.suppress(DataError):
            import_freqtrade([path], tmp_path / "c")


def test_files_that_are_no_candles_are_refused(tmp_path):
    (tmp_path / "A_USDT-5m.feather").write_bytes(b"no feather")
    with pytest.raises(ImportRefused, match="cannot be read as feather"):
        import_freqtrade([tmp_path / "A_USDT-5m.feather"], tmp_path / "c")
    columns = candles(3) | {"close": ["100", "x", "y"]}
    with pytest.raises(ImportRefused, match=r"column close holds .*not numbers"):
        import_freqtrade([write(tmp_path, columns)], tmp_path / "c")
    with pytest.raises(ImportRefused, match=r"volume of 1e\+18 with 2 decimals needs more than 64 bits"):
        import_freqtrade([write(tmp_path, candles(3) | {"volume": [1e18, 3.25, 1.0]})], tmp_path / "c")
    columns = candles(3)
    del columns["volume"]
    with pytest.raises(ImportRefused, match="lacks the columns volume"):
        import_freqtrade([write(tmp_path, columns)], tmp_path / "c")
    with pytest.raises(ImportRefused, match="holds no candle"):
        import_freqtrade([write(tmp_path, candles(0))], tmp_path / "c")


def test_an_unknown_instrument_is_read_off_the_data_and_one_definition_serves_all_of_it(tmp_path):
    (first,) = import_freqtrade([write(tmp_path, candles())], tmp_path / "c")
    assert (
        first.noted == {"instrument_inferred": 1, "missing_candles": 0}
        or "instrument_inferred" in first.noted
    )
    spec = load_instrument(tmp_path / "c", "XYZUSDT-PERP.BINANCE")
    assert (spec.price_precision, spec.size_precision, spec.tick, spec.lot) == (2, 1, 0.01, 0.1)
    # Candles with more decimals widen the definition; those stored before stay readable.
    finer = candles()
    finer["low"] = [99.1234] * 1_000
    finer["date"] = [d + timedelta(days=30) for d in finer["date"]]
    import_freqtrade([write(tmp_path, finer)], tmp_path / "c")
    spec = load_instrument(tmp_path / "c", "XYZUSDT-PERP.BINANCE")
    assert (spec.price_precision, spec.size_precision) == (4, 1)
    bars = read_bars(tmp_path / "c", bar_type_name("XYZUSDT-PERP.BINANCE", 5))
    assert sorted(set(bars["low"])) == [991234, 992500]
    # And coarser ones afterwards leave it.
    coarse = candles()
    for name in ("open", "high", "low", "close", "volume"):
        coarse[name] = [110.0] * 1_000
    coarse["date"] = [d + timedelta(days=60) for d in coarse["date"]]
    (third,) = import_freqtrade([write(tmp_path, coarse)], tmp_path / "c")
    assert third.noted["instrument_of_catalog"] == 1
    assert load_instrument(tmp_path / "c", "XYZUSDT-PERP.BINANCE") == spec


def test_overlapping_candles_are_not_overwritten_unless_asked(tmp_path):
    import_freqtrade([write(tmp_path, candles())], tmp_path / "c")
    path = write(tmp_path, candles(1_200))
    with pytest.raises(DataError, match="already holds"):
        import_freqtrade([path], tmp_path / "c")
    (report,) = import_freqtrade([path], tmp_path / "c", replace=True)
    assert report.noted["files_replaced"] == 1
    assert read_bars(tmp_path / "c", bar_type_name("XYZUSDT-PERP.BINANCE", 5)).size == 1_200
    with pytest.raises(DataError, match="what lies beyond would be lost"):
        import_freqtrade([write(tmp_path, candles(500))], tmp_path / "c", replace=True)
    assert read_bars(tmp_path / "c", bar_type_name("XYZUSDT-PERP.BINANCE", 5)).size == 1_200


@pytest.mark.parametrize(
    ("values", "places"),
    [
        ([1.0, 20.0], 0),
        ([0.1 + 0.2], 1),
        ([94_123.5, 0.001], 3),
        ([1e-8], 8),
        ([float("nan"), 2.5], 1),
        ([], 0),
    ],
)
def test_decimals_in_use(values, places):
    assert decimals(np.array(values)) == places
