"""Books in, fills out: how an agent's bracket is opened, guarded and closed in Nautilus."""

from __future__ import annotations

import numpy as np
import pytest
from nautilus_trader.core.uuid import UUID4
from nautilus_trader.model.enums import LiquiditySide
from nautilus_trader.model.events import OrderCancelRejected, OrderFilled
from nautilus_trader.model.identifiers import TradeId
from nautilus_trader.model.objects import Money
from support.engine_case import START, book_events, run_agents, scripted, touch_books, wandering_market

from apex_nautilus.engine import Phase
from apex_nautilus.features import EVENT, KIND_TRADE

MS = 1_000_000
LONG = (0, 1, 0.5, 60030.0, 59990.0, 60_000)  # row 0, buy 0.5, take-profit, stop, holding time in ms
SHORT = (0, -1, 0.5, 59970.0, 60010.0, 60_000)


def fills_of(agent):
    return [(f.role, (f.ts_ns - START) // MS, f.price, f.quantity, f.maker) for f in agent.fills]


CASES = {
    "a long takes profit at its limit price though the bid jumped beyond": (
        LONG, "native",
        [(0, 60000.0, 60000.1), (10, 60029.9, 60030.0), (20, 60035.0, 60035.1)],
        [("entry", 0, 60000.1, False), ("take_profit", 20, 60030.0, True)],
        "take_profit",
    ),
    "the touch that reaches the take-profit exactly fills it": (
        LONG, "native",
        [(0, 60000.0, 60000.1), (10, 60030.0, 60030.1)],
        [("entry", 0, 60000.1, False), ("take_profit", 10, 60030.0, True)],
        "take_profit",
    ),
    "a stop fills as a market order on the book of its event": (
        LONG, "native",
        [(0, 60000.0, 60000.1), (10, 59990.1, 59990.2), (20, 59980.0, 59980.1)],
        [("entry", 0, 60000.1, False), ("stop", 20, 59980.0, False)],
        "stop",
    ),
    "the ask does not stop a long": (
        LONG, "native",
        [(0, 60000.0, 60000.1), (10, 59990.1, 59999.0), (20, 59990.0, 59999.0)],
        [("entry", 0, 60000.1, False), ("stop", 20, 59990.0, False)],
        "stop",
    ),
    "a short is closed on the ask": (
        SHORT, "native",
        [(0, 60000.0, 60000.1), (10, 60009.0, 60009.9), (20, 60009.0, 60010.0)],
        [("entry", 0, 60000.0, False), ("stop", 20, 60010.0, False)],
        "stop",
    ),
    "a short takes profit at its limit price": (
        SHORT, "native",
        [(0, 60000.0, 60000.1), (10, 59960.0, 59960.1)],
        [("entry", 0, 60000.0, False), ("take_profit", 10, 59970.0, True)],
        "take_profit",
    ),
    "holding time ends at the first book at or after it": (
        (0, 1, 0.5, 60030.0, 59990.0, 15), "native",
        [(0, 60000.0, 60000.1), (14, 60001.0, 60001.1), (16, 60002.0, 60002.1), (20, 60003.0, 60003.1)],
        [("entry", 0, 60000.1, False), ("exit", 16, 60002.0, False)],
        "max_hold",
    ),
    "a stop at the event of the holding time goes first": (
        (0, 1, 0.5, 60030.0, 59990.0, 15), "native",
        [(0, 60000.0, 60000.1), (15, 59985.0, 59985.1)],
        [("entry", 0, 60000.1, False), ("stop", 15, 59985.0, False)],
        "stop",
    ),
    "emulated: the take-profit is a market order": (
        LONG, "emulated",
        [(0, 60000.0, 60000.1), (10, 60029.9, 60030.0), (20, 60035.0, 60035.1)],
        [("entry", 0, 60000.1, False), ("exit", 20, 60035.0, False)],
        "take_profit",
    ),
    "emulated: the stop exits at the same event and price": (
        LONG, "emulated",
        [(0, 60000.0, 60000.1), (10, 59990.1, 59990.2), (20, 59980.0, 59980.1)],
        [("entry", 0, 60000.1, False), ("exit", 20, 59980.0, False)],
        "stop",
    ),
    "emulated: a short is closed on the ask": (
        SHORT, "emulated",
        [(0, 60000.0, 60000.1), (10, 60009.0, 60009.9), (20, 60009.0, 60010.0)],
        [("entry", 0, 60000.0, False), ("exit", 20, 60010.0, False)],
        "stop",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_exits(case, tmp_path):
    entry, legs, touches, expected, kind = case
    agent = scripted("a", [entry], legs=legs)
    run_agents(tmp_path, touch_books(touches), [agent])
    assert fills_of(agent) == [(role, ms, price, 0.5, maker) for role, ms, price, maker in expected]
    (trade,) = agent.trades
    assert trade.exit_kind == kind
    assert (trade.entry_ts_ns, trade.exit_ts_ns) == (
        START + expected[0][1] * MS,
        START + expected[-1][1] * MS,
    )
    sign = 1 if entry[1] > 0 else -1
    fees = sum(price * 0.5 * (0.0002 if maker else 0.0005) for _, _, price, maker in expected)
    assert trade.fees == pytest.approx(fees, abs=1e-8)
    assert trade.pnl == pytest.approx(sign * 0.5 * (expected[-1][2] - expected[0][2]) - fees, abs=1e-7)
    assert agent.is_flat
    assert agent.account.balance == pytest.approx(200.0 + trade.pnl)


def test_an_entry_walks_the_displayed_levels(tmp_path):
    bids = [(60000.0, 5.0)]
    events = book_events(
        [(0, bids, [(60000.1, 0.2), (60000.3, 0.1), (60000.7, 5.0)]), (10, bids, [(60000.1, 1.0)])]
    )
    agent = scripted("a", [LONG])
    run_agents(tmp_path, events, [agent])
    assert [(f.price, f.quantity) for f in agent.fills] == [(60000.1, 0.2), (60000.3, 0.1), (60000.7, 0.2)]
    assert agent.phase is Phase.HOLDING
    assert agent.account.average_price == pytest.approx((0.2 * 60000.1 + 0.1 * 60000.3 + 0.2 * 60000.7) / 0.5)


def test_what_the_book_cannot_give_is_not_wanted_later_and_legs_fit_what_came(tmp_path):
    bids = [(60000.0, 5.0)]
    books = [
        (0, bids, [(60000.1, 0.2)]),
        (10, bids, [(60000.1, 9.0)]),
        (20, [(60040.0, 5.0)], [(60040.1, 9.0)]),
    ]
    agent = scripted("a", [LONG])
    run_agents(tmp_path, book_events(books), [agent])
    assert fills_of(agent) == [("entry", 0, 60000.1, 0.2, False), ("take_profit", 20, 60030.0, 0.2, True)]


def test_an_exit_that_finds_too_little_is_repeated_until_flat(tmp_path):
    asks = [(60000.1, 9.0)]
    books = [
        (0, [(60000.0, 5.0)], asks),
        (20, [(60000.0, 0.2)], asks),
        (30, [(60000.0, 0.1)], asks),
        (40, [(59999.0, 5.0)], asks),
    ]
    agent = scripted("a", [(0, 1, 0.5, 60030.0, 59990.0, 15)])
    run_agents(tmp_path, book_events(books), [agent])
    assert [(f.role, f.price, f.quantity) for f in agent.fills[1:]] == [
        ("exit", 60000.0, 0.2),
        ("exit", 60000.0, 0.1),
        ("exit", 59999.0, 0.2),
    ]
    (trade,) = agent.trades
    assert trade.exit_kind == "max_hold"
    assert trade.exit_price == pytest.approx((0.3 * 60000.0 + 0.2 * 59999.0) / 0.5)


def test_a_resting_order_is_served_whole_when_the_touch_reaches_it(tmp_path):
    books = [(0, [(60000.0, 5.0)], [(60000.1, 9.0)]), (10, [(60031.0, 0.1)], [(60031.1, 9.0)])]
    agent = scripted("a", [LONG])
    run_agents(tmp_path, book_events(books), [agent], fills="touch")
    assert fills_of(agent)[1:] == [("take_profit", 10, 60030.0, 0.5, True)]


def test_under_nautilus_fills_the_other_leg_shrinks_with_a_partial_take_profit(tmp_path):
    asks = [(60031.1, 9.0)]
    books = [
        (0, [(60000.0, 5.0)], [(60000.1, 9.0)]),
        (10, [(60031.0, 0.1), (60020.0, 5.0)], asks),
        (20, [(59980.0, 5.0)], asks),
    ]
    agent = scripted("a", [LONG])
    run_agents(tmp_path, book_events(books), [agent], fills="nautilus")
    assert fills_of(agent)[1:] == [
        ("take_profit", 10, 60030.0, 0.1, True),
        ("stop", 20, 59980.0, 0.4, False),
    ]
    assert agent.is_flat


def test_a_bracket_may_be_entered_at_the_event_that_closed_the_one_before(tmp_path):
    touches = [(0, 60000.0, 60000.1), (10, 59980.0, 59980.1), (20, 60015.0, 60015.1)]
    second = (1, 1, 0.5, 60010.0, 59970.0, 60_000)
    for legs in ("native", "emulated"):
        agent = scripted("a", [LONG, second], legs=legs)
        run_agents(tmp_path, touch_books(touches), [agent])
        assert [(t.exit_kind, (t.entry_ts_ns - START) // MS) for t in agent.trades] == [
            ("stop", 0),
            ("take_profit", 10),
        ]


def test_an_order_beyond_the_venue_leaves_the_agent_idle(tmp_path):
    agent = scripted("a", [(0, 1, 500.0, 60030.0, 59990.0, 60_000), (1, 1, 0.5, 60030.0, 59990.0, 60_000)])
    run_agents(
        tmp_path,
        touch_books([(0, 60000.0, 60000.1), (10, 60000.0, 60000.1), (20, 60040.0, 60040.1)]),
        [agent],
    )
    assert agent.refusals == 1
    assert [t.exit_kind for t in agent.trades] == ["take_profit"]


def test_a_second_entry_is_refused_while_a_position_is_open(tmp_path):
    agent = scripted("a", [LONG, (1, 1, 0.5, 60030.0, 59990.0, 60_000)])
    run_agents(
        tmp_path,
        touch_books([(0, 60000.0, 60000.1), (10, 60001.0, 60001.1), (20, 60002.0, 60002.1)]),
        [agent],
    )
    assert agent.account.position == 0.5


def test_agents_of_one_instrument_do_not_touch_each_other(tmp_path):
    """One retires in mid-position: only its own legs go, the others stay guarded."""
    touches = [(0, 60000.0, 60000.1), (10, 60001.0, 60001.1), (20, 60002.0, 60002.1), (30, 59985.0, 59985.1)]
    first = scripted("a", [LONG], retire_at=1)
    second = scripted("b", [(0, 1, 0.3, 60030.0, 59990.0, 60_000)])
    third = scripted("c", [(0, -1, 0.2, 59970.0, 60010.0, 60_000)])
    change = run_agents(tmp_path, touch_books(touches), [first, second, third])
    assert fills_of(first)[1:] == [("exit", 10, 60001.0, 0.5, False)]
    assert first.trades[0].exit_kind == "told"
    assert first.is_flat
    assert fills_of(second)[1:] == [("stop", 30, 59985.0, 0.3, False)]
    assert third.account.position == -0.2
    # The account moves by every commission, and by the profit of closed positions.
    booked = sum(a.account.balance - 200.0 for a in (first, second, third))
    assert change == pytest.approx(booked, abs=0.005)


@pytest.mark.parametrize("fills", ["touch", "nautilus"])
@pytest.mark.parametrize("legs", ["native", "emulated"])
def test_ledgers_add_up_to_the_account_to_the_cent(fills, legs, tmp_path):
    """Thin books, partial fills, three agents with opposite positions: the sum of ledgers is the account."""
    agents = []
    for i, tag in enumerate("abc"):
        entries = [
            (row, 1 if (row + i) % 3 else -1, 0.4 + 0.3 * i, 0.0, 0.0, 400) for row in range(i, 380, 4 + i)
        ]
        priced = [(r, s, q, 60000.0 + s * 40.0, 60000.0 - s * 40.0, hold) for r, s, q, _, _, hold in entries]
        agents.append(scripted(tag, priced, legs=legs))
    change = run_agents(tmp_path, wandering_market(3, 400), agents, fills=fills)
    assert min(len(a.trades) for a in agents) > 5
    # An open position's entry fee is booked, its profit is not: neither by the account nor in `balance`.
    assert change == pytest.approx(sum(a.account.balance - 200.0 for a in agents), abs=0.005)
    for agent in agents:
        for trade in agent.trades:
            assert trade.pnl == pytest.approx(
                trade.side * trade.quantity * (trade.exit_price - trade.entry_price) - trade.fees, abs=1e-6
            )


def test_whole_batches_and_single_changes_exit_at_the_same_events(tmp_path):
    """Catalogs order a batch so that no prefix shows a false touch; single changes then do no harm."""
    events = wandering_market(5, 300)
    entries = [(row, 1, 0.2, 60030.0, 59970.0, 500) for row in range(0, 280, 5)]
    trades = []
    for batched in (True, False):
        agent = scripted("a", entries)
        run_agents(tmp_path, events, [agent], batched=batched)
        trades.append([(t.entry_ts_ns, t.exit_ts_ns, t.exit_kind) for t in agent.trades])
    assert trades[0] == trades[1]
    assert len(trades[0]) > 10


def test_a_position_below_the_smallest_order_can_be_closed(tmp_path):
    """0.001 BTC is worth 4 USDT after the fall; an order to open would need 5."""
    agent = scripted("a", [(0, 1, 0.001, 61000.0, 50000.0, 60_000)], legs="emulated")
    books = touch_books([(0, 60000.0, 60000.1), (10, 4000.0, 4000.1), (20, 4000.0, 4000.1)])
    traded = START + 9 * MS
    trade = np.array([(traded, traded, 40000, 1, 0, KIND_TRADE, -1, 0)], dtype=EVENT)
    events = np.concatenate([books, trade])
    run_agents(tmp_path, events[np.argsort(events["ts_init_ns"], kind="stable")], [agent])
    assert fills_of(agent)[1:] == [("exit", 10, 4000.0, 0.001, False)]
    assert agent.refusals == 0
    assert agent.is_flat


def test_a_leg_that_fills_after_its_cancellation_was_reported_is_booked_and_closed_again(tmp_path):
    agent = scripted("a", [LONG])
    row = agent.on_feed_row

    def late_fill(feed):
        row(feed)
        if feed.ts_ns == START + 20 * MS:
            stop = agent._stop_leg
            assert stop.is_closed
            agent.on_order_filled(_fill(agent, stop, price=59990.0))
            assert not agent.is_flat

    agent.on_feed_row = late_fill
    books = [(0, 60000.0, 60000.1), (10, 60035.0, 60035.1), (20, 60034.0, 60034.1), (30, 60034.0, 60034.1)]
    run_agents(tmp_path, touch_books(books), [agent])
    assert [f.role for f in agent.fills] == ["entry", "take_profit", "late", "exit"]
    assert [t.exit_kind for t in agent.trades] == ["take_profit", "overfilled"]
    assert agent.is_flat


def _fill(agent, order, price: float) -> OrderFilled:
    return OrderFilled(
        trader_id=order.trader_id,
        strategy_id=order.strategy_id,
        instrument_id=order.instrument_id,
        client_order_id=order.client_order_id,
        venue_order_id=order.venue_order_id,
        account_id=order.account_id,
        trade_id=TradeId("late"),
        position_id=None,
        order_side=order.side,
        order_type=order.order_type,
        last_qty=order.quantity,
        last_px=agent.instrument.make_price(price),
        currency=agent.instrument.quote_currency,
        commission=Money(0.1, agent.instrument.quote_currency),
        liquidity_side=LiquiditySide.TAKER,
        event_id=UUID4(),
        ts_event=agent.clock.timestamp_ns(),
        ts_init=agent.clock.timestamp_ns(),
    )


def test_a_cancellation_that_is_refused_is_repeated_until_the_leg_is_gone(tmp_path):
    agent = scripted("a", [LONG])
    refused = []
    cancel = agent.cancel_order

    def refuse_once(order, *args, **kwargs):
        refused.append(order.client_order_id)
        if len(refused) == 1:
            agent.on_order_cancel_rejected(_refusal(agent, order))
        else:
            cancel(order, *args, **kwargs)

    agent.cancel_order = refuse_once
    books = [(0, 60000.0, 60000.1), (10, 60035.0, 60035.1), (20, 60034.0, 60034.1), (30, 59980.0, 59980.1)]
    run_agents(tmp_path, touch_books(books), [agent])
    assert [f.role for f in agent.fills] == ["entry", "take_profit"]
    assert len(refused) == 2
    assert agent.refusals == 1
    assert agent.is_flat


def _refusal(agent, order) -> OrderCancelRejected:
    return OrderCancelRejected(
        trader_id=order.trader_id,
        strategy_id=order.strategy_id,
        instrument_id=order.instrument_id,
        client_order_id=order.client_order_id,
        venue_order_id=order.venue_order_id,
        account_id=order.account_id,
        reason="busy",
        event_id=UUID4(),
        ts_event=agent.clock.timestamp_ns(),
        ts_init=agent.clock.timestamp_ns(),
    )
