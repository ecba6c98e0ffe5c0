"""How an entry gets into the market: cross the spread at once, or rest at the touch and wait for it.

A decision says what to buy or sell; an *entry policy* says how. It is asked when the decision is made and
then at every whole book until the entry is done, and answers with one of five choices:

=======  ===================================================================================
wait     leave everything as it is
cross    take back what rests, then take what is missing from the other side; ends the entry
join     rest at the own side's best price, post-only; what rests elsewhere is taken back first
improve  the same, one tick better where the spread has room for it
cancel   take back what rests and want no more; ends the entry
=======  ===================================================================================

The numbers are those of the simulator's execution environment (`apex_nautilus.sim.execution`), so that a
policy learned there speaks the same language.

Two policies are built in. ``aggressive`` crosses. ``passive`` joins the touch, follows it when it has moved
away, crosses when its patience is over, and cancels when the signal is gone or the market has left the
bracket; `passive_choice_kernel` is the whole of it, for the replay, the simulator and live alike. Others are
registered under an id, which is what a genome names in its field ``execution``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = [
    "AGGRESSIVE",
    "CANCEL",
    "CHOICES",
    "CROSS",
    "EXECUTION_AGGRESSIVE",
    "EXECUTION_PASSIVE",
    "EXECUTION_POLICY",
    "IMPROVE",
    "JOIN",
    "PASSIVE",
    "PASSIVE_TIMERS",
    "WAIT",
    "EntryPolicy",
    "EntryState",
    "PassiveTimers",
    "check_execution",
    "check_timers",
    "entry_policies",
    "entry_policy",
    "entry_price_kernel",
    "execution_kind",
    "is_inside_kernel",
    "passive_choice_kernel",
    "register_entry_policy",
]

WAIT, CROSS, JOIN, IMPROVE, CANCEL = range(5)
CHOICES = ("wait", "cross", "join", "improve", "cancel")

AGGRESSIVE: Final = "aggressive"
PASSIVE: Final = "passive"

#: What `RULES` records of a genome's ``execution``: crosses, rests by the built-in rules, or asks a policy
#: that is registered by id (Python; compiled loops refuse it).
EXECUTION_AGGRESSIVE, EXECUTION_PASSIVE, EXECUTION_POLICY = range(3)


class PassiveTimers(NamedTuple):
    """The two clocks of a passive entry, nanoseconds.

    Attributes
    ----------
    reprice_ns : int
        A resting order is left where it is for this long, even when the touch has moved away from it.
    patience_ns : int
        This long after the decision, what is missing crosses.
    """

    reprice_ns: int = 1_000_000_000
    patience_ns: int = 10_000_000_000


PASSIVE_TIMERS: Final = PassiveTimers()


class EntryState(NamedTuple):
    """What a policy sees of an entry, at one whole book.

    Attributes
    ----------
    side : int
        +1 buys, -1 sells.
    quantity, missing : float
        Base units: decided, and not filled yet.
    bid, ask, tick : float
        The touch, and the price step. NaN where a side is empty.
    book : (4, K) float64
        Displayed levels: bid prices, bid sizes, ask prices, ask sizes; NaN beyond the last.
    resting_price : float
        Where the entry's order rests; NaN while none is out.
    since_decision_ns, since_priced_ns : int
        Age of the decision, and of the order that rests (0 while none is out).
    is_wanted : bool
        Whether the latest row of the clock still signals this side, and the touch is still inside the bracket
        (`is_inside_kernel`): who buys beyond his own take-profit only pays.
    take_profit, stop : float
        Bracket of the decision.
    """

    side: int
    quantity: float
    missing: float
    bid: float
    ask: float
    tick: float
    book: NDArray[np.float64]
    resting_price: float
    since_decision_ns: int
    since_priced_ns: int
    is_wanted: bool
    take_profit: float
    stop: float


class EntryPolicy(Protocol):
    """Chooses what an entry does next. Pure: the same state gives the same choice.

    A choice that cannot be carried out (crossing an empty side, joining where one rests already) waits.
    """

    def choose(self, state: EntryState) -> int:
        """Return one of `WAIT`, `CROSS`, `JOIN`, `IMPROVE`, `CANCEL`."""
        ...


@njit(cache=True, error_model="numpy")
def is_inside_kernel(bid: float, ask: float, take_profit: float, stop: float) -> bool:
    """Return whether the touch lies between the two prices of a bracket; False where one is NaN."""
    return min(take_profit, stop) < bid and ask < max(take_profit, stop)


@njit(cache=True, error_model="numpy")
def passive_choice_kernel(
    side: int,
    bid: float,
    ask: float,
    resting_price: float,
    since_decision_ns: int,
    since_priced_ns: int,
    is_wanted: bool,
    reprice_ns: int,
    patience_ns: int,
) -> int:
    """Return the choice of the policy ``passive``; for the meaning of its arguments see `EntryState`.

    In this order: not wanted any more: cancel; patience over: cross; nothing rests: join; the touch of the
    own side is better than the resting price, which has stood for `reprice_ns`: join; else wait. With a side
    of the book missing (NaN) what needs it waits.
    """
    if not is_wanted:
        return CANCEL
    near = bid if side > 0 else ask
    far = ask if side > 0 else bid
    if since_decision_ns >= patience_ns:
        return WAIT if math.isnan(far) else CROSS
    if math.isnan(near):
        return WAIT
    if math.isnan(resting_price):
        return JOIN
    if (near - resting_price) * side > 0.0 and since_priced_ns >= reprice_ns:
        return JOIN
    return WAIT


@njit(cache=True, error_model="numpy")
def entry_price_kernel(choice: int, side: int, bid: float, ask: float, tick: float) -> float:
    """Return where an order of `JOIN` or `IMPROVE` rests; NaN for any other choice or without a near touch.

    Improving goes one tick towards the other side and needs a spread of more than one, else it joins. The
    result is to be rounded to the tick.
    """
    near = bid if side > 0 else ask
    far = ask if side > 0 else bid
    if choice == IMPROVE and (far - near) * side > 1.5 * tick:
        return near + side * tick
    if choice in (JOIN, IMPROVE):
        return near
    return math.nan


class _Aggressive:
    """Crosses at once."""

    def choose(self, state: EntryState) -> int:
        return CROSS


class _Passive:
    """Rests at the touch, as `passive_choice_kernel` says."""

    def __init__(self, timers: PassiveTimers) -> None:
        self._timers = timers

    def choose(self, state: EntryState) -> int:
        return passive_choice_kernel(
            state.side, state.bid, state.ask, state.resting_price, state.since_decision_ns,
            state.since_priced_ns, state.is_wanted, self._timers.reprice_ns, self._timers.patience_ns,
        )  # fmt: skip


_FACTORIES: dict[str, Callable[[PassiveTimers], EntryPolicy]] = {
    AGGRESSIVE: lambda timers: _Aggressive(),
    PASSIVE: _Passive,
}


def register_entry_policy(policy_id: str, policy: EntryPolicy) -> None:
    """Make a policy known under the id that genomes name in ``execution``, for this process.

    Raises
    ------
    ValueError
        When the id is taken.
    TypeError
        When `policy` has no method ``choose``.
    """
    if not callable(getattr(policy, "choose", None)):
        raise TypeError(f"entry policy {policy_id!r}: {type(policy).__name__} has no method choose(state)")
    if policy_id in _FACTORIES:
        raise ValueError(f"entry policy {policy_id!r} is known already; choose another id")
    _FACTORIES[policy_id] = lambda timers: policy


def entry_policies() -> tuple[str, ...]:
    """Ids of the policies known to this process, the built-in ones first."""
    return tuple(_FACTORIES)


def entry_policy(policy_id: str, timers: PassiveTimers = PASSIVE_TIMERS) -> EntryPolicy:
    """Return the policy of that id; `timers` are those of ``passive``.

    Raises
    ------
    ValueError
        When no policy has the id, or a timer is out of range.
    """
    execution_kind(policy_id)
    return _FACTORIES[policy_id](check_timers(timers))


def execution_kind(execution: str) -> int:
    """Return the code (`EXECUTION_AGGRESSIVE` ...) of what a genome names in ``execution``.

    Raises
    ------
    ValueError
        When no policy has that id; the message names the known ones.
    """
    if execution not in _FACTORIES:
        raise ValueError(
            f"execution: no entry policy {execution!r} is known here (known: {', '.join(_FACTORIES)}); "
            "register_entry_policy() makes one known"
        )
    return {AGGRESSIVE: EXECUTION_AGGRESSIVE, PASSIVE: EXECUTION_PASSIVE}.get(execution, EXECUTION_POLICY)


def check_execution(execution: str, *, on_bars: bool) -> None:
    """Raise ValueError where an entry cannot be made the way `execution` says.

    Unknown policies cannot, and on bars none but ``aggressive``: there is no book to rest in.
    """
    if execution_kind(execution) != EXECUTION_AGGRESSIVE and on_bars:
        raise ValueError(
            f"execution: {execution!r} rests in an order book and bars have none; use {AGGRESSIVE!r}, or a "
            "clock of the book"
        )


def check_timers(timers: PassiveTimers) -> PassiveTimers:
    """Return `timers`; ValueError where one is not positive."""
    for name, value in timers._asdict().items():
        if value <= 0:
            raise ValueError(f"{name}: must be positive, got {value!r}")
    return timers
