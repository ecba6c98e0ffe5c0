"""The arena's books made again from its journal alone, and each line that names a sum held against them.

Births, fills, funding and burials are the journal's money; marks, burials and the finish say what it came to.
The books are made by the same arithmetic in the same order, so that they are equal to the living ones to the
last bit, whenever the process ended.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from apex_nautilus.actors import records
from apex_nautilus.actors.trade_return import book_fill
from apex_nautilus.risk import AgentAccount
from apex_nautilus.store import LedgerError, LedgerRecord

__all__ = ["AgentBook", "Books", "rebuild_books"]


@dataclass(slots=True)
class AgentBook:
    """One agent's money.

    Attributes
    ----------
    name, instrument_id, strategy_id : str
    account : AgentAccount
    returns : list of float
        The `trade_return` of each closed trade.
    flat_cash : float
        Cash when the position was last flat.
    is_buried : bool
        Its cash went back to the treasury.
    """

    name: str
    instrument_id: str
    strategy_id: str
    account: AgentAccount
    returns: list[float] = field(default_factory=list)
    is_buried: bool = False
    flat_cash: float = 0.0


@dataclass(slots=True)
class Books:
    """The money of one life of an arena, from its opening on.

    Attributes
    ----------
    opened_ns : int
        Engine time of the opening.
    treasury : float
        Cash that belongs to no agent.
    agents : dict of str to AgentBook
        All that were born, in that order.
    lines : int
        Lines that moved money or named a sum.
    """

    opened_ns: int
    treasury: float
    agents: dict[str, AgentBook] = field(default_factory=dict)
    lines: int = 0

    def living(self) -> list[AgentBook]:
        """Agents that were not buried, in the order of their births."""
        return [agent for agent in self.agents.values() if not agent.is_buried]

    @property
    def cash(self) -> float:
        """What the venue's account must hold: the treasury and every living agent's balance."""
        return self.treasury + sum(agent.account.balance for agent in self.living())

    def positions(self) -> dict[str, float]:
        """Net position of the agents, instrument by instrument; those that are flat are left out."""
        held: dict[str, float] = {}
        for agent in self.living():
            held[agent.instrument_id] = held.get(agent.instrument_id, 0.0) + agent.account.position
        return {instrument_id: net for instrument_id, net in held.items() if net != 0.0}


def rebuild_books(lines: Iterable[LedgerRecord]) -> list[Books]:
    """Make the books from the lines of one writer, in the order written.

    Returns
    -------
    list of Books
        One for each opening: a run that goes on from an earlier one keeps its lines.

    Raises
    ------
    LedgerError
        When a line names another sum than the lines before it make, or an agent that was never born, or
        cannot be booked. The message says which line and, of a sum, both numbers.
    """
    lives: list[Books] = []
    for line in lines:
        if line.kind == _OPENING:
            lives.append(Books(line.ts_ns, line.fields["account_cash"], lines=1))
        elif line.kind in _BOOKED:
            if not lives:
                raise LedgerError(f"{_place(line)}: no opening before it")
            try:
                _BOOKED[line.kind](lives[-1], line)
            except LedgerError:
                raise
            except (KeyError, TypeError, ValueError) as error:
                raise LedgerError(f"{_place(line)}: cannot be booked ({error})") from None
            lives[-1].lines += 1
    return lives


def _birth(books: Books, line: LedgerRecord) -> None:
    fields = line.fields
    if fields.get("size_precision") is None:
        raise LedgerError(f"{_place(line)}: no size_precision; it was written by an earlier version")
    account = AgentAccount(fields["capital"], size_precision=fields["size_precision"])
    books.treasury -= account.capital
    books.agents[fields["agent"]] = AgentBook(
        fields["agent"], fields["instrument_id"], fields["strategy_id"], account
    )
    _hold(line, treasury=books.treasury)


def _fill(books: Books, line: LedgerRecord) -> None:
    agent = _agent(books, line)
    book_fill(agent, line.fields["qty"], line.fields["price"], line.fields["fee"])
    _hold(line, position=agent.account.position, cash=agent.account.balance)


def _funding(books: Books, line: LedgerRecord) -> None:
    agent = _agent(books, line)
    agent.account.fund(line.fields["amount"])
    _hold(line, position=agent.account.position, cash=agent.account.balance)


def _mark(books: Books, line: LedgerRecord) -> None:
    agent = _agent(books, line)
    _hold(line, position=agent.account.position, cash=agent.account.balance, trades=len(agent.returns))


def _burial(books: Books, line: LedgerRecord) -> None:
    agent = _agent(books, line)
    account = agent.account
    books.treasury += account.balance
    agent.is_buried = True
    _hold(
        line,
        cash=account.balance,
        fees=account.fees,
        funding=account.funding,
        trades=len(agent.returns),
        treasury=books.treasury,
    )


def _finish(books: Books, line: LedgerRecord) -> None:
    _hold(line, treasury=books.treasury, ledger_cash=books.cash)


_OPENING = records.kind_of(records.Opening)
_BOOKED = {
    records.kind_of(records.Birth): _birth,
    records.kind_of(records.Fill): _fill,
    records.kind_of(records.Funding): _funding,
    records.kind_of(records.Mark): _mark,
    records.kind_of(records.Burial): _burial,
    records.kind_of(records.Finish): _finish,
}


def _agent(books: Books, line: LedgerRecord) -> AgentBook:
    agent = books.agents.get(line.fields["agent"])
    if agent is None or agent.is_buried:
        told = "was never born" if agent is None else "was buried before"
        raise LedgerError(f"{_place(line)}: {line.fields['agent']} {told}")
    return agent


def _hold(line: LedgerRecord, **sums: float) -> None:
    for name, ours in sums.items():
        told = line.fields[name]
        if told != ours:
            whose = f" of {line.fields['agent']}" if "agent" in line.fields else ""
            raise LedgerError(f"{_place(line)}: {name}{whose} is {told!r}, the lines before it make {ours!r}")


def _place(line: LedgerRecord) -> str:
    return f"ledger {line.writer}, line {line.seq} ({line.kind})"
