"""Whole flows through our book and bourse, which is written in Rust: the same trades in the same order."""

import numpy as np
import pytest
from book_flows import random_messages

from apex_nautilus.sim import MessageAction, OrderBook
from apex_nautilus.sim.matching import BUY, GTC, SELL

core = pytest.importorskip("bourse.core", reason="bourse (a bench peer) is not installed")


def shared_flow(seed, n, *, width, drift):
    """Messages of the kinds that bourse has: limit and market orders, and cancels."""
    messages = random_messages(seed, n, width=width, drift=drift)
    known = (MessageAction.LIMIT, MessageAction.MARKET, MessageAction.CANCEL)
    messages = messages[np.isin(messages["action"], known)]
    messages["time_in_force"] = GTC
    return messages


def through_bourse(messages):
    peer = core.OrderBook(0, 1)
    for at, (order_id, price, size, _, owner, action, side, *_) in enumerate(messages.tolist()):
        peer.set_time(at)  # its queues are ordered by time, so every message needs its own
        if action == MessageAction.CANCEL:
            peer.cancel_order(order_id)
        else:
            limit = price if action == MessageAction.LIMIT else None
            assert peer.place_order(side > 0, size, owner, price=limit) == order_id
    return peer


@pytest.mark.parametrize(
    ("seed", "width", "drift"), [(11, 12, 0), (12, 4, 0), (13, 40, 0), (14, 12, 2), (15, 100, 5)]
)
def test_bourse_makes_the_same_trades_in_the_same_order(seed, width, drift):
    messages = shared_flow(seed, 10_000, width=width, drift=drift)
    peer = through_bourse(messages)
    book = OrderBook()
    fills = book.process(messages)
    names = ("price", "size", "taker_id", "maker_id")
    ours = list(zip(*(fills[name].tolist() for name in names), strict=True))
    assert ours == [tuple(trade[2:6]) for trade in peer.get_trades()]
    assert len(ours) > 1000
    bid, ask = peer.bid_ask()
    if book.best_bid is not None and book.best_ask is not None:  # its touch of an empty side is a number
        assert (bid, ask) == (book.best_bid, book.best_ask)
        assert peer.best_bid_vol() == book.levels(BUY)[0][1]
        assert peer.best_ask_vol() == book.levels(SELL)[0][1]
