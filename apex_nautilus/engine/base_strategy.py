"""The base of every trading agent: one bracketed position at a time, on an account shared with others."""

from __future__ import annotations

from nautilus_trader.model.identifiers import InstrumentId
from nautilus_trader.trading.config import StrategyConfig
from nautilus_trader.trading.strategy import Strategy

from apex_nautilus.risk import InstrumentSpec

__all__ = ["ApexStrategy", "ApexStrategyConfig"]


class ApexStrategyConfig(StrategyConfig, frozen=True, kw_only=True):
    """Configuration common to all agents.

    Parameters
    ----------
    instrument_id : InstrumentId
        What is traded.
    slot : str
        Name of the agent's slot; reports and ledgers show it.
    capital : float
        The agent's own money at birth, in the instrument's quote currency.
    legs : {"native", "emulated"}
        Whether stop and take-profit rest at the venue, or the strategy sends an order at the event that crosses them.
    """

    instrument_id: InstrumentId
    slot: str = "main"
    capital: float = 200.0
    legs: str = "native"


class ApexStrategy(Strategy):
    """Opens, guards and closes brackets by its own order ids, and keeps the agent's ledger from its own fills."""

    spec: InstrumentSpec

    def enter(self, side: int, quantity: float, take_profit: float, stop: float, max_hold_ns: int) -> bool:
        """Send the entry of a bracket; the legs follow its fill. Returns False unless flat, idle and not retiring."""
        raise NotImplementedError

    def close(self, reason: str) -> None:
        """Cancel own legs and close the position at market; idempotent."""
        raise NotImplementedError

    def retire(self, reason: str) -> None:
        """Take no more entries and close; `is_flat` tells when it is done."""
        raise NotImplementedError

    @property
    def is_retiring(self) -> bool:
        raise NotImplementedError

    @property
    def is_flat(self) -> bool:
        """No position and no working order."""
        raise NotImplementedError
