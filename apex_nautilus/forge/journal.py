"""What a study writes into the ledger, once each, however often it is taken up again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from apex_nautilus.forge.evaluation import Trial
from apex_nautilus.forge.evolution import GenerationReport
from apex_nautilus.store import LedgerWriter, read_ledger

__all__ = ["Clock", "StudyJournal"]

#: Gives the time, nanoseconds since 1970 UTC: engine time, or the end of the data.
Clock = Callable[[], int]


class StudyJournal:
    """The ledger of one study.

    A study that is resumed from its last checkpoint repeats what it did after it. The repetition is exact, so
    a record that is in the ledger already is not written again: the count of trials stays true.

    Parameters
    ----------
    writer : open ledger, or None to keep no record.
    study_id : of the study.
    clock : time of the records.
    """

    def __init__(self, writer: LedgerWriter | None, study_id: str, clock: Clock) -> None:
        self._writer = writer
        self._study_id = study_id
        self._clock = clock
        self._known: set[tuple[str, Any]] = set()
        if writer is not None:
            for record in read_ledger(writer.path):
                if record.fields.get("study_id") == study_id:
                    self._known.add((record.kind, record.fields.get("number")))

    def write(self, kind: str, number: int, fields: dict[str, Any]) -> None:
        """Record `fields` as the study's `number`-th event of its kind, unless that is there."""
        self.write_many(kind, [(number, fields)])

    def write_many(self, kind: str, events: Sequence[tuple[int, dict[str, Any]]]) -> None:
        """Record several events of one kind in one write."""
        if self._writer is None:
            return
        now = self._clock()
        fresh = [(number, fields) for number, fields in events if (kind, number) not in self._known]
        self._known.update((kind, number) for number, _ in fresh)
        self._writer.append_many(
            (kind, now, {"study_id": self._study_id, "number": number, **fields}) for number, fields in fresh
        )

    def trials(self, trials: Sequence[Trial]) -> None:
        """Record every trial."""
        self.write_many("trial", [(trial.number, trial_fields(trial)) for trial in trials])

    def generation(self, report: GenerationReport) -> None:
        """Record a generation's line."""
        fields = {name: getattr(report, name) for name in report.__struct_fields__}
        self.write("generation", report.generation, fields)

    def count(self, kind: str) -> int:
        """How many events of a kind the study has in the ledger."""
        return sum(1 for known, _ in self._known if known == kind)


def trial_fields(trial: Trial) -> dict[str, Any]:
    """A trial's ledger fields; its number is the record's."""
    return {name: getattr(trial, name) for name in trial.__struct_fields__ if name != "number"}
