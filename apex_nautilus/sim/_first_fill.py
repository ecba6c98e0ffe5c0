"""How long an order that joins the back of the touch's queue waits for its first fill."""

import numpy as np
from numba import njit

__all__ = ["first_fills"]


@njit(cache=True)
def first_fills(
    joins_ns, side, horizon_ns, path_ns, own, own_size, other, trade_ns, trade_price, trade_size, taker, out
):
    """Fill `out` with the seconds until the first fill; infinite where the horizon passes before.

    An order joins at the back of the best queue of its side. Those ahead of it are traded away by trades at
    its price, and are never more than the queue shows while its price is the best, nor any once it is not
    there; it is filled when a trade takes more than what is ahead, goes through its price, or the other side
    comes to its price.

    Parameters
    ----------
    joins_ns : ndarray of int64 (j,), rising; none before the first entry of the path.
    side : 1 buys, -1 sells.
    horizon_ns : for how long each is watched.
    path_ns, own, own_size, other : ndarrays (m,), the touch after each update of the book: time, price and
        size of the order's own side, price of the other.
    trade_ns, trade_price, trade_size, taker : ndarrays (t,), trades; `taker` 1 bought, -1 sold, 0 unknown.
    out : ndarray of float64 (j,).
    """
    at = 0
    first_trade = 0
    for j in range(len(joins_ns)):
        join = joins_ns[j]
        until = join + horizon_ns
        while at + 1 < len(path_ns) and path_ns[at + 1] <= join:
            at += 1
        while first_trade < len(trade_ns) and trade_ns[first_trade] <= join:
            first_trade += 1
        price = own[at]
        ahead = own_size[at]
        out[j] = np.inf
        update = at + 1
        trade = first_trade
        while True:
            next_trade = trade_ns[trade] if trade < len(trade_ns) else until + 1
            next_update = path_ns[update] if update < len(path_ns) else until + 1
            now = min(next_trade, next_update)
            if now > until:
                break
            filled = False
            # Trades first: where both bear one time, the book shows what the trades have left.
            if next_trade <= next_update:
                if taker[trade] != side:
                    beyond = side * (price - trade_price[trade])
                    if beyond > 0.0:
                        filled = True
                    elif beyond == 0.0:
                        ahead -= trade_size[trade]
                        filled = ahead < 0.0
                trade += 1
            else:
                away = side * (own[update] - price)
                if side * (price - other[update]) >= 0.0:
                    filled = True
                elif away < 0.0:
                    ahead = 0.0
                elif away == 0.0:
                    ahead = min(ahead, own_size[update])
                update += 1
            if filled:
                out[j] = (now - join) * 1e-9
                break
