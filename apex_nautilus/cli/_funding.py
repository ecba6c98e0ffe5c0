"""What a run says on the terminal of rates that were missing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from apex_nautilus.cli._ledger import time_text

__all__ = ["funding_notes"]


class _Coverage(Protocol):
    @property
    def instrument_id(self) -> str: ...
    @property
    def gaps(self) -> tuple[tuple[int, int], ...]: ...


def funding_notes(coverage: Iterable[_Coverage]) -> list[str]:
    """One sentence for each perpetual in whose funding rates there is a hole."""
    notes = []
    for line in coverage:
        if line.gaps:
            (start_ns, end_ns), more = line.gaps[0], len(line.gaps) - 1
            notes.append(
                f"funding of {line.instrument_id}: no rate is stored between {time_text(start_ns)[:-4]} and "
                f"{time_text(end_ns)[:-4]} UTC"
                + (f", nor in {more} later stretches" if more else "")
                + "; nothing was booked there"
            )
    return notes
