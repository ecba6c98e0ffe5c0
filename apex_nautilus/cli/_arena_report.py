"""An arena's run as curves, happenings and tables, for the report and the terminal."""

from __future__ import annotations

import numpy as np

from apex_nautilus.actors.result import AgentResult, ArenaResult
from apex_nautilus.engine.report import Curve, Happening, ReportTable
from apex_nautilus.engine.report_panels import Panel, lines_panel
from apex_nautilus.store import CatalogLayout, read_all

__all__ = ["agent_rows", "arena_curves", "arena_happenings", "arena_panels", "arena_tables"]

AGENT_HEADERS = ("slot", "agent", "role", "genome", "fills", "fees", "equity", "return", "end")


def arena_curves(result: ArenaResult) -> list[Curve]:
    """Equity of every champion over its life; agents of one slot share a colour. Shadows are left out."""
    curves = []
    for name, agent in result.agents.items():
        if agent.birth.role != "champion":
            continue
        ts_ns = np.concatenate([[agent.born_ns], agent.ts_ns])
        equity = np.concatenate([[agent.birth.capital], agent.equity])
        if agent.burial is not None:
            ts_ns = np.concatenate([ts_ns, [agent.buried_ns]])
            equity = np.concatenate([equity, [agent.burial.cash]])
        curves.append(Curve(name, ts_ns, equity, group=agent.birth.slot))
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
    """The allocator's weights over time, where it was asked."""
    moves: dict[str, list[tuple[int, float]]] = {}
    for line in read_all(CatalogLayout(result.root).ledger, kinds=("allocation",)):
        for agent, weight in zip(line.fields["agents"], line.fields["weights"], strict=True):
            moves.setdefault(agent, []).append((line.ts_ns, weight))
    lines = [
        (name, np.array([t for t, _ in seen], dtype=np.int64), np.array([w for _, w in seen]))
        for name, seen in moves.items()
    ]
    note = "Shares of the champions alive at each look; an order is scaled by their number times its share."
    panel = lines_panel("Weights of the allocator", lines, unit="weight", note=note)
    return [] if panel is None else [panel]


def _costs(result: ArenaResult) -> ReportTable:
    """What trading cost each slot: fees of its champions, of shadows apart, beside what they turned over."""
    spent: dict[str, list[float]] = {}
    for agent in result.agents.values():
        where = agent.birth.slot if agent.birth.role == "champion" else "shadows"
        row = spent.setdefault(where, [0, 0.0, 0.0, 0.0])
        row[0] += len(agent.fills)
        row[1] += sum(abs(f.qty) * f.price for f in agent.fills)
        row[2] += _fees(agent)
        row[3] += agent.final_equity - agent.birth.capital
    rows = [
        (where, fills, round(turned, 2), round(fees, 4), round(1e4 * fees / turned, 3) if turned else 0.0,
         round(gain, 4), round(gain + fees, 4))
        for where, (fills, turned, fees, gain) in sorted(spent.items())
    ]  # fmt: skip
    headers = ("slot", "fills", "turnover", "fees", "fees in bps", "gain after fees", "gain before fees")
    return ReportTable("Costs (spread and slippage are in the fill prices)", headers, rows)


def _fees(agent: AgentResult) -> float:
    return sum(fill.fee for fill in agent.fills)


def agent_rows(result: ArenaResult) -> list[tuple]:
    """One row an agent in the order of births, as `AGENT_HEADERS` names them."""
    rows = []
    for name, agent in result.agents.items():
        gain = agent.final_equity / agent.birth.capital - 1.0
        end = "alive" if agent.burial is None else agent.burial.cause
        rows.append(
            (agent.birth.slot, name, agent.birth.role, agent.birth.genome, len(agent.fills),
            round(_fees(agent), 2),
             round(agent.final_equity, 2), f"{gain:+.1%}", end)
        )  # fmt: skip
    return rows


def arena_tables(result: ArenaResult) -> list[ReportTable]:
    """Agents, verdicts, swaps, jobs and refused files."""
    tables = [ReportTable("Agents, in the order of their births", AGENT_HEADERS, agent_rows(result))]
    tables.append(_costs(result))
    if result.deaths or result.promotions:
        rows = [
            (d.slot, d.agent, d.verdict, d.reason, round(d.equity, 2), d.trades, _short(d.sharpe),
            _short(d.psr),
             _short(d.dsr), d.trials)
            for _, d in sorted([*result.deaths, *result.promotions], key=lambda item: item[0])
        ]  # fmt: skip
        headers = (
            "slot",
            "agent",
            "verdict",
            "reason",
            "equity",
            "trades",
            "Sharpe a trade",
            "PSR",
            "DSR",
            "trials",
        )
        tables.append(ReportTable("Verdicts", headers, rows))
    if result.swaps:
        rows = [(s.slot, s.epoch, s.outgoing or "(empty)", s.incoming) for _, s in result.swaps]
        tables.append(
            ReportTable("Changes of champion", ("slot", "epoch", "outgoing", "incoming genome"), rows)
        )
    if result.jobs:
        rows = [(j.slot, j.job, j.terminated, j.seed or "-") for _, j in result.jobs]
        tables.append(
            ReportTable("Replacements asked for", ("slot", "job", "terminated", "seeded with"), rows)
        )
    if result.rejections:
        tables.append(
            ReportTable(
                "Refused files", ("file", "reason"), [(r.name, r.reason) for _, r in result.rejections]
            )
        )
    return tables


def _short(value: float) -> float | str:
    return round(value, 4) if np.isfinite(value) else "-"
