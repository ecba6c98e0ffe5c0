"""hftbacktest over a tape, in an environment of its own: `python _hftbacktest_child.py TAPE.npz`.

Says `ready` and its version, then runs the strategy once for every line it reads and answers with one JSON
object: seconds, orders and cancels sent, lines of the feed. It imports nothing of this project.
"""

import json
import sys
import time

import numpy as np
from hftbacktest import (
    BUY_EVENT,
    DEPTH_CLEAR_EVENT,
    DEPTH_EVENT,
    EXCH_EVENT,
    GTX,
    LIMIT,
    LOCAL_EVENT,
    SELL_EVENT,
    TRADE_EVENT,
    BacktestAsset,
    ROIVectorMarketDepthBacktest,
    __version__,
)
from hftbacktest.types import event_dtype
from numba import njit


def feed_of(tape):
    """The tape as hftbacktest's events, each valid at the venue and where it is received."""
    feed = np.zeros(len(tape["kind"]), event_dtype)
    what = np.array([DEPTH_EVENT, TRADE_EVENT, DEPTH_CLEAR_EVENT], np.uint64)[tape["kind"]]
    side = np.where(tape["side"] > 0, BUY_EVENT, SELL_EVENT).astype(np.uint64)
    side[tape["kind"] == 2] = 0
    feed["ev"] = what | side | np.uint64(EXCH_EVENT) | np.uint64(LOCAL_EVENT)
    feed["exch_ts"] = tape["exch_ts"]
    feed["local_ts"] = tape["local_ts"]
    feed["px"] = tape["price"]
    feed["qty"] = tape["size"]
    return feed


@njit
def strategy(hbt, step_ns, levels, size, tick):
    """Quote `levels` orders a side, post-only, and take them back after a step, over and over."""
    sent = np.int64(0)
    first = np.int64(1)  # orders from `first` to `last` - 1 are out
    last = np.int64(1)
    while hbt.elapse(step_ns) == 0:
        hbt.clear_inactive_orders(0)
        orders = hbt.orders(0)
        for order_id in range(first, last):
            if order_id in orders and orders.get(order_id).cancellable:
                hbt.cancel(0, order_id, False)
                sent += 1
        first = last
        depth = hbt.depth(0)
        bid, ask = depth.best_bid, depth.best_ask
        if not (bid > 0.0 and ask > bid):
            continue
        for level in range(levels):
            hbt.submit_buy_order(0, last, bid - level * tick, size, GTX, LIMIT, False)
            hbt.submit_sell_order(0, last + 1, ask + level * tick, size, GTX, LIMIT, False)
            last += 2
            sent += 2
    return sent


def once(feed, tape):
    low, high = float(tape["price"][tape["kind"] == 0].min()), float(tape["price"].max())
    asset = (
        BacktestAsset()
        .data([feed])
        .linear_asset(1.0)
        .constant_order_latency(int(tape["latency_ns"]), int(tape["latency_ns"]))
        .risk_adverse_queue_model()
        .no_partial_fill_exchange()
        .trading_value_fee_model(0.0, 0.0001)
        .tick_size(float(tape["tick"]))
        .lot_size(float(tape["lot"]))
        .roi_lb(low * 0.98)
        .roi_ub(high * 1.02)
    )
    hbt = ROIVectorMarketDepthBacktest([asset])
    start = time.perf_counter()
    sent = strategy(hbt, int(tape["step_ns"]), int(tape["levels"]), float(tape["lot"]), float(tape["tick"]))
    seconds = time.perf_counter() - start
    hbt.close()
    return {"seconds": seconds, "sent": int(sent), "feed": len(feed)}


def main():
    tape = dict(np.load(sys.argv[1]))
    feed = feed_of(tape)
    once(feed, tape)  # compiles
    print(json.dumps({"ready": __version__}), flush=True)
    for _ in sys.stdin:
        print(json.dumps(once(feed, tape)), flush=True)


if __name__ == "__main__":
    main()
