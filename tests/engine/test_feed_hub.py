"""The hub serves every agent the rows that the batch features give, in order, also agents born later."""

from __future__ import annotations

import numpy as np
import pytest
from nautilus_trader.config import ImportableControllerConfig
from nautilus_trader.model.identifiers import InstrumentId
from nautilus_trader.trading.controller import Controller
from support.engine_case import BTC, run_agents, scripted, wandering_market

from apex_nautilus.data import dataset_from_events
from apex_nautilus.engine import FeedHub, FeedHubConfig, remove_if_flat, spawn
from apex_nautilus.engine.feed_hub import Feed, parse_clock
from apex_nautilus.features import FLAG_LAST, KIND_TRADE, FeatureError

SECOND = 1_000_000_000


@pytest.fixture(scope="module")
def market():
    return wandering_market(8, 3000)


def head(events: np.ndarray, n: int) -> np.ndarray:
    """About `n` events, up to the end of a batch."""
    return events[: n + int(np.flatnonzero(events["flags"][n:] & FLAG_LAST)[0]) + 1]


def batch_rows(events, clock, features):
    """Rows as the Forge sees them: those past the warm-up of these features."""
    dataset = dataset_from_events(events, BTC, clock, features)
    at = dataset.row_event
    return [
        (int(t), float(b), float(a), tuple(row))
        for t, b, a, row in zip(
            dataset.ts_ns, dataset.path_bid[at], dataset.path_ask[at], dataset.features.tolist(), strict=True
        )
    ]


@pytest.mark.parametrize("clock", ["book", "1s"])
def test_each_agent_sees_its_own_columns_bit_for_bit(market, clock, tmp_path):
    """Two agents share one feed; the slow warm-up of one must not keep rows from the other."""
    quick = ("ofi_1", "spread_bps")
    slow = ("spread_bps", "signed_volume_10s", "realised_volatility_10s", "ofi_1")
    agents = [scripted("a", [], clock=clock, features=quick), scripted("b", [], clock=clock, features=slow)]
    run_agents(tmp_path, market, agents)
    for agent, features in zip(agents, (quick, slow), strict=True):
        assert agent.seen == batch_rows(market, clock, features)
    assert len(agents[0].seen) > len(agents[1].seen) > 20
    assert agents[0].feed is agents[1].feed


def test_chunks_of_data_do_not_show(market, tmp_path):
    agent = scripted("a", [], features=("ofi_5", "trade_imbalance_1s"))
    run_agents(tmp_path, market, [agent], chunk_size=1_000)
    assert agent.seen == batch_rows(market, "book", ("ofi_5", "trade_imbalance_1s"))


def test_the_path_is_called_only_while_watching_and_before_the_row(market, tmp_path):
    agent = scripted("a", [(10, 1, 0.1, 61000.0, 59000.0, 300)])
    run_agents(tmp_path, market, [agent])
    (trade,) = agent.trades
    assert trade.exit_kind == "max_hold"
    paths = [t for kind, t in agent.calls if kind == "path"]
    assert min(paths) > trade.entry_ts_ns
    assert max(paths) == trade.exit_ts_ns
    for t in paths:
        at = agent.calls.index(("path", t))
        assert agent.calls[at + 1] == ("row", t)


def test_agents_are_called_in_the_order_in_which_they_joined(market, tmp_path):
    order: list[str] = []
    agents = [scripted(tag, []) for tag in "cab"]
    for agent in agents:
        agent.on_feed_row = lambda feed, slot=agent.slot: order.append(slot)
    run_agents(tmp_path, head(market, 2000), agents)
    assert order
    assert order == list("cab") * (len(order) // 3)


class Midwife(Controller):
    """Brings an agent into a running node after 20 s, removes it after 60 s, brings its successor."""

    born: list = []
    features: tuple[str, ...] = ()
    log: list = []

    def on_start(self) -> None:
        now = self.clock.timestamp_ns()
        for name, seconds in (("birth", 20), ("retire", 60)):
            self.clock.set_time_alert_ns(name, now + seconds * SECOND, self._act)
        self.clock.set_timer_ns("marks", SECOND, now, 0, self._mark)

    def _act(self, event) -> None:
        if event.name == "birth":
            agent = scripted("x1", [(5, 1, 0.1, 90000.0, 10000.0, 10**9)], features=self.features)
            type(self).born.append(agent)
            spawn(self, agent)
            assert agent.clock.timestamp_ns() == self.clock.timestamp_ns()
        else:
            type(self).born[0].retire("replaced")

    def _mark(self, event) -> None:
        born = type(self).born
        if len(born) == 1 and born[0].is_retiring and remove_if_flat(self, born[0]):
            type(self).log.append((event.ts_event, born[0].is_flat))
            successor = scripted("x2", [], features=self.features)
            born.append(successor)
            spawn(self, successor)


@pytest.mark.parametrize("features", [("spread_bps",), ("ofi_1", "clv")])
def test_an_agent_is_born_and_replaced_in_mid_run(market, features, tmp_path):
    """Features that run already come with their history, new ones begin with the book as it stands."""
    Midwife.born, Midwife.features, Midwife.log = [], features, []
    controller = ImportableControllerConfig(
        controller_path="test_feed_hub:Midwife",
        config_path="nautilus_trader.common.config:ActorConfig",
        config={},
    )
    first = scripted("a", [], features=("spread_bps",))
    run_agents(tmp_path, market, [first], controller=controller)
    born, successor = Midwife.born
    expected = batch_rows(market, "book", features)
    start = born.seen[0][0]
    assert [row[:3] for row in born.seen] == [r[:3] for r in expected if start <= r[0] <= born.seen[-1][0]]
    if features == ("spread_bps",):
        assert born.seen == [r for r in expected if start <= r[0] <= born.seen[-1][0]]
        assert born.feed is first.feed
    else:
        # ofi_1 remembers one book, clv none: after its first row all values are those of the whole run.
        assert born.seen[1:] == [r for r in expected if start < r[0] <= born.seen[-1][0]]
        assert born.feed is not first.feed
    (trade,) = born.trades
    assert trade.exit_kind == "replaced"
    ((removed_at, flat),) = Midwife.log
    assert flat
    assert removed_at >= trade.exit_ts_ns
    assert born.seen[-1][0] <= removed_at < successor.seen[0][0]
    assert successor.trades == []
    assert successor.account.balance == 200.0


def test_only_a_retired_agent_is_removed(market, tmp_path):
    agent = scripted("a", [])
    with pytest.raises(RuntimeError, match="call retire"):
        remove_if_flat(None, agent)


def test_an_unknown_feature_is_refused_at_start(market, tmp_path):
    with pytest.raises(FeatureError, match="spred_bps"):
        run_agents(tmp_path, head(market, 500), [scripted("a", [], features=("spred_bps",))])


@pytest.mark.parametrize(
    ("text", "parsed"), [("book", ("book", 0)), ("book@100", ("book", 100)), ("1s", ("1s", 0))]
)
def test_clocks_are_parsed(text, parsed):
    assert parse_clock(text) == parsed


def test_a_clock_without_milliseconds_is_refused():
    with pytest.raises(ValueError, match="whole milliseconds"):
        parse_clock("book@soon")


def test_a_feed_that_has_begun_does_not_grow(market):
    feed = Feed(["spread_bps"], price_precision=1, size_precision=3, clock="book", conflate_ms=0)
    feed.grow(["clv", "spread_bps"])
    assert feed.features.names == ("spread_bps", "clv")
    book = market[market["kind"] != KIND_TRADE]
    feed.take_events(book[: int(np.flatnonzero(book["flags"] & FLAG_LAST)[0]) + 1])
    with pytest.raises(RuntimeError, match="cannot grow"):
        feed.grow(["ofi_1"])


def test_endpoints_of_instruments_differ():
    from nautilus_trader.model.identifiers import InstrumentId

    one, two = (InstrumentId.from_str(i) for i in (BTC.id, "ETHUSDT-PERP.BINANCE"))
    assert FeedHub.endpoint_of(one) != FeedHub.endpoint_of(two)
    assert FeedHub.endpoint_of(one) != FeedHub.leave_endpoint_of(one)


def test_a_feed_that_nobody_uses_is_dropped_after_a_while_and_found_again_before(market):
    def later(seconds):
        events = head(market, 500).copy()
        events["ts_init_ns"] += seconds * SECOND
        return events

    hub = FeedHub(FeedHubConfig(instrument_id=InstrumentId.from_str(BTC.id)))
    hub._precisions = (1, 3)
    stays = hub.join(object(), "1s", 0, ("spread_bps",))
    stays.feed.take_events(later(0))
    first = hub.join(object(), "book", 0, ("ofi_5",))
    hub.leave(first)
    second = hub.join(object(), "book", 0, ("ofi_5",))
    assert second.feed is first.feed  # a successor finds what its predecessor's features remember
    hub.leave(second)
    for feed in hub.feeds:
        feed.take_events(later(100))
    for k in range(30):
        hub.leave(hub.join(object(), "book", k + 1, ("ofi_5",)))
    assert first.feed not in hub.feeds
    for feed in hub.feeds:
        feed.take_events(later(200))
    hub.leave(hub.join(object(), "book", 100, ("ofi_5",)))
    assert len(hub.feeds) == 2
    assert stays.feed in hub.feeds
