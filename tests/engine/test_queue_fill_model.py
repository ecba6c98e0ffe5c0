"""When a resting order's turn comes, and what an order costs that is larger than the book."""

from __future__ import annotations

import itertools
import random

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.engine_case import BTC, MS, START, book_events, run_agents, scripted, wandering_market
from support.plain_case import BUY, SELL, Plain, amend, cancel, run_plain, send

from apex_nautilus.data import write_events
from apex_nautilus.engine import nautilus_config, open_engine
from apex_nautilus.engine.queue_fill_model import QueuePlace, levels_beyond
from apex_nautilus.features import EVENT, KIND_TRADE

BID, ASK = 60000.0, 60000.1


def trade(ms: float, price: float, size: float, side: int) -> tuple:
    ts = START + round(ms * MS)
    return (ts, ts, round(price * 10), round(size * 1000), 0, KIND_TRADE, side, 0)


def market(books, trades=()):
    """Books (ms, bids, asks) and trades in order of time; a last book at 1000 ms lets all happen."""
    quiet = [*books, (1000, [(1.0, 1.0)], [(99999.0, 1.0)])]
    events = np.concatenate([book_events(quiet), np.array(list(trades), dtype=EVENT)])
    return events[np.argsort(events["ts_init_ns"], kind="stable")]


def book(ms, bid_size=10.0, ask_size=10.0, bid=BID, ask=ASK):
    return (ms, [(bid, bid_size), (bid - 1.0, 50.0)], [(ask, ask_size), (ask + 1.0, 50.0)])


def fills(strategy: Plain, name: str) -> list[tuple[float, float]]:
    """(milliseconds, size) of an order's fills."""
    return [
        (round((e.ts_event - START) / MS, 3), float(e.last_qty))
        for e in strategy.raw
        if type(e).__name__ == "OrderFilled" and e.client_order_id == strategy.sent[name].client_order_id
    ]


CASES = {
    "ten stand ahead: trades of four, four and four leave two": (
        [(1, send("a", BUY, 5.0, BID))],
        [book(0)],
        [trade(10, BID, 4, -1), trade(20, BID, 4, -1), trade(30, BID, 4, -1), trade(40, BID, 9, -1)],
        [(30, 2.0), (40, 3.0)],
    ),
    "trades on the other side serve nobody here": (
        [(1, send("a", BUY, 5.0, BID))],
        [book(0)],
        [trade(10, ASK, 400, 1), trade(20, BID, 12, -1)],
        [(20, 2.0)],
    ),
    "a trade beyond the price serves all of it": (
        [(1, send("a", BUY, 5.0, BID))],
        [book(0)],
        [trade(10, BID - 0.1, 0.001, -1)],
        [(10, 5.0)],
    ),
    "half of the level is cancelled: five stand ahead": (
        [(1, send("a", BUY, 5.0, BID))],
        [book(0), book(5, bid_size=5.0)],
        [trade(10, BID, 6, -1)],
        [(10, 1.0)],
    ),
    "what a trade took is not taken for a cancellation": (
        [(1, send("a", BUY, 5.0, BID))],
        [book(0), book(12, bid_size=6.0)],
        [trade(10, BID, 4, -1), trade(20, BID, 7, -1)],
        [(20, 1.0)],
    ),
    "who joins later stands behind, and cancels there in proportion": (
        [(1, send("a", BUY, 5.0, BID))],
        [book(0), book(5, bid_size=20.0), book(6, bid_size=10.0)],
        [trade(10, BID, 7, -1)],
        [(10, 2.0)],
    ),
    "inside the spread nobody stands ahead": (
        [(1, send("a", BUY, 5.0, BID + 0.1))],
        [book(0, ask=BID + 1.0)],
        [trade(10, BID + 0.1, 1.5, -1)],
        [(10, 1.5)],
    ),
    "a touch that reaches the price fills the rest": (
        [(1, send("a", BUY, 5.0, BID))],
        [book(0), (20, [(BID - 1, 1.0)], [(BID, 0.5)])],
        [trade(10, BID, 12, -1)],
        [(10, 2.0), (20, 3.0)],
    ),
    "a sale stands on its own side": (
        [(1, send("a", SELL, 5.0, ASK))],
        [book(0, ask_size=3.0)],
        [trade(10, ASK, 4, 1), trade(11, BID, 400, -1)],
        [(10, 1.0)],
    ),
    "a smaller size keeps its place": (
        [(1, send("a", BUY, 5.0, BID)), (15, amend("a", quantity=3.0))],
        [book(0), book(12, bid_size=6.0)],
        [trade(10, BID, 4, -1), trade(20, BID, 8, -1)],
        [(20, 2.0)],
    ),
    "a larger size goes to the end": (
        [(1, send("a", BUY, 5.0, BID)), (15, amend("a", quantity=6.0))],
        [book(0), book(12, bid_size=6.0), book(14, bid_size=20.0)],
        [trade(10, BID, 4, -1), trade(20, BID, 8, -1)],
        [],
    ),
    "what was cancelled is not served": (
        [(1, send("a", BUY, 5.0, BID)), (5, cancel("a"))],
        [book(0)],
        [trade(10, BID, 100, -1)],
        [],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_resting_order_is_filled_when_its_turn_comes(name, tmp_path):
    script, books, trades, expected = CASES[name]
    strategy = Plain("001", script)
    run_plain(tmp_path, market(books, trades), [strategy], fills="queue")
    assert fills(strategy, "a") == expected


def test_own_orders_share_a_trade_in_the_order_of_their_arrival(tmp_path):
    first = Plain("001", [(1, send("a", BUY, 3.0, BID))])
    second = Plain("002", [(2, send("b", BUY, 3.0, BID))])
    run_plain(tmp_path, market([book(0)], [trade(10, BID, 14, -1)]), [first, second], fills="queue")
    assert fills(first, "a") == [(10, 3.0)]
    assert fills(second, "b") == [(10, 1.0)]


def test_an_order_larger_than_the_book_pays_for_levels_that_are_not_shown(tmp_path):
    levels = [(ASK + 0.2 * k, 1.0 + 0.5 * (k % 2)) for k in range(4)]  # 5 in all, 1.25 a level, 0.2 apart
    strategy = Plain("001", [(1, send("a", BUY, 8.0)), (2, send("b", BUY, 4.0))])
    run_plain(tmp_path, market([(0, [(BID, 1.0)], levels)]), [strategy], fills="queue")
    paid = [(round(float(e.last_px), 1), float(e.last_qty)) for e in strategy.raw if hasattr(e, "last_px")]
    shown = [(round(p, 1), q) for p, q in levels]
    # Three more are wanted: levels of 1.25 at 0.2, 0.4 and 0.6 beyond the last.
    last = levels[-1][0]
    beyond = [(round(last + 0.2, 1), 1.25), (round(last + 0.4, 1), 1.25), (round(last + 0.6, 1), 0.5)]
    assert paid[:7] == shown + beyond
    assert paid[7:] == [*shown[:3], (shown[3][0], 0.5)]  # a smaller one finds the book as it is


@given(
    n=st.integers(1, 12),
    gap=st.floats(0.1, 50.0),
    mean=st.floats(0.01, 100.0),
    wanted=st.floats(0.001, 1e6),
    out=st.sampled_from([1, -1]),
)
def test_levels_beyond_hold_what_is_wanted_further_and_further_out(n, gap, mean, wanted, out):
    prices = [60000.0 + out * gap * k for k in range(n)]
    levels = levels_beyond(prices, [mean] * n, wanted, out * 0.1)
    assert sum(size for _, size in levels) == pytest.approx(wanted)
    walk = [prices[-1], *(price for price, _ in levels)]
    assert all((b - a) * out > 0 for a, b in itertools.pairwise(walk))
    assert all(price > 0.0 and size > 0.0 for price, size in levels)
    assert len(levels) <= 10_000


def test_a_place_in_the_queue_is_that_of_a_queue_of_single_orders_on_average():
    """Against a queue of unit orders of which any may be cancelled, each as likely as the others."""
    rng = np.random.default_rng(5)
    estimated, true = [], []
    for _ in range(300):
        queue = ["other"] * 30 + ["own"]
        place = QueuePlace(30.0)
        for _ in range(12):
            what = rng.integers(3)
            if what == 0:  # a trade of one
                queue.pop(0)
                place.trade(1.0)
            elif what == 1:  # somebody joins
                queue.append("other")
            else:  # somebody leaves
                others = [i for i, who in enumerate(queue) if who == "other"]
                queue.pop(int(rng.choice(others)))
            place.level(float(queue.count("other")))
        estimated.append(place.ahead)
        true.append(queue.index("own"))
    error = np.array(estimated) - np.array(true)
    assert abs(error.mean()) < 4 * error.std() / np.sqrt(len(error)) + 1e-9
    assert error.std() < 2.0


@given(st.lists(st.tuples(st.booleans(), st.floats(0.0, 50.0)), max_size=40), st.floats(0.0, 50.0))
def test_what_stands_ahead_never_grows_and_never_exceeds_the_level(steps, displayed):
    place = QueuePlace(displayed)
    for is_trade, size in steps:
        before = place.ahead
        if is_trade:
            left = place.trade(size)
            assert left == pytest.approx(max(size - before, 0.0))
        else:
            place.level(size)
            assert place.ahead <= size
        assert 0.0 <= place.ahead <= before


def test_agents_with_queued_take_profits_keep_their_ledgers_and_draw_no_global_numbers(tmp_path):
    entries = [
        (i * 7, 1 if i % 2 else -1, 0.5, *((60_005.0, 59_000.0) if i % 2 else (59_995.0, 61_000.0)), 900)
        for i in range(1, 60)
    ]
    events = wandering_market(4, 500, step=8)
    runs = []
    random.seed(1)
    state = random.getstate()
    for _ in range(2):
        agent = scripted("001", entries)
        change = run_agents(tmp_path, events, [agent], fills="queue")
        assert change == pytest.approx(agent.account.balance - agent.account.capital, abs=0.005)
        runs.append([(f.ts_ns, f.role, f.price, f.quantity, f.fee) for f in agent.fills])
    assert runs[0] == runs[1]
    assert sum(role == "take_profit" for _, role, *_ in runs[0]) >= 3
    assert random.getstate() == state


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"fill_model": None}, "needs a QueueFillModel"),
        ({"trade_execution": True}, "trade_execution must be off"),
    ],
)
def test_a_venue_that_queues_do_not_fit_is_refused(change, words, tmp_path):
    write_events(tmp_path / "catalog", BTC, market([book(0)]))
    config = nautilus_config(
        catalog=str(tmp_path / "catalog"), instrument_ids=[BTC.id], quote="USDT", balance=1.0, fills="queue"
    )
    venues = [msgspec.structs.replace(venue, **change) for venue in config.venues]
    with pytest.raises(ValueError, match=words), open_engine(msgspec.structs.replace(config, venues=venues)):
        pass


def test_a_stop_beyond_the_book_is_filled_whole(tmp_path):
    def stop(s):
        s.sent["a"] = order = s.order_factory.stop_market(
            s.instrument.id,
            SELL,
            s.instrument.make_qty(3.0),
            s.instrument.make_price(BID - 5),
            reduce_only=False,
        )
        s.submit_order(order)

    strategy = Plain("001", [(1, stop)])
    thin = (20, [(BID - 6, 0.5), (BID - 7, 0.5)], [(ASK, 1.0)])
    run_plain(tmp_path, market([book(0), thin]), [strategy], fills="queue")
    assert fills(strategy, "a") == [(20, 0.5)] * 6
    assert [round(float(e.last_px), 1) for e in strategy.raw if hasattr(e, "last_px")] == [
        BID - 6 - k for k in range(6)
    ]
