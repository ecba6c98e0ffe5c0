"""The order book against a slow, obvious twin, against rules worked out by hand, and against bourse."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slow_book import SlowBook, SlowOrder

from apex_nautilus.sim import MESSAGE, MessageAction, OrderBook
from apex_nautilus.sim.matching import (
    BUY,
    CANCELLED,
    EXPIRED,
    FILLED,
    FOK,
    GTC,
    IOC,
    POST_ONLY,
    REJECTED,
    RESTING,
    SELL,
)

FATES = {"resting": RESTING, "filled": FILLED, "cancelled": CANCELLED, "expired": EXPIRED}
FATES["rejected"] = REJECTED
KINDS = {GTC: "gtc", IOC: "ioc", FOK: "fok", POST_ONLY: "post_only"}


def random_messages(seed, n, *, width=12, drift=0, owners=4):
    """A flow of all kinds of messages around a price that may walk."""
    rng = np.random.default_rng(seed)
    messages = np.zeros(n, MESSAGE)
    messages["action"] = rng.choice(5, n, p=[0.5, 0.1, 0.2, 0.12, 0.08])
    messages["side"] = rng.choice([-1, 1], n)
    centre = 1000 + (np.cumsum(rng.integers(-drift, drift + 1, n)) if drift else 0)
    messages["price"] = centre - messages["side"] * rng.integers(-2, width, n)
    messages["size"] = rng.integers(1, 30, n)
    messages["owner"] = rng.integers(0, owners, n)
    messages["time_in_force"] = rng.choice(4, n, p=[0.7, 0.1, 0.1, 0.1])
    messages["action"][0] = MessageAction.LIMIT
    new = messages["action"] <= MessageAction.MARKET
    born = np.cumsum(new)
    messages["order_id"] = np.where(new, born - 1, np.maximum(born - rng.geometric(0.05, n), 0))
    return messages


def apply_slowly(slow, message):
    action, order_id = int(message["action"]), int(message["order_id"])
    price, size = int(message["price"]), int(message["size"])
    if action == MessageAction.LIMIT:
        kind = KINDS[int(message["time_in_force"])]
        slow.add(SlowOrder(order_id, int(message["side"]), price, size, int(message["owner"]), kind))
    elif action == MessageAction.MARKET:
        slow.add(SlowOrder(order_id, int(message["side"]), None, size, int(message["owner"]), "ioc"))
    elif action == MessageAction.CANCEL:
        slow.cancel(order_id)
    elif action == MessageAction.REPLACE:
        slow.replace(order_id, price, size)
    else:
        slow.reduce(order_id, size)


def as_rows(fills):
    return [(int(f["taker_id"]), int(f["maker_id"]), int(f["price"]), int(f["size"])) for f in fills]


def check_against_twin(messages, book, slow, chunk):
    fills = []
    for at in range(0, len(messages), chunk):
        part = messages[at : at + chunk]
        fills += as_rows(book.process(part))
        for message in part:
            apply_slowly(slow, message)
        for side in (BUY, SELL):
            assert book.queues(side) == slow.queues(side)
        assert book.best_bid is None or book.best_ask is None or book.best_bid < book.best_ask
    assert fills == slow.fills
    assert {i: book.fate(i) for i in slow.fates} == {i: FATES[fate] for i, fate in slow.fates.items()}


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32), prevent=st.booleans(), drift=st.integers(0, 3))
def test_every_message_does_what_it_does_to_the_slow_book(seed, prevent, drift):
    # The smallest arrays there are, so that pool, ladder and fills must grow on the way.
    book = OrderBook(capacity=1, levels=64, prevent_self_trade=prevent)
    check_against_twin(random_messages(seed, 150, drift=drift), book, SlowBook(prevent), chunk=1)


@pytest.mark.parametrize("prevent", [False, True])
def test_two_hundred_thousand_messages_leave_the_same_book_and_trades(prevent):
    messages = random_messages(7, 100_000, width=40, drift=1, owners=20)
    check_against_twin(
        messages, OrderBook(levels=64, prevent_self_trade=prevent), SlowBook(prevent), chunk=20_000
    )


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


def test_self_trade_prevention_cancels_the_resting_order_and_goes_on():
    book = OrderBook(prevent_self_trade=True)
    own = book.limit(SELL, price=100, size=3, owner=1)
    other = book.limit(SELL, price=100, size=3, owner=2)
    report = book.limit(BUY, price=100, size=3, owner=1, time_in_force=IOC)
    assert (report.fate, report.filled) == (FILLED, 3)
    assert book.fate(own.order_id) == CANCELLED
    assert book.fate(other.order_id) == FILLED


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


@pytest.mark.parametrize(
    "call",
    [
        lambda book: book.limit(2, price=1, size=1),
        lambda book: book.limit(BUY, price=1, size=0),
        lambda book: book.limit(BUY, price=1 << 60, size=1),
        lambda book: book.limit(BUY, price=1, size=1, time_in_force=9),
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


def test_bourse_makes_the_same_trades_in_the_same_order():
    core = pytest.importorskip("bourse.core", reason="bourse (a bench peer) is not installed")
    messages = random_messages(11, 20_000)
    messages = messages[
        np.isin(messages["action"], [MessageAction.LIMIT, MessageAction.MARKET, MessageAction.CANCEL])
    ]
    messages["time_in_force"] = GTC
    new = messages["action"] <= MessageAction.MARKET
    ids = messages["order_id"]
    dense = np.cumsum(np.bincount(ids[new], minlength=ids.max() + 1) > 0) - 1
    messages["order_id"] = dense[ids]
    peer = core.OrderBook(0, 1)
    for at, message in enumerate(messages.tolist()):
        order_id, price, size, owner, action, side, _ = message
        peer.set_time(at)
        if action == MessageAction.CANCEL:
            peer.cancel_order(order_id)
        else:
            given = peer.place_order(
                side > 0, size, owner, price=price if action == MessageAction.LIMIT else None
            )
            assert given == order_id
    ours = as_rows(OrderBook().process(messages))
    assert ours == [(taker, maker, price, size) for _, _, price, size, taker, maker in peer.get_trades()]
    assert len(ours) > 1000
