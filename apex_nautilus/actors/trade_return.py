"""What a closed trade returned: the one definition that agents, journals and judgements share."""

from __future__ import annotations

__all__ = ["trade_return"]


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
