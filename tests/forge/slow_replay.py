"""The trading rules said once more, slowly: one loop over events, one dictionary for the position.

No numba and none of the replay's own code; the decision is `risk.decide`, which has its own tests.
"""

from __future__ import annotations

import math

import numpy as np

from apex_nautilus.risk import decide, ruined_kernel
from apex_nautilus.risk.entry_policy import EXECUTION_PASSIVE


def slow_walk(levels, quantity, touch):
    """Average price of a market order over (price, size) levels; the rest at the last."""
    held = [(float(p), float(s)) for p, s in levels if s > 0]
    if not held:
        return touch
    left, paid = quantity, 0.0
    for price, size in held:
        taken = min(left, size)
        paid += taken * price
        left -= taken
    return (paid + left * held[-1][0]) / quantity


def slow_book_trades(outputs, row_event, ts, bid, ask, depth, rules, rows, capital=200.0, latency=0):
    """Trades of one agent on a book path, as dictionaries, and how entries that rested ended.

    `outputs` is (N, 3): signal, score, size.
    """
    lo, hi = rows
    first, last = int(row_event[lo]), int(row_event[hi - 1])
    rows_at = {}
    for row in range(lo, hi):
        rows_at.setdefault(int(row_event[row]), []).append(row)
    mids = [0.5 * (bid[e] + ask[e]) for e in row_event]

    def market(event, direction, quantity):
        side = depth[event][2:4] if direction > 0 else depth[event][0:2]
        touch = ask[event] if direction > 0 else bid[event]
        return slow_walk(zip(side[0][:5], side[1][:5]), quantity, touch)

    trades, realised, fees, position, ruined = [], 0.0, 0.0, None, False
    counts = {"rested": 0, "crossed": 0, "given_up": 0}

    def close(event, price, kind, fee_share):
        nonlocal realised, fees, position, ruined
        fee = position["quantity"] * price * fee_share
        gross = position["side"] * position["quantity"] * (price - position["entry_price"])
        realised += gross
        fees += position["entry_fee"] + fee
        equity = capital + (realised - fees)
        trades.append(position | {"exit_event": event, "exit_price": price, "kind": kind, "equity": equity})
        touch = bid[event] if position["side"] > 0 else ask[event]
        position = None
        ruined = bool(ruined_kernel(rules, equity, touch))

    def guard(event):
        """Legs, the stop first, then the holding time."""
        side, closing = position["side"], bid[event] if position["side"] > 0 else ask[event]
        # The order to close leaves at the first event past the deadline and arrives `latency` later: on the
        # book of the last event not after that.
        if position["close_at"] is None and ts[event] >= position["deadline"]:
            position["close_at"] = ts[event] + latency
        arrives_now = position["close_at"] is not None and (
            latency == 0 or event + 1 >= len(ts) or ts[event + 1] > position["close_at"]
        )
        if side * (closing - position["stop"]) <= 0:
            close(event, market(event, -side, position["quantity"]), "stop", rules["taker_fee"])
        elif side * (closing - position["take_profit"]) >= 0:
            close(event, position["take_profit"], "take_profit", rules["maker_fee"])
        elif arrives_now:
            close(event, market(event, -side, position["quantity"]), "max_hold", rules["taker_fee"])

    def legs(event):
        """Legs placed on a book beyond them: the stop is refused, so it is left; the take-profit takes."""
        side, closing = position["side"], bid[event] if position["side"] > 0 else ask[event]
        if side * (closing - position["stop"]) <= 0:
            close(event, market(event, -side, position["quantity"]), "stop", rules["taker_fee"])
        elif side * (closing - position["take_profit"]) >= 0:
            close(event, market(event, -side, position["quantity"]), "take_profit", rules["taker_fee"])

    def opened(event, at, price, fee_share, order, row):
        return {
            "row": row,
            "entry_event": event,
            "side": order.side,
            "quantity": order.quantity,
            "entry_price": price,
            "take_profit": order.take_profit,
            "stop": order.stop,
            "deadline": at + rules["max_hold_ns"],
            "close_at": None,
            "entry_fee": order.quantity * price * fee_share,
        }

    # An entry that rests: the decision, its order's price and when the touch was seen that it was priced by,
    # whether it is in the book, the commands under way with their arrivals, and what the policy wished last.
    entry = None

    def near(event):
        return bid[event] if entry["order"].side > 0 else ask[event]

    def trades_at_once(event):
        far = ask[event] if entry["order"].side > 0 else bid[event]
        return (far - entry["price"]) * entry["order"].side <= 0

    def place(event, at):
        entry.update(price=near(event), priced=ts[event], in_book=False, out=True, wish=None)
        entry["commands"] = [("limit", at + latency)]

    def arrive(event):
        """The oldest command under way meets the book of `event`."""
        nonlocal entry, position
        name, at = entry["commands"].pop(0)
        if name == "limit" and not trades_at_once(event):
            entry["in_book"] = True
        elif name == "market":
            order = entry["order"]
            price = market(event, order.side, order.quantity)
            position = opened(event, at, price, rules["taker_fee"], order, entry["row"])
            counts["crossed"] += 1
            entry = None
        else:
            entry.update(in_book=False, out=False, commands=[])
            fulfil(event, at)

    def fulfil(event, at):
        nonlocal entry
        wish, entry["wish"] = entry["wish"], None
        if wish == "join":
            place(event, at)
        elif wish == "cross":
            entry["commands"] = [("market", at + latency)]
        elif wish == "cancel":
            counts["given_up"] += 1
            entry = None

    def choose(event, wanted):
        at = ts[event]
        under_way = [name for name, _ in entry["commands"]]
        if "market" in under_way:
            return
        if entry["wish"] != "cancel":
            away = (near(event) - entry["price"]) * entry["order"].side > 0
            ends = sorted((entry["order"].stop, entry["order"].take_profit))
            if not wanted or bid[event] <= ends[0] or ask[event] >= ends[1]:
                entry["wish"] = "cancel"
            elif at - entry["decided"] >= rules["patience_ns"]:
                entry["wish"] = "cross"
            elif not entry["out"] or (away and at - entry["priced"] >= rules["reprice_ns"]):
                entry["wish"] = "join"
        if entry["wish"] is None:
            return
        if not entry["out"]:
            fulfil(event, at)
        elif "back" not in under_way:
            entry["commands"].append(("back", at + latency))

    def wants(row):
        signal = outputs[row][0]
        return signal * entry["order"].side > rules["entry_threshold"]

    for event in range(first, last + 1):
        while latency and entry is not None and entry["commands"] and entry["commands"][0][1] < ts[event]:
            arrive(event - 1)
            if position is not None:
                legs(event - 1)
        if ruined:
            break
        was_idle = position is None and entry is None
        if position is not None and event > position["entry_event"]:
            guard(event)
            was_idle = position is None
        elif entry is not None:
            if entry["in_book"] and trades_at_once(event):
                position = opened(
                    event, ts[event], entry["price"], rules["maker_fee"], entry["order"], entry["row"]
                )
                counts["rested"] += 1
                entry = None
                legs(event)
            else:
                choose(event, True)
                if entry is not None and event in rows_at and not wants(rows_at[event][0]):
                    choose(event, False)
            while not latency and entry is not None and entry["commands"]:
                arrive(event)
                if position is not None:
                    legs(event)
        if ruined:
            break
        for row in rows_at.get(event, []) if was_idle else []:
            if position is not None or entry is not None:
                break
            order = decide(
                rules,
                signal=outputs[row][0],
                score=outputs[row][1],
                size_output=outputs[row][2],
                bid=bid[event],
                ask=ask[event],
                equity=capital + (realised - fees),
                book=depth[event],
                mids=np.array(mids[: row + 1]),
            )
            if order.side == 0:
                continue
            if rules["execution"] == EXECUTION_PASSIVE:
                if event < last:
                    entry = {"order": order, "row": row, "decided": ts[event]}
                    place(event, ts[event])
                    while not latency and entry["commands"]:
                        arrive(event)
                continue
            arrival, fill = ts[event] + latency, event
            if latency and arrival > ts[last]:
                continue
            while latency and fill + 1 < len(ts) and ts[fill + 1] <= arrival:
                fill += 1
            if fill >= last:
                continue
            price = market(fill, order.side, order.quantity)
            position = opened(fill, arrival, price, rules["taker_fee"], order, row)
    while latency and not ruined and entry is not None and entry["commands"]:
        at = entry["commands"][0][1]
        if at > ts[last] or (last + 1 < len(ts) and ts[last + 1] <= at):
            break
        arrive(last)
    if position is not None:
        close(last, market(last, -position["side"], position["quantity"]), "end", rules["taker_fee"])
    return trades, counts


def slow_bar_trades(outputs, ts, bars, half, rules, rows, capital=200.0):
    """Trades of one agent on bars, row i decided at the close of bar i; `bars` is (N, 4) open, high, low,
    close."""
    lo, hi = rows
    trades, realised, fees, position = [], 0.0, 0.0, None
    no_book = np.zeros((4, 0))
    mids = [0.5 * ((c - h) + (c + h)) for c, h in zip(bars[:, 3], half)]

    def close(bar, price, kind, fee_share):
        nonlocal realised, fees, position
        fee = position["quantity"] * price * fee_share
        realised += position["side"] * position["quantity"] * (price - position["entry_price"])
        fees += position["entry_fee"] + fee
        trades.append(
            position
            | {"exit_event": bar, "exit_price": price, "kind": kind, "equity": capital + realised - fees}
        )
        position = None

    for bar in range(lo, hi):
        o, h, low, c = bars[bar]
        if position is not None:
            side, s = position["side"], half[bar]
            opened = o - side * s
            worst, best = (low - s, h - s) if side > 0 else (h + s, low + s)
            if side * (worst - position["stop"]) <= 0:
                gapped = side * (opened - position["stop"]) <= 0
                close(bar, opened if gapped else position["stop"], "stop", rules["taker_fee"])
            elif side * (best - position["take_profit"]) >= 0:
                close(bar, position["take_profit"], "take_profit", rules["maker_fee"])
            elif ts[bar] >= position["deadline"]:
                close(bar, c - side * s, "max_hold", rules["taker_fee"])
        if trades and ruined_kernel(
            rules, trades[-1]["equity"], c - half[bar] if trades[-1]["side"] > 0 else c + half[bar]
        ):
            break
        if position is None and bar + 1 < hi:
            order = decide(
                rules,
                signal=outputs[bar][0],
                score=outputs[bar][1],
                size_output=outputs[bar][2],
                bid=c - half[bar],
                ask=c + half[bar],
                equity=capital + (realised - fees),
                book=no_book,
                mids=np.array(mids[: bar + 1]),
            )
            if order.side:
                price = bars[bar + 1][0] + order.side * half[bar + 1]
                position = {
                    "row": bar,
                    "entry_event": bar + 1,
                    "side": order.side,
                    "quantity": order.quantity,
                    "entry_price": price,
                    "take_profit": order.take_profit,
                    "stop": order.stop,
                    "deadline": ts[bar] + rules["max_hold_ns"],
                    "entry_fee": order.quantity * price * rules["taker_fee"],
                }
    if position is not None:
        last = hi - 1
        side = position["side"]
        close(last, bars[last][3] - side * half[last], "end", rules["taker_fee"])
    return trades


def same(a: float, b: float) -> bool:
    """Whether two amounts of money agree as floats added in another order may."""
    return math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-9)
