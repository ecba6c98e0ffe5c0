"""Where the orders of hand-written agents go: a bare order book, or a simulated market that lives."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from . import matching as m
from ._guests import Guests, Handle
from .market import Market
from .order_book import OrderBook

__all__ = ["BareDesk", "Desk", "LivingDesk", "Match", "TooFarError"]


class TooFarError(ValueError):
    """A price lies so far from the others that no ladder would hold them."""


@dataclass(frozen=True, slots=True)
class Match:
    """One trade between two orders: agents by number, price in ticks, size in lots, `side` of the taker."""

    taker: int
    maker: int
    taker_order: int
    maker_order: int
    price: int
    size: int
    side: int


@dataclass(frozen=True, slots=True)
class Book:
    """What the venue has booked for one agent: lots, ticks times lots, and fees in 1e-8 of those."""

    bought: int = 0
    sold: int = 0
    cash: int = 0
    fees: int = 0


class Desk(Protocol):
    """What a simulation asks of a venue. Orders are sent one by one and take effect by the next `advance`."""

    def add(self, latency_mu: float | None) -> int:
        """Admit an agent; returns its number."""
        ...

    def order(self, agent: int, side: int, price: int, size: int, time_in_force: int) -> Handle:
        """Take an order (TooFarError when its price is out of reach)."""
        ...

    def cancel(self, agent: int, handle: Handle) -> None:
        """Take a cancel."""
        ...

    def left(self, handle: Handle) -> tuple[int, bool]:
        """Lots an order still has, and whether they rest."""
        ...

    def advance(self, duration_ns: int) -> list[Match]:
        """Let time pass; returns all matches since the last call."""
        ...

    def levels(self, side: int) -> list[tuple[int, int]]:
        """(ticks, lots) of one side, best first."""
        ...

    def booked(self, agent: int) -> Book:
        """What has been booked for one agent."""
        ...

    @property
    def now_ns(self) -> int:
        """The venue's clock."""
        ...


class BareDesk:
    """A book and nobody else: orders arrive at once, in the order in which they are sent."""

    def __init__(self) -> None:
        self._book = OrderBook()
        self._booked: list[Book] = []
        self._sizes: dict[int, int] = {}  # lots left of what rests
        self._matches: list[Match] = []
        self._now_ns = 0

    def add(self, latency_mu: float | None) -> int:
        if latency_mu is not None:
            raise ValueError("latency_mu: without a population there is no clock, and orders arrive at once")
        self._booked.append(Book())
        return len(self._booked) - 1

    def order(self, agent: int, side: int, price: int, size: int, time_in_force: int) -> Handle:
        try:
            report = self._book.limit(side, price, size, owner=agent, time_in_force=time_in_force)
        except ValueError as error:  # the ladder's bound, found out before anything has happened
            raise TooFarError(str(error)) from None
        for match in _matches(report.fills, _FILL_COLUMNS):
            self._matches.append(match)
            self._settle(match.taker, match.side, match.price, match.size)
            self._settle(match.maker, -match.side, match.price, match.size)
            self._sizes[match.maker_order] -= match.size
            if not self._sizes[match.maker_order]:
                del self._sizes[match.maker_order]
        if report.fate == m.RESTING:
            self._sizes[report.order_id] = size - report.filled
        return Handle(report.order_id, 0)

    def cancel(self, agent: int, handle: Handle) -> None:
        self._book.cancel(handle.order_id)
        self._sizes.pop(handle.order_id, None)

    def left(self, handle: Handle) -> tuple[int, bool]:
        lots = self._sizes.get(handle.order_id, 0)
        return lots, lots > 0

    def advance(self, duration_ns: int) -> list[Match]:
        self._now_ns += duration_ns
        matches, self._matches = self._matches, []
        return matches

    def levels(self, side: int) -> list[tuple[int, int]]:
        return self._book.levels(side)

    def booked(self, agent: int) -> Book:
        return self._booked[agent]

    @property
    def now_ns(self) -> int:
        return self._now_ns

    def _settle(self, agent: int, side: int, price: int, lots: int) -> None:
        before = self._booked[agent]
        self._booked[agent] = Book(
            before.bought + (lots if side > 0 else 0),
            before.sold + (lots if side < 0 else 0),
            before.cash - side * price * lots,
        )


class LivingDesk:
    """A simulated market, in which an order is under way for as long as the network takes."""

    def __init__(self, market: Market) -> None:
        self._guests = Guests(market)
        instrument = market.population.instrument
        self._tick_units, self._lot_units = instrument.tick_units, instrument.lot_units

    def add(self, latency_mu: float | None) -> int:
        return self._guests.add(latency_mu=latency_mu)

    def order(self, agent: int, side: int, price: int, size: int, time_in_force: int) -> Handle:
        if not self._guests.in_reach(price):
            raise TooFarError(f"price: {price} ticks is too far from what rests; no ladder would hold both")
        return self._guests.order(agent, side, price, size, time_in_force)

    def cancel(self, agent: int, handle: Handle) -> None:
        self._guests.cancel(agent, handle)

    def left(self, handle: Handle) -> tuple[int, bool]:
        return self._guests.left(handle)

    def advance(self, duration_ns: int) -> list[Match]:
        trades = self._guests.run(duration_ns).trades
        return _matches(trades, _TRADE_COLUMNS, self._tick_units, self._lot_units)

    def levels(self, side: int) -> list[tuple[int, int]]:
        return self._guests.levels(side)

    def booked(self, agent: int) -> Book:
        account = self._guests.account(agent)
        # Funding is counted in the same unit, and paid like a fee.
        return Book(account.bought, account.sold, account.cash, account.fees + account.funding)

    @property
    def now_ns(self) -> int:
        return self._guests.market.now_ns


# Columns of FILL and TRADE in the order of Match.
_FILL_COLUMNS = ("taker_owner", "maker_owner", "taker_id", "maker_id", "price", "size", "taker_side")
_TRADE_COLUMNS = ("taker", "maker", "taker_order", "maker_order", "price", "size", "side")


def _matches(
    lines: np.ndarray, columns: tuple[str, ...], tick_units: int = 1, lot_units: int = 1
) -> list[Match]:
    rows = zip(*(lines[name].tolist() for name in columns), strict=True)
    return [
        Match(taker, maker, taker_order, maker_order, price // tick_units, size // lot_units, side)
        for taker, maker, taker_order, maker_order, price, size, side in rows
    ]
