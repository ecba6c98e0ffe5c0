"""The order book against a slow, obvious twin and against rules worked out by hand."""

import numpy as np
import pytest
from book_flows import random_messages, run_both
from hypothesis import given, settings
from hypothesis import strategies as st
from slow_book import SlowBook

from apex_nautilus.sim import MESSAGE, MessageAction, OrderBook, Reason, ReportKind
from apex_nautilus.sim.matching import (
    ALLOW,
    BUY,
    CANCEL_AGGRESSING,
    CANCEL_BOTH,
    CANCEL_RESTING,
    CANCELLED,
    DECREMENT,
    EXPIRED,
    FILLED,
    FOK,
    IOC,
    POST_ONLY,
    REJECTED,
    RESTING,
    SELL,
)

MODES = [ALLOW, CANCEL_RESTING, CANCEL_AGGRESSING, CANCEL_BOTH, DECREMENT]


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32),
    mode=st.sampled_from(MODES),
    drift=st.integers(0, 3),
    lives=st.sampled_from([0, 20, 200]),
    own_modes=st.booleans(),
)
def test_every_message_does_what_it_does_to_the_slow_book(seed, mode, drift, lives, own_modes):
    # The smallest arrays there are, so that pool, ladder and fills must grow on the way.
    book = OrderBook(capacity=1, levels=64, prevent_self_trade=mode)
    messages = random_messages(seed, 150, drift=drift, owners=3, lives=lives, modes=own_modes)
    run_both(messages, book, SlowBook(mode), chunk=1)


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32), cut=st.integers(1, 299))
def test_where_a_flow_is_cut_does_not_show(seed, cut):
    messages = random_messages(seed, 300, lives=50, modes=True)
    whole, halves = OrderBook(), OrderBook(capacity=2, levels=64)
    fills = whole.process(messages)
    assert (fills == np.concatenate([halves.process(messages[:cut]), halves.process(messages[cut:])])).all()
    assert [whole.queues(side) for side in (BUY, SELL)] == [halves.queues(side) for side in (BUY, SELL)]


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32), mode=st.sampled_from(MODES))
def test_one_call_an_order_says_what_the_array_says(seed, mode):
    messages = random_messages(seed, 100, owners=3, lives=30)
    arrayed, called = OrderBook(prevent_self_trade=mode), OrderBook(prevent_self_trade=mode)
    for at, row in enumerate(messages.tolist()):
        order_id, price, size, time_ns, owner, action, side, kind, _ = row
        fills, reports = arrayed.process_reported(messages[at : at + 1])
        if action in (MessageAction.LIMIT, MessageAction.MARKET, MessageAction.REPLACE):
            if action == MessageAction.LIMIT:
                told = called.limit(side, price, size, owner=owner, time_in_force=kind, expires_ns=time_ns)
            elif action == MessageAction.MARKET:
                told = called.market(side, size, owner=owner)
            else:
                told = called.replace(order_id, price, size)
            assert (told.order_id, told.fills.tolist()) == (order_id, fills.tolist())
            assert (told.reason, told.left) == (reports[-1]["reason"], reports[-1]["left"])
            if reports[-1]["kind"] != ReportKind.REFUSED:
                assert told.fate == arrayed.fate(order_id)
        elif action == MessageAction.CANCEL:
            assert called.cancel(order_id) == reports[-1]["size"]
        elif action == MessageAction.REDUCE:
            assert called.reduce(order_id, size) == (reports[-1]["kind"] == ReportKind.REDUCED)
        else:
            assert called.expire(time_ns)["order_id"].tolist() == reports["order_id"].tolist()


@pytest.mark.parametrize("jump", [63, 64, 65, 1000, 10**6])
def test_book_follows_a_price_that_jumps_beyond_its_ladder(jump):
    book = OrderBook(levels=64)
    low = book.limit(BUY, price=10, size=3)
    book.limit(BUY, price=10 + jump, size=4)
    book.limit(SELL, price=11 + jump, size=5)
    assert book.levels(BUY) == [(10 + jump, 4), (10, 3)]
    assert book.levels(SELL) == [(11 + jump, 5)]
    assert book.market(SELL, size=7).filled == 7
    assert book.fate(low.order_id) == FILLED


def test_ladder_walks_any_distance_without_growing_while_the_book_stays_narrow():
    book = OrderBook(levels=128)
    for price in range(-5000, 5000, 7):
        old = book.best_bid
        book.limit(BUY, price=price, size=1)
        if old is not None:
            book.market(SELL, size=1)  # takes the newer, higher bid
            book.market(SELL, size=1)
            book.limit(BUY, price=price, size=1)
    assert len(book._book.levels) == 128
    assert book.best_bid == 4998 - (4998 + 5000) % 7


def test_book_refuses_a_span_that_no_memory_holds():
    book = OrderBook()
    book.limit(BUY, price=0, size=1)
    with pytest.raises(ValueError, match="coarser tick"):
        book.limit(SELL, price=1 << 40, size=1)
    assert book.levels(SELL) == []


@pytest.mark.parametrize("kind", [IOC, FOK])
def test_an_order_that_never_rests_needs_no_place_on_the_ladder(kind):
    book = OrderBook()
    book.limit(SELL, price=10, size=5)
    width = len(book._book.levels)
    assert book.limit(BUY, price=1 << 50, size=2, time_in_force=kind).filled == 2
    assert len(book._book.levels) == width


def test_orders_of_one_price_trade_in_order_of_arrival():
    book = OrderBook()
    ids = [book.limit(SELL, price=100, size=2).order_id for _ in range(4)]
    book.cancel(ids[1])
    fills = book.market(BUY, size=5).fills
    assert fills["maker_id"].tolist() == [ids[0], ids[2], ids[3]]
    assert fills["size"].tolist() == [2, 2, 1]


@pytest.mark.parametrize(
    ("price", "size", "first"),
    [(100, 3, "a"), (100, 5, "a"), (100, 6, "b"), (99, 5, "b")],
    ids=["shrunk", "unchanged", "grown", "moved"],
)
def test_replace_keeps_priority_only_when_just_the_size_shrinks(price, size, first):
    book = OrderBook()
    orders = {name: book.limit(BUY, price=100, size=5).order_id for name in "ab"}
    assert book.replace(orders["a"], price=price, size=size).fate == RESTING
    fill = book.market(SELL, size=1).fills[0]
    assert fill["maker_id"] == orders[first]


def test_replace_across_the_spread_trades_at_once():
    book = OrderBook()
    book.limit(SELL, price=101, size=2)
    bid = book.limit(BUY, price=99, size=5)
    report = book.replace(bid.order_id, price=101, size=5)
    assert (report.fate, report.filled) == (RESTING, 2)
    assert book.levels(BUY) == [(101, 3)]


def test_post_only_that_would_trade_is_rejected_and_a_resting_one_stays_where_it_is():
    book = OrderBook()
    book.limit(SELL, price=101, size=2)
    assert book.limit(BUY, price=101, size=1, time_in_force=POST_ONLY).fate == REJECTED
    bid = book.limit(BUY, price=100, size=1, time_in_force=POST_ONLY)
    assert book.replace(bid.order_id, price=101, size=1).fate == REJECTED
    assert book.levels(BUY) == [(100, 1)]


def test_fill_or_kill_takes_all_or_nothing():
    book = OrderBook()
    for price in (101, 102):
        book.limit(SELL, price=price, size=3)
    assert book.limit(BUY, price=101, size=4, time_in_force=FOK).fate == REJECTED
    assert book.levels(SELL) == [(101, 3), (102, 3)]
    assert book.limit(BUY, price=102, size=4, time_in_force=FOK).fate == FILLED


def test_market_order_takes_what_there_is_and_the_rest_expires():
    book = OrderBook()
    book.limit(BUY, price=100, size=3)
    report = book.market(SELL, size=5)
    assert (report.fate, report.filled) == (EXPIRED, 3)
    assert book.best_bid is None
    assert book.market(SELL, size=5).filled == 0


@pytest.mark.parametrize(
    ("mode", "size", "fate", "filled", "own", "asks"),
    [
        (ALLOW, 4, FILLED, 4, FILLED, [(100, 2)]),
        (CANCEL_RESTING, 4, RESTING, 3, CANCELLED, []),
        (CANCEL_AGGRESSING, 4, CANCELLED, 0, RESTING, [(100, 6)]),
        (CANCEL_BOTH, 4, CANCELLED, 0, CANCELLED, [(100, 3)]),
        (DECREMENT, 2, CANCELLED, 0, RESTING, [(100, 4)]),
        (DECREMENT, 3, CANCELLED, 0, CANCELLED, [(100, 3)]),
        (DECREMENT, 4, FILLED, 1, CANCELLED, [(100, 2)]),
        (DECREMENT, 8, RESTING, 3, CANCELLED, []),
    ],
)
def test_self_trade_prevention_takes_off_what_its_mode_says(mode, size, fate, filled, own, asks):
    for book, order_mode in ((OrderBook(prevent_self_trade=mode), ALLOW), (OrderBook(), mode)):
        mine = book.limit(SELL, price=100, size=3, owner=1)
        book.limit(SELL, price=100, size=3, owner=2)
        report = book.limit(BUY, price=100, size=size, owner=1, self_trade=order_mode)
        assert (report.fate, report.filled) == (fate, filled)
        assert book.fate(mine.order_id) == own
        assert book.levels(SELL) == asks
        assert report.reason == (Reason.OWN_ORDER if fate == CANCELLED else Reason.NONE)


def test_prevention_spares_orders_of_other_owners():
    book = OrderBook(prevent_self_trade=CANCEL_BOTH)
    book.limit(SELL, price=100, size=3, owner=2)
    assert book.market(BUY, size=3, owner=1).fate == FILLED


@pytest.mark.parametrize(
    ("mode", "fate"),
    [
        (ALLOW, FILLED),
        (CANCEL_RESTING, REJECTED),
        (CANCEL_AGGRESSING, REJECTED),
        (CANCEL_BOTH, REJECTED),
        (DECREMENT, REJECTED),
    ],
)
def test_fill_or_kill_does_not_count_on_own_orders(mode, fate):
    book = OrderBook(prevent_self_trade=mode)
    book.limit(SELL, price=100, size=2, owner=2)
    book.limit(SELL, price=100, size=2, owner=1)
    assert book.limit(BUY, price=100, size=3, owner=1, time_in_force=FOK).fate == fate
    assert book.levels(SELL) == [(100, 1 if fate == FILLED else 4)]
    if mode != ALLOW:
        assert book.limit(BUY, price=100, size=2, owner=1, time_in_force=FOK).fate == FILLED


def test_orders_expire_earliest_first_and_the_late_one_on_arrival():
    book = OrderBook()
    late = book.limit(BUY, price=98, size=1, expires_ns=30)
    early = book.limit(BUY, price=97, size=2, expires_ns=10)
    twin = book.limit(SELL, price=105, size=3, expires_ns=10, time_in_force=POST_ONLY)
    ever = book.limit(BUY, price=96, size=4)
    assert book.expire(9)["order_id"].tolist() == []
    gone = book.expire(30)
    assert gone["order_id"].tolist() == [early.order_id, twin.order_id, late.order_id]
    assert gone["size"].tolist() == [2, 3, 1]
    assert book.fate(twin.order_id) == EXPIRED
    assert book.fate(ever.order_id) == RESTING
    tardy = book.limit(SELL, price=96, size=1, expires_ns=30)
    assert (tardy.fate, tardy.reason, tardy.filled) == (EXPIRED, Reason.TOO_LATE, 0)
    assert book.levels(BUY) == [(96, 4)]


def test_an_order_keeps_its_expiry_when_it_is_replaced_and_a_cancelled_one_is_not_expired():
    book = OrderBook()
    moved = book.limit(BUY, price=98, size=1, expires_ns=10)
    book.replace(moved.order_id, price=99, size=5)
    cancelled = book.limit(BUY, price=98, size=1, expires_ns=10)
    book.cancel(cancelled.order_id)
    assert book.expire(10)["order_id"].tolist() == [moved.order_id]
    assert book.fate(cancelled.order_id) == CANCELLED


def test_orders_that_ended_early_do_not_fill_the_memory_of_expiries():
    book = OrderBook()
    for at in range(1000):
        book.cancel(book.limit(BUY, price=at, size=1, expires_ns=10_000 + at).order_id)
    assert len(book._queue.records) <= 256
    kept = [book.limit(BUY, price=at, size=1, expires_ns=20_000 - at).order_id for at in range(300)]
    assert book.expire(30_000)["order_id"].tolist() == kept[::-1]


def test_time_does_not_run_backwards():
    book = OrderBook()
    assert book.now_ns is None
    book.expire(5)
    with pytest.raises(ValueError, match="now_ns: 4 is before 5"):
        book.expire(4)
    assert book.now_ns == 5


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("side", 0, r"messages\[1\].side"),
        ("size", 0, r"messages\[1\].size"),
        ("action", 9, r"messages\[1\].action"),
        ("order_id", 0, r"messages\[1\].order_id \(used before\)"),
        ("order_id", -1, r"messages\[1\].order_id"),
        ("price", 1 << 60, r"messages\[1\].price"),
        ("time_in_force", 7, r"messages\[1\].time_in_force"),
        ("self_trade", 5, r"messages\[1\].self_trade: 5"),
        ("time_ns", -1, r"messages\[1\].time_ns: -1"),
    ],
)
def test_bad_message_is_refused_by_name_before_anything_happens(field, value, says):
    messages = np.zeros(2, MESSAGE)
    messages["order_id"] = [0, 1]
    messages["side"] = BUY
    messages["size"] = messages["price"] = 5
    messages[field][1] = value
    book = OrderBook()
    with pytest.raises(ValueError, match=says):
        book.process(messages)
    assert len(book) == 0


def test_an_array_whose_time_runs_backwards_is_refused():
    messages = np.zeros(2, MESSAGE)
    messages["action"] = MessageAction.EXPIRE
    messages["time_ns"] = [5, 4]
    with pytest.raises(ValueError, match=r"messages\[1\].time_ns \(runs backwards\): 4"):
        OrderBook().process(messages)


@pytest.mark.parametrize("field", [("action", MessageAction.MARKET), ("time_in_force", IOC)])
def test_what_never_rests_cannot_expire(field):
    messages = np.zeros(1, MESSAGE)
    messages["side"] = BUY
    messages["size"] = messages["time_ns"] = 5
    messages[field[0]] = field[1]
    with pytest.raises(ValueError, match=r"messages\[0\].time_ns: 5"):
        OrderBook().process(messages)


@pytest.mark.parametrize(
    "call",
    [
        lambda book: book.limit(2, price=1, size=1),
        lambda book: book.limit(BUY, price=1, size=0),
        lambda book: book.limit(BUY, price=1 << 60, size=1),
        lambda book: book.limit(BUY, price=1, size=1, time_in_force=9),
        lambda book: book.limit(BUY, price=1, size=1, time_in_force=IOC, expires_ns=5),
        lambda book: book.limit(BUY, price=1, size=1, expires_ns=-5),
        lambda book: book.limit(BUY, price=1, size=1, self_trade=5),
        lambda book: book.limit(BUY, price=1, size=1, owner=1 << 31),
        lambda book: OrderBook(prevent_self_trade=7),
        lambda book: book.replace(0, price=1, size=0),
        lambda book: OrderBook(levels=100),
        lambda book: OrderBook(capacity=0),
    ],
)
def test_bad_argument_is_refused(call):
    with pytest.raises(ValueError):
        call(OrderBook())


def test_fate_of_an_unknown_order_is_an_error():
    with pytest.raises(KeyError, match="never submitted"):
        OrderBook().fate(3)
