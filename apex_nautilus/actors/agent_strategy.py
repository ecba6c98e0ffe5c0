"""The strategy of an agent of the arena: a `GenomeStrategy` whose entries can be stopped from outside."""

from __future__ import annotations

from typing import Any, ClassVar

from nautilus_trader.model.identifiers import InstrumentId

from apex_nautilus.actors.roster import Agent
from apex_nautilus.engine import Entry
from apex_nautilus.strategies import GenomeStrategy, GenomeStrategyConfig

__all__ = ["AgentStrategy", "agent_strategy"]


class AgentStrategy(GenomeStrategy):
    """Trades one genome for one agent.

    Attributes
    ----------
    are_entries_halted : bool
        While set, the strategy opens nothing; what is open is guarded and closed as always. The engine's own
        trading states are global and refuse even closing orders, so the gate of one arena is here.
    posture, allocation : float
        What sizing multiplies its orders by, in this order: the posture of the whole book (1 where nobody
        sets one) and the allocator's multiplier. Leverage caps come after both.
    """

    keeps_records: ClassVar[bool] = False  # the arena's ledger does, and an agent may live for long

    are_entries_halted: bool = False
    posture: float = 1.0
    allocation: float = 1.0

    def set_posture(self, value: float) -> None:
        """Scale the orders by the posture from now on; raises ValueError where it is negative."""
        self.set_multiplier(value * self.allocation)
        self.posture = value

    def set_allocation(self, value: float) -> None:
        """Scale the orders by the allocator's multiplier from now on; raises ValueError where it is
        negative."""
        self.set_multiplier(self.posture * value)
        self.allocation = value

    def enter(self, *args: Any, **kwargs: Any) -> bool:
        """As in `ApexStrategy`, but False while entries are halted."""
        return False if self.are_entries_halted else super().enter(*args, **kwargs)

    def wants_entry(self, side: int) -> bool:
        """As in `GenomeStrategy`, but not while entries are halted."""
        return not self.are_entries_halted and super().wants_entry(side)

    def renew_entry(self, side: int, entry: Entry) -> Entry | None:
        """As in `GenomeStrategy`, but None while entries are halted."""
        return None if self.are_entries_halted else super().renew_entry(side, entry)


def agent_strategy(agent: Agent, **settings: Any) -> AgentStrategy:
    """Make the strategy of `agent`, with its capital and a tag that belongs to this generation alone;
    `settings` are further fields of `GenomeStrategyConfig`."""
    return AgentStrategy(
        GenomeStrategyConfig(
            instrument_id=InstrumentId.from_str(agent.instrument_id),
            genome=str(agent.path),
            slot=agent.slot or agent.name,
            capital=agent.capital,
            order_id_tag=agent.tag,
            **settings,
        )
    )
