"""Closed trades in front of a person: the rows of a report, of `apex ledger trades`, and what they cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from apex_nautilus.cli._ledger import time_text
from apex_nautilus.engine import ReportTable

__all__ = ["COST_HEADERS", "COST_NOTE", "TRADE_FIELDS", "cost_row", "trade_row", "trade_tables"]

TRADE_FIELDS = (
    "agent", "genome", "number", "side", "quantity", "entry_ts_ns", "exit_ts_ns", "entry_price", "exit_price",
    "exit_kind", "p", "fraction", "pnl", "fees", "spread", "slippage", "funding",
)  # fmt: skip
"""What is known of a trade, in a backtest as in an arena, in the order in which it is shown."""

_ALL = 300
"""Trades that a report lists one by one; of more, the worst and the best."""
_ENDS = 15

COST_HEADERS = (
    "trades", "turnover", "fees", "spread", "slippage", "funding paid", "all in bps", "gain",
    "gain before costs",
)  # fmt: skip

COST_NOTE = (
    "Spread: from the mid to the touch when an order at market was sent. Slippage: from that touch, the "
    "stop's trigger or the limit to the price of the fill. Positive costs; a dash where a part is not known."
)


def trade_row(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a ledger's trade line (or of a trade's record) under one set of names; None for what the
    line does not know. In a backtest the slot is the agent."""
    row = {name: fields.get(name) for name in TRADE_FIELDS}
    row["agent"] = fields.get("agent", fields.get("slot"))
    row["genome"] = fields.get("genome", fields.get("genome_id"))
    row["side"] = "long" if fields["side"] > 0 else "short"
    return row


def cost_row(trades: Sequence[Mapping[str, Any]]) -> tuple:
    """What closed trades cost, as `COST_HEADERS` says; a part that is not known of all of them is NaN.

    Turnover counts both ways. Costs are positive; the gain is net of them, spread and slippage included.
    """
    turnover = sum(t["quantity"] * (t["entry_price"] + t["exit_price"]) for t in trades)
    fees, spread, slippage, funding = (
        math.fsum(_number(t[part]) for t in trades) for part in ("fees", "spread", "slippage", "funding")
    )
    paid = 0.0 - funding  # booked as received
    gain = math.fsum(t["pnl"] for t in trades)
    known = fees + spread + slippage + paid
    return (
        len(trades), round(turnover, 2), round(fees, 4), round(spread, 4), round(slippage, 4), round(paid, 4),
        round(1e4 * known / turnover, 3) if turnover else math.nan, round(gain, 4), round(gain + known, 4),
    )  # fmt: skip


def trade_tables(trades: Sequence[Mapping[str, Any]], *, more: str) -> list[ReportTable]:
    """All trades, or the worst and the best of very many; `more` says where the others are."""
    headers = (
        "agent", "#", "side", "quantity", "entry (UTC)", "exit (UTC)", "entry price", "exit price", "exit by",
        "p", "fees", "spread", "slippage", "profit",
    )  # fmt: skip
    if len(trades) <= _ALL:
        chosen = [("Trades", trades, "")]
    else:
        ranked = sorted(trades, key=lambda t: t["pnl"])
        note = f"Of {len(trades):,}. {more}"
        chosen = [
            (f"The {_ENDS} worst trades", ranked[:_ENDS], note),
            (f"The {_ENDS} best trades", ranked[: -_ENDS - 1 : -1], note),
        ]
    return [ReportTable(title, headers, [_cells(t) for t in part], note) for title, part, note in chosen]


def _cells(t: Mapping[str, Any]) -> tuple:
    return (
        t["agent"], t["number"], t["side"], t["quantity"], time_text(t["entry_ts_ns"]),
        time_text(t["exit_ts_ns"]), t["entry_price"], t["exit_price"], t["exit_kind"], _number(t["p"]),
        t["fees"], _number(t["spread"]), _number(t["slippage"]), t["pnl"],
    )  # fmt: skip


def _number(value: float | None) -> float:
    return math.nan if value is None else value
