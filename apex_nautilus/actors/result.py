"""What a run of the arena came to, read from its ledger alone."""

from __future__ import annotations

import math
import os
from array import array
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from apex_nautilus.actors import records
from apex_nautilus.actors._columns import Columns
from apex_nautilus.engine import NETWORK_TIMEOUT, DelayReport
from apex_nautilus.store import CatalogLayout, LedgerError, LedgerReader

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
    fills : sequence of records.Fill
    trades : sequence of records.Trade
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
    fills: Columns[records.Fill]
    trades: Columns[records.Trade]
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
    """Read the result of the run (or catalog) in `root`, line by line.

    Fills, trades and marks are held as columns (about 100 bytes a fill), so that a ledger of millions of
    lines can be read.

    Parameters
    ----------
    root : path
        Folder with a ``ledger/``.
    writer : str
        The arena's name in the ledger.

    Raises
    ------
    LedgerError
        When the ledger is damaged, or a line is not what its kind says.
    """
    lives: dict[str, _Life] = {}
    others: dict[type[records.Record], list[tuple[int, Any]]] = {kind: [] for kind in _KEPT}
    names = {records.kind_of(kind): kind for kind in (*_OF_AGENTS, *_KEPT)}
    for record in LedgerReader(CatalogLayout(root).ledger_file(writer)).new():
        kind = names.get(record.kind)
        if kind is None:
            continue
        line = _line(kind, record.fields, record.seq)
        if kind in others:
            others[kind].append((record.ts_ns, line))
        elif isinstance(line, records.Birth):
            lives[line.agent] = _Life(line, record.ts_ns)
        elif line.agent in lives:
            lives[line.agent].take(record.ts_ns, line)
    verdicts = others[records.VerdictLine]
    finishes = others[records.Finish]
    return ArenaResult(
        root=os.fspath(root),
        agents={name: life.result() for name, life in lives.items()},
        deaths=[(t, v) for t, v in verdicts if v.verdict != "promote"],
        promotions=[(t, v) for t, v in verdicts if v.verdict == "promote"],
        swaps=others[records.Swap],
        rejections=others[records.Rejection],
        jobs=others[records.Job],
        mismatches=others[records.Mismatch],
        funding=[line for _, line in others[records.FundingRates]],
        allocations=others[records.Allocation],
        delays=[DelayReport(**msgspec.structs.asdict(d)) for _, d in others[records.Delays]],
        finish=finishes[-1][1] if finishes else None,
    )


_OF_AGENTS = (
    records.Birth, records.Mark, records.Fill, records.Trade, records.Funding, records.OrderRefusal,
    records.Burial,
)  # fmt: skip
_KEPT = (
    records.VerdictLine, records.Swap, records.Rejection, records.Job, records.Mismatch, records.FundingRates,
    records.Allocation, records.Delays, records.Finish,
)  # fmt: skip


class _Life:
    """What the lines have told of one agent so far."""

    def __init__(self, birth: records.Birth, born_ns: int) -> None:
        self._birth = birth
        self._born_ns = born_ns
        self._ts_ns = array("q")
        self._equity = array("d")
        self._fills = Columns(records.Fill)
        self._trades = Columns(records.Trade)
        self._timeouts = 0
        self._funding = 0.0
        self._burial: records.Burial | None = None
        self._buried_ns = 0

    def take(self, ts_ns: int, line: records.Record) -> None:
        if isinstance(line, records.Fill):
            self._fills.append(line)
        elif isinstance(line, records.Mark):
            self._ts_ns.append(ts_ns)
            self._equity.append(line.equity)
        elif isinstance(line, records.Trade):
            self._trades.append(line)
        elif isinstance(line, records.OrderRefusal):
            self._timeouts += line.reason == NETWORK_TIMEOUT
        elif isinstance(line, records.Funding):
            self._funding += line.amount
        elif isinstance(line, records.Burial):
            self._burial, self._buried_ns = line, ts_ns

    def result(self) -> AgentResult:
        return AgentResult(
            birth=self._birth,
            born_ns=self._born_ns,
            ts_ns=np.array(self._ts_ns),
            equity=np.array(self._equity),
            fills=self._fills,
            trades=self._trades,
            timeouts=self._timeouts,
            funding=self._funding,
            burial=self._burial,
            buried_ns=self._buried_ns,
        )


def _line[R: records.Record](kind: type[R], fields: dict[str, Any], seq: int) -> R:
    if None in fields.values():
        # JSON has no nan: a number that was not known was written as null.
        numbers = {f.name for f in msgspec.structs.fields(kind) if f.type is float}
        fields = {k: math.nan if v is None and k in numbers else v for k, v in fields.items()}
    try:
        return msgspec.convert(fields, kind)
    except msgspec.ValidationError as error:
        raise LedgerError(f"ledger line {seq} is no {records.kind_of(kind)} line: {error}") from None
