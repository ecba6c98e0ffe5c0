"""What hand-written agents and their simulation say to each other."""

from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

__all__ = [
    "Account",
    "Agent",
    "Cancel",
    "Fill",
    "MarketState",
    "OpenOrder",
    "Order",
    "Refusal",
    "TimeInForce",
    "Trade",
]

TimeInForce = Literal["GTC", "IOC", "FOK", "POST_ONLY"]


@dataclass(frozen=True, slots=True)
class Order:
    """What an agent asks for.

    Attributes
    ----------
    agent_id : the agent's own id; an order in another's name is refused.
    price, size : positive, on the grid of the simulation's tick and lot.
    is_bid : True to buy.
    id : a number of the agent's own choice to know the order by, in `Fill` and `Cancel`; None when it does
        not care. It must not be that of another of its open orders.
    time_in_force : GTC rests until cancelled; IOC takes what it gets at once; FOK all or nothing; POST_ONLY
        rests or is rejected.
    """

    agent_id: int
    price: float
    size: float
    is_bid: bool
    id: int | None = None
    time_in_force: TimeInForce = "GTC"


@dataclass(frozen=True, slots=True)
class Cancel:
    """Ask for an open order of one's own to be cancelled. One that is gone meanwhile is left alone."""

    agent_id: int
    order_id: int


@dataclass(frozen=True, slots=True)
class Trade:
    """A match. Members of the population have negative ids, hand-written agents those they brought."""

    aggressor_agent_id: int
    resting_agent_id: int
    price: float
    size: float


@dataclass(frozen=True, slots=True)
class Fill:
    """One agent's side of a trade; `order_id` is the id it gave the order, None if it gave none."""

    order_id: int | None
    price: float
    size: float
    is_bid: bool
    is_aggressor: bool


@dataclass(frozen=True, slots=True)
class OpenOrder:
    """An order that is not done: what is left of it, and whether it rests yet or is still under way."""

    id: int
    price: float
    size: float
    is_bid: bool
    is_resting: bool


@dataclass(frozen=True, slots=True)
class Account:
    """What the venue has booked for an agent.

    Attributes
    ----------
    bought, sold : base units.
    position : bought - sold.
    cash : quote units received less paid for them, before fees.
    fees : quote units paid, funding included; negative where rebates outweigh them.
    """

    bought: float
    sold: float
    position: float
    cash: float
    fees: float

    def profit(self, price: float) -> float:
        """What the agent has made in quote units, its position valued at `price`."""
        return self.cash - self.fees + self.position * price


@dataclass(frozen=True, slots=True)
class MarketState:
    """The book as everybody sees it in one tick.

    Attributes
    ----------
    bids, asks : price -> summed size, best price first.
    sequence : number of the tick; 0 before the first.
    time_ns : the market's clock.
    tick_size, lot_size : the grid of prices and sizes.
    """

    bids: dict[float, float]
    asks: dict[float, float]
    sequence: int
    time_ns: int = 0
    tick_size: float = 0.01
    lot_size: float = 1e-6

    @property
    def best_bid(self) -> float | None:
        """Highest bid, None without one."""
        return next(iter(self.bids), None)

    @property
    def best_ask(self) -> float | None:
        """Lowest ask, None without one."""
        return next(iter(self.asks), None)

    @property
    def mid(self) -> float | None:
        """Middle between the best prices, None where a side is empty."""
        bid, ask = self.best_bid, self.best_ask
        return None if bid is None or ask is None else 0.5 * (bid + ask)


@runtime_checkable
class Agent(Protocol):
    """What `Simulation.add_agent` takes.

    A method `on_fills(fills: list[Fill])` is optional: it is called just before `on_tick` when something of
    the agent's has traded since the last.
    """

    id: int

    def on_tick(self, market_state: MarketState) -> list[Any]:
        """Return the orders and cancels of this tick, in the order in which they are to be sent."""
        ...


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why something an agent asked for was not sent.

    Attributes
    ----------
    agent_id, sequence : who, and in which tick.
    reason : RAISED, NOT_A_LIST (of the whole answer); NOT_AN_ORDER, WRONG_AGENT, BAD_PRICE, BAD_SIZE,
        OFF_TICK, OFF_LOT, TOO_FAR, TOO_SMALL, TOO_LARGE, BAD_TIME_IN_FORCE, BAD_ID, DUPLICATE_ID,
        UNKNOWN_ORDER (of one entry of it).
    message : the same for people, with the value.
    """

    agent_id: int
    sequence: int
    reason: str
    message: str
