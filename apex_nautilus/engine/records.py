"""What an agent has done, as plain records: fills, funding and closed trades."""

from __future__ import annotations

import msgspec

__all__ = ["FUNDING_TOPIC", "TRADES_TOPIC", "FillRecord", "FundingPayment", "FundingRecord", "TradeRecord"]

FUNDING_TOPIC = "apex.funding"
"""Message bus topic of `FundingPayment`, followed by a dot and the strategy's id."""
TRADES_TOPIC = "apex.trades"
"""Message bus topic of `TradeRecord`, followed by a dot and the strategy's id."""


class FillRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One fill of one of the agent's orders.

    Attributes
    ----------
    ts_ns : int
        Engine time, nanoseconds since the epoch.
    order_id : str
        Client order id.
    role : {"entry", "stop", "take_profit", "exit", "late"}
        What the order was for; late: filled after the venue had called it cancelled.
    side : int
        +1 bought, -1 sold.
    quantity, price : float
        Base units and price.
    fee : float
        Commission, quote units; negative for a rebate.
    reference : float
        The price that the order was decided on; see `risk.shortfall`. NaN where it is not known.
    spread, slippage : float
        What the fill cost beyond its fee, quote units, positive where it cost; NaN where it is not known.
    maker : bool
    position : float
        Signed position after the fill, base units.
    balance : float
        The agent's balance after the fill (no unrealised profit), quote units.
    """

    ts_ns: int
    order_id: str
    role: str
    side: int
    quantity: float
    price: float
    fee: float
    maker: bool
    position: float
    balance: float
    reference: float
    spread: float
    slippage: float


class FundingPayment(msgspec.Struct, frozen=True, kw_only=True):
    """What one strategy's position pays or receives at a settlement; the account has it already.

    Attributes
    ----------
    ts_ns : int
        The settlement, nanoseconds since the epoch.
    account_id, strategy_id, instrument_id, position_id : str
    quantity : float
        Signed position at the settlement, base units.
    mark, rate : float
        Price at which it counted, and share of the notional.
    amount : float
        Quote units, negative when paid; whole units of the currency.
    currency : str
    """

    ts_ns: int
    account_id: str
    strategy_id: str
    instrument_id: str
    position_id: str
    quantity: float
    mark: float
    rate: float
    amount: float
    currency: str


class FundingRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One funding payment as an agent booked it.

    Attributes
    ----------
    ts_ns : int
        The settlement, nanoseconds since the epoch.
    quantity, mark, rate, amount : float
        See `FundingPayment`.
    balance : float
        The agent's balance after it, quote units.
    """

    ts_ns: int
    quantity: float
    mark: float
    rate: float
    amount: float
    balance: float


class TradeRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One closed position: from flat to flat.

    Attributes
    ----------
    strategy_id, instrument_id : str
    number : int
        1 for the agent's first trade.
    side : int
        +1 long, -1 short.
    quantity : float
        Largest position held, base units.
    entry_ts_ns, exit_ts_ns : int
        Engine time of the first and of the last fill.
    entry_price, exit_price : float
        Volume-weighted means of the fills.
    take_profit, stop : float
        The bracket, as decided.
    exit_kind : str
        ``take_profit``, ``stop``, ``max_hold``, or the reason given to `close` or `retire`.
    fees, spread, slippage : float
        Commissions and costs of all fills, quote units, positive where they cost; see `risk.shortfall`. A
        part is NaN where it is not known of every fill.
    funding : float
        Funding received while it was open, quote units; negative when paid.
    pnl : float
        Profit net of fees and funding, quote units.
    equity : float
        The agent's equity after the trade, quote units.
    p, fraction : float
        Probability and stake of the decision; NaN where the entry was not decided by them.
    """

    strategy_id: str
    instrument_id: str
    number: int
    side: int
    quantity: float
    entry_ts_ns: int
    exit_ts_ns: int
    entry_price: float
    exit_price: float
    take_profit: float
    stop: float
    exit_kind: str
    fees: float
    spread: float
    slippage: float
    funding: float
    pnl: float
    equity: float
    p: float
    fraction: float
