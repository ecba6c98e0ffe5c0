"""External features live: a Nautilus run gives each row what the dataset's join gives it."""

from __future__ import annotations

import numpy as np
import pytest
from support.engine_case import BTC, Scripted, run_agents, scripted, wandering_market

from apex_nautilus.data import build_dataset, import_freqtrade, write_events
from apex_nautilus.data.external import write_external
from apex_nautilus.engine import nautilus_config, open_engine, run_market
from apex_nautilus.engine.bar_hub import BarFeed
from apex_nautilus.engine.bar_market import bar_batches
from apex_nautilus.engine.config import bar_hub_config
from apex_nautilus.engine.external_data import EXTERNAL_TOPIC, ExternalSource, ExternalValue
from apex_nautilus.engine.feed_hub import check_preload
from apex_nautilus.features import FeatureError, batch_book
from apex_nautilus.features.external import ExternalSeries, asof_join

FEATURES = ("fear_greed", "spread_bps", "funding_rate")


@pytest.fixture(scope="module")
def market():
    return wandering_market(8, 600)


@pytest.mark.parametrize("clock", ["book", "1s"])
def test_rows_of_a_run_hold_the_bits_of_the_join(tmp_path, market, clock):
    lo, hi = int(market["ts_init_ns"][0]), int(market["ts_init_ns"][-1])
    times = np.linspace(lo - 10**9, hi, 40).astype(np.int64)
    times[5] = market["ts_init_ns"][200]  # at the very time of an event
    series = ExternalSeries(
        "fear_greed", np.unique(times), np.arange(len(np.unique(times))), (hi - lo) // 100
    )
    funding = ExternalSeries("funding_rate", [lo + (hi - lo) // 2], [1e-4])
    other = ExternalSeries("funding_rate", [lo - 1], [0.5])
    catalog = tmp_path / "catalog"
    agents = [scripted(tag, [], clock=clock, features=f) for tag, f in (("a", FEATURES), ("b", FEATURES[:1]))]
    write_events(catalog, BTC, market)
    write_external(catalog, series)
    write_external(catalog, other)
    write_external(catalog, funding, BTC.id)
    run_agents(tmp_path, market, agents, external=str(catalog))
    precisions = {"price_precision": BTC.price_precision, "size_precision": BTC.size_precision}
    rows = batch_book(market, ["spread_bps"], clock=clock, **precisions)
    seen = np.array([row for _, _, _, row in agents[0].seen])
    ts = np.array([t for t, *_ in agents[0].seen])
    assert ts.tolist() == rows.ts_ns[rows.warm].tolist()
    assert seen[:, 0].tobytes() == asof_join(series, ts).tobytes()
    assert seen[:, 1].tobytes() == np.ascontiguousarray(rows.features[rows.warm, 0]).tobytes()
    assert seen[:, 2].tobytes() == asof_join(funding, ts).tobytes()
    assert len(set(seen[:, 0])) > (10 if clock == "book" else 3)
    assert [row[0] for *_, row in agents[1].seen] == seen[:, 0].tolist()


def test_a_feature_without_a_series_is_refused_where_a_catalog_was_named(tmp_path):
    with pytest.raises(FeatureError, match=r"'vix'.*holds no series"):
        ExternalSource(BTC.id, str(tmp_path)).ask("vix")
    with pytest.raises(FeatureError, match="computed, not published"):
        ExternalSource(BTC.id, None).ask("clv")
    check_preload({"book": ["fear_greed"], "1s": ["clv", "vix"]})


def test_values_published_in_a_node_reach_the_instruments_they_are_about():
    source = ExternalSource(BTC.id, None)
    out = np.zeros(2)
    source.take(ExternalValue("fear_greed", 10, 30.0))
    source.take(ExternalValue("funding_rate", 10, 0.5, "OTHER.X"))
    source.row(("fear_greed", "funding_rate"), 11, out)
    assert out.tolist() == [30.0, 0.0]
    source.take(ExternalValue("funding_rate", 12, 0.25, BTC.id))
    source.row(("fear_greed", "funding_rate"), 12, out)
    assert out.tolist() == [30.0, 0.25]


def test_a_running_hub_hears_what_is_published_on_the_bus(tmp_path, market):
    """The agent itself publishes at its 50th row; the rows after it hold the value."""
    half = int(market["ts_init_ns"][len(market) // 2])

    class Speaker(Scripted):
        def on_feed_row(self, feed):
            super().on_feed_row(feed)
            if self.rows == 50:
                self.msgbus.publish(topic=EXTERNAL_TOPIC, msg=ExternalValue("fear_greed", feed.ts_ns, 77.0))
                self.msgbus.publish(topic=EXTERNAL_TOPIC, msg=ExternalValue("fear_greed", half, 88.0))

    speaker = Speaker(scripted("a", [], features=("fear_greed",)).config)
    run_agents(tmp_path, market, [speaker])
    values = np.array([row[0] for *_, row in speaker.seen])
    ts = np.array([t for t, *_ in speaker.seen])
    assert (values[:50] == 50.0).all()
    said = ts > ts[49]
    assert (values[said & (ts < half)] == 77.0).all()
    assert (values[ts >= half] == 88.0).all()


@pytest.fixture(scope="module")
def candles(tmp_path_factory, root):
    """Ten days of five-minute candles, and three series published during them."""
    catalog = tmp_path_factory.mktemp("candles") / "catalog"
    import_freqtrade([root / "tests" / "data" / "BTC_USDT_USDT-5m-futures.feather"], catalog)
    times = build_dataset(catalog, BTC.id, "5m", ["bar_return"], catalog.parent / "times").ts_ns
    rng = np.random.default_rng(5)

    def publish(name, published, low, high, instrument=None, stale=None):
        published = np.unique(published)
        values = rng.uniform(low, high, len(published))
        write_external(catalog, ExternalSeries(name, published, values, stale), instrument)

    # At closes of bars, a nanosecond after them, and once a day.
    publish("eigen_vel_div", times[40:2000] + rng.integers(0, 2, 1960), -2.0, 2.0)
    publish("funding_rate", times[100::96], -1e-3, 1e-3, BTC.id)
    publish("fear_greed", times[20::288] + 1_234_567, 0.0, 100.0, stale=20 * 3600 * 10**9)
    return catalog


def run_on_candles(catalog, agents, end_ns=None):
    config = nautilus_config(
        catalog=str(catalog),
        instrument_ids=[BTC.id],
        quote="USDT",
        balance=100_000.0,
        actors=[bar_hub_config(BTC.id, "5m", str(catalog))],
        bar_paths={BTC.id: "5m"},
        bar_costs={},
    )
    with open_engine(config) as engine:
        for agent in agents:
            engine.add_strategy(agent)
        run_market(engine, bar_batches(catalog, {BTC.id: "5m"}, end_ns=end_ns))


MIXED = ("eigen_vel_div", "true_range", "funding_rate", "bar_volatility", "fear_greed")
ALONE = ("fear_greed", "eigen_vel_div")


@pytest.mark.parametrize("clock", ["5m", "15m"])
def test_rows_on_bars_hold_the_bits_of_the_dataset(tmp_path, candles, clock):
    agents = [scripted(tag, [], clock=clock, features=f) for tag, f in (("a", MIXED), ("b", ALONE))]
    run_on_candles(candles, agents)
    for agent, names in zip(agents, (MIXED, ALONE), strict=True):
        dataset = build_dataset(candles, BTC.id, clock, names, tmp_path / agent.config.slot)
        assert [t for t, *_ in agent.seen] == dataset.ts_ns.tolist()
        assert np.array([row for *_, row in agent.seen]).tobytes() == dataset.features[:].tobytes()
    values = np.array([row for *_, row in agents[0].seen])
    changes = (np.diff(values, axis=0) != 0).sum(axis=0)
    assert changes[0] > 400  # a new value with nearly every row
    assert changes[2] > 20
    assert 50.0 in values[:, 4]  # neutral while the last one is stale
    assert changes[4] > 15


def test_a_value_published_during_bars_counts_from_the_next_row(candles):
    class Speaker(Scripted):
        def on_feed_row(self, feed):
            super().on_feed_row(feed)
            if self.rows == 30:
                self.msgbus.publish(topic=EXTERNAL_TOPIC, msg=ExternalValue("funding_rate", feed.ts_ns, 0.5))
                later = feed.ts_ns + 3 * 300 * 10**9
                self.msgbus.publish(topic=EXTERNAL_TOPIC, msg=ExternalValue("funding_rate", later, 0.25))

    first = scripted("b", [], clock="5m", features=("funding_rate",))
    speaker = Speaker(scripted("a", [], clock="5m", features=("funding_rate",)).config)
    run_on_candles(candles, [speaker, first], end_ns=1_743_465_600 * 10**9 + 50 * 300 * 10**9)
    seen = [row[0] for *_, row in speaker.seen]
    assert seen[:30] == [0.0] * 30
    assert seen[30:32] == [0.5, 0.5]
    assert seen[32:] == [0.25] * (len(seen) - 32)
    assert len(seen) > 40
    assert [row[0] for *_, row in first.seen] == seen


def test_a_feed_of_bars_without_a_source_has_no_external_features():
    with pytest.raises(FeatureError, match="fear_greed: this feed has no source"):
        BarFeed(("bar_return", "fear_greed"), "5m")
    with pytest.raises(FeatureError, match="spread_bps"):
        BarFeed(("spread_bps",), "5m", ExternalSource(BTC.id, None))
