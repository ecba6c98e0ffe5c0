"""freqtrade's JSON candles are the feather ones; funding rates and mark prices are told where to go."""

from __future__ import annotations

import gzip
import json

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apex_nautilus.data import DataError, ImportRefused, import_freqtrade, read_bars

BARS = "BTCUSDT-PERP.BINANCE-5-MINUTE-LAST-EXTERNAL"


def as_json(samples, n: int) -> bytes:
    with (samples / "BTC_USDT_USDT-5m-futures.feather").open("rb") as file:
        frame = pl.read_ipc(file).head(n)
    frame = frame.with_columns(pl.col("date").dt.epoch("ms"))
    return json.dumps(
        [list(r) for r in frame.select("date", "open", "high", "low", "close", "volume").rows()]
    ).encode()


@pytest.mark.parametrize("suffix", ["json", "json.gz"])
def test_json_gives_the_bars_that_feather_gives(samples, tmp_path, suffix):
    raw = as_json(samples, 2_880)
    path = tmp_path / f"BTC_USDT_USDT-5m-futures.{suffix}"
    path.write_bytes(gzip.compress(raw) if suffix.endswith("gz") else raw)
    (report,) = import_freqtrade([path], tmp_path / "json")
    import_freqtrade([samples / "BTC_USDT_USDT-5m-futures.feather"], tmp_path / "feather")
    assert report.kept == {"candle": 2_880}
    np.testing.assert_array_equal(read_bars(tmp_path / "json", BARS), read_bars(tmp_path / "feather", BARS))


def test_a_candle_with_a_hole_is_refused_and_the_others_stay(samples, tmp_path):
    rows = json.loads(as_json(samples, 50))
    rows[7][4] = None
    path = tmp_path / "BTC_USDT_USDT-5m-futures.json"
    path.write_text(json.dumps(rows))
    (report,) = import_freqtrade([path], tmp_path / "c", max_bad_share=0.1)
    assert report.refused == {"not_a_number": 1}
    assert report.noted == {"missing_candles": 1}
    assert read_bars(tmp_path / "c", BARS).size == 49


@pytest.mark.parametrize(
    ("raw", "match"),
    [
        (b"{}", "expected a list"),
        (b"[[1, 2, 3]]", "expected a list"),
        (b'[["a", 1, 1, 1, 1, 1]]', "expected a list"),
        (b"[[-1, 1, 1, 1, 1, 1]]", "expected a list"),
        (b"[]", "holds no candle"),
        (b"\xff", "expected a list"),
        (gzip.compress(b"[[1735689600000, 1, 1, 1, 1, 1]]")[:-10], "cannot be read"),
    ],
)
def test_other_json_is_refused_and_leaves_nothing(tmp_path, raw, match):
    path = tmp_path / "BTC_USDT-5m.json"
    path.write_bytes(raw)
    with pytest.raises(ImportRefused, match=match):
        import_freqtrade([path], tmp_path / "c")
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(
    "name",
    ["BTC_USDT_USDT-8h-funding_rate.feather", "BTC_USDT_USDT-8h-mark.feather", "BTC_USDT_USDT-1h-mark.json"],
)
def test_funding_rates_and_mark_prices_are_told_what_to_do(tmp_path, name):
    with pytest.raises(ImportRefused, match=r"external series.*Name the -futures file"):
        import_freqtrade([tmp_path / name], tmp_path / "c")


@given(data=st.data())
def test_mutated_json_ends_in_an_import_or_a_refusal(samples, tmp_path_factory, data):
    raw = bytearray(as_json(samples, 6))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at : at + data.draw(st.integers(0, 5))] = data.draw(st.binary(max_size=5))
    folder = tmp_path_factory.mktemp("fuzz")
    path = folder / "BTC_USDT_USDT-5m-futures.json"
    path.write_bytes(bytes(raw))
    try:
        import_freqtrade([path], folder / "c", max_bad_share=1.0)
    except DataError:
        assert not list(folder.glob("c/**/*.parquet"))
