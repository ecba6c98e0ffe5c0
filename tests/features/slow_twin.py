"""The features and their clocks once more: dictionaries, lists and the definitions, nothing incremental.

Everything seen is kept, and each value is computed anew from all of it. Slow and obvious on purpose.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from dataclasses import dataclass, field

import numpy as np

from apex_nautilus.features import FLAG_LAST, KIND_CLEAR, KIND_TRADE

SECOND = 1_000_000_000


@dataclass
class SlowTwin:
    names: tuple[str, ...]
    price_units: float
    size_units: float
    clock: str = "book"
    conflate_ns: int = 0

    bids: dict[int, int] = field(default_factory=dict)
    asks: dict[int, int] = field(default_factory=dict)
    whole: bool = False
    now: int = 0
    boundary: int = 0
    trades: list[tuple[int, int, int, int]] = field(default_factory=list)
    buy_times: list[int] = field(default_factory=list)
    sell_times: list[int] = field(default_factory=list)
    books: list[tuple[list, list]] = field(default_factory=list)  # the top ten of each whole book
    taken: tuple[list[int], list[int]] = field(default_factory=lambda: ([], []))
    mid_times: list[int] = field(default_factory=list)
    mids: list[float] = field(default_factory=list)
    books_at_last_row: int = 0
    pending: list[float] | None = None
    row_times: list[int] = field(default_factory=list)
    rows: list[list[float]] = field(default_factory=list)
    row_paths: list[int] = field(default_factory=list)
    path: list[tuple[int, float, float]] = field(default_factory=list)

    def feed(self, events: np.ndarray) -> SlowTwin:
        for event in events.tolist():
            self._one(*event)
        return self

    def _one(self, _ts_event, ts, price, size, _sequence, kind, side, flags):
        ts = max(ts, self.now)
        if self.clock == "1s" and ts >= self.boundary:
            last_boundary = ts // SECOND * SECOND
            self.boundary = last_boundary + SECOND
            self.pending = self._row(last_boundary) if self.whole else None
        self.now = ts
        if kind == KIND_TRADE:
            self.trades.append((ts, price, size, side))
            if side:
                (self.buy_times if side > 0 else self.sell_times).append(ts)
            return
        if kind == KIND_CLEAR:
            if side >= 0:
                self.bids.clear()
            if side <= 0:
                self.asks.clear()
        else:
            levels = self.bids if side > 0 else self.asks
            levels.pop(price, None)
            if size > 0:
                levels[price] = size
        self.whole = bool(flags & FLAG_LAST and self.bids and self.asks and max(self.bids) < min(self.asks))
        if not self.whole:
            return
        self.books.append(
            ([(p, self.bids[p]) for p in sorted(self.bids, reverse=True)[:10]],
             [(p, self.asks[p]) for p in sorted(self.asks)[:10]])
        )  # fmt: skip
        for side in (0, 1):
            self.taken[side].append(self._taken_off(side))
        bid, ask = max(self.bids), min(self.asks)
        self.mid_times.append(ts)
        self.mids.append((bid + ask) / 2)
        self.path.append((ts, bid / self.price_units, ask / self.price_units))
        if self.clock == "book":
            if self.row_times and ts - self.row_times[-1] < self.conflate_ns:
                return
            self.rows.append(self._row(ts))
        else:
            if self.pending is None:
                return
            self.rows.append(self.pending)
            self.pending = None
        self.row_times.append(ts)
        self.row_paths.append(len(self.path) - 1)

    def _row(self, at: int) -> list[float]:
        row = [self._value(name, at) for name in self.names]
        self.books_at_last_row = len(self.books)
        return row

    def _value(self, name: str, at: int) -> float:
        bids, asks = self.books[-1]
        (bid, bid_size), (ask, ask_size) = bids[0], asks[0]
        mid = (bid + ask) / 2
        if name == "imbalance":
            return bid_size / (bid_size + ask_size)
        if name == "pressure":
            b, a = sum(s for _, s in bids[:5]), sum(s for _, s in asks[:5])
            return b / (b + a)
        if name == "clv":
            return min(max((self.trades[-1][1] - bid) / (ask - bid), 0.0), 1.0) if self.trades else 0.5
        if name == "spread_bps":
            return 1e4 * (ask - bid) / mid
        if name == "microprice_minus_mid_bps":
            return 1e4 * ((bid * ask_size + ask * bid_size) / (ask_size + bid_size) - mid) / mid
        if name == "depth_bid_10bps":
            near = [s for p, s in self.bids.items() if 1_000 * (bid + ask - 2 * p) <= bid + ask]
            return sum(near) / self.size_units
        if name == "depth_ask_10bps":
            near = [s for p, s in self.asks.items() if 1_000 * (2 * p - bid - ask) <= bid + ask]
            return sum(near) / self.size_units
        if name.startswith("hawkes"):
            return self._intensity(*name.split("_")[1:], at)
        family, number = re.fullmatch(r"(.+)_(\d+)s?", name).groups()
        if family == "ofi":
            return self._flow(int(number))
        width = int(number) * SECOND // 64
        oldest = at // width - 63
        if family == "realised_volatility":
            return self._volatility(oldest * width, width)
        if family.startswith("queue_depletion"):
            return self._depletion(0 if "bid" in family else 1, oldest * width, int(number))
        recent = self.trades[bisect_left(self.trades, oldest * width, key=lambda trade: trade[0]) :]
        if family == "trade_sign_imbalance":
            recent = [(ts, price, 1, side) for ts, price, _, side in recent]
            family = "trade_imbalance"
        bought = sum(size for _, _, size, side in recent if side > 0)
        sold = sum(size for _, _, size, side in recent if side < 0)
        if family == "signed_volume":
            return (bought - sold) / self.size_units
        assert family == "trade_imbalance", name
        return (bought - sold) / (bought + sold) if bought + sold else 0.0

    def _intensity(self, events: str, tau: str, at: int) -> float:
        """The sum of exponentials, back to where they are below the rounding of one."""
        seconds = {"100ms": 0.1, "1s": 1.0}[tau]
        times = {"buys": self.buy_times, "sells": self.sell_times, "books": self.mid_times}[events]
        recent = times[bisect_left(times, at - round(40 * seconds * SECOND)) :]
        return sum(math.exp((t - at) / (seconds * SECOND)) for t in recent) / seconds

    def _depletion(self, side: int, start: int, seconds: int) -> float:
        first = bisect_left(self.mid_times, start)
        shown = [book[side][0][1] for book in self.books[first:]]
        return sum(self.taken[side][first:]) / seconds / (sum(shown) / len(shown)) if shown else 0.0

    def _taken_off(self, side: int) -> int:
        """What the best queue of a side has lost between the last two books."""
        if len(self.books) < 2:
            return 0
        (p0, q0), (p1, q1) = (book[side][0] for book in self.books[-2:])
        if p1 == p0:
            return max(q0 - q1, 0)
        return q0 if (p1 < p0) == (side == 0) else 0

    def _flow(self, levels: int) -> float:
        flow, queues = 0, []
        first = max(self.books_at_last_row, 1)
        for before, after in zip(self.books[first - 1 :], self.books[first:], strict=False):
            for side in (0, 1):
                for level in range(levels):
                    p0, q0 = before[side][level] if level < len(before[side]) else (None, 0)
                    p1, q1 = after[side][level] if level < len(after[side]) else (None, 0)
                    better = 1 if side == 0 else -1
                    worst = -math.inf * better
                    p0, p1 = (worst if p0 is None else p0), (worst if p1 is None else p1)
                    if p1 == p0:
                        change = q1 - q0
                    elif (p1 > p0) == (side == 0):  # the quote improved
                        change = q1
                    else:
                        change = -q0
                    flow += better * change
                    queues += [q0, q1]
        return flow / (sum(queues) / len(queues)) if sum(queues) else 0.0

    def _volatility(self, start: int, width: int) -> float:
        ends = [start + k * width for k in range(65)]
        samples = [self.mids[max(bisect_left(self.mid_times, end) - 1, 0)] for end in ends]
        returns = np.diff(np.log(samples))
        return 1e4 * math.sqrt(float(np.sum(returns**2)))
