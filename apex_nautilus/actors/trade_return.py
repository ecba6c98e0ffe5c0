"""What a closed trade returned: the one definition that agents, journals and judgements share."""

from __future__ import annotations

from typing import Protocol

from apex_nautilus.risk import AgentAccount

__all__ = ["TradeBook", "book_fill", "trade_return"]


def trade_return(before: float, after: float) -> float:
    """Profit net of fees and funding over the cash before the trade.

    Parameters
    ----------
    before : float
        Cash when the position was last flat.
    after : float
        Cash now that it is flat again.

    Returns
    -------
    float
        ``(after - before) / before``; 0 where there was no cash to return on.
    """
    return (after - before) / before if before > 0.0 else 0.0


class TradeBook(Protocol):
    """An account, its cash when it was last flat, and the `trade_return` of each trade closed since."""

    account: AgentAccount
    flat_cash: float
    returns: list[float]


def book_fill(book: TradeBook, qty: float, price: float, fee: float) -> bool:
    """Book a fill of signed `qty`; return whether it closed a trade (the position went flat)."""
    account = book.account
    if account.is_flat:
        book.flat_cash = account.balance
    account.fill(1 if qty > 0.0 else -1, abs(qty), price, fee)
    if account.is_flat:
        book.returns.append(trade_return(book.flat_cash, account.balance))
    return account.is_flat
