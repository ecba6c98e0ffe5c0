"""Closed trades in front of a person: the rows of a report, of `apex ledger trades`, and what they cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from heapq import nlargest, nsmallest
from typing import Any

from apex_nautilus.cli._ledger import time_text
from apex_nautilus.engine import ReportTable

__all__ = ["COST_HEADERS", "COST_NOTE", "MORE_TRADES", "TRADE_FIELDS", "CostSum", "trade_row", "trade_tables"]

TRADE_FIELDS = (
    "agent", "genome", "number", "side", "quantity", "entry_ts_ns", "exit_ts_ns", "entry_price", "exit_price",
    "exit_kind", "p", "fraction", "pnl", "fees", "spread", "slippage", "funding",
)  # fmt: skip
"""What is known of a trade, in a backtest as in an arena, in the order in which it is shown."""

_ALL = 300
"""Trades that a report lists one by one; of more, the worst and the best."""
_ENDS = 15
_PARTS = ("fees", "spread", "slippage", "funding")

COST_HEADERS = (
    "trades", "turnover", "fees", "spread", "slippage", "funding paid", "all in bps", "gain",
    "gain before costs",
)  # fmt: skip

COST_NOTE = (
    "Spread: from the mid to the touch when an order at market was sent. Slippage: from that touch, the "
    "stop's trigger or the limit to the price of the fill. Positive costs; a dash where a part is not known."
)
MORE_TRADES = "All of them: apex ledger trades RUN --csv"


def trade_row(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a ledger's trade line (or of a trade's record) under one set of names; None for what the
    line does not know. In a backtest the slot is the agent."""
    row = {name: fields.get(name) for name in TRADE_FIELDS}
    row["agent"] = fields.get("agent", fields.get("slot"))
    row["genome"] = fields.get("genome", fields.get("genome_id"))
    row["side"] = "long" if fields["side"] > 0 else "short"
    return row


class CostSum:
    """What closed trades cost together; a part that is not known of all of them is NaN."""

    __slots__ = ("_count", "_gain", "_parts", "_turnover")

    def __init__(self) -> None:
        self._count, self._gain, self._turnover = 0, 0.0, 0.0
        self._parts = [0.0] * len(_PARTS)

    def add(self, trade: Mapping[str, Any]) -> None:
        """Count one trade, as `trade_row` gives it."""
        self._count += 1
        self._gain += trade["pnl"]
        self._turnover += trade["quantity"] * (trade["entry_price"] + trade["exit_price"])
        for k, part in enumerate(_PARTS):
            self._parts[k] += _number(trade[part])

    def row(self) -> tuple:
        """As `COST_HEADERS` says. Turnover counts both ways; the gain is net of all costs, of spread and
        slippage too."""
        fees, spread, slippage, funding = self._parts
        paid = 0.0 - funding  # booked as received
        costs = fees + spread + slippage + paid
        return (
            self._count, round(self._turnover, 2), round(fees, 4), round(spread, 4), round(slippage, 4),
            round(paid, 4), round(1e4 * costs / self._turnover, 3) if self._turnover else math.nan,
            round(self._gain, 4), round(self._gain + costs, 4),
        )  # fmt: skip


def trade_tables(
    trades: Callable[[], Iterable[Mapping[str, Any]]], total: int, *, more: str
) -> list[ReportTable]:
    """All trades by their ends, or the worst and the best of very many; `more` says where the others are.

    `trades` is asked as often as there are tables, so that not all of them need be held.
    """
    headers = (
        "agent", "#", "side", "quantity", "entry (UTC)", "exit (UTC)", "entry price", "exit price", "exit by",
        "p", "fees", "spread", "slippage", "profit",
    )  # fmt: skip
    if total <= _ALL:
        chosen = [("Trades", sorted(trades(), key=lambda t: t["exit_ts_ns"]), "")]
    else:
        note = f"Of {total:,}. {more}"
        worst = nsmallest(_ENDS, trades(), key=lambda t: t["pnl"])
        best = nlargest(_ENDS, trades(), key=lambda t: t["pnl"])
        chosen = [(f"The {_ENDS} worst trades", worst, note), (f"The {_ENDS} best trades", best, note)]
    return [ReportTable(title, headers, [_cells(t) for t in part], note) for title, part, note in chosen]


def _cells(t: Mapping[str, Any]) -> tuple:
    return (
        t["agent"], t["number"], t["side"], t["quantity"], time_text(t["entry_ts_ns"]),
        time_text(t["exit_ts_ns"]), t["entry_price"], t["exit_price"], t["exit_kind"], _number(t["p"]),
        t["fees"], _number(t["spread"]), _number(t["slippage"]), t["pnl"],
    )  # fmt: skip


def _number(value: float | None) -> float:
    return math.nan if value is None else value
