"""An arena's run as curves, happenings, figures and tables, for the report and the terminal."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from apex_nautilus.actors import records
from apex_nautilus.actors.result import ArenaResult
from apex_nautilus.cli._trades import (
    COST_HEADERS,
    COST_NOTE,
    MORE_TRADES,
    CostSum,
    trade_row,
    trade_tables,
)
from apex_nautilus.engine.delays import DelayReport
from apex_nautilus.engine.funding_rates import FundingCoverage
from apex_nautilus.engine.report import Curve, Happening, ReportTable, write_report
from apex_nautilus.engine.report_panels import Panel, delays_panel, reliability_panel

__all__ = [
    "agent_headers",
    "agent_rows",
    "arena_curves",
    "arena_happenings",
    "arena_panels",
    "arena_tables",
    "arena_weights",
    "delay_table",
    "funding_table",
    "write_arena_report",
]

_SHADOWS = "challengers in shadow"
_REFUSED = 100  # files that are listed
_SOURCES = {
    "series": "stored series",
    "updates": "recorded updates",
    "none": "none stored: nothing was paid",
    "off": "turned off",
}


def write_arena_report(path: str | os.PathLike[str], result: ArenaResult, *, tearsheet: bool = False) -> None:
    """Write the page of a run; `tearsheet` links Nautilus's own, which lies beside it."""
    words = []
    if not any(a.fills for a in result.agents.values()):
        refused = "" if result.agents else " No agent was born: is there a genome in the catalog?"
        words.append(f"Nobody traded in this run.{refused}")
    if result.finish is None:
        words.append("The run did not end: what follows is what its ledger held when it was cut off.")
    if result.mismatches:
        words.append(
            f"Ledgers and account differed {len(result.mismatches)} times; entries were stopped meanwhile."
        )
    name = Path(result.root).name
    write_report(
        path,
        title=f"Arena {name}",
        subtitle=f"{len(result.agents)} agents, {len(result.deaths)} deaths, {len(result.swaps)} swaps",
        curves=arena_curves(result),
        weights=arena_weights(result),
        happenings=arena_happenings(result),
        panels=arena_panels(result),
        tables=arena_tables(result),
        links=[("Nautilus's tearsheet", "tearsheet.html")] if tearsheet else (),
        words=words,
    )


def arena_curves(result: ArenaResult) -> list[Curve]:
    """Equity of every agent over its life; champions of one slot share a colour, challengers lie aside."""
    curves = []
    for name, agent in result.agents.items():
        ts_ns = np.concatenate([[agent.born_ns], agent.ts_ns])
        equity = np.concatenate([[agent.birth.capital], agent.equity])
        if agent.burial is not None:
            ts_ns = np.concatenate([ts_ns, [agent.buried_ns]])
            equity = np.concatenate([equity, [agent.burial.cash]])
        aside = agent.birth.role != "champion"
        curves.append(Curve(name, ts_ns, equity, group=_SHADOWS if aside else agent.birth.slot, aside=aside))
    return sorted(curves, key=lambda curve: curve.aside)


def arena_weights(result: ArenaResult) -> list[Curve]:
    """The allocator's weights over time, a line an agent."""
    moves: dict[str, list[tuple[int, float]]] = {}
    for ts_ns, look in result.allocations:
        for agent, weight in zip(look.agents, look.weights, strict=True):
            moves.setdefault(agent, []).append((ts_ns, weight))
    curves = []
    for name, seen in moves.items():
        agent = result.agents.get(name)
        if agent is not None and agent.burial is not None:
            seen.append((agent.buried_ns, seen[-1][1]))  # it weighed as much until it was gone
        ts_ns, weights = (np.array(column) for column in zip(*seen, strict=True))
        curves.append(Curve(name, ts_ns, weights, group=name if agent is None else agent.birth.slot))
    return curves


def arena_happenings(result: ArenaResult) -> list[Happening]:
    """First births, deaths, swaps, replacements and promotions, one lane a slot.

    A change of champion is one happening, not a birth beside it: a "swap" where the challenger beat its
    champion, a "replacement" where the slot had fallen empty.
    """
    changed = {(ts, s.slot) for ts, s in result.swaps}
    found = [
        Happening(agent.born_ns, "birth", agent.birth.slot, f"{name}: genome {agent.birth.genome}")
        for name, agent in result.agents.items()
        if agent.birth.role == "champion" and agent.birth.epoch == 1
        if (agent.born_ns, agent.birth.slot) not in changed
    ]
    asked = {(j.slot, j.terminated): j.seed for _, j in result.jobs}
    for ts, d in result.deaths:
        seed = asked.get((d.slot, d.genome))
        wish = "" if seed is None else f"; replacement asked for, seeded with {seed or 'nothing'}"
        found.append(Happening(ts, "death", d.slot, f"{d.agent}: {d.reason}{wish}"))
    for ts, s in result.swaps:
        if s.outgoing:
            found.append(Happening(ts, "swap", s.slot, f"{s.incoming} takes the place of {s.outgoing}"))
        else:
            found.append(Happening(ts, "replacement", s.slot, f"{s.incoming} takes the empty slot"))
    found += [Happening(ts, "promotion", p.slot, f"{p.agent}: {p.reason}") for ts, p in result.promotions]
    return sorted(found, key=lambda h: (h.ts_ns, h.lane, h.kind))


def arena_panels(result: ArenaResult) -> list[Panel]:
    """Probabilities held against outcomes, and the delays of a network, each where there is something."""
    trades = [t for agent in result.agents.values() for t in agent.trades]
    panels = [
        reliability_panel([t.p for t in trades], [t.exit_kind == "take_profit" for t in trades]),
        delays_panel(result.delays),
    ]
    return [panel for panel in panels if panel is not None]


def _trade_rows(result: ArenaResult) -> Iterator[dict[str, Any]]:
    for agent in result.agents.values():
        for trade in agent.trades:
            yield trade_row(msgspec.structs.asdict(trade))


def _costs(result: ArenaResult) -> ReportTable:
    """What trading cost the champions of each slot, and the challengers."""
    spent: dict[str, CostSum] = {}
    where = {
        name: agent.birth.slot if agent.birth.role == "champion" else _SHADOWS
        for name, agent in result.agents.items()
    }
    for place in sorted(set(where.values()), key=lambda place: (place == _SHADOWS, place)):
        spent[place] = CostSum()
    for trade in _trade_rows(result):
        spent[where[trade["agent"]]].add(trade)
    rows = [(place, *costs.row()) for place, costs in spent.items()]
    return ReportTable("Costs of closed trades", ("slot", *COST_HEADERS), rows, COST_NOTE)


def delay_table(delays: Sequence[DelayReport]) -> list[ReportTable]:
    """How long messages travelled and how many were lost; nothing without a network."""
    if not delays:
        return []
    rows = [
        (
            d.name,
            d.arrived,
            *(round(d.quantile_ns(q) / 1e6, 4) for q in (0.5, 0.9, 0.99, 1.0)),
            d.lost,
            d.late,
        )
        for d in delays
    ]  # fmt: skip
    headers = ("messages", "arrived", "median ms", "p90 ms", "p99 ms", "longest ms", "lost", "too late")
    note = "Lost market data is sent again; a lost command is given up after its time-out."
    return [ReportTable("Delays and losses", headers, rows, note)]


def funding_table(rates: Sequence[records.FundingRates | FundingCoverage]) -> list[ReportTable]:
    """Which perpetuals paid and received funding, and by which rates; nothing where none is known of."""
    rows = [
        (line.instrument_id, _SOURCES.get(line.source, line.source), line.settlements, len(line.gaps))
        for line in rates
    ]
    headers = ("perpetual", "rates", "settlements in the run", "gaps without a rate")
    note = "What was paid is in the costs, and in each agent's cash."
    return [ReportTable("Funding", headers, rows, note)] if rows else []


def agent_headers(result: ArenaResult) -> tuple[str, ...]:
    """What `agent_rows` gives; lost orders where there is a network, funding where there was some."""
    more = [name for name, told in zip(("lost orders", "funding"), _told(result), strict=True) if told]
    return ("slot", "agent", "role", "genome", "fills", "trades", *more, "fees", "equity", "return", "end")


def agent_rows(result: ArenaResult) -> list[tuple]:
    """One row an agent in the order of births, as `agent_headers` names them."""
    rows = []
    for name, agent in result.agents.items():
        birth, gain = agent.birth, agent.final_equity / agent.birth.capital - 1.0
        end = "alive" if agent.burial is None else agent.burial.cause
        more = (agent.timeouts, round(agent.funding, 2))
        more = tuple(value for value, told in zip(more, _told(result), strict=True) if told)
        fees = sum(fill.fee for fill in agent.fills)
        rows.append(
            (birth.slot, name, birth.role, birth.genome, len(agent.fills), len(agent.trades), *more,
             round(fees, 2), round(agent.final_equity, 2), f"{gain:+.1%}", end)
        )  # fmt: skip
    return rows


def _told(result: ArenaResult) -> tuple[bool, bool]:
    return bool(result.delays), any(agent.funding for agent in result.agents.values())


def arena_tables(result: ArenaResult) -> list[ReportTable]:
    """Agents, costs, verdicts, swaps, jobs, delays, trades and refused files."""
    tables = [
        ReportTable("Agents, in the order of their births", agent_headers(result), agent_rows(result)),
        _costs(result),
        *funding_table(result.funding),
    ]
    if result.deaths or result.promotions:
        rows = [
            (d.slot, d.agent, d.verdict, d.reason, round(d.equity, 2), d.trades, _short(d.sharpe),
             _short(d.psr), _short(d.dsr), d.trials)
            for _, d in sorted([*result.deaths, *result.promotions], key=lambda item: item[0])
        ]  # fmt: skip
        headers = (
            "slot", "agent", "verdict", "reason", "equity", "trades", "Sharpe a trade", "PSR", "DSR",
            "trials",
        )  # fmt: skip
        tables.append(ReportTable("Verdicts", headers, rows))
    if result.swaps:
        rows = [(s.slot, s.epoch, s.outgoing or "(empty)", s.incoming) for _, s in result.swaps]
        headers = ("slot", "epoch", "outgoing", "incoming genome")
        tables.append(ReportTable("Changes of champion", headers, rows))
    if result.jobs:
        rows = [(j.slot, j.job, j.terminated, j.seed or "-") for _, j in result.jobs]
        headers = ("slot", "job", "terminated", "seeded with")
        tables.append(ReportTable("Replacements asked for", headers, rows))
    tables += delay_table(result.delays)
    total = sum(len(agent.trades) for agent in result.agents.values())
    if total:
        tables += trade_tables(lambda: _trade_rows(result), total, more=MORE_TRADES)
    if result.rejections:
        rows = [(r.name, r.reason) for _, r in result.rejections[:_REFUSED]]
        note = (
            f"The first {_REFUSED} of {len(result.rejections):,}."
            if len(rows) < len(result.rejections)
            else ""
        )
        tables.append(ReportTable("Refused files", ("file", "reason"), rows, note))
    return tables


def _short(value: float) -> float:
    return round(value, 4)
