"""The test part is opened once a study, and the ledger tells."""

from __future__ import annotations

import msgspec
import pytest

from apex_nautilus.data import Opening, TestPartOpened, open_test_part, openings_by_study
from apex_nautilus.store import LedgerWriter, read_ledger

FIRST = Opening(study_id="s1", dataset_id="d1", number=4, genome_id="a" * 16, rows=(80, 100))


def other(**changes) -> Opening:
    return msgspec.structs.replace(FIRST, **changes)


def test_a_second_look_is_refused_and_a_forced_one_is_on_record(tmp_path):
    path = tmp_path / "forge-s1.jsonl"
    with LedgerWriter(path, "forge-s1") as ledger:
        assert open_test_part(ledger, FIRST, 10) == 0
    later = other(number=9, genome_id="b" * 16)
    with LedgerWriter(path, "forge-s1") as ledger:
        with pytest.raises(TestPartOpened, match=r"opened the test part of dataset d1 at generation 4.*aaaa"):
            open_test_part(ledger, later, 20)
        assert [r.kind for r in read_ledger(path)] == ["test_opened"]
        assert open_test_part(ledger, later, 20, force=True) == 1
    (looks,) = openings_by_study(tmp_path, "d1").values()
    assert looks == [FIRST, msgspec.structs.replace(later, opened_before=1, forced=True)]


def test_the_same_look_after_an_interruption_is_not_another(tmp_path):
    with LedgerWriter(tmp_path, "forge-s1") as ledger:
        for _ in range(3):
            assert open_test_part(ledger, FIRST, 10) == 0
    assert len(read_ledger(tmp_path / "forge-s1.jsonl")) == 1


@pytest.mark.parametrize("changes", [{"genome_id": "b" * 16}, {"rows": (60, 100)}, {"number": 5}])
def test_another_genome_a_wider_part_or_a_later_step_is_another_look(changes, tmp_path):
    with LedgerWriter(tmp_path, "w") as ledger:
        open_test_part(ledger, FIRST, 10)
        with pytest.raises(TestPartOpened):
            open_test_part(ledger, other(**changes), 10)


@pytest.mark.parametrize("changes", [{"study_id": "s2"}, {"dataset_id": "d2"}])
def test_other_studies_and_other_data_have_their_own_first_look(changes, tmp_path):
    with LedgerWriter(tmp_path, "w") as ledger:
        open_test_part(ledger, FIRST, 10)
        assert open_test_part(ledger, other(**changes), 10) == 0


def test_openings_without_a_data_set_of_their_own_are_those_of_their_study(tmp_path):
    with LedgerWriter(tmp_path, "w") as ledger:
        ledger.append("study", 1, {"study_id": "s1", "number": 0, "dataset_id": "d1"})
        old = {"study_id": "s1", "number": 4, "genome_id": "a" * 16, "rows": [80, 100], "opened_before": 0}
        ledger.append("test_opened", 2, old)
        with pytest.raises(TestPartOpened):
            open_test_part(ledger, other(genome_id="b" * 16), 3)
    assert list(openings_by_study(tmp_path, "d1")) == ["s1"]
    assert openings_by_study(tmp_path, "d2") == openings_by_study(tmp_path / "none", "d1") == {}
