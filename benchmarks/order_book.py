"""Matching: zero-intelligence flow through our order book, bourse and lightmatchingengine.

The flow is prepared beforehand: 50 % limit orders at random depth, 41 % cancels of a random live order, 9 %
market orders. All engines get the same messages and must trade the same lots in the same number of matches.

Ours takes the messages as one array (`OrderBook.process`, its checks included), the peers one Python call a
message, because that is the fastest each offers for a flow whose order is given: bourse's batch interface
(`StepEnv`, `StepEnvNumpy`) shuffles what it is handed before it matches. The like-for-like comparison, with
ours called once a message from Python too, is a row of its own; there bourse is the faster one.

Nautilus's matching engine lets no two orders of users meet, so beside it stands a flow that needs no meeting:
limit orders away from the touch, each cancelled later. Its commands are made before the clock starts.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numba import njit

from apex_nautilus.sim import MESSAGE, MessageAction, OrderBook
from apex_nautilus.sim import matching as m

from .harness import MissingPeer, Row, alternate, compare, missing_row, peer_version, require_peer

__all__ = ["prepare_flow", "run"]

_START = 10_000


@njit
def _fill_flow(messages, kinds, picks, sides, depths, sizes, book, fills, slots, live, place):
    """Draw one message after the other, matching along the way to know which orders are alive."""
    n_live = 0
    born = 0
    for i in range(len(messages)):
        message = messages[i]
        message.size = sizes[i]
        message.side = sides[i]
        gone = -1
        # No market order that could empty a side: engines disagree about what becomes of its rest.
        others = book.state[m.ASK_ORDERS] if sides[i] > 0 else book.state[m.BID_ORDERS]
        if kinds[i] < 0.5 or n_live == 0 or (kinds[i] >= 0.91 and others < 20):
            best = book.state[m.BEST_ASK] if sides[i] > 0 else book.state[m.BEST_BID]
            if best == m.NO_ASK or best == m.NO_BID:
                best = _START
            message.action = 0
            message.price = best - sides[i] * depths[i]
            m.fits(book, message.price)
            slot = m.allocate(book, born, 0, sides[i], message.price, sizes[i], m.GTC)
            m.submit(book, slot, fills, 0)
            slots[born] = slot
            live[n_live] = born
            place[born] = n_live
            n_live += 1
            message.order_id = born
            born += 1
        elif kinds[i] < 0.91:
            gone = live[int(picks[i] * n_live)]
            message.action = 2
            message.order_id = gone
            m.cancel(book, slots[gone], gone)
            n_live -= 1
            live[place[gone]] = live[n_live]
            place[live[n_live]] = place[gone]
        else:
            message.action = 1
            price = m.NO_ASK if sides[i] > 0 else m.NO_BID
            slot = m.allocate(book, born, 0, sides[i], price, sizes[i], m.IOC)
            _, n_fills = m.submit(book, slot, fills, 0)
            message.order_id = born
            born += 1
            for k in range(n_fills):
                if fills[k].maker_done:
                    gone = fills[k].maker_id
                    n_live -= 1
                    live[place[gone]] = live[n_live]
                    place[live[n_live]] = place[gone]


def prepare_flow(n: int, seed: int = 1) -> np.ndarray:
    """Return MESSAGE[n] of zero-intelligence flow."""
    rng = np.random.default_rng(seed)
    messages = np.zeros(n, MESSAGE)
    book = m.new_book(1 << 20, 1 << 16)
    _fill_flow(
        messages,
        rng.random(n),
        rng.random(n),
        rng.choice([-1, 1], n),
        rng.geometric(0.08, n),
        rng.integers(1, 20, n),
        book,
        np.zeros(1 << 20, m.FILL),
        np.zeros(n, np.int64),
        np.zeros(n, np.int64),
        np.zeros(n, np.int64),
    )
    return messages


def _feed_bourse(core, rows: list[tuple]):
    """Let bourse match the flow; returns its book."""
    book = core.OrderBook(0, 1)
    set_time, place, cancel = book.set_time, book.place_order, book.cancel_order
    for at, (order_id, price, size, _, owner, action, side, _, _) in enumerate(rows):
        set_time(at)  # its queues are ordered by time, so every message needs its own
        if action == MessageAction.LIMIT:
            place(side > 0, size, owner, price)
        elif action == MessageAction.CANCEL:
            cancel(order_id)
        else:
            place(side > 0, size, owner)
    return book


def _feed_light(module, rows: list[tuple]) -> tuple[int, int]:
    """Let lightmatchingengine match the flow; returns matches and lots traded."""
    engine = module.LightMatchingEngine()
    add, cancel = engine.add_order, engine.cancel_order
    matches = volume = 0
    ids: dict[int, int] = {}
    for order_id, price, size, _, _, action, side, _, _ in rows:
        if action == MessageAction.CANCEL:
            cancel(ids[order_id], "X")
            continue
        # A price of 0 is this engine's market order.
        order, trades = add("X", price if action == MessageAction.LIMIT else 0, size, 1 if side > 0 else 2)
        ids[order_id] = order.order_id
        for trade in trades:
            if trade.order_id != order.order_id:
                matches += 1
                volume += trade.trade_qty
    return matches, volume


def _feed_ours(rows: list[tuple]) -> tuple[int, int]:
    """Let ours match the flow, one call a message."""
    book = OrderBook()
    limit, market, cancel = book.limit, book.market, book.cancel
    matches = volume = 0
    for order_id, price, size, _, owner, action, side, _, _ in rows:
        if action == MessageAction.CANCEL:
            cancel(order_id)
            continue
        if action == MessageAction.LIMIT:
            report = limit(side, price, size, owner=owner)
        else:
            report = market(side, size, owner=owner)
        if report.filled:
            matches += len(report.fills)
            volume += report.filled
    return matches, volume


def _quiet_flow(n: int, seed: int = 2) -> np.ndarray:
    """MESSAGE[n] of limit orders that rest and cancels of a random one of them, half and half."""
    rng = np.random.default_rng(seed)
    messages = np.zeros(n, MESSAGE)
    alive: list[int] = []
    for at in range(n):
        message = messages[at]
        if alive and (len(alive) >= n - at or rng.random() < 0.5):
            message["action"] = MessageAction.CANCEL
            message["order_id"] = alive.pop(int(rng.integers(len(alive))))
        else:
            side = int(rng.choice([-1, 1]))
            message["order_id"] = at - np.count_nonzero(messages["action"][:at])
            message["side"], message["price"] = side, _START - side * int(rng.integers(1, 200))
            message["size"] = int(rng.integers(1, 20))
            alive.append(int(message["order_id"]))
    return messages


def _beside_nautilus(n: int) -> Iterator[Row]:
    from ._nautilus_matching import NautilusMatching

    messages = _quiet_flow(n)
    cancels = messages["action"] == MessageAction.CANCEL
    names = ("order_id", "side", "price", "size")
    commands = list(zip(*(messages[name].tolist() for name in names), cancels.tolist(), strict=True))
    work = int((~cancels).sum()), int(cancels.sum())
    ready = []
    for _ in range(6):  # an order lives once, so every round has its own
        peer = NautilusMatching(_START - 1, _START + 1)
        ready.append((peer, peer.prepare(commands)))
    first, list_ = ready[0]
    made = first.feed(list_)
    if made != work:
        raise AssertionError(f"not the same work: (sent, cancelled) ours {work}, theirs {made}")
    waiting = iter(ready[1:])

    def theirs() -> None:
        peer, mine = next(waiting)
        peer.feed(mine)

    rows = messages.tolist()
    array, called, engine = alternate(
        lambda: OrderBook().process(messages), lambda: _feed_ours(rows), theirs, warm=False
    )
    for name, timed in (("array in, peer called", array), ("both called", called)):
        yield Row(
            name=f"limit orders and cancels without a match, {n:,} messages: {name} per message",
            unit="messages/s",
            ours=n / timed.median,
            peer=f"{peer_version('nautilus_trader')} OrderMatchingEngine",
            theirs=n / engine.median,
            ratio=engine.median / timed.median,
            goal="",
            holds=None,
            same_work=f"both accepted {work[0]:,} orders and cancelled {work[1]:,}",
            repeats=5,
            spread=timed.spread,
        )


def _equal(ours: tuple[int, int], theirs: tuple[int, int]) -> str:
    if ours != theirs:
        raise AssertionError(f"not the same work: (matches, lots) ours {ours}, theirs {theirs}")
    return f"both made {ours[0]:,} matches of {ours[1]:,} lots"


def run(quick: bool) -> Iterator[Row]:
    n = 100_000 if quick else 1_000_000
    unit = "messages/s"
    messages = prepare_flow(n)
    rows = messages.tolist()
    fills = OrderBook().process(messages)
    ours = len(fills), int(fills["size"].sum())

    name = f"matching, {n:,} messages"
    try:
        core = require_peer("bourse.core")
    except MissingPeer as missing:
        yield missing_row(name, unit, "bourse", ">= 10x", str(missing))
    else:
        made = _feed_bourse(core, rows).get_trades()
        same = _equal(ours, (len(made), sum(trade[3] for trade in made)))
        yield compare(
            f"{name}: array in, peer called per message",
            lambda: OrderBook().process(messages),
            lambda: _feed_bourse(core, rows),
            work=n,
            unit=unit,
            peer=peer_version("bourse"),
            goal_ratio=10.0,
            same_work=same,
        )
        few = rows[: n // 10]
        made = _feed_bourse(core, few).get_trades()
        yield compare(
            f"matching, {n // 10:,} messages: both called per message from Python",
            lambda: _feed_ours(few),
            lambda: _feed_bourse(core, few),
            work=n // 10,
            unit=unit,
            peer=peer_version("bourse"),
            goal_ratio=None,
            same_work=_equal(_feed_ours(few), (len(made), sum(trade[3] for trade in made))),
        )
    try:
        light = require_peer("lightmatchingengine.lightmatchingengine")
    except MissingPeer as missing:
        yield missing_row(name, unit, "lightmatchingengine", ">= 10x", str(missing))
    else:
        yield compare(
            f"{name}: array in, peer called per message",
            lambda: OrderBook().process(messages),
            lambda: _feed_light(light, rows),
            work=n,
            unit=unit,
            peer=peer_version("lightmatchingengine"),
            goal_ratio=10.0,
            same_work=_equal(ours, _feed_light(light, rows)),
        )
    yield from _beside_nautilus(n // 50)
