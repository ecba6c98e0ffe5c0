"""Columns of a dataset: published series beside computed features, ten levels, bars made of shorter ones."""

from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apex_nautilus.data import (
    BARS,
    DataError,
    Dataset,
    DatasetError,
    bar_type_name,
    binance_instrument,
    build_dataset,
    dataset_from_bars,
    import_freqtrade,
    read_bars,
    read_events,
)
from apex_nautilus.data.bars import resample
from apex_nautilus.data.external import write_external
from apex_nautilus.data.external_columns import ExternalColumns
from apex_nautilus.features import get
from apex_nautilus.features.external import ExternalSeries
from apex_nautilus.forge import EvolutionConfig, evolve

BTC = binance_instrument("BTCUSDT-PERP.BINANCE")
SECOND, MINUTE = 1_000_000_000, 60_000_000_000


@pytest.fixture(scope="module")
def market(btc_import, tmp_path_factory):
    """A catalog of one's own, as series are written into it."""
    return shutil.copytree(btc_import[0], tmp_path_factory.mktemp("market") / "catalog")


@pytest.fixture(scope="module")
def span(btc_import):
    chunks = list(read_events(btc_import[0], BTC.id))
    return int(chunks[0]["ts_init_ns"][0]), int(chunks[-1]["ts_init_ns"][-1])


@pytest.fixture(scope="module")
def published(market, span):
    """A funding rate that changes every 7 s from a quarter of the recording on."""
    begin, end = span
    times = np.arange(begin + (end - begin) // 4, end, 7 * SECOND)
    series = ExternalSeries("funding_rate", times, 1e-4 * np.arange(1, len(times) + 1))
    write_external(market, series, BTC.id)
    return series


def test_a_published_series_stands_in_the_column_that_was_asked_for(market, published, tmp_path):
    columns = ["imbalance", "funding_rate", "spread_bps"]
    built = build_dataset(market, BTC.id, "1s", columns, tmp_path / "d")
    plain = build_dataset(market, BTC.id, "1s", ["imbalance", "spread_bps"], tmp_path / "p")
    assert built.feature_names == tuple(columns)
    assert built.card.external == ("funding_rate",)
    assert built.features.flags.c_contiguous
    np.testing.assert_array_equal(built.features[:, [0, 2]], plain.features)
    expected = pd.merge_asof(
        pd.DataFrame({"ts": built.ts_ns}),
        pd.DataFrame({"ts": published.published_ns, "value": published.value}),
        on="ts",
    )["value"]
    assert 0 < expected.isna().sum() < len(built) - 10
    neutral = get("funding_rate").neutral
    np.testing.assert_array_equal(built.features[:, 1], expected.fillna(neutral))


def test_the_id_changes_with_the_series(market, published, tmp_path):
    def card(series):
        write_external(market, series, BTC.id)
        return build_dataset(market, BTC.id, "1s", ["imbalance", "funding_rate"], tmp_path / "d").card

    base = card(published)
    later = ExternalSeries("funding_rate", published.published_ns + 1, published.value)
    shorter = ExternalSeries("funding_rate", published.published_ns, published.value, 3 * SECOND)
    ids = {base.id, card(later).id, card(shorter).id}
    assert len(ids) == 3
    assert card(published).id == base.id


def test_a_dataset_may_be_of_published_series_alone(market, published, tmp_path):
    built = build_dataset(market, BTC.id, "1s", ["funding_rate"], tmp_path / "d")
    assert built.features.shape == (len(built), 1)
    assert np.unique(built.features).size > 3


def test_a_series_that_is_not_stored_is_told(market, tmp_path):
    with pytest.raises(DataError, match="no external series 'fear_greed'"):
        build_dataset(market, BTC.id, "1s", ["imbalance", "fear_greed"], tmp_path / "d")
    assert list(tmp_path.iterdir()) == []


def test_the_forge_evolves_on_published_columns(market, published, tmp_path):
    built = build_dataset(
        market, BTC.id, "book", ["funding_rate", "imbalance"], tmp_path / "d", conflate_ms=100
    )
    config = EvolutionConfig(population=12, generations=1, max_holds_s=(2.0,), lottery=0, threads=1)
    result = evolve(built, config, 3, clock=lambda: 1)
    assert set(result.genome.features) <= {"funding_rate", "imbalance"}
    assert result.genome.provenance.dataset_id == built.id


def test_published_series_join_bars_at_their_close(samples, tmp_path):
    import_freqtrade([samples / "ETH_USDT_USDT-5m-futures.feather"], tmp_path)
    bars = read_bars(tmp_path, bar_type_name("ETHUSDT-PERP.BINANCE", 5))
    times = bars["ts_ns"][::96] + 1  # just too late for the bar it follows
    series = ExternalSeries("funding_rate", times, np.linspace(-1e-3, 1e-3, times.size))
    columns = ExternalColumns(("funding_rate", "bar_return"), {"funding_rate": series})
    spec = binance_instrument("ETHUSDT-PERP.BINANCE")
    built = dataset_from_bars(bars, spec, "5m", columns.wanted, external=columns)
    expected = pd.merge_asof(
        pd.DataFrame({"ts": built.ts_ns}), pd.DataFrame({"ts": times, "value": series.value}), on="ts"
    )["value"]
    np.testing.assert_array_equal(built.features[:, 0], expected.fillna(get("funding_rate").neutral))


@pytest.mark.parametrize("clock", ["book", "1s"])
def test_a_path_of_ten_levels_begins_with_the_five(clock, market, tmp_path):
    five = build_dataset(market, BTC.id, clock, ["imbalance"], tmp_path / "five")
    ten = build_dataset(market, BTC.id, clock, ["imbalance"], tmp_path / "ten", depth=10)
    assert (five.card.depth, ten.card.depth) == (5, 10)
    assert five.id != ten.id
    assert ten.path_depth.shape[1:] == (4, 10)
    np.testing.assert_array_equal(ten.path_depth[:, :, :5], five.path_depth)
    assert (np.diff(ten.path_depth[:, 0], axis=1) < 0).all()
    with pytest.raises(DatasetError, match="5 or 10 levels, not 7"):
        build_dataset(market, BTC.id, clock, ["imbalance"], tmp_path / "seven", depth=7)


def test_a_card_that_promises_other_levels_is_refused(market, tmp_path):
    build_dataset(market, BTC.id, "1s", ["imbalance"], tmp_path / "d")
    card = tmp_path / "d" / "card.json"
    card.write_text(card.read_text().replace('"depth": 5', '"depth": 10'))
    with pytest.raises(DatasetError, match="10 levels a side"):
        Dataset.open(tmp_path / "d")


def test_progress_counts_every_event(market, tmp_path):
    seen = []
    built = build_dataset(market, BTC.id, "1s", ["imbalance"], tmp_path / "d", progress=seen.append)
    assert seen[-1].done == seen[-1].total == built.card.counts["events"]
    assert seen[-1].rows == len(built)


@settings(max_examples=30)
@given(st.integers(20, 400), st.integers(0, 30), st.sampled_from([5, 15]), st.integers(0, 2**32 - 1))
def test_resampled_bars_are_those_of_pandas(n, offset, into, seed):
    rng = np.random.default_rng(seed)
    bars = np.zeros(n, dtype=BARS)
    bars["ts_ns"] = (offset + np.arange(1, n + 1)) * MINUTE
    bars["close"] = rng.integers(900, 1100, n)
    bars["open"] = rng.integers(900, 1100, n)
    bars["low"] = np.minimum(bars["open"], bars["close"]) - rng.integers(0, 9, n)
    bars["high"] = np.maximum(bars["open"], bars["close"]) + rng.integers(0, 9, n)
    bars["volume"] = rng.integers(0, 50, n)
    bars = bars[rng.random(n) < 0.9]
    frame = pd.DataFrame(bars).set_index(pd.to_datetime(bars["ts_ns"]))
    rules = {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}
    grouped = frame.resample(f"{into}min", closed="right", label="right").agg({**rules, "ts_ns": "last"})
    expected = grouped.dropna()
    closes = expected.index.as_unit("ns").astype(np.int64)
    got = resample(bars, 1, into)
    # Bars at either end that are not covered whole are left out, and there are never more than two of those.
    assert len(expected) - 2 <= len(got) <= len(expected)
    wanted = expected[np.isin(closes, got["ts_ns"])]
    assert len(wanted) == len(got)
    for name in rules:
        np.testing.assert_array_equal(got[name], wanted[name].astype(np.int64))
