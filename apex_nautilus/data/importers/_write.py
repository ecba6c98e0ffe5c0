"""The last step of an import: publish one instrument's events and keep the report."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

import numpy as np

from apex_nautilus.data.catalog_writer import CatalogWriter
from apex_nautilus.data.importers.report import ImportReport
from apex_nautilus.data.importers.reports_kept import keep_report
from apex_nautilus.risk import InstrumentSpec

__all__ = ["publish"]


def publish(
    catalog_path: str | os.PathLike[str],
    instrument: InstrumentSpec,
    chunks: Iterable[np.ndarray],
    report: Callable[[], ImportReport],
    *,
    replace: bool,
) -> ImportReport:
    """Write `chunks` of `EVENT`, all or none, then keep and return the report.

    `report` is called when the chunks are used up, before anything is published: an error it raises leaves
    the catalog as it was.
    """
    with CatalogWriter(catalog_path, instrument, replace=replace) as writer:
        for chunk in chunks:
            writer.append(chunk)
        told = report()
        written = writer.commit()
    told.written = {"deltas": written.deltas, "trades": written.trades, "batches": written.batches}
    told.files = list(written.files)
    for reason, count in (("receive_time_moved", written.moved), ("files_replaced", len(written.replaced))):
        if count:
            told.noted[reason] = count
    keep_report(catalog_path, told)
    return told
