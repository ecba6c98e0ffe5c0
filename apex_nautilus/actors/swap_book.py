"""Changes of champion that are under way: both agents leave first, then the files change hands."""

from __future__ import annotations

from collections.abc import Set

from apex_nautilus.actors import records
from apex_nautilus.actors.pit_crew import Change, Installed
from apex_nautilus.actors.roster import Agent
from apex_nautilus.store import CatalogLayout, swap

__all__ = ["SwapBook"]


class SwapBook:
    """Keeps who is to follow whom in which slot, until both are gone.

    Parameters
    ----------
    layout : CatalogLayout
    """

    def __init__(self, layout: CatalogLayout) -> None:
        self._layout = layout
        self._under_way: dict[str, tuple[Agent, Agent | None]] = {}

    @property
    def slots(self) -> Set[str]:
        """Slots whose change is under way."""
        return self._under_way.keys()

    def begin(self, change: Change, outgoing: Agent | None) -> records.SwapBegin:
        """Enter a change; `outgoing` is None where the slot is empty. Returns its line."""
        self._under_way[change.slot] = (change.challenger, outgoing)
        return records.SwapBegin(
            slot=change.slot,
            epoch=0 if outgoing is None else outgoing.epoch,
            outgoing="" if outgoing is None else outgoing.genome.id,
            incoming=change.challenger.genome.id,
            probability=change.outcome.probability,
            marks=change.outcome.marks,
            reason=change.outcome.reason,
        )

    def ready(self) -> list[str]:
        """Slots whose agents, the challenger and the outgoing one, are both gone."""
        return [
            slot
            for slot, (challenger, outgoing) in self._under_way.items()
            if challenger.is_gone and (outgoing is None or outgoing.is_gone)
        ]

    def finish(self, slot: str) -> tuple[records.Swap, Installed]:
        """Let the files of `slot` change hands; return the line, and the champion that is to be born.

        Raises
        ------
        OSError, StoreError
            When a file cannot be written or moved; the change is under way still.
        """
        challenger, outgoing = self._under_way[slot]
        champion = swap(self._layout, slot, challenger.path)
        del self._under_way[slot]
        line = records.Swap(
            slot=slot,
            epoch=champion.epoch,
            outgoing="" if outgoing is None else outgoing.genome.id,
            incoming=challenger.genome.id,
        )
        path = self._layout.champion_file(champion.instrument_id, slot)
        return line, Installed(challenger.genome, path, slot, champion.epoch)
