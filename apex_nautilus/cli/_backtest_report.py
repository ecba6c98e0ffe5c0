"""A backtest's result as a page."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np

from apex_nautilus.cli._arena_report import delay_table, funding_table
from apex_nautilus.cli._ledger import time_text
from apex_nautilus.cli._trades import (
    COST_HEADERS,
    COST_NOTE,
    MORE_TRADES,
    CostSum,
    trade_row,
    trade_tables,
)
from apex_nautilus.engine.backtest import AgentResult, BacktestResult
from apex_nautilus.engine.report import Curve, Happening, ReportTable, write_report
from apex_nautilus.engine.report_panels import delays_panel, reliability_panel

__all__ = ["write_backtest_report"]


def write_backtest_report(
    path: str | os.PathLike[str], result: BacktestResult, *, tearsheet: bool = False
) -> None:
    """Write the page of a run; `tearsheet` links Nautilus's own, which lies beside it."""
    closed = [t for a in result.agents for t in a.trades]
    panels = [
        reliability_panel([t.p for t in closed], [t.exit_kind == "take_profit" for t in closed]),
        delays_panel(result.delays),
    ]
    tables = [_agents(result), _costs(result), *funding_table(result.funding), _reasons(result)]
    tables += delay_table(result.delays)
    if closed:
        tables += trade_tables(
            lambda: (row for a in result.agents for row in _trade_rows(a)), len(closed), more=MORE_TRADES
        )
    write_report(
        path,
        title=f"Backtest {result.run_id}",
        subtitle=f"{time_text(result.start_ns)} to {time_text(result.end_ns)} UTC, "
        f"{result.objects:,} books and trades",
        curves=_curves(result),
        happenings=_happenings(result),
        panels=[panel for panel in panels if panel is not None],
        tables=tables,
        links=[("Nautilus's tearsheet", "tearsheet.html")] if tearsheet else (),
        words=() if closed else ["No trade was closed; the table of decisions says why."],
    )


def _trade_rows(agent: AgentResult) -> Iterator[dict[str, Any]]:
    who = {"slot": agent.slot, "genome_id": agent.genome_id}
    return (trade_row(who | msgspec.structs.asdict(trade)) for trade in agent.trades)


def _curves(result: BacktestResult) -> list[Curve]:
    return [
        Curve(
            a.slot,
            np.concatenate([[result.start_ns], a.mark_ts_ns, [result.end_ns]]),
            np.concatenate([[a.capital], a.mark_equity, [a.equity]]),
        )
        for a in result.agents
    ]


def _happenings(result: BacktestResult) -> list[Happening]:
    found = []
    for a in result.agents:
        found.append(
            Happening(result.start_ns, "birth", a.slot, f"genome {a.genome_id}" if a.genome_id else "")
        )
        for t in a.trades:
            side = "long" if t.side > 0 else "short"
            words = f"#{t.number} {side} {t.quantity:g} at {t.entry_price:g}, {t.pnl:+.4f}"
            found.append(Happening(t.exit_ts_ns, t.exit_kind, a.slot, words))
    return found


def _agents(result: BacktestResult) -> ReportTable:
    lost = any(a.timeouts for a in result.agents)
    rows = [
        (a.slot, a.genome_id, a.instrument_id, len(a.trades), a.wins, a.fees, a.capital, a.equity,
         f"{a.equity / a.capital - 1.0:+.2%}", f"{a.max_drawdown:.2%}", a.refusals, *((a.timeouts,) * lost))
        for a in result.agents
    ]  # fmt: skip
    headers = ("slot", "genome", "instrument", "trades", "wins", "fees", "capital", "equity", "return",
               "max drawdown", "refused orders", *(("timeouts",) * lost))  # fmt: skip
    return ReportTable("Agents", headers, rows)


def _costs(result: BacktestResult) -> ReportTable:
    rows = []
    for a in result.agents:
        costs = CostSum()
        for trade in _trade_rows(a):
            costs.add(trade)
        rows.append((a.slot, *costs.row()))
    return ReportTable("Costs of closed trades", ("slot", *COST_HEADERS), rows, COST_NOTE)


def _reasons(result: BacktestResult) -> ReportTable:
    # Strategies written by hand count no reasons, or their own.
    known = list(dict.fromkeys(reason for a in result.agents for reason in a.reasons))
    rows = [(a.slot, *(a.reasons.get(reason, 0) for reason in known)) for a in result.agents]
    return ReportTable("How decisions ended", ("slot", *(k.replace("_", " ") for k in known)), rows)
