"""What a run of the arena came to, read from its ledger alone."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from apex_nautilus.actors import records
from apex_nautilus.engine import NETWORK_TIMEOUT, DelayReport
from apex_nautilus.store import CatalogLayout, LedgerError, read_all

__all__ = ["AgentResult", "ArenaResult", "read_result"]


@dataclass(frozen=True, slots=True)
class AgentResult:
    """One agent's life.

    Attributes
    ----------
    birth : records.Birth
    born_ns : int
        Engine time of its birth.
    ts_ns : (n,) int64
        Engine times of the marks that were written (thinned).
    equity : (n,) float64
        Equity in USD at those marks.
    fills : list of records.Fill
    trades : list of records.Trade
        Closed positions; empty in a ledger of before they were written down.
    timeouts : int
        Orders that a network lost, or that came too late.
    funding : float
        Received, in USD; negative when paid.
    burial : records.Burial or None
        None for one that was alive at the end.
    buried_ns : int
        Engine time of its burial, 0 for one alive.
    """

    birth: records.Birth
    born_ns: int
    ts_ns: np.ndarray
    equity: np.ndarray
    fills: list[records.Fill]
    trades: list[records.Trade]
    timeouts: int
    funding: float
    burial: records.Burial | None
    buried_ns: int

    @property
    def final_equity(self) -> float:
        """Cash at the burial, else the equity at the last mark, else the capital."""
        if self.burial is not None:
            return self.burial.cash
        return float(self.equity[-1]) if self.equity.size else self.birth.capital


@dataclass(frozen=True, slots=True)
class ArenaResult:
    """A run: its agents in the order of their births, and what happened, as (engine time, line) pairs.

    `finish` is None for a run that did not end. `deaths` are the terminal verdicts, `promotions` the others.
    `allocations` are the weights of the champions, each time they were looked at. `delays` are those of a
    network, in the classes of messages; none without a network. `funding` says whose rates were known.
    """

    root: str
    agents: dict[str, AgentResult]
    deaths: list[tuple[int, records.VerdictLine]] = field(default_factory=list)
    promotions: list[tuple[int, records.VerdictLine]] = field(default_factory=list)
    swaps: list[tuple[int, records.Swap]] = field(default_factory=list)
    rejections: list[tuple[int, records.Rejection]] = field(default_factory=list)
    jobs: list[tuple[int, records.Job]] = field(default_factory=list)
    mismatches: list[tuple[int, records.Mismatch]] = field(default_factory=list)
    allocations: list[tuple[int, records.Allocation]] = field(default_factory=list)
    delays: list[DelayReport] = field(default_factory=list)
    funding: list[records.FundingRates] = field(default_factory=list)
    finish: records.Finish | None = None


def read_result(root: str | os.PathLike[str], *, writer: str = "arena") -> ArenaResult:
    """Read the result of the run (or catalog) in `root`.

    Parameters
    ----------
    root : path
        Folder with a ``ledger/``.
    writer : str
        The arena's name in the ledger.

    Raises
    ------
    LedgerError
        When a line is not what its kind says.
    """
    lines = [r for r in read_all(CatalogLayout(root).ledger) if r.writer == writer]
    lines.sort(key=lambda r: r.seq)

    def of[R: records.Record](kind: type[R]) -> list[tuple[int, R]]:
        name = records.kind_of(kind)
        return [(r.ts_ns, _line(kind, r.fields, r.seq)) for r in lines if r.kind == name]

    marks: dict[str, list[tuple[int, float]]] = {}
    for ts_ns, mark in of(records.Mark):
        marks.setdefault(mark.agent, []).append((ts_ns, mark.equity))
    fills: dict[str, list[records.Fill]] = {}
    for _, fill in of(records.Fill):
        fills.setdefault(fill.agent, []).append(fill)
    trades: dict[str, list[records.Trade]] = {}
    for _, trade in of(records.Trade):
        trades.setdefault(trade.agent, []).append(trade)
    refusals = of(records.OrderRefusal)
    timeouts = Counter(refusal.agent for _, refusal in refusals if refusal.reason == NETWORK_TIMEOUT)
    funding: dict[str, float] = {}
    for _, payment in of(records.Funding):
        funding[payment.agent] = funding.get(payment.agent, 0.0) + payment.amount
    burials = {burial.agent: (ts_ns, burial) for ts_ns, burial in of(records.Burial)}
    agents = {}
    for born_ns, birth in of(records.Birth):
        seen = marks.get(birth.agent, [])
        buried_ns, burial = burials.get(birth.agent, (0, None))
        agents[birth.agent] = AgentResult(
            birth=birth,
            born_ns=born_ns,
            ts_ns=np.array([t for t, _ in seen], dtype=np.int64),
            equity=np.array([e for _, e in seen], dtype=np.float64),
            fills=fills.get(birth.agent, []),
            trades=trades.get(birth.agent, []),
            timeouts=timeouts[birth.agent],
            funding=funding.get(birth.agent, 0.0),
            burial=burial,
            buried_ns=buried_ns,
        )
    verdicts = of(records.VerdictLine)
    finishes = of(records.Finish)
    return ArenaResult(
        root=os.fspath(root),
        agents=agents,
        deaths=[(t, v) for t, v in verdicts if v.verdict != "promote"],
        promotions=[(t, v) for t, v in verdicts if v.verdict == "promote"],
        swaps=of(records.Swap),
        rejections=of(records.Rejection),
        jobs=of(records.Job),
        mismatches=of(records.Mismatch),
        funding=[line for _, line in of(records.FundingRates)],
        allocations=of(records.Allocation),
        delays=[DelayReport(**msgspec.structs.asdict(d)) for _, d in of(records.Delays)],
        finish=finishes[-1][1] if finishes else None,
    )


def _line[R: records.Record](kind: type[R], fields: dict[str, Any], seq: int) -> R:
    # JSON has no nan: a number that was not known was written as null.
    known = {k: (float("nan") if v is None else v) for k, v in fields.items()}
    try:
        return msgspec.convert(known, kind)
    except msgspec.ValidationError as error:
        raise LedgerError(f"ledger line {seq} is no {records.kind_of(kind)} line: {error}") from None
