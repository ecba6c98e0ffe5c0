"""Import reports, kept in the catalog beside the data they speak of."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from apex_nautilus.data.errors import DataError
from apex_nautilus.data.importers.report import ImportReport
from apex_nautilus.store.atomic import write_atomic

__all__ = ["keep_report", "kept_reports"]


def keep_report(catalog_path: str | os.PathLike[str], report: ImportReport) -> None:
    """Write the report beside the data it speaks of."""
    folder = Path(catalog_path) / "imports" / report.instrument_id
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{report.source}_{report.first_ns}_{report.last_ns}.json"
    write_atomic(folder / name, msgspec.json.format(msgspec.json.encode(report)) + b"\n")


def kept_reports(catalog_path: str | os.PathLike[str], instrument_id: str) -> list[ImportReport]:
    """Return the reports of the imports that made up an instrument's data, in order of time.

    Raises
    ------
    DataError
        When a report is damaged.
    """
    folder = Path(catalog_path) / "imports" / instrument_id
    reports = []
    for path in sorted(folder.glob("*.json")):
        try:
            reports.append(msgspec.json.decode(path.read_bytes(), type=ImportReport))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as e:
            raise DataError(f"{path}: not the report of an import ({e}); remove it") from e
    return sorted(reports, key=lambda r: (r.first_ns or 0, r.source))
