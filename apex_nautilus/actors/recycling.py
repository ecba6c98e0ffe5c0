"""DNA recycling: who the replacement of a dead agent descends from, and the request for it.

The seed is the historically best genome of the asset by deflated Sharpe ratio: by the arena's own judgement
where the genome has lived long enough to have one, else by the evidence it came with. A genome that was never
measured can not be the best; where none was, the job asks for a fresh start from the terminated one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from apex_nautilus.store import (
    CatalogLayout,
    JobQueue,
    LedgerRecord,
    RecycleJob,
    StoreError,
)

__all__ = [
    "best_genome",
    "live_dsr",
    "put_job",
    "wait_for_answer",
]


class _Result(msgspec.Struct):
    dsr: float | None = None


class _Evidence(msgspec.Struct):
    out_of_sample: _Result | None = None


class _Seed(msgspec.Struct):
    """What the choice needs to know of a genome file; the rest is not read."""

    id: str
    instrument_id: str
    evidence: _Evidence | None = None


class _Champion(msgspec.Struct):
    genome: _Seed


def live_dsr(records: Iterable[LedgerRecord]) -> dict[str, float]:
    """The latest deflated Sharpe ratio that each genome got from the Watchtower."""
    found: dict[str, float] = {}
    for record in records:
        if record.kind == "verdict" and record.fields.get("dsr") is not None:
            found[record.fields["genome"]] = float(record.fields["dsr"])
    return found


def best_genome(
    layout: CatalogLayout, instrument_id: str, live: Mapping[str, float], *, default: str | None
) -> str | None:
    """Return the id of the instrument's best genome in the catalog, living or retired.

    Parameters
    ----------
    layout : CatalogLayout
    instrument_id : str
    live : mapping of genome id to the DSR of its life in the arena; it overrules a file's own evidence.
    default : str or None
        Returned where no genome of the instrument has a DSR.
    """
    best: tuple[float, str] | None = None
    for path in layout.genome_files():
        seed = _read_seed(path)
        if seed is None or seed.instrument_id != instrument_id:
            continue
        result = seed.evidence.out_of_sample if seed.evidence else None
        dsr = live.get(seed.id, math.nan if result is None or result.dsr is None else result.dsr)
        if math.isfinite(dsr) and (best is None or (dsr, seed.id) > best):
            best = (dsr, seed.id)
    return default if best is None else best[1]


def _read_seed(path: Path) -> _Seed | None:
    try:
        data = path.read_bytes()
    except OSError:
        return None  # taken by another process between listing and reading
    for kind in (_Champion, _Seed):
        try:
            found = msgspec.json.decode(data, type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            continue
        return found.genome if isinstance(found, _Champion) else found
    return None


def put_job(queue: JobQueue, job: RecycleJob) -> RecycleJob:
    """Put `job`, at the next free nanosecond if another request for the slot bears its time; return what was
    put."""
    while True:
        try:
            queue.put(job)
            return job
        except StoreError:
            if not any(
                known.job.slot == job.slot and known.job.created_ns == job.created_ns
                for known in queue.jobs()
            ):
                raise
        job = RecycleJob.create(
            asset=job.asset,
            slot=job.slot,
            created_ns=job.created_ns + 1,
            terminated_model_id=job.terminated_model_id,
            seed_dna_from=job.seed_dna_from,
        )


def wait_for_answer(queue: JobQueue, job_id: str, timeout_s: float, *, poll_s: float = 0.02) -> str:
    """Block until the job is answered or `timeout_s` of wall time passed.

    Engine time stands still meanwhile: what a run writes does not depend on how long the answer took, only on
    whether it came in time.

    Returns
    -------
    {"done", "failed", "todo", "doing", "unknown"}
        Where the job stood at the end of the wait.
    """
    give_up = time.monotonic() + timeout_s
    while True:
        status = queue.status(job_id)
        # A job that is renamed from one folder to the next while they are listed is in none of them for a
        # moment: not to be found is no answer.
        state = "unknown" if status is None else status.state
        if state in ("done", "failed") or time.monotonic() >= give_up:
            return state
        time.sleep(min(poll_s, max(timeout_s, 0.001)))
