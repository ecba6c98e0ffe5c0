"""News for the Forge: a genome has proven itself live, and its children should be tried.

The verdict in the ledger comes first, the job PROMOTE_DNA after it; the job follows from the verdict alone,
id included. So what a crash cuts off between the two is told at the next start, and what is told twice counts
once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from apex_nautilus.features import names as feature_names
from apex_nautilus.genome import Genome, GenomeError, decode, encode
from apex_nautilus.store import (
    CatalogLayout,
    JobQueue,
    LedgerRecord,
    LiveEvidence,
    PromoteJob,
    StoreError,
    holds,
    read_champion,
)

__all__ = ["promotion_job", "tell_promotions"]


def promotion_job(genome: Genome, verdict: Mapping[str, Any], ts_ns: int) -> PromoteJob:
    """The job that tells of a promoted genome, with the numbers that its verdict was made from.

    Parameters
    ----------
    genome : Genome
    verdict : mapping
        Fields of the verdict's line in the ledger; NaN and None are numbers that are not known.
    ts_ns : int
        Engine time of the verdict.
    """

    def known(name: str) -> float | None:
        value = verdict.get(name)
        return None if value is None or not math.isfinite(value) else float(value)

    return PromoteJob.create(
        asset=genome.instrument_id,
        slot=verdict["slot"] or verdict["agent"],  # of a challenger, the slot that its own job named, if any
        genome_id=genome.id,
        genome_json=encode(genome),
        evidence=LiveEvidence(
            trades=int(verdict.get("judged") or verdict["trades"]),
            sharpe=known("sharpe"),
            psr=known("psr"),
            dsr=known("dsr"),
            trials=int(verdict["trials"]),
            trials_variance=known("trials_variance"),
            capital=known("capital"),
            equity=known("equity"),
        ),
        created_ns=ts_ns,
    )


def tell_promotions(layout: CatalogLayout, queue: JobQueue, history: Iterable[LedgerRecord]) -> None:
    """Tell the Forge of every promotion in a ledger. The queue knows those that it was told before.

    A genome whose file is gone, or that this version cannot read, is left out.
    """
    for record in history:
        if record.kind != "verdict" or record.fields.get("verdict") != "promote":
            continue
        path = holds(layout, record.fields["genome"])
        genome = None if path is None else _read_genome(path)
        if genome is not None:
            queue.put(promotion_job(genome, record.fields, record.ts_ns))


def _read_genome(path: Path) -> Genome | None:
    try:
        is_challenger = path.name.startswith("strategy_challenger_")
        data = path.read_bytes() if is_challenger else read_champion(path).genome_json()
        return decode(data, known_features=feature_names(), source=path.name)
    except (FileNotFoundError, StoreError, GenomeError):
        return None
