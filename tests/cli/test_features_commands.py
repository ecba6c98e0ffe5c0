"""`apex features`: the registry as it is, and pictures that lose no peak."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from apex_nautilus.cli._feature_rows import feature_series
from apex_nautilus.cli._thin import MinMaxThinner
from apex_nautilus.cli.apex import main
from apex_nautilus.data import import_binance_capture, import_freqtrade, read_bars, read_events
from apex_nautilus.features import batch_book, get, names

DATA = Path(__file__).resolve().parents[1] / "data"
BTC = "BTCUSDT-PERP.BINANCE"


def run(*arguments: str, width: int = 80):
    return CliRunner(env={"COLUMNS": str(width)}).invoke(main, ["features", *arguments])


def test_the_list_holds_the_registry_and_fits_eighty_columns():
    result = run("list")
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert max(map(len, lines)) <= 80
    shown = {line.split("│")[1].strip() for line in lines if line.startswith("│")}
    assert set(names()) <= shown


@pytest.mark.parametrize("kind", ["book", "bar", "external"])
def test_json_tells_what_the_registry_says(kind):
    told = json.loads(run("list", "--kind", kind, "--json").output)
    assert [f["name"] for f in told] == list(names(kind))
    for record in told:
        spec = get(record["name"])
        assert record["unit"] == spec.unit
        assert record["low"] == (spec.low if np.isfinite(spec.low) else None)
        assert record["neutral"] == spec.neutral
        assert record["warmup_ns"] == spec.warmup_ns
        assert (record["formula"], record["source"]) == (spec.formula, spec.source)


def test_single_features_are_shown_and_unknown_ones_answered_with_near_ones():
    result = run("show", "clv", "mtfa")
    assert result.exit_code == 0
    assert "Chaikin" in result.output
    assert "Kaufman" in result.output
    assert [f["name"] for f in json.loads(run("show", "clv", "--json").output)] == ["clv"]
    wrong = run("show", "imbalence")
    assert wrong.exit_code == 1
    assert "did you mean imbalance" in wrong.output


@settings(max_examples=150)
@given(
    st.lists(st.integers(0, 40), min_size=1, max_size=30),
    st.integers(1, 7),
    st.integers(1, 3),
    st.integers(0, 99),
)
def test_thinning_keeps_the_order_the_extremes_and_few_points(chunks, stretches, columns, seed):
    n = sum(chunks)
    ts = np.cumsum(np.random.default_rng(seed).integers(1, 5, n))
    values = np.random.default_rng(seed + 1).normal(size=(n, columns)).round(1)
    thinner = MinMaxThinner(columns, stretches)
    for start, size in zip(np.cumsum([0, *chunks]), chunks, strict=False):
        thinner.add(ts[start : start + size], values[start : start + size])
    assert thinner.rows == n
    for column in range(columns):
        times, kept = thinner.points(column)
        assert len(times) <= 2 * (2 * stretches + 1)
        if n <= 2 * stretches:
            assert times.tolist() == ts.tolist()
        assert (np.diff(times) >= 0).all()
        if n:
            assert kept.min() == values[:, column].min()
            assert kept.max() == values[:, column].max()
        for time, value in zip(times, kept, strict=True):
            assert values[ts == time, column].tolist() == [value]


def test_no_stretch_loses_its_peak():
    values = np.zeros((100_000, 1))
    peaks = np.arange(0, 100_000, 1_000) + 500
    values[peaks] = 1.0 + np.arange(100)[:, None]
    thinner = MinMaxThinner(1, 500)
    for part in np.array_split(np.arange(100_000), 37):
        thinner.add(part, values[part])
    times, kept = thinner.points(0)
    assert len(times) <= 2_002
    assert set(peaks.tolist()) <= set(times.tolist())
    assert kept[np.isin(times, peaks)].tolist() == values[peaks, 0].tolist()


@pytest.fixture(scope="module")
def catalog(tmp_path_factory) -> Path:
    """Ninety seconds of a real book and ten days of real bars of the same instrument."""
    path = tmp_path_factory.mktemp("plot") / "market"
    import_binance_capture([DATA / "btcusdt_usdm_20240808.gz"], path, BTC)
    import_freqtrade([DATA / "BTC_USDT_USDT-5m-futures.feather"], path)
    return path


def test_the_rows_drawn_are_those_of_the_features(catalog):
    wanted = ["imbalance", "hawkes_books_1s"]
    found = feature_series(catalog, BTC, wanted, "book", stretches=10_000)
    events = np.concatenate(list(read_events(catalog, BTC)))
    rows = batch_book(events, wanted, price_precision=1, size_precision=3)
    assert found.series.rows == len(rows.ts_ns)
    assert found.warm_rows == int(rows.warm.sum())
    assert found.first_warm_ns == int(rows.ts_ns[np.argmax(rows.warm)])
    for column in range(2):
        times, values = found.series.points(1 + column)
        place = np.searchsorted(rows.ts_ns, times, side="right") - 1
        at_time = [rows.features[rows.ts_ns == t, column] for t in rows.ts_ns[place]]
        assert all(v in group for v, group in zip(values, at_time, strict=True))
    mids = (rows.path_bid + rows.path_ask)[rows.row_event] / 2
    assert found.series.points(0)[1].min() == mids.min()


def test_bars_are_drawn_at_their_prices(catalog):
    found = feature_series(catalog, BTC, ["bar_return"], "15m", stretches=10_000)
    times, closes = found.series.points(0)
    assert found.series.rows == 960
    assert 70_000 < closes.min() < closes.max() < 90_000
    bars = read_bars(catalog, f"{BTC}-5-MINUTE-LAST-EXTERNAL")
    assert closes[-1] == bars["close"][-1] / 10
    assert times[-1] == bars["ts_ns"][-1]


def test_a_page_is_whole_says_how_it_was_thinned_and_names_its_features(catalog, tmp_path):
    out = tmp_path / "deep" / "page.html"
    result = run(
        "plot", "--catalog", str(catalog), "--instrument", BTC, "--clock", "book", "--points", "100",
        "--features", "ofi_5,queue_depletion_ask_1s", "--out", str(out),
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "1,712 rows, drawn as the lowest and the highest of each 16" in result.output
    page = out.read_text(encoding="utf-8")
    assert "1,712 rows at clock book, drawn as the lowest and the highest of each 16" in page
    assert "queue_depletion_ask_1s" in page
    assert page.endswith("</html>\n")
    assert "src=" not in page.split("</style>")[0]
    assert "<script src" not in page  # nothing is fetched
    again = tmp_path / "again.html"
    run(
        "plot", "--catalog", str(catalog), "--instrument", BTC, "--clock", "book", "--points", "100",
        "--features", "ofi_5,queue_depletion_ask_1s", "--out", str(again),
    )  # fmt: skip
    assert again.read_bytes() == out.read_bytes()


def test_a_span_is_cut_out(catalog, tmp_path):
    result = run(
        "plot", "--catalog", str(catalog), "--instrument", BTC, "--features", "imbalance",
        "--from", "2024-08-08T23:54:30", "--to", "2024-08-08T23:54:50", "--out", str(tmp_path / "a.html"),
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "2024-08-08 23:54:31 to 2024-08-08 23:54:49 UTC" in result.output


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"--features": "imbalence"}, "did you mean imbalance"),
        ({"--features": "mtfa"}, "is a bar feature"),
        ({"--features": ","}, "no feature was named"),
        ({"--features": ",".join(names("book")[:21])}, "a page holds 20"),
        ({"--instrument": "XRPUSDT-PERP.BINANCE"}, "XRPUSDT-PERP.BINANCE"),
        ({"--out": "page.png"}, "ends in .html"),
        ({"--from": "yesterday"}, "'yesterday' is not a time"),
        ({"--from": "2030-01-01"}, "no row closed at 1s"),
        ({"--from": "2030-01-01", "--to": "2029-01-01"}, "is not before end"),
    ],
)
def test_what_cannot_be_drawn_is_refused_with_one_clear_line(catalog, tmp_path, change, message):
    given = {
        "--catalog": str(catalog),
        "--instrument": BTC,
        "--features": "imbalance",
        "--out": str(tmp_path / "x.html"),
    } | change
    result = run("plot", *(text for pair in given.items() for text in pair))
    assert result.exit_code in (1, 2)
    assert message in result.output
    assert not isinstance(result.exception, ValueError)
    assert not list(tmp_path.glob("*.html"))
