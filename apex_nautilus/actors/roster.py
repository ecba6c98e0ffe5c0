"""Who is alive, what each is worth, and where the money is: the arena's books, without an engine.

Life cycle of an agent: `Roster.bear` moves its capital out of the treasury; fills are booked as they come;
each mark adds one equity a mark; `closing` says why it is to go; `bury`, when it is flat, moves its cash
back. The dead are kept, without their marks: a fill of theirs would still be found.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from apex_nautilus.actors.reconciliation import Balance
from apex_nautilus.actors.trade_return import book_fill
from apex_nautilus.genome import Genome
from apex_nautilus.risk import MAX_MONEY, AgentAccount
from apex_nautilus.store import StoreError, check_name

__all__ = ["Agent", "Role", "Roster", "Slot", "common_equities", "tag_of"]

Role = Literal["champion", "shadow"]


@dataclass(frozen=True, slots=True)
class Slot:
    """A place for one champion on one instrument."""

    name: str
    instrument_id: str


@dataclass(slots=True, eq=False)
class Agent:
    """One generation of one genome with its own money.

    Attributes
    ----------
    name : str
        ``<slot>.e<epoch>`` for a champion, ``shadow-<n>`` for a challenger; never used twice in a run.
    tag : str
        The order id tag of its strategy, unique to the generation.
    slot, epoch : str, int
        The slot that it holds, or that its job named ("" for any; epoch 0 for a shadow).
    account : AgentAccount
        Cash and position from its own fills and funding.
    equities : array of float64
        One number a mark, USD, from mark `first_mark` on; empty once it is gone.
    returns : list of float
        The `trade_return` of each closed trade.
    """

    name: str
    tag: str
    role: Role
    slot: str
    epoch: int
    genome: Genome
    path: Path
    instrument_id: str
    capital: float
    born_ns: int
    first_mark: int
    account: AgentAccount
    equities: array = field(default_factory=lambda: array("d"))
    returns: list[float] = field(default_factory=list)
    last_fill_ns: int = 0
    flat_cash: float = 0.0
    closing: str = ""
    judged_trades: int = -1
    is_promoted: bool = False
    is_gone: bool = False

    def book_fill(self, qty: float, price: float, fee: float, ts_ns: int) -> bool:
        """Book a fill of signed `qty`; return whether it closed a trade (the position went flat)."""
        closed = book_fill(self, qty, price, fee)
        self.last_fill_ns = ts_ns
        return closed

    def book_funding(self, amount: float) -> None:
        """Book what the open position received at a settlement; it is part of the trade's return."""
        self.account.fund(amount)

    @property
    def balance(self) -> Balance:
        """The ledger's line for `reconcile`."""
        return Balance(self.name, self.account.balance, self.instrument_id, self.account.position)


class Roster:
    """All agents of a run and the treasury.

    Parameters
    ----------
    slots : list of Slot
        Names and tags must be distinct.
    capital : float
        USD that a birth moves from the treasury.

    Raises
    ------
    ValueError
        When there is no slot, a slot's name cannot name a file, two slots share a name or a tag, or the
        capital is not positive.
    """

    def __init__(self, slots: list[Slot], capital: float):
        if not slots:
            raise ValueError("slots: there is none; give at least one {slot, instrument_id}")
        if not 0.0 < capital <= MAX_MONEY:
            raise ValueError(f"capital: must be in (0, {MAX_MONEY:g}], got {capital!r}")
        for i, slot in enumerate(slots):
            try:
                check_name(slot.name, "slot")
            except StoreError as error:
                raise ValueError(f"slots[{i}].slot: {str(error).removeprefix('slot ')}") from None
        tags = [tag_of(s.name, 0) for s in slots]
        if len(set(tags)) != len(tags):
            raise ValueError(
                f"slots: slot names must differ in letters and digits, got {[s.name for s in slots]}"
            )
        self.slots = {slot.name: slot for slot in slots}
        self.capital = capital
        self.treasury = 0.0
        self.agents: dict[str, Agent] = {}
        self._living: dict[str, Agent] = {}
        self._champions: dict[str, Agent] = {}
        self._by_strategy: dict[str, Agent] = {}
        self._shadows = 0

    @property
    def instruments(self) -> list[str]:
        """The instruments that have a slot, sorted."""
        return sorted({slot.instrument_id for slot in self.slots.values()})

    def bear(
        self,
        role: Role,
        *,
        slot: str,
        epoch: int,
        genome: Genome,
        path: Path,
        size_precision: int,
        ts_ns: int,
        mark: int,
    ) -> Agent:
        """Enter a new agent into the books and move its capital to it."""
        if role == "champion":
            name, tag = f"{slot}.e{epoch}", tag_of(slot, epoch)
        else:
            self._shadows += 1
            name, tag = f"shadow-{self._shadows}", f"SHADOW{self._shadows}"
        if name in self.agents:
            raise ValueError(f"arena: {name} was born before; an epoch is used once")
        agent = Agent(
            name=name,
            tag=tag,
            role=role,
            slot=slot,
            epoch=epoch,
            genome=genome,
            path=path,
            instrument_id=genome.instrument_id,
            capital=self.capital,
            born_ns=ts_ns,
            first_mark=mark,
            account=AgentAccount(self.capital, size_precision=size_precision),
            last_fill_ns=ts_ns,
        )
        self.treasury -= self.capital
        self.agents[name] = self._living[name] = agent
        if role == "champion":
            self._champions[slot] = agent
        return agent

    def bind(self, agent: Agent, strategy_id: str) -> None:
        """Say which strategy's fills are this agent's."""
        self._by_strategy[strategy_id] = agent

    def of_strategy(self, strategy_id: str) -> Agent | None:
        """The agent, living or dead, whose strategy has this id."""
        return self._by_strategy.get(strategy_id)

    def bury(self, agent: Agent) -> None:
        """Take a flat agent out and move its cash (a debt, if negative) to the treasury.

        Raises
        ------
        ValueError
            When it holds a position still.
        """
        if not agent.account.is_flat:
            raise ValueError(
                f"arena: {agent.name} holds {agent.account.position!r}; flatten it before its burial"
            )
        self.treasury += agent.account.balance
        agent.is_gone = True
        agent.equities = array("d")
        del self._living[agent.name]
        if self._champions.get(agent.slot) is agent:
            del self._champions[agent.slot]

    def living(self) -> list[Agent]:
        """Agents in the books, closing ones included, in the order of their births."""
        return list(self._living.values())

    def champion_of(self, slot: str) -> Agent | None:
        """The agent that holds `slot`, closing or not, or None."""
        return self._champions.get(slot)

    def shadows(self, instrument_id: str | None = None) -> list[Agent]:
        """Living challengers (of one instrument) that are not closing."""
        return [
            a
            for a in self.living()
            if a.role == "shadow" and not a.closing and instrument_id in (None, a.instrument_id)
        ]

    def where(self, genome_id: str) -> str | None:
        """Where a genome lives now, in words, or None."""
        for agent in self.living():
            if agent.genome.id == genome_id:
                return (
                    f"champion of {agent.slot}" if agent.role == "champion" else f"in shadow ({agent.name})"
                )
        return None


def common_equities(a: Agent, b: Agent) -> tuple[np.ndarray, np.ndarray]:
    """Equities of two living agents at the marks that both have seen, of one length."""
    first = max(a.first_mark, b.first_mark)
    last = min(a.first_mark + len(a.equities), b.first_mark + len(b.equities))
    count = max(0, last - first)
    lo_a, lo_b = first - a.first_mark, first - b.first_mark
    return (
        np.array(a.equities[lo_a : lo_a + count], dtype=np.float64),
        np.array(b.equities[lo_b : lo_b + count], dtype=np.float64),
    )


def tag_of(slot: str, epoch: int) -> str:
    """Order id tag of a slot's generation: letters and digits alone, for ids are joined with hyphens."""
    return f"{''.join(c for c in slot if c.isalnum()).upper()}E{epoch}"
