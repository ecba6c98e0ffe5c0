"""Markets for people: agents written in Python, polled once a tick.

An agent is any object with an `id` and a method `on_tick(market_state)` that returns a list of orders.
`Simulation` keeps the agents, polls them, and lets the same kernels match their orders that every simulated
market runs on; only slower, because Python is asked each time.

Without a population the book belongs to the agents alone and their orders arrive at once. With one they trade
in a simulated market with its noise traders, makers and executors, on its clock and through its network.
"""

import logging
import math
from dataclasses import dataclass
from decimal import Decimal
from numbers import Real
from typing import Any, Literal

import numpy as np

from . import matching as m
from ._agent_records import Account, Agent, Cancel, Fill, MarketState, OpenOrder, Order, Refusal, Trade
from ._desks import BareDesk, Desk, LivingDesk, Match, TooFarError
from ._grid import Grid, OffGridError
from ._guests import Handle
from ._world import FEE_SCALE
from .market import DEFAULT_START_NS, Market
from .population import Population

__all__ = [
    "Account",
    "Agent",
    "AgentError",
    "Cancel",
    "Fill",
    "MarketState",
    "OpenOrder",
    "Order",
    "Refusal",
    "Simulation",
    "Trade",
]

_LOG = logging.getLogger(__name__)
_TIMES_IN_FORCE = {"GTC": m.GTC, "IOC": m.IOC, "FOK": m.FOK, "POST_ONLY": m.POST_ONLY}
_MOST_LOTS = 1 << 50


class AgentError(Exception):
    """Raised by a strict simulation where another would log a refusal and go on."""


class _RefusedError(Exception):
    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(slots=True)
class _Seat:
    """An agent, its number at the desk, and the orders it can name."""

    agent: Agent
    number: int
    open: dict[int, tuple[Handle, int, int]]  # id -> handle, side, ticks
    used: set[int]
    fills: list[Fill]


@dataclass(frozen=True, slots=True)
class _Checked:
    """An order or a cancel that may be sent."""

    side: int
    ticks: int
    lots: int
    time_in_force: int
    id: int | None
    cancels: int | None = None


class Simulation:
    """Agents written in Python, one book, and a clock that goes by ticks.

    A tick asks every agent, in the order in which they were added, what it wants, all of them on the same
    state; then everything they asked for is sent, in that order. An agent that raises, or returns anything
    but a list, is logged and places nothing; an order that cannot be taken is logged and left out.

    Parameters
    ----------
    tick_size, lot_size : grid of prices and sizes, 0.01 and 1e-6 unless given. A population brings those of
        its instrument.
    population : trade in a simulated market with these agents. Orders and cancels then take the time that the
        network needs and may be lost; an order that meets one of its own owner cancels it. Without one there
        is no delay, and an agent may trade with itself.
    seed : of the simulated market; a number, or a Generator from which one is drawn.
    tick_ns : how far the clock moves in a tick.
    off_grid : what becomes of a price or size between two steps: "refuse" it, or "round" it so that the order
        is never better for the others than was asked (bids down, asks up, sizes down).
    strict : raise AgentError instead of logging. Nothing of that tick has then been sent, unless the reason
        is TOO_FAR, which only the book can tell.

    Raises
    ------
    ValueError naming the argument that is out of bounds. PopulationError as `Market` does.

    Examples
    --------
    >>> from apex_nautilus.sim.api import Order, Simulation
    >>> class Bidder:
    ...     id = 1
    ...     def on_tick(self, market_state):
    ...         return [Order(self.id, 100.0, 5.0, True)]
    >>> simulation = Simulation()
    >>> simulation.add_agent(Bidder())
    >>> simulation.tick(), simulation.get_market_state().bids
    ([], {100.0: 5.0})
    """

    def __init__(
        self,
        *,
        tick_size: float | None = None,
        lot_size: float | None = None,
        population: Population | None = None,
        seed: int | np.random.Generator = 0,
        tick_ns: int = 100_000_000,
        start_ns: int = DEFAULT_START_NS,
        off_grid: Literal["refuse", "round"] = "refuse",
        strict: bool = False,
    ) -> None:
        if tick_ns <= 0:
            raise ValueError(f"tick_ns: {tick_ns} is not positive")
        if off_grid not in ("refuse", "round"):
            raise ValueError(f"off_grid: {off_grid!r} is neither 'refuse' nor 'round'")
        self._smallest, self._largest, self._least_value = 1, _MOST_LOTS, 0.0
        if population is None:
            self._ticks = Grid("tick", 0.01 if tick_size is None else tick_size)
            self._lots = Grid("lot", 1e-6 if lot_size is None else lot_size)
            self._desk: Desk = BareDesk()
        else:
            for name, given in (("tick_size", tick_size), ("lot_size", lot_size)):
                if given is not None:
                    raise ValueError(f"{name}: a population brings that of its instrument; leave it out")
            instrument = population.instrument
            self._ticks, self._lots = Grid("tick", instrument.tick), Grid("lot", instrument.lot)
            self._smallest = max(1, math.ceil(instrument.min_qty / instrument.lot - 1e-9))
            self._largest = min(_MOST_LOTS, math.floor(instrument.max_qty / instrument.lot + 1e-9))
            self._least_value = instrument.min_notional
            self._desk = LivingDesk(Market(population, seed, start_ns=start_ns))
        self._tick_ns = tick_ns
        self._rounds = off_grid == "round"
        self._strict = strict
        self._seats: dict[int, _Seat] = {}
        self._ids: dict[int, int] = {}  # desk's number -> agent id
        self._names: dict[int, tuple[int, int]] = {}  # desk's order id -> agent id, the agent's order id
        self._sequence = 0
        self.refusals: list[Refusal] = []

    # ------------------------------------------------------------------ agents

    def add_agent(self, agent: Agent, *, latency_mu: float | None = None) -> None:
        """Admit an agent. It is polled from the next tick on.

        Parameters
        ----------
        agent : see `Agent`. Its id is a whole number that is not negative and not yet taken.
        latency_mu : with a population: location of this agent's delays, logarithm of microseconds; None for
            that of a noise trader. -10 makes them vanish.

        Raises
        ------
        TypeError when it has no such id or no `on_tick`; ValueError when the id is taken or negative, or the
        latency is out of bounds.
        """
        agent_id = getattr(agent, "id", None)
        if not _is_whole(agent_id):
            raise TypeError(f"agent {agent!r}: id is {agent_id!r}, not a whole number")
        agent_id = int(agent_id)  # pyright: ignore[reportArgumentType]
        if not callable(getattr(agent, "on_tick", None)):
            raise TypeError(f"agent {agent_id}: has no method on_tick(market_state)")
        if agent_id < 0:
            raise ValueError(f"agent {agent_id}: negative ids are those of the population")
        if agent_id in self._seats:
            raise ValueError(f"agent {agent_id}: the id is taken")
        number = self._desk.add(latency_mu)
        self._seats[agent_id] = _Seat(agent, number, {}, set(), [])
        self._ids[number] = agent_id

    def account(self, agent_id: int) -> Account:
        """Return what the venue has booked for an agent. Raises KeyError for an id that nobody has."""
        booked = self._desk.booked(self._seat(agent_id).number)
        number = self._lots.number
        unit = self._ticks.step * self._lots.step
        return Account(
            number(booked.bought),
            number(booked.sold),
            number(booked.bought - booked.sold),
            booked.cash * unit,
            booked.fees * unit / FEE_SCALE,
        )

    def open_orders(self, agent_id: int) -> list[OpenOrder]:
        """Return the orders of an agent that it gave an id and that are not done, oldest first.

        Raises KeyError for an id that nobody has.
        """
        seat = self._seat(agent_id)
        result = []
        for order_id, (handle, side, ticks) in seat.open.items():
            lots, rests = self._desk.left(handle)
            if lots:
                price, size = self._ticks.number(ticks), self._lots.number(lots)
                result.append(OpenOrder(order_id, price, size, side > 0, rests))
        return result

    # ------------------------------------------------------------------ time

    def get_market_state(self) -> MarketState:
        """Return the book as it stands."""
        return self._state(*self._levels())

    def tick(self) -> list[Trade]:
        """Poll everybody, send what they ask for, let `tick_ns` pass; returns the trades, oldest first.

        With a population those of the whole market. What was refused is in `refusals` until the next tick.

        Raises
        ------
        AgentError when the simulation is strict and something is refused.
        """
        self._sequence += 1
        self.refusals = []
        levels = self._levels()
        # Everybody is asked, and everything checked, before anything is sent.
        wanted = [(seat, self._ask(seat, *levels)) for seat in list(self._seats.values())]
        for seat, entries in wanted:
            for entry in entries:
                self._send(seat, entry)
        trades = [self._trade(match) for match in self._desk.advance(self._tick_ns)]
        for seat in self._seats.values():
            done = [key for key, (handle, _, _) in seat.open.items() if not self._desk.left(handle)[0]]
            for key in done:
                del self._names[seat.open.pop(key)[0].order_id]
        return trades

    def run(self, ticks: int) -> list[Trade]:
        """Run several ticks; returns all their trades. Raises ValueError when `ticks` is negative."""
        if ticks < 0:
            raise ValueError(f"ticks: {ticks} is negative")
        return [trade for _ in range(ticks) for trade in self.tick()]

    # ------------------------------------------------------------------ inside

    def _seat(self, agent_id: int) -> _Seat:
        try:
            return self._seats[agent_id]
        except KeyError:
            known = ", ".join(map(str, self._seats)) or "none"
            raise KeyError(f"agent {agent_id!r} was never added (known: {known})") from None

    def _levels(self) -> tuple[dict[float, float], dict[float, float]]:
        price, size = self._ticks.number, self._lots.number
        bids, asks = (
            {price(ticks): size(lots) for ticks, lots in self._desk.levels(side)} for side in (m.BUY, m.SELL)
        )
        return bids, asks

    def _state(self, bids: dict[float, float], asks: dict[float, float]) -> MarketState:
        time_ns, ticks, lots = self._desk.now_ns, self._ticks.step, self._lots.step
        return MarketState(bids, asks, self._sequence, time_ns, ticks, lots)

    def _refuse(self, agent_id: int, reason: str, message: str, cause: BaseException | None = None) -> None:
        text = f"agent {agent_id}, tick {self._sequence}: {message}"
        if self._strict:
            raise AgentError(f"{text} ({reason})") from cause
        self.refusals.append(Refusal(agent_id, self._sequence, reason, message))
        _LOG.warning("%s (%s)", text, reason, exc_info=cause)

    def _ask(self, seat: _Seat, bids: dict[float, float], asks: dict[float, float]) -> list[_Checked]:
        agent_id = self._ids[seat.number]
        fills, seat.fills = seat.fills, []
        try:
            if fills and hasattr(seat.agent, "on_fills"):
                seat.agent.on_fills(fills)  # pyright: ignore[reportAttributeAccessIssue]
            # Each its own copy: what one agent does to its state, the others must not see.
            answer = seat.agent.on_tick(self._state(dict(bids), dict(asks)))
        except Exception as error:  # noqa: BLE001 - whatever it is, the others trade on
            self._refuse(agent_id, "RAISED", f"raised {type(error).__name__}: {error}", error)
            return []
        if not isinstance(answer, list):
            self._refuse(agent_id, "NOT_A_LIST", f"on_tick returned {type(answer).__name__}, not a list")
            return []
        entries: list[_Checked] = []
        taken: set[int] = set()
        for at, entry in enumerate(answer):
            try:
                entries.append(self._check(seat, agent_id, entry, taken))
            except _RefusedError as error:
                self._refuse(agent_id, error.reason, f"answer[{at}]: {error}")
        return entries

    def _check(self, seat: _Seat, agent_id: int, entry: Any, taken: set[int]) -> _Checked:
        if not isinstance(entry, Order | Cancel):
            kind = type(entry).__name__
            raise _RefusedError("NOT_AN_ORDER", f"{kind} is neither an Order nor a Cancel")
        if not _is_whole(entry.agent_id) or entry.agent_id != agent_id:
            known = "another agent's" if entry.agent_id in self._ids.values() else "nobody's"
            raise _RefusedError("WRONG_AGENT", f"agent_id: {entry.agent_id!r} is {known} id, not its own")
        if isinstance(entry, Cancel):
            known = _is_whole(entry.order_id) and (entry.order_id in seat.used or entry.order_id in taken)
            if not known:
                raise _RefusedError("UNKNOWN_ORDER", f"order_id: {entry.order_id!r} was never used")
            return _Checked(0, 0, 0, 0, None, entry.order_id)
        if entry.time_in_force not in tuple(_TIMES_IN_FORCE):  # a tuple, since it may be anything
            known = ", ".join(_TIMES_IN_FORCE)
            raise _RefusedError(
                "BAD_TIME_IN_FORCE", f"time_in_force: {entry.time_in_force!r} (known: {known})"
            )
        if entry.id is not None:
            if not _is_whole(entry.id):
                raise _RefusedError("BAD_ID", f"id: {entry.id!r} is not a whole number")
            if entry.id in seat.open or entry.id in taken:
                raise _RefusedError("DUPLICATE_ID", f"id: {entry.id} is that of another open order")
        side = m.BUY if entry.is_bid else m.SELL
        ticks = self._steps("price", self._ticks, entry.price, up=side < 0)
        lots = self._steps("size", self._lots, entry.size, up=False)
        value = ticks * self._ticks.step * (lots * self._lots.step)
        if lots < self._smallest or value < self._least_value * (1.0 - 1e-12):
            raise _RefusedError(
                "TOO_SMALL",
                f"size: {entry.size!r} at {entry.price!r} is less than the venue's smallest order "
                f"({self._lots.number(self._smallest)!r}, worth {self._least_value!r})",
            )
        if lots > self._largest:
            largest = self._lots.number(self._largest)
            raise _RefusedError("TOO_LARGE", f"size: {entry.size!r} is more than {largest!r}")
        if entry.id is not None:
            taken.add(entry.id)
        return _Checked(side, ticks, lots, _TIMES_IN_FORCE[entry.time_in_force], entry.id)

    def _steps(self, what: str, grid: Grid, value: Any, *, up: bool) -> int:
        bad = f"BAD_{what.upper()}"
        if not isinstance(value, Real | Decimal) or isinstance(value, bool):
            raise _RefusedError(bad, f"{what}: {value!r} is not a number")
        try:
            steps = grid.steps(float(value))
        except OffGridError as error:
            if not self._rounds:
                raise _RefusedError(f"OFF_{grid.name.upper()}", f"{what}: {error}") from None
            steps = error.steps_up if up else error.steps_down
        except (ValueError, OverflowError) as error:
            raise _RefusedError(bad, f"{what}: {error}") from None
        if steps < 1:
            raise _RefusedError(bad, f"{what}: {value!r} is not positive")
        return steps

    def _send(self, seat: _Seat, entry: _Checked) -> None:
        if entry.cancels is not None:
            if entry.cancels in seat.open:
                self._desk.cancel(seat.number, seat.open[entry.cancels][0])
            return
        agent_id = self._ids[seat.number]
        try:
            handle = self._desk.order(seat.number, entry.side, entry.ticks, entry.lots, entry.time_in_force)
        except TooFarError as error:
            self._refuse(agent_id, "TOO_FAR", str(error))
            return
        if entry.id is not None:
            seat.open[entry.id] = (handle, entry.side, entry.ticks)
            seat.used.add(entry.id)
            self._names[handle.order_id] = (agent_id, entry.id)

    def _trade(self, match: Match) -> Trade:
        price, size = self._ticks.number(match.price), self._lots.number(match.size)
        sides = (
            (match.taker, match.taker_order, match.side > 0, True),
            (match.maker, match.maker_order, match.side < 0, False),
        )
        for number, order, is_bid, is_aggressor in sides:
            if number in self._ids:
                name = self._names.get(order)
                fill = Fill(None if name is None else name[1], price, size, is_bid, is_aggressor)
                self._seats[self._ids[number]].fills.append(fill)
        taker, maker = (self._ids.get(number, -1 - number) for number in (match.taker, match.maker))
        return Trade(taker, maker, price, size)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)
