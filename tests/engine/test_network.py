"""Commands that take time on their way to the venue, or never arrive: for any Nautilus strategy."""

from __future__ import annotations

import random

import msgspec
import numpy as np
import pytest
from nautilus_trader.backtest.config import (
    BacktestDataConfig,
    BacktestRunConfig,
    BacktestVenueConfig,
    ImportableLatencyModelConfig,
)
from nautilus_trader.backtest.node import BacktestNode
from nautilus_trader.model.data import OrderBookDelta
from nautilus_trader.model.enums import OrderStatus
from scipy.stats import kstest, norm
from support.engine_case import BTC, MS, START, touch_books, wandering_market
from support.plain_case import BUY, SELL, Plain, amend, cancel, run_plain, send

from apex_nautilus.data import write_events
from apex_nautilus.engine import (
    NETWORK_TIMEOUT,
    ConfigError,
    Delay,
    FeedLink,
    NetworkConfig,
    check_network,
    load_config,
    nautilus_config,
    open_engine,
    with_network,
)
from apex_nautilus.engine.network import network_module, stable_key
from apex_nautilus.sim import LatencyModel
from apex_nautilus.sim.latency import CANCEL, ORDER

BID, ASK = 60000.0, 60000.1
STILL = touch_books([(0, BID, ASK), (100_000, BID, ASK + 0.1)])
EXACT = NetworkConfig(insert=Delay(sigma=0.0), amend=Delay(sigma=0.0), cancel=Delay(sigma=0.0), loss=0.0)
MEDIAN_MS = 0.403428793  # exp(6) microseconds


def where(lost: list[bool], *, directions: list[int], loss: float = 0.5, tag: str = "001") -> int:
    """The first seed under which the first commands of `Plain` are lost as told."""
    key = stable_key(f"Plain-{tag}")
    for seed in range(10_000):
        model = LatencyModel(seed, loss=loss)
        if [model.is_lost(key, n, d) for n, d in enumerate(directions)] == lost:
            return seed
    raise AssertionError("no such seed")


def statuses(strategies):
    """To be looked at in the engine at the end: the status of every order by name."""
    return lambda engine: {n: o.status for s in strategies for n, o in s.sent.items()}


def test_fills_come_after_the_delay_that_was_configured(tmp_path):
    n = 700
    script = [(50 + 100 * i, send(f"o{i}", BUY if i % 2 else SELL, 0.001)) for i in range(n)]
    strategy = Plain("001", script)
    network = NetworkConfig(seed=8, insert=Delay(mu=5.5, sigma=1.2), loss=0.0)
    run_plain(tmp_path, STILL, [strategy], network=network)
    delays = np.array(
        [e.ts_event - strategy.sent_ns[f"o{i}"] for i, e in enumerate(_of(strategy, "OrderFilled"))]
    )
    assert len(delays) == n
    assert kstest(np.log(delays / 1000.0), norm(5.5, 1.2).cdf).pvalue > 0.01
    model, key = LatencyModel(8, 5.5, 1.2, 0.0), stable_key("Plain-001")
    assert delays.tolist() == [model.delay_ns(key, i, ORDER) for i in range(n)]


def _of(strategy, kind):
    return [e for e in strategy.raw if type(e).__name__ == kind]


def test_each_class_of_command_has_its_own_delay(tmp_path):
    network = msgspec.structs.replace(EXACT, amend=Delay(mu=7.0, sigma=0.0), cancel=Delay(mu=8.0, sigma=0.0))
    strategy = Plain(
        "001", [(1, send("a", BUY, 1.0, BID - 5)), (20, amend("a", price=BID - 4)), (40, cancel("a"))]
    )
    run_plain(tmp_path, STILL, [strategy], network=network)
    times = dict(strategy.of("a"))
    assert times["Submitted"] == 1
    assert times["Accepted"] == pytest.approx(1 + np.exp(6.0) / 1000, abs=1e-5)
    assert times["Updated"] == pytest.approx(20 + np.exp(7.0) / 1000, abs=1e-5)
    assert times["Canceled"] == pytest.approx(40 + np.exp(8.0) / 1000, abs=1e-5)


def test_an_order_meets_the_book_of_its_arrival(tmp_path):
    events = touch_books([(0, BID, ASK), (2, 60100.0, 60100.1), (50, BID, ASK)])
    early = Plain("001", [(1, send("a", BUY, 0.5))])
    late = Plain("002", [(1.9, send("b", BUY, 0.5))])
    run_plain(tmp_path, events, [early, late], network=EXACT)
    assert float(_of(early, "OrderFilled")[0].last_px) == ASK
    assert float(_of(late, "OrderFilled")[0].last_px) == 60100.1


class Answering(Plain):
    """Sells at the moment at which it hears that it has bought."""

    def on_order_event(self, event):
        super().on_order_event(event)
        if type(event).__name__ == "OrderFilled" and "back" not in self.sent:
            send("back", SELL, 0.5)(self)


@pytest.mark.parametrize("other_alerts", [[], [(5.0, lambda strategy: None)]])
def test_an_order_sent_in_answer_to_a_fill_meets_the_book_of_its_arrival(other_alerts, tmp_path):
    """The next data come long after; whether some alert lies in between must not matter."""
    events = touch_books([(0, BID, ASK), (20, 60100.0, 60100.1), (50, BID, ASK)])
    strategy = Answering("001", [(1, send("a", BUY, 0.5)), *other_alerts])
    run_plain(tmp_path, events, [strategy], network=EXACT)
    bought, sold = _of(strategy, "OrderFilled")
    at_ms = [(e.ts_event - START) / MS for e in (bought, sold)]
    assert at_ms == pytest.approx([1 + MEDIAN_MS, 1 + 2 * MEDIAN_MS], abs=1e-5)
    assert (float(bought.last_px), float(sold.last_px)) == (ASK, BID)


def test_commands_of_one_strategy_arrive_in_their_order_and_others_overtake(tmp_path):
    network = NetworkConfig(seed=2, insert=Delay(sigma=2.5), loss=0.0, timeout_ms=60_000.0)
    one = Plain("001", [(5 + i * 0.05, send(f"o{i}", BUY, 0.001)) for i in range(60)])
    other = Plain("002", [(5 + i * 0.05, send(f"p{i}", SELL, 0.001)) for i in range(60)])
    run_plain(tmp_path, STILL, [one, other], network=network)
    for strategy, letter in ((one, "o"), (other, "p")):
        filled = [(name, ms) for name, kind, ms in strategy.events if kind == "Filled"]
        assert [name for name, _ in filled] == [f"{letter}{i}" for i in range(60)]
        assert [ms for _, ms in filled] == sorted(ms for _, ms in filled)
        model, key = LatencyModel(2, 6.0, 2.5, 0.0), stable_key(f"Plain-{strategy.config.order_id_tag}")
        last, expected = 0, []
        for i in range(60):
            sent = START + round((5 + i * 0.05) * MS)
            last = max(last, sent + model.delay_ns(key, i))
            expected.append((last - START) / MS)
        assert [ms for _, ms in filled] == expected
    assert [ms for _, k, ms in one.events if k == "Filled"] != [
        ms for _, k, ms in other.events if k == "Filled"
    ]


def test_a_lost_order_is_closed_after_its_time_out(tmp_path):
    strategy = Plain("001", [(1, send("a", BUY, 1.0)), (2, send("b", SELL, 1.0, ASK + 1))])
    network = msgspec.structs.replace(EXACT, loss=1.0, timeout_ms=250.0)
    status = run_plain(tmp_path, STILL, [strategy], network=network, look=statuses([strategy]))
    assert strategy.of("a") == [("Initialized", 1), ("Submitted", 1), ("Rejected", 251)]
    assert strategy.of("b") == [("Initialized", 2), ("Submitted", 2), ("Rejected", 252)]
    assert set(status.values()) == {OrderStatus.REJECTED}
    assert {e.reason for e in _of(strategy, "OrderRejected")} == {NETWORK_TIMEOUT}


def test_a_lost_cancellation_leaves_the_order_as_it_was_and_can_be_repeated(tmp_path):
    seed = where([False, True, False], directions=[ORDER, CANCEL, CANCEL])
    network = NetworkConfig(seed=seed, loss=0.5, timeout_ms=250.0)
    strategy = Plain("001", [(1, send("a", BUY, 1.0, BID - 5)), (500, cancel("a")), (1000, cancel("a"))])
    run_plain(tmp_path, STILL, [strategy], network=network)
    kinds = strategy.of("a")
    assert ("CancelRejected", 750) in kinds
    assert kinds[-1][0] == "Canceled"
    assert kinds[-1][1] > 1000
    assert _of(strategy, "OrderCancelRejected")[0].reason == NETWORK_TIMEOUT


def test_an_order_whose_cancellation_was_lost_can_be_filled(tmp_path):
    seed = where([False, True], directions=[ORDER, CANCEL])
    network = NetworkConfig(seed=seed, loss=0.5, timeout_ms=250.0)
    events = touch_books([(0, BID, ASK), (600, BID - 8, BID - 7), (2000, BID, ASK)])
    strategy = Plain("001", [(1, send("a", BUY, 1.0, BID - 5)), (500, cancel("a"))])
    status = run_plain(tmp_path, events, [strategy], network=network, look=statuses([strategy]))
    assert status == {"a": OrderStatus.FILLED}
    assert strategy.of("a")[-2:] == [("PendingCancel", 500), ("Filled", 600)]  # and nothing at the time-out


def test_a_lost_amendment_is_reported_and_changes_nothing(tmp_path):
    seed = where([False, True], directions=[ORDER, ORDER])
    network = NetworkConfig(seed=seed, loss=0.5, timeout_ms=250.0)
    strategy = Plain("001", [(1, send("a", BUY, 1.0, BID - 5)), (500, amend("a", quantity=0.5))])
    status = run_plain(tmp_path, STILL, [strategy], network=network, look=statuses([strategy]))
    assert strategy.of("a")[-2:] == [("PendingUpdate", 500), ("ModifyRejected", 750)]
    assert status == {"a": OrderStatus.ACCEPTED}
    assert float(strategy.sent["a"].quantity) == 1.0


@pytest.mark.parametrize(
    ("command", "direction"),
    [(cancel("a"), CANCEL), (amend("a", quantity=0.5), ORDER)],
    ids=["cancel", "amend"],
)
def test_what_is_asked_about_a_lost_order_has_no_effect_and_it_is_closed_all_the_same(
    command, direction, tmp_path
):
    seed = where([True, False], directions=[ORDER, direction])
    network = NetworkConfig(seed=seed, loss=0.5, timeout_ms=250.0)
    strategy = Plain("001", [(1, send("a", BUY, 1.0, BID - 5)), (100, command)])
    status = run_plain(tmp_path, STILL, [strategy], network=network, look=statuses([strategy]))
    assert status == {"a": OrderStatus.REJECTED}
    assert float(strategy.sent["a"].quantity) == 1.0
    assert strategy.of("a")[-1] == ("Rejected", 251)


def bracket(strategy):
    """An entry at market with its two legs, as one list."""
    make = strategy.instrument
    orders = strategy.order_factory.bracket(
        instrument_id=make.id,
        order_side=BUY,
        quantity=make.make_qty(0.5),
        tp_price=make.make_price(BID + 50),
        sl_trigger_price=make.make_price(BID - 50),
    )
    for name, order in zip(("entry", "stop", "profit"), orders.orders, strict=True):
        strategy.sent[name] = order
    strategy.submit_order_list(orders)


def test_an_order_list_arrives_together_and_in_its_order_or_not_at_all(tmp_path):
    strategy = Plain("001", [(1, bracket)])
    run_plain(tmp_path, STILL, [strategy], network=EXACT)
    arrived = [(n, k, ms) for n, k, ms in strategy.events if k in ("Filled", "Accepted")]
    assert [(n, k) for n, k, _ in arrived] == [
        ("entry", "Filled"), ("stop", "Accepted"), ("profit", "Accepted"),
    ]  # fmt: skip
    assert {round(ms, 6) for *_, ms in arrived} == {round(1 + MEDIAN_MS, 6)}

    lost = Plain("001", [(1, bracket)])
    network = msgspec.structs.replace(EXACT, loss=1.0)
    status = run_plain(tmp_path, STILL, [lost], network=network, look=statuses([lost]))
    assert set(status.values()) == {OrderStatus.REJECTED}
    assert [ms for _, k, ms in lost.events if k == "Rejected"] == [1001] * 3


def test_an_order_older_than_its_time_out_is_refused_and_cannot_come_back_to_life(tmp_path):
    network = NetworkConfig(insert=Delay(mu=15.0, sigma=0.0), loss=0.0, timeout_ms=1000.0)  # 3.3 s
    strategy = Plain("001", [(1, send("a", BUY, 1.0))])
    status = run_plain(tmp_path, STILL, [strategy], network=network, look=statuses([strategy]))
    assert strategy.of("a")[-1] == ("Rejected", 1001)
    assert status == {"a": OrderStatus.REJECTED}


def test_cancel_all_takes_one_way_and_spares_nobody_it_should_not(tmp_path):
    def all_of(s):
        s.cancel_all_orders(s.instrument.id)

    strategy = Plain(
        "001", [(1, send("a", BUY, 1.0, BID - 5)), (2, send("b", BUY, 1.0, BID - 6)), (50, all_of)]
    )
    run_plain(tmp_path, STILL, [strategy], network=EXACT)
    assert dict(strategy.of("a"))["Canceled"] == pytest.approx(50 + MEDIAN_MS, abs=1e-5)
    assert dict(strategy.of("b"))["Canceled"] == pytest.approx(50 + MEDIAN_MS, abs=1e-5)
    seed = where([False, False, True], directions=[ORDER, ORDER, CANCEL])
    lost = Plain(
        "001", [(1, send("a", BUY, 1.0, BID - 5)), (200, send("b", BUY, 1.0, BID - 6)), (400, all_of)]
    )
    network = NetworkConfig(seed=seed, loss=0.5, timeout_ms=150.0)
    status = run_plain(tmp_path, STILL, [lost], network=network, look=statuses([lost]))
    assert set(status.values()) == {OrderStatus.ACCEPTED}
    assert [(n, ms) for n, k, ms in lost.events if k == "CancelRejected"] == [("a", 550), ("b", 550)]


def test_delays_grow_in_a_burst(tmp_path):
    network = msgspec.structs.replace(EXACT, burst_coupling=1.0, burst_rate=100.0, burst_memory_s=0.1)
    strategy = Plain("001", [(50 + i * 0.01, send(f"o{i}", BUY, 0.001)) for i in range(40)])
    run_plain(tmp_path, STILL, [strategy], network=network)
    last = dict(strategy.of("o39"))
    # 40 messages and the book's within a tenth of a second: about 400 a second, four times the limit.
    assert 3.8 * MEDIAN_MS < last["Filled"] - last["Submitted"] < 4.2 * MEDIAN_MS
    first = dict(strategy.of("o0"))
    assert first["Filled"] - first["Submitted"] == pytest.approx(MEDIAN_MS, abs=1e-4)


def test_draws_depend_on_seed_strategy_and_command_alone(tmp_path):
    def delays(strategies, network=NetworkConfig(seed=5, loss=0.0)):  # noqa: B008
        random.seed(3)
        state = random.getstate()
        run_plain(tmp_path, STILL, strategies, network=network)
        assert random.getstate() == state
        first = strategies[0]
        return [e.ts_event - first.sent_ns[f"o{i}"] for i, e in enumerate(_of(first, "OrderFilled"))]

    def orders(tag):
        return Plain(tag, [(50 * (i + 1), send(f"o{i}", BUY, 0.001)) for i in range(20)])

    alone = delays([orders("001")])
    assert delays([orders("001"), orders("002")]) == alone
    assert delays([orders("002")]) != alone
    assert delays([orders("001")], NetworkConfig(seed=6, loss=0.0)) != alone


def test_a_node_run_from_json_has_the_network_for_a_strategy_that_knows_nothing_of_it(tmp_path):
    write_events(tmp_path / "catalog", BTC, wandering_market(3, 300))
    strategy = {
        "strategy_path": "nautilus_trader.examples.strategies.orderbook_imbalance:OrderBookImbalance",
        "config_path": "nautilus_trader.examples.strategies.orderbook_imbalance:OrderBookImbalanceConfig",
        "config": {
            "instrument_id": BTC.id,
            "max_trade_size": "0.010",
            "trigger_min_size": 0.001,
            "trigger_imbalance_ratio": 0.9,
            "min_seconds_between_triggers": 0.1,
            "book_type": "L2_MBP",
            "order_id_tag": "001",
        },
    }
    plain = BacktestRunConfig(
        venues=[
            BacktestVenueConfig(
                name="BINANCE", oms_type="NETTING", account_type="MARGIN", book_type="L2_MBP",
                starting_balances=["1_000_000 USDT"],
            )
        ],
        data=[
            BacktestDataConfig(
                catalog_path=str(tmp_path / "catalog"),
                data_cls=OrderBookDelta.fully_qualified_name(),
                instrument_id=BTC.id,
            )
        ],
        engine={"logging": {"bypass_logging": True}, "strategies": [strategy]},
        raise_exception=True,
        dispose_on_completion=False,
    )  # fmt: skip
    plain = BacktestRunConfig.parse(plain.json())  # as from a file
    config = BacktestRunConfig.parse(with_network(plain, NetworkConfig(seed=1, loss=0.2)).json())
    assert config.venues[0].modules[0].actor_path == network_module(NetworkConfig()).actor_path
    node = BacktestNode(configs=[config])
    try:
        node.run()
        engine = node.get_engine(config.id)
        assert engine is not None
        orders = engine.cache.orders()
    finally:
        node.dispose()
    key, model = stable_key("OrderBookImbalance-001"), LatencyModel(1, loss=0.2)
    assert len(orders) > 20
    lost = 0
    last = 0
    for number, order in enumerate(sorted(orders, key=lambda o: o.ts_init)):
        sent = order.ts_init
        answers = [e for e in order.events if type(e).__name__ not in ("OrderInitialized", "OrderSubmitted")]
        if model.is_lost(key, number):
            lost += 1
            expected = sent + 1_000_000_000
        else:
            expected = last = max(last, sent + model.delay_ns(key, number))
        assert not answers or answers[0].ts_event == expected
    assert lost > 3


def test_a_run_is_the_same_again_and_in_any_pieces(tmp_path):
    def run(chunk_size):
        script = [(20 + 37 * i, send(f"o{i}", BUY if i % 3 else SELL, 0.1)) for i in range(150)]
        strategy = Plain("001", script)
        network = NetworkConfig(seed=4, loss=0.1, insert=Delay(mu=9.0), burst_coupling=0.5, burst_rate=20.0)
        run_plain(tmp_path, wandering_market(6, 250), [strategy], network=network, chunk_size=chunk_size)
        return [(k, ms) for _, k, ms in strategy.events]

    first = run(100_000)
    assert run(100_000) == first
    assert run(1_000) == first
    assert sum(kind == "Rejected" for kind, _ in first) > 5


def test_a_module_without_its_controller_stops_the_run(tmp_path):
    write_events(tmp_path / "catalog", BTC, STILL)
    config = nautilus_config(
        catalog=str(tmp_path / "catalog"), instrument_ids=[BTC.id], quote="USDT", balance=1000.0,
        network=NetworkConfig(),
    )  # fmt: skip
    config = msgspec.structs.replace(config, engine=msgspec.structs.replace(config.engine, controller=None))
    from apex_nautilus.engine import batches, run_market

    with pytest.raises(RuntimeError, match="NetworkController"), open_engine(config) as engine:
        run_market(engine, batches(tmp_path / "catalog", [BTC.id]))


def test_a_venue_with_a_latency_model_of_its_own_takes_no_network(tmp_path):
    write_events(tmp_path / "catalog", BTC, STILL)
    config = nautilus_config(
        catalog=str(tmp_path / "catalog"), instrument_ids=[BTC.id], quote="USDT", balance=1000.0
    )
    slow = ImportableLatencyModelConfig(
        latency_model_path="nautilus_trader.backtest.models:LatencyModel",
        config_path="nautilus_trader.backtest.config:LatencyModelConfig",
        config={"base_latency_nanos": 1000},
    )
    venues = [msgspec.structs.replace(venue, latency_model=slow) for venue in config.venues]
    config = with_network(msgspec.structs.replace(config, venues=venues), NetworkConfig())
    with pytest.raises(ValueError, match="latency_model"), open_engine(config):
        pass


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"loss": 1.5}, "network.loss"),
        ({"seed": -1}, "network.seed"),
        ({"insert": Delay(sigma=-1.0)}, "network.insert.sigma"),
        ({"cancel": Delay(mu=float("nan"))}, "network.cancel.mu"),
        ({"feed": FeedLink(loss=2.0)}, "network.feed.loss"),
        ({"timeout_ms": 0.0}, "network.timeout_ms"),
        ({"burst_rate": float("inf")}, "network.burst_rate"),
    ],
)
def test_a_number_that_is_not_possible_is_named(change, field):
    with pytest.raises(ValueError, match=field.replace(".", r"\.")):
        check_network(NetworkConfig(**change))


def test_a_run_configuration_names_file_and_field_of_a_bad_network(tmp_path):
    text = {
        "schema": "apex.backtest/1", "name": "x", "catalog": "c", "network": {"insert": {"mu": 99.0}},
        "agents": [{"slot": "a", "instrument_id": BTC.id, "genome": "g.json"}],
    }  # fmt: skip
    path = tmp_path / "run.json"
    path.write_bytes(msgspec.json.encode(text))
    with pytest.raises(ConfigError, match=r"run\.json: network\.insert\.mu"):
        load_config(path)
    path.write_bytes(msgspec.json.encode({**text, "network": {}, "bars": {}}))
    with pytest.raises(ConfigError, match="network: a run on bars has none"):
        load_config(path)
