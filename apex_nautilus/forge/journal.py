"""What a study writes into the ledger, once each, however often it is taken up again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from apex_nautilus.forge.errors import ForgeError
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

    def check_test_part(self, dataset_id: str, generations: int) -> None:
        """Raise ForgeError where the study has opened the test part at another generation than it is to end
        at, and would choose again; better now than after the generations in between.
        """
        from apex_nautilus.data.held_out import openings

        if self._writer is None:
            return
        for one in openings(read_ledger(self._writer.path)):
            if (one.study_id, one.dataset_id) == (self._study_id, dataset_id) and generations != one.number:
                raise ForgeError(
                    f"study {self._study_id} opened its test part at generation {one.number}, for genome "
                    f"{one.genome_id}: what {generations} generations choose would no longer be judged by "
                    "data they have not seen. Begin a study with another seed, or have the test part opened "
                    "again (--reopen-test); the ledger will tell"
                )

    def open_test_part(
        self, dataset_id: str, genome_id: str, rows: tuple[int, int], number: int, *, force: bool
    ) -> None:
        """Record that the test part is opened; raises ForgeError where it was, for another genome."""
        # Here, because it imports Nautilus, which whoever holds a dataset has done already.
        from apex_nautilus.data.held_out import Opening, TestPartOpened, open_test_part

        opening = Opening(
            study_id=self._study_id, dataset_id=dataset_id, number=number, genome_id=genome_id, rows=rows
        )
        try:
            open_test_part(self._writer, opening, self._clock(), force=force)
        except TestPartOpened as error:
            raise ForgeError(str(error)) from None


def trial_fields(trial: Trial) -> dict[str, Any]:
    """A trial's ledger fields; its number is the record's."""
    return {name: getattr(trial, name) for name in trial.__struct_fields__ if name != "number"}
