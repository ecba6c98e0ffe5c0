"""The position at hand: its bracket as decided, sums over its fills, and the record it leaves."""

from __future__ import annotations

import math
from typing import NamedTuple

from apex_nautilus.engine.records import TradeRecord

__all__ = ["Plan", "Tally", "trade_record"]


class Plan(NamedTuple):
    """The bracket of the position at hand, as decided."""

    side: int
    take_profit: float
    stop: float
    max_hold_ns: int
    p: float
    fraction: float


class Tally:
    """Sums over the fills of the position at hand; `balance` is the agent's before the first of them."""

    __slots__ = (
        "balance", "buys", "entry_ts_ns", "exit_ts_ns", "fees", "funding", "peak", "sells",
        "slippage", "spread",
    )  # fmt: skip

    def __init__(self, balance: float) -> None:
        self.balance = balance
        self.entry_ts_ns = self.exit_ts_ns = 0
        self.fees = self.funding = self.peak = self.spread = self.slippage = 0.0
        self.buys: list[tuple[float, float]] = []
        self.sells: list[tuple[float, float]] = []

    def add(self, ts_ns: int, side: int, quantity: float, price: float, fee: float, position: float) -> None:
        """Count one fill; `position` is the agent's after it."""
        self.entry_ts_ns = self.entry_ts_ns or ts_ns
        self.exit_ts_ns = ts_ns
        self.fees += fee
        self.peak = max(self.peak, abs(position))
        (self.buys if side > 0 else self.sells).append((quantity, price))


def _mean_price(fills: list[tuple[float, float]]) -> float:
    """Volume-weighted mean; exactly the price where there is only one."""
    if not fills:
        return math.nan
    if all(price == fills[0][1] for _, price in fills):
        return fills[0][1]
    return sum(quantity * price for quantity, price in fills) / sum(quantity for quantity, _ in fills)


def trade_record(
    who: tuple[str, str], number: int, plan: Plan, tally: Tally, balance: float, kind: str
) -> TradeRecord:
    """Return the record of a position that was closed, with the agent's `balance` after it; `who` is its
    strategy and instrument."""
    bought, sold = _mean_price(tally.buys), _mean_price(tally.sells)
    return TradeRecord(
        strategy_id=who[0],
        instrument_id=who[1],
        number=number,
        side=plan.side,
        quantity=tally.peak,
        entry_ts_ns=tally.entry_ts_ns,
        exit_ts_ns=tally.exit_ts_ns,
        entry_price=bought if plan.side > 0 else sold,
        exit_price=sold if plan.side > 0 else bought,
        take_profit=plan.take_profit,
        stop=plan.stop,
        exit_kind=kind,
        fees=tally.fees,
        spread=tally.spread,
        slippage=tally.slippage,
        funding=tally.funding,
        pnl=balance - tally.balance,
        equity=balance,
        p=plan.p,
        fraction=plan.fraction,
    )
