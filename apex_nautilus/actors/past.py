"""What an arena needs to know of its own past, read from the ledgers once.

A ledger may hold years: most of its lines are marks and fills. One pass keeps the few that a start has to
think about and the results of trades, so that memory grows with what happened and not with how long it took.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from apex_nautilus.actors.watchtower import Lives
from apex_nautilus.store import CatalogLayout, LedgerRecord, iterate_all

__all__ = ["Past", "read_past"]

_STORY = frozenset({"birth", "verdict", "burial", "swap", "recovery", "job_end"})


@dataclass(frozen=True, slots=True)
class Past:
    """The past of an arena.

    Attributes
    ----------
    story : list of LedgerRecord
        Births, verdicts, burials, swaps, recoveries and ends of jobs of all writers, by time.
    last_ns : int
        Time of the last line, 0 where there is none.
    lives : list of list of float
        Returns of the closed trades of every agent of this writer; see `watchtower.Lives`.
    """

    story: list[LedgerRecord] = field(default_factory=list)
    last_ns: int = 0
    lives: list[list[float]] = field(default_factory=list)


def read_past(layout: CatalogLayout, writer: str) -> Past:
    """Read the ledgers of a catalog as the arena that writes as `writer` needs them.

    Raises
    ------
    LedgerError
        When one is damaged.
    """
    story, last_ns, lives = [], 0, Lives()
    for record in iterate_all(layout.ledger):
        last_ns = max(last_ns, record.ts_ns)
        if record.kind in _STORY:
            story.append(record)
        if record.writer == writer:
            lives.take(record)
    return Past(story, last_ns, lives.returns)
