"""Decisions about money, as pure functions on numbers: size, bracket, cost, account.

In: what a venue says about an instrument, what a genome wants, the touch, the agent's equity. Out: an order (side,
quantity, take-profit, stop) or a reason why there is none, and the arithmetic of an agent's account.
No engine, no clock, no file. Every decision is a numba kernel, called alike by the replay, the simulator and live.
"""

from apex_nautilus.risk.instrument import InstrumentSpec

__all__ = ["InstrumentSpec"]
