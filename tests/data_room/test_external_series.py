"""External series: stored whole, imported with the time at which they could be known."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from pyarrow import feather

from apex_nautilus.cli.apex import main
from apex_nautilus.data import DataError, ImportRefused
from apex_nautilus.data.external import read_external, write_external
from apex_nautilus.data.importers.external_daily import import_daily_factors
from apex_nautilus.data.importers.external_funding import import_freqtrade_funding
from apex_nautilus.features.external import ExternalSeries, asof_join
from apex_nautilus.store.external import list_external

BTC = "BTCUSDT-PERP.BINANCE"


def ns(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000_000


def test_a_series_comes_back_to_the_bit_and_the_instrument_goes_before_the_market(tmp_path):
    market = ExternalSeries("funding_rate", [1, 2], [0.1, -0.1])
    own = ExternalSeries("funding_rate", [5], [np.nextafter(0.1, 1)], stale_after_ns=9)
    write_external(tmp_path, market)
    assert write_external(tmp_path, own, BTC).name == f"funding_rate@{BTC}.parquet"
    read = read_external(tmp_path, "funding_rate", BTC)
    assert (read.published_ns.tolist(), read.age_limit_ns) == ([5], 9)
    assert read.value.tobytes() == own.value.tobytes()
    assert read_external(tmp_path, "funding_rate", "ETHUSDT-PERP.BINANCE").published_ns.tolist() == [1, 2]
    assert list_external(tmp_path) == [("funding_rate", None), ("funding_rate", BTC)]
    with pytest.raises(DataError, match=r"no external series 'vix'.*funding_rate of BTC"):
        read_external(tmp_path, "vix")


def test_series_are_joined_where_they_agree_and_refused_where_not(tmp_path):
    write_external(tmp_path, ExternalSeries("vix", [1, 3], [10, 30]))
    write_external(tmp_path, ExternalSeries("vix", [2, 3, 4], [20, 30, 40]), replace=False)
    assert read_external(tmp_path, "vix").value.tolist() == [10, 20, 30, 40]
    with pytest.raises(DataError, match=r"holds 30\.0 as published at 3, the source 31\.0"):
        write_external(tmp_path, ExternalSeries("vix", [3], [31]), replace=False)
    write_external(tmp_path, ExternalSeries("vix", [3], [31]))
    assert read_external(tmp_path, "vix").value.tolist() == [31]


@pytest.mark.parametrize("damage", ["cut", "foreign", "empty", "renamed"])
def test_a_damaged_file_is_an_error_that_names_it(tmp_path, damage):
    path = write_external(tmp_path, ExternalSeries("vix", [1], [10]))
    data = path.read_bytes()
    if damage == "renamed":
        path = path.rename(path.with_name("dxy.parquet"))
    else:
        path.write_bytes({"cut": data[: len(data) // 2], "foreign": b"PAR1 no", "empty": b""}[damage])
    with pytest.raises(DataError, match=f"{path.stem}.parquet.*import it again"):
        read_external(tmp_path, path.stem)


def test_a_day_is_known_at_the_next_midnight_and_the_delay(tmp_path):
    source = tmp_path / "fear_greed.csv"
    source.write_text("date,fng\n2024-01-01,30\n2024-01-02,\n2024-01-03,40\n2024-01-03,41\n2024-01-05,hm\n")
    (report,) = import_daily_factors([source], tmp_path, delay_minutes=30, max_bad_share=0.5)
    assert report.kept == {"fear_greed": 2}
    assert report.refused == {"duplicate": 1, "bad_value": 1}
    assert report.noted == {"no_value:fng": 1}
    assert report.files == ["external/fear_greed.parquet"]
    series = read_external(tmp_path, "fear_greed")
    assert series.published_ns.tolist() == [ns("2024-01-02T00:30:00"), ns("2024-01-04T00:30:00")]
    before, at = ns("2024-01-02T00:30:00") - 1, ns("2024-01-02T00:30:00")
    assert asof_join(series, [before, at]).tolist() == [50.0, 30.0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("date,price\n2024-01-01,3\n", "one of fng"),
        ("day,fng\n2024-01-01,3\n", "column date"),
        ("", "has none"),
        ("date,fng\n2024-01-01,\n", "holds no value"),
        ("date,fng\n2024-01-01,500\n", r"bad_value: fng '500' is no number in \[0, 100\]"),
        ("date,fng\n1st of May,50\n", "is not a day"),
    ],
)
def test_a_file_that_says_nothing_or_nonsense_is_refused(tmp_path, text, message):
    source = tmp_path / "factors.csv"
    source.write_text(text)
    with pytest.raises(ImportRefused, match=message):
        import_daily_factors([source], tmp_path)
    assert not (tmp_path / "external").exists()


def funding_file(folder, name="BTC_USDT_USDT-8h-funding_rate.feather", **columns):
    times = [datetime(2025, 3, 6, h, tzinfo=UTC) for h in (0, 8, 16)]
    frame = pl.DataFrame({"date": times, "open": [1e-4, -2e-5, 3e-4], **columns})
    feather.write_feather(frame.to_arrow(), folder / name)
    return folder / name


def test_funding_counts_from_its_settlement_for_its_instrument(tmp_path):
    (report,) = import_freqtrade_funding([funding_file(tmp_path)], tmp_path)
    assert (report.instrument_id, report.kept) == (BTC, {"funding_rate": 3})
    series = read_external(tmp_path, "funding_rate", BTC)
    assert series.value.tolist() == [1e-4, -2e-5, 3e-4]
    at = ns("2025-03-06T08:00:00")
    assert asof_join(series, [at - 1, at]).tolist() == [1e-4, -2e-5]
    with pytest.raises(DataError, match="no external series"):
        read_external(tmp_path, "funding_rate")
    other = funding_file(tmp_path, "rates.feather")
    with pytest.raises(ImportRefused, match="expected BASE_QUOTE"):
        import_freqtrade_funding([other], tmp_path)
    import_freqtrade_funding([other], tmp_path, instrument_id="X.Y")
    assert len(read_external(tmp_path, "funding_rate", "X.Y")) == 3
    with pytest.raises(ImportRefused, match="bad_value 1"):
        import_freqtrade_funding([funding_file(tmp_path, open=[1.5, 0.0, 0.0])], tmp_path)


def test_the_command_imports_both_kinds(tmp_path):
    source = tmp_path / "vix.csv"
    source.write_text("date,vix\n2024-01-01,13.5\n")
    for words in (
        ["daily-factors", str(source), "--delay-minutes", "0"],
        ["freqtrade-funding", str(funding_file(tmp_path))],
    ):  # fmt: skip
        done = CliRunner().invoke(
            main, ["data", "import", *words, "--catalog", str(tmp_path / "c"), "--json"]
        )
        assert done.exit_code == 0, done.output
    assert read_external(tmp_path / "c", "vix").published_ns.tolist() == [ns("2024-01-02T00:00:00")]
    assert list_external(tmp_path / "c") == [("funding_rate", BTC), ("vix", None)]


def test_all_recorded_factors_import(shared_data, tmp_path):
    files = [
        shared_data / "daily-factors" / f"{n}.csv" for n in ("fear_greed", "funding_rates", "vix", "dxy")
    ]
    reports = import_daily_factors(files, tmp_path)
    assert all(not r.refused for r in reports)
    assert [n for n, _ in list_external(tmp_path)] == ["dxy", "fear_greed", "funding_daily_mean", "vix"]
    assert len(read_external(tmp_path, "fear_greed")) > 2900
    funding = sorted((shared_data / "perp-candles-2025").glob("*-funding_rate.feather"))
    reports = import_freqtrade_funding(funding, tmp_path)
    assert len(reports) == len(funding) > 15
    assert all(not r.refused for r in reports)
