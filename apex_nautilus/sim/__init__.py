"""The simulated market.

Agents with latency trade on a real order book; what happens comes out as a tape of market events that features,
catalog and replay read like recorded data.

Enters: a `Population` (who trades, with which parameters) and a seed. Leaves: a `Tape`.
`OrderBook` is the matching engine on its own.
"""

from .order_book import MESSAGE, MessageAction, OrderBook, OrderReport

__all__ = ["MESSAGE", "MessageAction", "OrderBook", "OrderReport"]
