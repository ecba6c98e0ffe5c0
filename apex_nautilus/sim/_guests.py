"""Agents from outside the compiled loop: their connections, and their orders into a running market.

A guest has an account at the venue and a connection of its own, like every other agent of the market, but
nobody wakes it: between two slices of `Market.run` its orders are handed to the same network kernel that
sends everybody else's. A guest that sends nothing changes nothing, because each connection's delays are
drawn by its own key and the population's decisions by a stream that guests do not touch.
"""

from collections import namedtuple
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import _world as w
from . import matching as m
from ._jit import entry
from ._venue import send_all
from .draws import start_key
from .event_queue import grown, room
from .latency import AHEAD
from .market import Market, Tape

__all__ = ["Guests", "Handle"]

_Account = namedtuple("_Account", w.ACCOUNT.names or ())
_DONE, _GROW_HEAP, _GROW_ORDERS = 0, 1, 2
_LEAST_ROOM = 4  # events that one message can schedule, and more
_NEAR = 2  # prices are taken up to this share of the widest ladder from what rests: 1 / _NEAR
_LATENCY_BOUNDS = (-10.0, 15.0)  # log microseconds, as everywhere


@entry
def _inject(world, wishes, start):
    """Send wishes from `start` on, and write into each order's wish its id and slot (-1: it was lost).

    Returns how far it came and why it stopped, always between two messages.
    """
    clock = world.clock
    state = world.book.state
    for i in range(start, len(wishes)):
        if room(world.queue) < _LEAST_ROOM:
            return i, _GROW_HEAP
        if state[m.FREE_COUNT] < 1:
            return i, _GROW_ORDERS
        world.outbox[0] = wishes[i]
        clock[w.N_OUT] = 1
        lost = clock[w.LOST]
        order_id = clock[w.NEXT_ORDER_ID]
        slot = state[m.FREE_HEAD]
        send_all(world)
        if wishes[i].kind == w.ORDER_ARRIVES:
            wishes[i].id = order_id
            wishes[i].slot = slot if clock[w.LOST] == lost else -1
    return len(wishes), _DONE


@dataclass(frozen=True, slots=True)
class Handle:
    """One order that was sent: its number at the venue and where the pool keeps it (-1 when it was lost)."""

    order_id: int
    slot: int


class Guests:
    """The guests of one market.

    Parameters
    ----------
    market : runs its warm-up now if it has not yet. Its `run` may be called here or directly.
    """

    def __init__(self, market: Market) -> None:
        self.market = market
        market._begin()
        self._network = market._world.keys[-1]

    # ------------------------------------------------------------------ who

    def add(self, *, latency_mu: float | None = None) -> int:
        """Open an account and a connection; returns the agent's number.

        `latency_mu`: location of its delays in both directions, logarithm of microseconds, within [-10, 15];
        None for that of the population's noise traders. Deviation and loss are the population's. Raises
        ValueError when it is out of bounds.
        """
        low, high = _LATENCY_BOUNDS
        if latency_mu is not None and not low <= latency_mu <= high:
            raise ValueError(f"latency_mu: {latency_mu} is outside [{low}, {high}]")
        world = self.market._world
        agent = len(world.accounts)
        delays = world.delays
        own = delays[:1] if latency_mu is None else np.full((1, delays.shape[1]), latency_mu)
        accounts = np.zeros(agent + 1, world.accounts.dtype)
        accounts[:agent] = world.accounts
        accounts[agent]["last_arrival_ns"] = self.market.now_ns
        accounts[agent]["kind"] = len(delays) - 1
        key = start_key(self._network, agent)
        # The feed stays last in all three.
        self.market._world = world._replace(
            accounts=accounts,
            delays=np.concatenate([delays[:-1], own, delays[-1:]]),
            keys=np.concatenate([world.keys[:-1], np.array([key], np.uint64), world.keys[-1:]]),
            ahead=np.concatenate([world.ahead[:-1], np.zeros((1, 3, AHEAD)), world.ahead[-1:]]),
        )
        return agent

    def account(self, agent: int) -> Any:
        """What the venue has booked for an agent until now: the fields of ACCOUNT as whole numbers."""
        return _Account._make(self.market._world.accounts[agent].item())

    # ------------------------------------------------------------------ orders

    def in_reach(self, price: int) -> bool:
        """Whether an order at `price` (ticks) leaves the ladder room to follow the market."""
        state = self.market._world.book.state
        if state[m.BID_ORDERS] + state[m.ASK_ORDERS] == 0:
            low = high = int(self.market._world.values[w.MID])
        else:
            low, high = int(state[m.LOW]), int(state[m.HIGH])
        return max(high, price) - min(low, price) < m.MAX_LEVELS // _NEAR

    def order(self, agent: int, side: int, price: int, size: int, time_in_force: int = m.GTC) -> Handle:
        """Send an order: `side` BUY or SELL, `price` in ticks (within reach), `size` in lots.

        It is under way from now on; run the market to let it arrive.
        """
        wish = np.zeros(1, w.WISH)
        wish["kind"], wish["agent"], wish["quote"] = w.ORDER_ARRIVES, agent, -1
        wish["side"], wish["price"], wish["size"] = side, price, size
        wish["time_in_force"] = time_in_force
        self._send(wish)
        return Handle(int(wish["id"][0]), int(wish["slot"][0]))

    def cancel(self, agent: int, handle: Handle) -> None:
        """Send a cancel. It may be lost, or come too late; look at `left` later."""
        wish = np.zeros(1, w.WISH)
        wish["kind"], wish["agent"] = w.CANCEL_ARRIVES, agent
        wish["slot"], wish["id"] = handle.slot, handle.order_id
        self._send(wish)

    def left(self, handle: Handle) -> tuple[int, bool]:
        """Lots an order still has (0 when it is gone or was lost), and whether they rest on the book."""
        if handle.slot < 0:
            return 0, False
        order = self.market._world.book.orders[handle.slot]
        if order["id"] != handle.order_id:
            return 0, False
        return int(order["size"]), bool(order["resting"])

    def run(self, duration_ns: int) -> Tape:
        """Let the market run on; see `Market.run`."""
        return self.market.run(duration_ns)

    # ------------------------------------------------------------------ what is there

    @property
    def best(self) -> tuple[int | None, int | None]:
        """Best bid and best ask in ticks, None for an empty side."""
        state = self.market._world.book.state
        bid = int(state[m.BEST_BID]) if state[m.BID_LEVELS] else None
        ask = int(state[m.BEST_ASK]) if state[m.ASK_LEVELS] else None
        return bid, ask

    def levels(self, side: int) -> list[tuple[int, int]]:
        """(price in ticks, summed lots) of one side, best first."""
        book = self.market._world.book
        occupied = book.levels[book.levels["orders"] > 0]
        heads = book.orders[occupied["head"]]
        mine = heads["side"] == side
        prices, volumes = heads["price"][mine], occupied["volume"][mine]
        order = np.argsort(-side * prices)
        return list(zip(prices[order].tolist(), volumes[order].tolist(), strict=True))

    def volume(self, side: int, price: int) -> int:
        """Lots resting at one price."""
        book = self.market._world.book
        best = self.best[0 if side > 0 else 1]
        if best is None or (best - price) * side < 0:
            return 0
        return int(book.levels["volume"][price & (len(book.levels) - 1)])

    # ------------------------------------------------------------------ inside

    def _send(self, wishes: np.ndarray) -> None:
        at = 0
        while True:
            world = self.market._world
            at, needs = _inject(world, wishes, at)
            if needs == _DONE:
                return
            if needs == _GROW_HEAP:
                self.market._world = world._replace(queue=grown(world.queue))
            else:
                self.market._world = world._replace(book=m.grow_orders(world.book))
