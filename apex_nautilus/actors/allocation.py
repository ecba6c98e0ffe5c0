"""Carrying the allocator's weights into the arena: who is asked, when, and whose orders they scale."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from apex_nautilus.actors.allocator import Allocation, Allocator, AllocatorRules
from apex_nautilus.actors.roster import Agent, Roster

__all__ = ["AllocationDesk", "log_growth"]

_NS = 1_000_000_000


def log_growth(agent: Agent, since_mark: int) -> NDArray[np.float64]:
    """Changes of the logarithm of an agent's equity from mark to mark, from mark `since_mark` on.

    An equity that is gone counts as a millionth of the capital; one that is not known yet is left out.
    """
    first = max(since_mark - agent.first_mark, 0)
    equities = np.array(agent.equities[first:], dtype=np.float64)
    equities = equities[np.isfinite(equities)]
    return np.diff(np.log(np.maximum(equities, 1e-6 * agent.capital)))


class AllocationDesk:
    """Asks the allocator every so often about the champions that live.

    Challengers have no weight. They are compared with a champion mark by mark, so they bet on its terms: with
    the multiplier of the champion whose slot they were asked for, or else the mean of those on their
    instrument.

    Parameters
    ----------
    rules : AllocatorRules
    """

    def __init__(self, rules: AllocatorRules) -> None:
        self._allocator = Allocator(rules)
        self._step_ns = round(rules.every_s * _NS)
        self._next_ns = 0
        self._since_mark = 0

    def open(self, now_ns: int) -> None:
        """Begin to count at `now_ns`."""
        self._next_ns = now_ns + self._step_ns

    def look(self, now_ns: int, roster: Roster, marks: int) -> Allocation | None:
        """The new weights when they are due and there is a champion, else None.

        Parameters
        ----------
        now_ns : int
            Engine time.
        roster : Roster
        marks : int
            Marks made so far.
        """
        if now_ns < self._next_ns:
            return None
        self._next_ns += -(-(now_ns - self._next_ns + 1) // self._step_ns) * self._step_ns
        since, self._since_mark = self._since_mark, max(marks - 1, 0)
        living = [a for a in roster.living() if a.role == "champion" and not a.closing]
        if not living:
            return None
        return self._allocator.step({a.name: log_growth(a, since) for a in living})

    @staticmethod
    def multipliers(allocation: Allocation, roster: Roster) -> dict[str, float]:
        """What the orders of each living agent are multiplied by, challengers included."""
        found = {a.name: allocation.multiplier_of(a.name) for a in roster.living() if a.role == "champion"}
        for shadow in roster.shadows():
            rivals = [
                a
                for a in roster.living()
                if a.role == "champion" and not a.closing and a.instrument_id == shadow.instrument_id
            ]
            rivals = [a for a in rivals if a.slot == shadow.slot] or rivals
            found[shadow.name] = sum(found[a.name] for a in rivals) / len(rivals) if rivals else 1.0
        return found
