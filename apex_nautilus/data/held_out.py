"""The test part of a dataset is opened once a study.

What is chosen after a look at the test part is no longer judged by it. The opening is therefore written to
the study's ledger before anything is read, and a study that has opened it may not do so for another genome.
A dataset is known by its id, so a copy of it, or the same built again, counts as the same.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

import msgspec

from apex_nautilus.data.errors import DataError
from apex_nautilus.store import LedgerRecord, LedgerWriter, read_all, read_ledger

__all__ = ["OPENED", "Opening", "TestPartOpened", "open_test_part", "openings", "openings_by_study"]

OPENED = "test_opened"
"""The kind of the ledger record."""


class TestPartOpened(DataError):
    """A study asks for the test part that it has opened before."""

    __test__ = False  # pytest takes the name for that of a test


class Opening(msgspec.Struct, frozen=True, kw_only=True):
    """One look at the test part of a dataset.

    Attributes
    ----------
    study_id, dataset_id : who looked, and at what.
    number : step of the study at which it was (the generation); records of a study are told apart by it.
    genome_id : what was judged; nothing else may be judged by the same part.
    rows : the test part, (lo, hi).
    opened_before : openings of this dataset by this study before this one; above 0 only where forced.
    forced : it was opened again in spite of that.
    """

    study_id: str
    dataset_id: str
    number: int
    genome_id: str
    rows: tuple[int, int]
    opened_before: int = 0
    forced: bool = False


def openings(records: Iterable[LedgerRecord]) -> list[Opening]:
    """Return the openings among ledger records, in their order."""
    found = []
    datasets = {}
    for record in records:
        fields = record.fields
        if record.kind == "study":
            datasets[fields.get("study_id")] = fields.get("dataset_id")
        elif record.kind == OPENED:
            known = {"dataset_id": datasets.get(fields.get("study_id"), "")} | dict(fields)
            found.append(msgspec.convert(known, Opening))
    return found


def openings_by_study(ledger: str | os.PathLike[str], dataset_id: str) -> dict[str, list[Opening]]:
    """Return who has opened the test part of a dataset, from all the ledgers of a folder.

    Parameters
    ----------
    ledger : the folder, usually ``CatalogLayout.ledger``
    """
    found: dict[str, list[Opening]] = {}
    for one in openings(read_all(ledger, kinds=["study", OPENED])):
        if one.dataset_id == dataset_id:
            found.setdefault(one.study_id, []).append(one)
    return found


def open_test_part(ledger: LedgerWriter | None, opening: Opening, ts_ns: int, *, force: bool = False) -> int:
    """Record that a study opens the test part, before it does; return how often it had done so.

    The very same opening (step, genome and rows) may be repeated: a study taken up after an interruption
    sees what it saw. It is not recorded twice.

    Parameters
    ----------
    ledger : of the study; without one nothing is known or kept, and nothing is refused.
    opening : `opened_before` and `forced` are filled in here.
    ts_ns : time of the record.
    force : open it again all the same; the ledger says so.

    Raises
    ------
    TestPartOpened
        The study has opened it at another step or for another genome, and `force` is not given.
    """
    if ledger is None:
        return 0
    before = [
        one
        for one in openings(read_ledger(ledger.path))
        if (one.study_id, one.dataset_id) == (opening.study_id, opening.dataset_id)
    ]
    this = (opening.number, opening.genome_id, opening.rows)
    for place, one in enumerate(before):
        if (one.number, one.genome_id, one.rows) == this:
            return place
    if before and not force:
        raise TestPartOpened(
            f"study {opening.study_id} opened the test part of dataset {opening.dataset_id[:16]} at "
            f"generation {before[-1].number}, for genome {before[-1].genome_id}: what is chosen since is no "
            "longer judged by it. Use data that the study has not seen, or say that it is to be opened "
            "again; the ledger will tell"
        )
    ledger.append(
        OPENED, ts_ns, msgspec.structs.replace(opening, opened_before=len(before), forced=bool(before))
    )
    ledger.flush()
    return len(before)
