"""Late market data: in order, whole, and nothing seen before it was due."""

from __future__ import annotations

import ast
from itertools import accumulate

import numpy as np
import pytest
from nautilus_trader.common.component import TestClock
from nautilus_trader.model.identifiers import InstrumentId
from support.engine_case import BTC, Scripted, ScriptedConfig, wandering_market
from support.engine_case import run_agents as run_without

import apex_nautilus
from apex_nautilus.data import write_events
from apex_nautilus.engine import (
    FeedLink,
    NetworkConfig,
    batches,
    hub_config,
    nautilus_config,
    open_engine,
    run_market,
)
from apex_nautilus.engine._network_feed import DelayedLine
from apex_nautilus.engine.network import stable_key
from apex_nautilus.features import FLAG_LAST, KIND_TRADE
from apex_nautilus.sim import LatencyModel
from apex_nautilus.sim.latency import DATA, ORDER

SLOW = FeedLink(mu=10.0, sigma=1.0, loss=0.1)  # a median of 22 ms where books come every 30 ms
ENTRIES = [
    (i * 9, 1 if i % 2 else -1, 0.01, *((60_300.0, 59_000.0) if i % 2 else (59_700.0, 61_000.0)), 300)
    for i in range(1, 40)
]


class Watcher(Scripted):
    """Writes down when it was called and which data it saw."""

    def __init__(self, config: ScriptedConfig) -> None:
        super().__init__(config)
        self.received: list[tuple[str, int, int, float, float]] = []

    def on_feed_row(self, feed):
        self.received.append(("row", self.clock.timestamp_ns(), feed.ts_ns, feed.bid, feed.ask))
        super().on_feed_row(feed)

    def on_feed_path(self, feed):
        self.received.append(("path", self.clock.timestamp_ns(), feed.ts_ns, feed.bid, feed.ask))
        super().on_feed_path(feed)


def watcher(tag="001", entries=ENTRIES, **settings):
    return Watcher(
        ScriptedConfig(
            instrument_id=InstrumentId.from_str(BTC.id), slot=tag, order_id_tag=tag, entries=tuple(entries),
            log_events=False, log_commands=False, **settings,
        )
    )  # fmt: skip


def run(folder, events, agents, network, **settings):
    catalog = folder / "catalog"
    if not catalog.exists():
        write_events(catalog, BTC, events)
    config = nautilus_config(
        catalog=str(catalog), instrument_ids=[BTC.id], quote="USDT", balance=100_000.0,
        actors=[hub_config(BTC.id, network=network)], network=network,
    )  # fmt: skip
    with open_engine(config) as engine:
        for agent in agents:
            engine.add_strategy(agent)
        run_market(engine, batches(catalog, [BTC.id], **settings))


def packets_of(events):
    """(time sent, the events) of each packet: a batch of level changes, or one trade."""
    packets, batch = [], []
    for event in events:
        batch.append(event)
        if event["kind"] == KIND_TRADE or event["flags"] & FLAG_LAST:
            packets.append((int(event["ts_init_ns"]), batch))
            batch = []
    return packets


def due_times(sent, link, seed, timeout_ns=100_000_000):
    """What each packet's due time must be, in plain words: an independent reading of docs/network.md."""
    model, key = LatencyModel(seed, link.mu, link.sigma, link.loss), stable_key(f"feed/{BTC.id}")
    due: list[int | None] = [None] * len(sent)
    hole: list[int] = []
    last = shown = 0
    for n, at in enumerate(sent):
        if model.is_lost(key, n, DATA):
            hole.append(n)
            continue
        shown = arrives = max(at + model.delay_ns(key, n, DATA), shown)
        if hole:
            for attempt in range(1, 65):
                number = n + (attempt << 40)
                if not model.is_lost(key, number, ORDER) and not model.is_lost(key, number, DATA):
                    break
                arrives += timeout_ns
            arrives += model.delay_ns(key, number, ORDER) + model.delay_ns(key, number, DATA)
            arrives = max(arrives, last)
            for missing in hole:
                due[missing] = arrives
            hole = []
        due[n] = last = max(arrives, last)
    return due


def touch_after(events):
    """The best bid and ask that the level changes of `events` leave."""
    levels: dict[int, dict[int, int]] = {1: {}, -1: {}}
    for event in events:
        if event["kind"] != KIND_TRADE:
            levels[int(event["side"])][int(event["price"])] = int(event["size"])
    held = {side: [p for p, s in book.items() if s] for side, book in levels.items()}
    return max(held[1]) / 10, min(held[-1]) / 10


@pytest.mark.parametrize("link", [SLOW, FeedLink(), FeedLink(sigma=0.0, loss=0.0)])
def test_every_decision_sees_exactly_what_was_due(link, tmp_path):
    events = wandering_market(1, 250)
    agent = watcher()
    run(tmp_path, events, [agent], NetworkConfig(seed=3, loss=0.0, timeout_ms=100.0, feed=link))
    packets = packets_of(events)
    due = due_times([at for at, _ in packets], link, seed=3)
    assert len(agent.received) > 200
    assert len(agent.fills) > 20
    for _, now_ns, data_ns, bid, ask in agent.received:
        (position,) = {i for i, d in enumerate(due) if d == now_ns and packets[i][0] == data_ns} or {-1}
        assert position >= 0, "called at a time at which no packet was due"
        known = [event for _, batch in packets[: position + 1] for event in batch]
        assert all(d is not None and d <= now_ns for d in due[: position + 1])
        assert (bid, ask) == touch_after(known)
    in_time = [d for d in due if d is not None]
    assert in_time == list(accumulate(in_time, max))
    assert all(d > at for d, (at, _) in zip(due, packets, strict=True) if d is not None)


def test_rows_are_those_of_an_undelayed_feed_and_only_later(tmp_path):
    events = wandering_market(2, 250)
    prompt, late = watcher(entries=[]), watcher(entries=[])
    (tmp_path / "a").mkdir()
    run_without(tmp_path / "a", events, [prompt])
    run(tmp_path / "a", events, [late], NetworkConfig(seed=1, timeout_ms=100.0, feed=SLOW))
    assert late.seen == prompt.seen[: len(late.seen)]
    assert len(prompt.seen) - len(late.seen) < 10  # under way at the end of the data
    waited = [now - data for _, now, data, *_ in late.received]
    assert min(waited) > 0
    assert np.median(waited) > 22e6


def test_without_a_feed_link_data_come_at_once(tmp_path):
    events = wandering_market(2, 100)
    agent = watcher()
    run(tmp_path, events, [agent], NetworkConfig(feed=None))
    assert all(now == data for _, now, data, *_ in agent.received)


def test_a_late_feed_is_the_same_in_any_pieces(tmp_path):
    events = wandering_market(5, 250)
    runs = []
    for chunk_size in (100_000, 1_000):
        agent = watcher()
        run(tmp_path, events, [agent], NetworkConfig(seed=3, loss=0.05, feed=SLOW), chunk_size=chunk_size)
        runs.append((agent.received, [(f.ts_ns, f.price, f.quantity) for f in agent.fills]))
    assert runs[0] == runs[1]


def test_clocked_rows_stay_whole_behind_a_hole(tmp_path):
    events = wandering_market(7, 250)
    prompt, late = (watcher(entries=[], clock="1s", features=("spread_bps", "imbalance")) for _ in range(2))
    run_without(tmp_path, events, [prompt])
    run(tmp_path, events, [late], NetworkConfig(seed=9, timeout_ms=50.0, feed=FeedLink(mu=8.0, loss=0.3)))
    assert [row for *_, row in late.seen] == [row for *_, row in prompt.seen][: len(late.seen)]
    assert len(late.seen) >= 4


def test_a_lost_request_is_repeated_after_its_time_out():
    class Lossy:
        """Loses packet 0, and the first request for it."""

        def is_lost(self, key, number, direction):
            return number == 1 + (1 << 40) and direction == ORDER

        def delay_ns(self, key, number, direction):
            return 100

        def in_turn(self, key, direction):
            self.packets = iter((-1, 100, 100))
            return self

        def next_ns(self):
            return next(self.packets)

    clock, got = TestClock(), []
    line = DelayedLine(clock, "line", Lossy(), 1, 5_000, lambda p: got.append((clock.timestamp_ns(), p)))
    for at, packet in ((1_000, "a"), (2_000, "b"), (2_050, "c")):
        clock.set_time(at)
        line.take(packet)
    _advance(clock, 20_000)
    # b arrives at 2100 and shows the hole; the request is lost, repeated after 5000, and answered in 200.
    assert got == [(7_300, "a"), (7_300, "b"), (7_300, "c")]
    assert (line.packets, line.delays.lost) == (3, 1)


class Steady:
    """Delays by turns; loses nothing."""

    def __init__(self, *delays_ns):
        self.delays = iter(delays_ns)

    def in_turn(self, key, direction):
        return self

    def next_ns(self):
        return next(self.delays)


def test_a_quiet_packet_comes_in_its_place_before_the_next_that_is_not():
    clock, got = TestClock(), []
    line = DelayedLine(clock, "line", Steady(100, 300, 50, 500), 1, 5_000,
                       lambda p: got.append((clock.timestamp_ns(), p)))  # fmt: skip
    for at, packet in ((1_000, "trade"), (1_010, "book"), (1_020, "second trade"), (1_030, "second book")):
        clock.set_time(at)
        line.take(packet, quiet="trade" in packet)
    assert len(clock.timer_names) == 1
    _advance(clock, 20_000)
    assert got == [(1_310, "trade"), (1_310, "book"), (1_310, "second trade"), (1_530, "second book")]


def test_settling_delivers_the_quiet_packets_that_are_due_and_no_other():
    clock, got = TestClock(), []
    line = DelayedLine(clock, "line", Steady(100, 100, 300, 10), 1, 5_000, got.append)
    for packet, quiet in (("a", True), ("b", True), ("book", False), ("c", True)):
        line.take(packet, quiet=quiet)
    clock.set_time(99)
    line.settle()
    assert got == []
    clock.set_time(200)
    line.settle()
    assert got == ["a", "b"]
    clock.set_time(400)  # the book's own alert was not handled yet: nothing goes past it
    line.settle()
    assert got == ["a", "b"]


def test_who_is_called_for_a_packet_cannot_bring_the_next_ones_forward():
    clock, got = TestClock(), []

    def deliver(packet):
        got.append(packet)
        if packet == "book":
            line.settle()
            got.append("done")

    line = DelayedLine(clock, "line", Steady(100, 0), 1, 5_000, deliver)
    line.take("book")
    line.take("trade", quiet=True)
    _advance(clock, 1_000)
    assert got == ["book", "done", "trade"]


def _advance(clock, to_ns):
    """Handle alerts one after the other, as the engine does, each at its own time."""
    while clock.timer_names:
        at = min(clock.next_time_ns(name) for name in clock.timer_names)
        if at > to_ns:
            break
        for handler in clock.advance_time(at):
            handler.handle()


def test_nothing_in_the_trading_rooms_looks_market_data_up_in_the_engines_cache():
    """The cache is not late: who reads a book, a quote or a trade there looks ahead."""
    early = {
        "order_book", "own_order_book", "quote_tick", "quote_ticks", "trade_tick", "trade_ticks",
        "bar", "bars", "price", "prices",
    }  # fmt: skip
    (root,) = apex_nautilus.__path__
    from pathlib import Path

    read = 0
    for room in ("engine", "strategies", "actors"):
        for path in Path(root, room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                    continue
                owner = node.func.value
                if "cache" in (getattr(owner, "attr", ""), getattr(owner, "id", "")):
                    read += 1
                    assert node.func.attr not in early, f"{path}:{node.lineno}"
    assert read > 5
