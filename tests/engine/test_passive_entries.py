"""Entries that rest: filled, followed, crossed, given up, lost on the way, and never exceeded."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nautilus_trader.model.identifiers import InstrumentId
from support.engine_case import (
    BTC,
    MS,
    START,
    Scripted,
    ScriptedConfig,
    run_agents,
    touch_books,
    wandering_market,
)
from support.network_case import books, network, run, story

from apex_nautilus.engine import FeedLink, NetworkConfig
from apex_nautilus.features import EVENT, KIND_TRADE
from apex_nautilus.risk import register_entry_policy
from apex_nautilus.risk.entry_policy import _FACTORIES, IMPROVE, JOIN, WAIT
from apex_nautilus.sim.latency import CANCEL as A_CANCEL

LONG = (0, 1, 0.5, 60030.0, 59990.0, 60_000)  # row 0, buy 0.5, take-profit, stop, holding time in ms
SHORT = (0, -1, 0.5, 59970.0, 60010.0, 60_000)


class RestingConfig(ScriptedConfig, frozen=True, kw_only=True):
    """`unwanted_from`: the row from which on no entry is wanted; `leave_at`: at which to close."""

    execution: str = "passive"
    unwanted_from: int = 10**9
    leave_at: int = -1


class Resting(Scripted):
    """A scripted agent whose entries rest; remembers what each asked for."""

    def __init__(self, config: RestingConfig) -> None:
        super().__init__(config)
        self.execution = config.execution
        self.asked: list[tuple[int, float]] = []  # fills before it, quantity

    def wants_entry(self, side: int) -> bool:
        # Counted before the path of a row's book is walked, and again when the row is there.
        return self.rows <= self.config.unwanted_from

    def enter(self, side, quantity, *args, **kwargs) -> bool:
        self.asked.append((len(self.fills), quantity))
        begun = super().enter(side, quantity, *args, **kwargs)
        if not begun:
            self.asked.pop()
        return begun

    def on_feed_row(self, feed) -> None:
        if self.rows == self.config.leave_at:
            self.close("told")
        super().on_feed_row(feed)
        self.reconsider_entry()

    def entered(self) -> list[tuple[float, float]]:
        """Of each entry: base units asked for, and had."""
        ends = [first for first, _ in self.asked[1:]] + [len(self.fills)]
        return [
            (asked, sum(f.quantity for f in self.fills[first:end] if f.role == "entry"))
            for (first, asked), end in zip(self.asked, ends, strict=True)
        ]


def resting(slot: str, entries: list, **changes) -> Resting:
    return Resting(
        RestingConfig(
            instrument_id=InstrumentId.from_str(BTC.id), slot=slot, order_id_tag=slot,
            entries=tuple(entries), log_events=False, log_commands=False, **changes,
        )
    )  # fmt: skip


def fills_of(agent):
    return [(f.role, (f.ts_ns - START) // MS, f.price, f.quantity, f.maker) for f in agent.fills]


@pytest.fixture
def registry():
    before = dict(_FACTORIES)
    yield
    _FACTORIES.clear()
    _FACTORIES.update(before)


def policy(choose):
    """A policy out of a function."""
    return type("Policy", (), {"choose": staticmethod(choose)})()


def queue_market(trades: list[tuple[int, int]], touches) -> np.ndarray:
    """Books of ten units a side, and sellers at the first bid: (milliseconds, thousandths of a unit)."""
    price = round(touches[0][1] * 10)
    rows = [(START + ms * MS, START + ms * MS, price, size, 0, KIND_TRADE, -1, 0) for ms, size in trades]
    events = np.concatenate([touch_books(touches), np.array(rows, dtype=EVENT)])
    return events[np.argsort(events["ts_init_ns"], kind="stable")]


CASES = {
    "the opposite touch reaches the order: filled as a maker, at its price": (
        LONG, {},
        [(0, 60000.0, 60000.1), (10, 60000.5, 60000.6), (20, 59999.9, 60000.0), (30, 60030.0, 60030.1)],
        [("entry", 20, 60000.0, True), ("take_profit", 30, 60030.0, True)],
        "rested",
    ),
    "a short rests at the ask": (
        SHORT, {},
        [(0, 60000.0, 60000.1), (10, 60000.0, 60000.2), (20, 60000.1, 60000.2), (30, 60010.0, 60010.1)],
        [("entry", 20, 60000.1, True), ("stop", 30, 60010.1, False)],
        "rested",
    ),
    "the touch moves away: the order follows when its time has come, not before": (
        LONG, {"reprice_s": 0.02},
        [(0, 60000.0, 60000.1), (10, 60001.0, 60001.1), (19, 60002.0, 60002.1), (20, 60003.0, 60003.1),
         (30, 60002.9, 60003.0), (40, 60030.0, 60030.1)],
        [("entry", 30, 60003.0, True), ("take_profit", 40, 60030.0, True)],
        "rested",
    ),
    "the touch falls back: the order stays, and is the best bid": (
        LONG, {"reprice_s": 0.02},
        [(0, 60000.0, 60000.2), (10, 59999.0, 60000.2), (30, 59999.0, 60000.1), (40, 59998.0, 60000.0),
         (50, 60030.0, 60030.1)],
        [("entry", 40, 60000.0, True), ("take_profit", 50, 60030.0, True)],
        "rested",
    ),
    "patience is over: what is missing crosses, as a taker": (
        LONG, {"patience_s": 0.03},
        [(0, 60000.0, 60000.1), (29, 60001.0, 60001.1), (30, 60002.0, 60002.1), (40, 60030.0, 60030.1)],
        [("entry", 30, 60002.1, False), ("take_profit", 40, 60030.0, True)],
        "crossed",
    ),
    "the signal goes: the order is taken back at that row": (
        LONG, {"unwanted_from": 2},
        [(0, 60000.0, 60000.1), (10, 60000.0, 60000.2), (20, 60000.0, 60000.1), (30, 59999.9, 60000.0)],
        [],
        "given_up",
    ),
    "a fill at the book of the row at which the signal goes is a position": (
        LONG, {"unwanted_from": 2},
        [(0, 60000.0, 60000.1), (10, 60000.0, 60000.2), (20, 59999.9, 60000.0), (30, 60030.0, 60030.1)],
        [("entry", 20, 60000.0, True), ("take_profit", 30, 60030.0, True)],
        "rested",
    ),
    "a fill beyond the stop is closed on the same book": (
        LONG, {},
        [(0, 60000.0, 60000.1), (10, 59980.0, 59980.1), (20, 59980.0, 59980.2)],
        [("entry", 10, 60000.0, True), ("exit", 10, 59980.0, False)],  # the venue refuses the stop
        "rested",
    ),
    "holding time counts from the fill, not from the decision": (
        (*LONG[:5], 20), {},
        [(0, 60000.0, 60000.1), (30, 59999.9, 60000.0), (49, 60000.5, 60000.6), (50, 60001.0, 60001.1)],
        [("entry", 30, 60000.0, True), ("exit", 50, 60001.0, False)],
        "rested",
    ),
    "emulated: the stop is watched from the book of the fill on": (
        LONG, {"legs": "emulated"},
        [(0, 60000.0, 60000.1), (10, 59999.9, 60000.0), (20, 59990.0, 59990.1)],
        [("entry", 10, 60000.0, True), ("exit", 20, 59990.0, False)],
        "rested",
    ),
    "emulated: a fill beyond the stop is closed on the same book": (
        LONG, {"legs": "emulated"},
        [(0, 60000.0, 60000.1), (10, 59980.0, 59980.1)],
        [("entry", 10, 60000.0, True), ("exit", 10, 59980.0, False)],
        "rested",
    ),
    "the market reaches the take-profit first: who buys there only pays, so no more is wanted": (
        LONG, {"patience_s": 0.02},
        [(0, 60000.0, 60000.1), (10, 60029.9, 60030.0), (20, 60029.9, 60030.0), (30, 60020.0, 60020.1)],
        [],
        "given_up",
    ),
    "the bid reaches the stop while the order is not filled: given up": (
        LONG, {},
        [(0, 60000.0, 60000.1), (10, 59990.0, 60000.1), (20, 59999.0, 60000.0)],
        [],
        "given_up",
    ),
    "told to close while it rests: taken back, and the agent is idle": (
        LONG, {"leave_at": 1},
        [(0, 60000.0, 60000.1), (10, 60000.5, 60000.6), (20, 59999.9, 60000.0)],
        [],
        "given_up",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_one_entry(case, tmp_path):
    entry, changes, touches, expected, end = case
    agent = resting("a", [entry], **changes)
    change = run_agents(tmp_path, touch_books(touches), [agent])
    assert fills_of(agent) == [(role, ms, price, 0.5, maker) for role, ms, price, maker in expected]
    assert agent.entry_ends == {"rested": 0, "crossed": 0, "given_up": 0} | {end: 1}
    assert (agent.is_flat, agent.refusals) == (True, 0)
    fees = sum(price * 0.5 * (0.0002 if maker else 0.0005) for _, _, price, maker in expected)
    assert sum(f.fee for f in agent.fills) == pytest.approx(fees, abs=1e-8)
    assert agent.account.balance - 200.0 == pytest.approx(change, abs=1e-6)


# -- the hook


def test_a_registered_policy_improves_the_touch(registry, tmp_path):
    register_entry_policy("inside", policy(lambda s: IMPROVE if math.isnan(s.resting_price) else WAIT))
    agent = resting("a", [LONG], execution="inside")
    touches = [(0, 60000.0, 60000.5), (10, 60000.0, 60000.2), (20, 60000.0, 60000.1), (30, 60030.0, 60030.1)]
    run_agents(tmp_path, touch_books(touches), [agent])
    assert fills_of(agent)[0] == ("entry", 20, 60000.1, 0.5, True)


def test_joining_and_improving_where_one_rests_already_keeps_the_place(registry, tmp_path):
    seen = []

    def choose(state):
        seen.append(state)
        return JOIN

    register_entry_policy("clingy", policy(choose))
    agent = resting("a", [LONG], execution="clingy")
    run_agents(tmp_path, touch_books([(ms, 60000.0, 60000.1 + ms / 100) for ms in range(0, 50, 10)]), [agent])
    assert [s.resting_price for s in seen[1:]] == [60000.0] * len(seen[1:])
    assert seen[-1].since_decision_ns == seen[-1].since_priced_ns == 40 * MS


def test_a_policy_sees_the_entry_as_it_stands(registry, tmp_path):
    seen = []

    def choose(state):
        seen.append(state._replace(book=state.book.copy()))
        return JOIN if math.isnan(state.resting_price) else WAIT

    register_entry_policy("curious", policy(choose))
    agent = resting("a", [LONG], execution="curious")
    touches = [(0, 60000.0, 60000.1), (10, 60000.0, 60000.2), (20, 60000.0, 60000.3)]
    run_agents(tmp_path, queue_market([(15, 10_200)], touches), [agent], fills="queue")
    last = seen[-1]
    assert (last.side, last.quantity, last.missing) == (1, 0.5, 0.3)  # 10 stood ahead, 0.2 came through
    assert (last.bid, last.ask, last.tick) == (60000.0, 60000.3, 0.1)
    assert last.book[:, 0].tolist() == [60000.0, 10.0, 60000.3, 10.0]
    assert (last.take_profit, last.stop, last.is_wanted) == (60030.0, 59990.0, True)
    assert last.since_decision_ns == 20 * MS


def test_an_unknown_policy_is_refused_at_the_start(tmp_path):
    with pytest.raises(
        RuntimeError, match=r"slot a: execution: no entry policy 'sorcery' .*aggressive, passive"
    ):
        run_agents(tmp_path, touch_books([(0, 1.0, 2.0)]), [resting("a", [], execution="sorcery")])


def test_a_choice_that_is_none_is_refused_and_the_policy_named(registry, tmp_path):
    register_entry_policy("wild", policy(lambda s: 7))
    with pytest.raises(ValueError, match=r"slot a: entry policy 'wild' chose 7; a choice is 0 to 4"):
        run_agents(
            tmp_path,
            touch_books([(0, 1.0, 2.0)]),
            [resting("a", [(0, 1, 0.5, 3.0, 0.5, 10)], execution="wild")],
        )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reprice_s": 0.0}, "slot a: reprice_s: must be in"),
        ({"patience_s": math.nan}, "slot a: patience_s: must be in"),
        ({"entry_retries": -1}, "slot a: entry_retries: must not be negative"),
    ],
)
def test_settings_that_are_not_possible_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        resting("a", [], **changes)


# -- parts of an entry


def test_what_a_queue_did_not_give_crosses_when_patience_is_over(tmp_path):
    agent = resting("a", [LONG], patience_s=0.05)
    touches = [(0, 60000.0, 60000.1), (20, 60000.0, 60000.2), (50, 60000.0, 60000.1), (90, 60030.0, 60030.1)]
    change = run_agents(tmp_path, queue_market([(10, 10_200)], touches), [agent], fills="queue")
    assert fills_of(agent)[:2] == [("entry", 10, 60000.0, 0.2, True), ("entry", 50, 60000.1, 0.3, False)]
    (trade,) = agent.trades
    assert (trade.quantity, trade.exit_kind) == (0.5, "take_profit")
    assert trade.entry_price == pytest.approx((0.2 * 60000.0 + 0.3 * 60000.1) / 0.5)
    assert agent.entry_ends == {"rested": 0, "crossed": 1, "given_up": 0}
    assert agent.account.balance - 200.0 == pytest.approx(change, abs=1e-6)


def test_what_came_before_the_signal_went_is_held_with_its_bracket(tmp_path):
    agent = resting("a", [LONG], unwanted_from=1)
    touches = [(0, 60000.0, 60000.1), (20, 60000.0, 60000.2), (90, 60030.0, 60030.1)]
    run_agents(tmp_path, queue_market([(10, 10_200)], touches), [agent], fills="queue")
    assert fills_of(agent) == [("entry", 10, 60000.0, 0.2, True), ("take_profit", 90, 60030.0, 0.2, True)]
    assert agent.entry_ends["given_up"] == 1


def test_holding_time_ends_an_entry_that_is_only_half_there(tmp_path):
    agent = resting("a", [(*LONG[:5], 30)])
    touches = [(0, 60000.0, 60000.1), (39, 60000.0, 60000.2), (40, 60000.0, 60000.1), (90, 60000.0, 60000.2)]
    run_agents(tmp_path, queue_market([(10, 10_200)], touches), [agent], fills="queue")
    assert fills_of(agent) == [("entry", 10, 60000.0, 0.2, True), ("exit", 40, 60000.0, 0.2, False)]
    assert agent.trades[0].exit_kind == "max_hold"


def test_a_rest_too_small_for_an_order_is_not_sent(tmp_path):
    """The venue takes orders of 5 USDT; what is missing here is one thousandth of a coin at 1000 USDT."""
    agent = resting("a", [(0, 1, 0.5, 1030.0, 990.0, 60_000)], patience_s=0.05)
    touches = [(0, 1000.0, 1000.1), (20, 1000.0, 1000.2), (50, 1000.0, 1000.1), (90, 1030.0, 1030.1)]
    run_agents(tmp_path, queue_market([(10, 10_499)], touches), [agent], fills="queue")
    assert fills_of(agent) == [("entry", 10, 1000.0, 0.499, True), ("take_profit", 90, 1030.0, 0.499, True)]


# -- told to go while it rests


@pytest.mark.parametrize("legs", ["native", "emulated"])
def test_retiring_while_part_of_an_entry_is_there_closes_that_part(legs, tmp_path):
    agent = resting("a", [LONG], retire_at=1, legs=legs)
    touches = [(0, 60000.0, 60000.1), (20, 60000.0, 60000.2), (90, 60000.0, 60000.1)]
    change = run_agents(tmp_path, queue_market([(10, 10_200)], touches), [agent], fills="queue")
    assert fills_of(agent) == [("entry", 10, 60000.0, 0.2, True), ("exit", 20, 60000.0, 0.2, False)]
    assert agent.trades[0].exit_kind == "told"
    assert agent.is_flat
    assert agent.account.balance - 200.0 == pytest.approx(change, abs=1e-6)


def test_an_entry_that_rests_at_the_end_is_taken_back(tmp_path):
    agent = resting("001", [LONG])
    _, working, positions = run(tmp_path, books((0, 60000.0, 60000.1), until=500), [agent], None)
    assert (working, positions, agent.fills) == ([], [], [])


# -- on a network


def test_an_order_that_would_take_when_it_arrives_is_refused_and_sent_anew_at_the_next_book(tmp_path):
    agent = resting("001", [LONG])
    # The order is on its way from 0 to 22 ms; at 20 ms the ask has come down to its price.
    slow = network(dict.fromkeys(range(6), False), {}, insert={"mu": 10.0, "sigma": 0.0}, kind="Resting")
    events = books((0, 60000.0, 60000.1), (20, 59999.8, 59999.9), (100, 59999.7, 59999.8), until=400)
    auditor, _, _ = run(tmp_path, events, [agent], slow)
    assert [(role, ms, price) for role, ms, price, _ in story(agent)][:1] == [("entry", 100, 59999.8)]
    assert (agent.refusals, auditor.differences) == (0, [])


def test_a_lost_resting_order_is_sent_again_while_it_is_wanted(tmp_path):
    agent = resting("001", [LONG], patience_s=60.0)
    net = network({0: True, 1: True, 2: False, 3: False, 4: False}, {}, kind="Resting")
    events = books((0, 60000.0, 60000.1), (400, 59999.9, 60000.0), (900, 60040.0, 60040.1))
    run(tmp_path, events, [agent], net)
    assert [(role, ms) for role, ms, *_ in story(agent)] == [("entry", 400), ("take_profit", 900)]
    assert (agent.timeouts, agent.refusals) == (2, 0)


def test_a_resting_order_is_given_up_after_its_retries(tmp_path):
    agent = resting("001", [LONG], entry_retries=1, patience_s=60.0)
    net = network({0: True, 1: True}, {}, kind="Resting")
    _, working, _ = run(tmp_path, books((0, 60000.0, 60000.1), (400, 59999.9, 60000.0)), [agent], net)
    assert (agent.fills, working, agent.timeouts) == ([], [], 2)
    assert agent.entry_ends == {"rested": 0, "crossed": 0, "given_up": 1}


def test_a_lost_cancellation_followed_by_a_fill_is_a_position_of_the_size_decided(tmp_path):
    """Patience ends at 100 ms, the cancellation is lost, and the market comes to the order at 150 ms."""
    agent = resting("001", [LONG], patience_s=0.1)
    net = network(
        {0: False, 1: True, 2: False, 3: False, 4: False}, {1: A_CANCEL, 4: A_CANCEL}, kind="Resting"
    )
    events = books((0, 60000.0, 60000.1), (150, 59999.9, 60000.0), (900, 60040.0, 60040.1))
    auditor, working, positions = run(tmp_path, events, [agent], net)
    assert story(agent) == [("entry", 150, 60000.0, 0.5), ("take_profit", 900, 60030.0, 0.0)]
    assert agent.entry_ends == {"rested": 1, "crossed": 0, "given_up": 0}
    assert (working, positions, auditor.differences) == ([], [], [])


def test_a_lost_cancellation_is_repeated_and_only_then_the_rest_crosses(tmp_path):
    agent = resting("001", [LONG], patience_s=0.1)
    net = network(
        {0: False, 1: True, 2: True, 3: False, 4: False, 5: False, 6: False},
        {1: A_CANCEL, 2: A_CANCEL, 3: A_CANCEL}, kind="Resting",
    )  # fmt: skip
    auditor, _, _ = run(tmp_path, books((0, 60000.0, 60000.1), (900, 60040.0, 60040.1)), [agent], net)
    # Sent at 100 and 200 ms in vain, at 300 ms with success; the market order is sent when that is known.
    (entry, leave) = story(agent)
    assert (entry[0], entry[2:], leave[0]) == ("entry", (60000.1, 0.5), "take_profit")
    assert entry[1] == pytest.approx(300 + 10 + 2 * 0.992, abs=11)
    assert (agent.timeouts, auditor.differences) == (2, [])


def test_the_latest_wish_counts_while_an_order_is_taken_back(tmp_path):
    """The touch moves away at 100 ms; the cancellation is lost, and the signal goes meanwhile."""
    agent = resting("001", [LONG], reprice_s=0.05, unwanted_from=15)
    net = network({0: False, 1: True, 2: False}, {1: A_CANCEL, 2: A_CANCEL}, kind="Resting")
    run(tmp_path, books((0, 60000.0, 60000.1), (100, 60001.0, 60001.1)), [agent], net)
    assert (agent.fills, agent.timeouts, agent.entry_ends["given_up"]) == ([], 1, 1)
    assert agent.order_factory.get_client_order_id_count() == 1


def test_giving_up_is_final_while_an_order_is_taken_back(tmp_path):
    """Told to leave at 50 ms, the cancellation is lost; the policy would like to follow the touch."""
    agent = resting("001", [LONG], reprice_s=0.05, leave_at=5)
    net = network({0: False, 1: True, 2: False}, {1: A_CANCEL, 2: A_CANCEL}, kind="Resting")
    run(tmp_path, books((0, 60000.0, 60000.1), (100, 60001.0, 60001.1)), [agent], net)
    assert (agent.fills, agent.timeouts, agent.entry_ends["given_up"]) == ([], 1, 1)
    assert agent.order_factory.get_client_order_id_count() == 1


def test_sudden_death_while_the_cancellation_is_lost_closes_what_is_filled(tmp_path):
    agent = resting("001", [LONG], leave_at=5)
    net = network({0: False, 1: True, 2: False, 3: False}, {1: A_CANCEL}, kind="Resting")
    events = books((0, 60000.0, 60000.1), (100, 59999.9, 60000.0))
    auditor, working, positions = run(tmp_path, events, [agent], net)
    assert [(role, position) for role, _, _, position in story(agent)] == [("entry", 0.5), ("exit", 0.0)]
    assert agent.trades[0].exit_kind == "told"
    assert (working, positions, auditor.differences) == ([], [], [])


@pytest.mark.parametrize("fills", ["touch", "queue", "nautilus"])
@pytest.mark.parametrize("loss", [0.0, 0.05, 0.4])
def test_whatever_is_lost_no_entry_is_exceeded_and_the_books_agree(fills, loss, tmp_path):
    team = []
    for slot, legs in (("001", "native"), ("002", "emulated")):
        rng = np.random.default_rng(int(slot))
        entries = []
        for row in range(2, 640, 12):
            side = int(rng.choice([-1, 1]))
            entries.append((row, side, 0.4, 60000.0 + side * 300.0, 60000.0 - side * 300.0, 900))
        team.append(resting(slot, entries, retire_at=660, legs=legs, reprice_s=0.05, patience_s=0.1))
    net = NetworkConfig(seed=5, loss=loss, timeout_ms=120.0, feed=FeedLink(loss=loss / 2))
    auditor, working, positions = run(tmp_path, wandering_market(12, 720, step=8), team, net, fills=fills)
    assert (auditor.differences, working, positions) == ([], [], [])
    for agent in team:
        assert agent.is_flat
        assert all(had <= asked + 1e-12 for asked, had in agent.entered())
        assert sum(agent.entry_ends.values()) == len(agent.asked) >= 10
        if loss < 0.1:
            assert min(agent.entry_ends["rested"], agent.entry_ends["crossed"]) > 0
            assert any(f.maker for f in agent.fills if f.role == "entry")


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from(("touch", "queue", "nautilus")),
    st.sampled_from((0.0, 0.1, 0.4)),
    st.sampled_from(("native", "emulated")),
)
def test_whatever_a_policy_answers_no_entry_is_exceeded(tmp_path_factory, seed, fills, loss, legs):
    rng = np.random.default_rng(seed)
    register_entry_policy(
        f"random-{seed}", policy(lambda s: int(rng.choice(5, p=(0.4, 0.1, 0.2, 0.25, 0.05))))
    )
    try:
        entries = [
            (row, int(rng.choice([-1, 1])), float(rng.integers(1, 900)) / 1000, 0.0, 0.0, 700)
            for row in range(2, 90, 4)
        ]
        entries = [(r, s, q, 60000.0 + s * 300.0, 60000.0 - s * 300.0, h) for r, s, q, _, _, h in entries]
        agent = resting("001", entries, execution=f"random-{seed}", retire_at=100, legs=legs)
        net = NetworkConfig(seed=seed, loss=loss, timeout_ms=80.0) if loss else None
        folder = tmp_path_factory.mktemp("random")
        market = wandering_market(seed % 5, 140, step=8)
        auditor, working, positions = run(folder, market, [agent], net, fills=fills)
        assert all(had <= asked + 1e-12 for asked, had in agent.entered())
        assert (auditor.differences, working, positions) == ([], [], [])
        assert agent.is_flat
        assert sum(agent.entry_ends.values()) == len(agent.asked)
    finally:
        _FACTORIES.pop(f"random-{seed}", None)


def test_a_lost_crossing_is_not_sent_again_when_the_market_has_left_the_bracket(tmp_path):
    """Patience ends at 100 ms; the market order is lost, and at 150 ms the ask is at the take-profit."""
    agent = resting("001", [LONG], patience_s=0.1)
    net = network({0: False, 1: False, 2: True, 3: False}, {1: A_CANCEL}, kind="Resting")
    events = books((0, 60000.0, 60000.1), (150, 60029.9, 60030.0))
    _, working, positions = run(tmp_path, events, [agent], net)
    assert (agent.fills, working, positions, agent.timeouts) == ([], [], [], 1)
    assert agent.entry_ends == {"rested": 0, "crossed": 0, "given_up": 1}
