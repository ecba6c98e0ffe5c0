"""One large order and a clock: the task of executing it in a simulated market.

`ExecutionTask` is the task itself, without any framework: begin an episode, look, act, be rewarded.
`execution_env` gives it the face that reinforcement learning expects, `execution_baselines` has schedules to
beat. What is to be executed and how one is judged stands in `ExecutionSettings`.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..features import BookFeatures, get
from ..risk.entry_policy import CANCEL, CHOICES, CROSS, IMPROVE, JOIN, WAIT
from . import matching as m
from ._execution_settings import DEFAULT_FEATURES, SIDES, ExecutionSettings
from ._guests import Guests, Handle
from ._world import FEE_SCALE
from .market import Market

__all__ = [
    "ACTIONS",
    "CANCEL",
    "CROSS",
    "DEFAULT_FEATURES",
    "IMPROVE",
    "JOIN",
    "WAIT",
    "ExecutionSettings",
    "ExecutionTask",
    "Progress",
]

ACTIONS = CHOICES

# What the observation divides a feature by before it is squashed, by unit; sizes are divided by the parent's.
# A ratio needs neither.
_SCALES = {"bps": 2.0, "mean queues": 1.0, "mean queues/s": 1.0, "1/s": 10.0}
_OWN = 5  # observations that are not features

_POLL_NS = 5_000_000  # how often one looks whether an order is gone
_RESEND_POLLS = 20
_SWEEPS = 5
_SWEEP_NS = 1_000_000_000
_HALT_S = 10.0
_WARM_S = 300
_SECOND = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Progress:
    """How an episode stands.

    Attributes
    ----------
    side : "buy" or "sell".
    parent, filled, left : base units; `left` is neither filled nor given up.
    elapsed, time_left : shares of the horizon, in [0, 1].
    arrival_price : mid at the beginning.
    average_price : of what is filled; the arrival price while nothing is.
    fees : paid so far, quote units.
    shortfall_bps : what the fills cost more than they would have at the arrival price, with fees, and what is
        left at the end with what closing it would cost; in basis points of the parent's worth at arrival.
    action_mask : int8 (5,), 1 for each action that would do something now. `wait` always may.
    time_ns : the market's clock.
    finished : nothing is left to do.
    halted : the book had an empty side for too long; the episode was broken off.
    """

    side: str
    parent: float
    filled: float
    left: float
    elapsed: float
    time_left: float
    arrival_price: float
    average_price: float
    fees: float
    shortfall_bps: float
    action_mask: np.ndarray
    time_ns: int
    finished: bool
    halted: bool


class ExecutionTask:
    """Executes a parent order, one decision a step.

    Call `begin` first, then `step` until the progress it returns is `finished` or `halted`; then `begin`
    again.

    The trader has one order at a time. Each step it may *wait*, *cross* (take up to a slice from the other
    side), *join* (rest a slice at its own side's best price, post-only), *improve* on that price by a tick,
    or *cancel*. Where the order that is out is in the way it is cancelled first, and the new one sent as soon
    as the old one is known to be gone: so it can never trade more than it was told to, whatever is lost on
    the way. An action that would do nothing waits.

    When the horizon is over, what is left crosses the book at once, within `protection_bps`. A rest smaller
    than the venue's smallest order cannot be sent; it is charged at the touch, like all that could not be
    traded.
    """

    def __init__(self, settings: ExecutionSettings) -> None:
        self.settings = settings
        self._population = settings.market()
        instrument = self._population.instrument
        self._instrument = instrument
        self._tick, self._lot = instrument.tick, instrument.lot
        self._lot_units = instrument.lot_units
        self._step_ns = round(settings.step_s * _SECOND)
        self._horizon_ns = round(settings.horizon_s * _SECOND)
        self._over = True
        self._specs = [get(name) for name in settings.features]
        self.observation_size = len(self._specs) + _OWN
        self.observation = np.zeros(self.observation_size, np.float32)

    # ------------------------------------------------------------------ an episode

    def begin(self, random: np.random.Generator, *, side: str | None = None) -> Progress:
        """Open a new market, let it settle until all features are warm, and hand out the order.

        Parameters
        ----------
        random : the market's seed and the side are drawn from it.
        side : "buy", "sell" or "random" instead of what the settings say.

        Raises
        ------
        ValueError when `side` is none of them, or the order is smaller than the venue's smallest.
        RuntimeError when the market never shows a warm, two-sided book.
        """
        settings, instrument = self.settings, self._instrument
        self._over = True
        side = settings.side if side is None else side
        if side not in SIDES:
            raise ValueError(f"side: {side!r} is none of {', '.join(SIDES)}")
        seed = int(random.integers(1 << 63))
        buys = bool(random.integers(2)) if side == "random" else side == "buy"
        self._side = m.BUY if buys else m.SELL
        self._guests = Guests(Market(self._population, seed))
        self._agent = self._guests.add(latency_mu=settings.latency_mu)
        self._features = BookFeatures(
            settings.features,
            price_precision=instrument.price_precision,
            size_precision=instrument.size_precision,
        )
        for _ in range(_WARM_S):
            self._run(_SECOND)
            bid, ask = self._guests.best
            if self._features.is_warm and bid is not None and ask is not None:
                break
        else:
            raise RuntimeError(
                f"{instrument.id}: no warm, two-sided book within {_WARM_S} s of the market's time; "
                "observe other features, or raise the population's rates"
            )
        self._arrival = 0.5 * (bid + ask)  # ticks
        self._last_touch = [bid, ask]
        self._parent = math.floor(settings.size_usd / (self._arrival * self._tick * self._lot))
        if self._parent < self._smallest():
            raise ValueError(
                f"size_usd: {settings.size_usd!r} is {self._parent} lots of {self._lot!r} {instrument.base}, "
                f"less than the smallest order of {instrument.id}, {self._smallest()} lots"
            )
        self._child = -(-self._parent // int(settings.slices))
        self._started_ns = self._guests.market.now_ns
        self._ends_ns = self._started_ns + self._horizon_ns
        self._working: Handle | None = None
        self._working_price = 0
        self._penalties = 0.0
        self._one_sided_ns = 0
        self._leftover = 0
        self._over = False
        self._look()
        return self._progress(finished=False, halted=False)

    def step(self, action: int) -> tuple[float, Progress]:
        """Act, let a step pass, and return the reward and how the episode stands.

        The reward is minus what the shortfall grew by in this step, in basis points of the parent's worth at
        arrival, minus the penalties. Without penalties an episode's rewards sum to minus its shortfall.

        Raises
        ------
        ValueError when there is no such action. RuntimeError when no episode is under way.
        """
        if self._over:
            raise RuntimeError("no episode is under way: call begin first")
        if not 0 <= action < len(ACTIONS):
            raise ValueError(f"action: {action!r} is outside [0, {len(ACTIONS) - 1}] ({', '.join(ACTIONS)})")
        before = self._shortfall()
        until_ns = min(self._guests.market.now_ns + self._step_ns, self._ends_ns)
        elapsed_ns = until_ns - self._guests.market.now_ns
        if self._mask()[action]:
            self._act(int(action), until_ns)
        self._run_until(until_ns)
        finished = self._left() < self._smallest() and self._open_lots() == 0
        halted = False
        if not finished and until_ns >= self._ends_ns:
            self._sweep()
            finished = True
        if finished:
            self._leftover = self._left()
        else:
            bid, ask = self._guests.best
            self._one_sided_ns = 0 if bid is not None and ask is not None else self._one_sided_ns + elapsed_ns
            halted = self._one_sided_ns >= _HALT_S * _SECOND
            if halted:
                self._leftover = self._left()
        self._over = finished or halted
        self._look()
        share = self._left() / self._parent
        weight = elapsed_ns / self._horizon_ns
        settings = self.settings
        penalty = settings.inventory_penalty * share * share * weight
        penalty += settings.time_penalty * weight * (share > 0.0)
        reward = before - self._shortfall() - penalty
        return reward, self._progress(finished=finished, halted=halted)

    # ------------------------------------------------------------------ orders

    def _act(self, action: int, until_ns: int) -> None:
        if action == WAIT or not self._cleared(until_ns):
            return
        if action == CANCEL:
            return
        # The book may have moved while the old order was taken back.
        bid, ask = self._guests.best
        own, other = (bid, ask) if self._side > 0 else (ask, bid)
        size = self._size()
        if not size:
            return
        if action == CROSS:
            if other is not None:
                self._place(self._worst(), size, m.IOC)
        elif own is not None:
            price = own
            if action == IMPROVE and (other is None or (other - own) * self._side > 1):
                price += self._side
            self._place(price, size, m.POST_ONLY)

    def _place(self, price: int, size: int, time_in_force: int) -> None:
        self._working = self._guests.order(self._agent, self._side, price, size, time_in_force)
        self._working_price = price

    def _cleared(self, until_ns: int) -> bool:
        """Take back the order that is out, and wait until it is gone; False when time ran out."""
        polls = 0
        while self._open_lots():
            if self._guests.market.now_ns >= until_ns or self._working is None:
                return False
            if polls % _RESEND_POLLS == 0:
                self._guests.cancel(self._agent, self._working)
            polls += 1
            self._run(min(_POLL_NS, until_ns - self._guests.market.now_ns))
        return True

    def _sweep(self) -> None:
        """Cross with all that is left; what is lost on the way is sent again."""
        for _ in range(_SWEEPS):
            until_ns = self._guests.market.now_ns + _SWEEP_NS
            if not self._cleared(until_ns):
                continue
            left = self._left()
            if left < self._smallest():
                return
            if self._guests.best[1 if self._side > 0 else 0] is None:
                self._run_until(until_ns)
                continue
            self._place(self._worst(), left, m.IOC)
            while self._open_lots() and self._guests.market.now_ns < until_ns:
                self._run(_POLL_NS)

    def _worst(self) -> int:
        """The price up to which an order crosses, ticks."""
        bid, ask = self._touch()
        limit = 0.5 * (bid + ask) * (1.0 + self._side * self.settings.protection_bps * 1e-4)
        # Never short of the touch, however narrow the protection.
        return max(math.floor(limit), ask) if self._side > 0 else min(math.ceil(limit), bid)

    def _smallest(self) -> int:
        """The smallest order that the venue takes now, lots."""
        instrument = self._instrument
        by_size = math.ceil(instrument.min_qty / self._lot - 1e-9)
        price = min(self._touch()) * self._tick
        return max(1, by_size, math.ceil(instrument.min_notional / (price * self._lot) - 1e-9))

    def _size(self) -> int:
        """Lots of the next order: a slice, or all that is left where less than an order would remain."""
        left, smallest = self._left(), self._smallest()
        size = min(max(self._child, smallest), left)
        if 0 < left - size < smallest:
            size = left
        return size if size >= smallest else 0

    # ------------------------------------------------------------------ what is known

    def _run(self, duration_ns: int) -> None:
        self._features.apply(self._guests.run(duration_ns).events)

    def _run_until(self, until_ns: int) -> None:
        if until_ns > self._guests.market.now_ns:
            self._run(until_ns - self._guests.market.now_ns)

    def _touch(self) -> tuple[int, int]:
        """Best bid and ask, ticks; the last there was where a side is empty now."""
        bid, ask = self._guests.best
        if bid is not None:
            self._last_touch[0] = bid
        if ask is not None:
            self._last_touch[1] = ask
        return self._last_touch[0], self._last_touch[1]

    def _open_lots(self) -> int:
        return 0 if self._working is None else self._guests.left(self._working)[0]

    def _left(self) -> int:
        account = self._guests.account(self._agent)
        return self._parent - abs(account.inventory)

    def _shortfall(self) -> float:
        """Implementation shortfall until now in basis points of the parent's worth at arrival."""
        account = self._guests.account(self._agent)
        cost = -(account.cash + account.inventory * self._arrival)
        cost += account.fees / FEE_SCALE
        if self._leftover:
            bid, ask = self._touch()
            closing = ask if self._side > 0 else bid
            cost += self._leftover * ((closing - self._arrival) * self._side)
            cost += self._leftover * closing * self._instrument.taker_fee
        return cost / (self._parent * self._arrival) * 1e4

    def _mask(self) -> np.ndarray:
        bid, ask = self._guests.best
        own, other = (bid, ask) if self._side > 0 else (ask, bid)
        lots = self._open_lots()
        mask = np.zeros(len(ACTIONS), np.int8)
        mask[WAIT] = 1
        if self._over:
            return mask
        mask[CANCEL] = lots > 0
        mask[CROSS] = other is not None
        if own is not None:
            at_best = lots > 0 and self._working_price == own
            alone = at_best and self._guests.volume(self._side, own) == lots
            mask[JOIN] = not at_best
            mask[IMPROVE] = other is not None and (other - own) * self._side > 1 and not alone
        return mask

    def _look(self) -> None:
        """Write the observation: the features squashed into [-1, 1], then the trader's own state."""
        parent = self._parent * self._lot
        out = self.observation = np.zeros(self.observation_size, np.float32)
        for at, spec in enumerate(self._specs):
            value = float(self._features.row[at])
            if spec.unit != "ratio":
                value /= _SCALES.get(spec.unit, parent)
                value /= 1.0 + abs(value)
            out[at] = min(max(value, -1.0), 1.0)
        bid, ask = self._touch()
        lots = self._open_lots()
        time_left = max(self._ends_ns - self._guests.market.now_ns, 0) / self._horizon_ns
        behind = 0.0
        if lots:
            behind = ((bid if self._side > 0 else ask) - self._working_price) * self._side
            behind /= max(ask - bid, 1)
            behind /= 1.0 + abs(behind)
        out[len(self._specs) :] = (
            self._left() / self._parent,
            time_left,
            self._side,
            min(lots / self._child, 1.0),
            behind,
        )

    def _progress(self, *, finished: bool, halted: bool) -> Progress:
        account = self._guests.account(self._agent)
        filled = abs(account.inventory)
        unit = self._tick * self._lot
        elapsed = min((self._guests.market.now_ns - self._started_ns) / self._horizon_ns, 1.0)
        return Progress(
            side="buy" if self._side > 0 else "sell",
            parent=self._instrument.size(self._parent * self._lot_units),
            filled=self._instrument.size(filled * self._lot_units),
            left=self._instrument.size((self._parent - filled) * self._lot_units),
            elapsed=elapsed,
            time_left=1.0 - elapsed,
            arrival_price=self._arrival * self._tick,
            average_price=abs(account.cash) / filled * self._tick if filled else self._arrival * self._tick,
            fees=account.fees / FEE_SCALE * unit,
            shortfall_bps=self._shortfall(),
            action_mask=self._mask(),
            time_ns=self._guests.market.now_ns,
            finished=finished,
            halted=halted,
        )

    def info(self, progress: Progress) -> dict[str, Any]:
        """The progress as a flat dictionary, the action mask among it."""
        return {name: getattr(progress, name) for name in Progress.__slots__}
