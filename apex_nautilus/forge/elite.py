"""The elite pool: genomes that proved themselves live, from which later studies start.

A job PROMOTE_DNA brings a genome and what it has shown in the arena; `file_elite` keeps both as one file,
``elite/<instrument>/<genome id>.json``. A study of a recycle job starts from the dead agent's DNA and from
the best of the pool (`elite_seeds`).

Who is in the pool was chosen by live results, so a study must not be judged on rows that those results came
from, nor on rows that the genome was bred on: such a genome is left out, not let in and refused later. Nor
may a job be answered by what was learnt after it was asked.
"""

from __future__ import annotations

import fcntl
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from apex_nautilus.features import names as feature_names
from apex_nautilus.forge.config import EvolutionConfig
from apex_nautilus.forge.errors import ForgeError
from apex_nautilus.forge.evaluation import StudyData
from apex_nautilus.forge.study import judged_from_ns
from apex_nautilus.genome import Genome, GenomeError, decode, encode
from apex_nautilus.store import (
    CatalogLayout,
    LiveEvidence,
    PromoteJob,
    RecycleJob,
    StoreError,
    fault_point,
    write_atomic,
)

__all__ = ["ELITE_SCHEMA", "MAX_SEEDS", "Elite", "elite_seeds", "file_elite", "list_elites"]

ELITE_SCHEMA = "apex.elite/1"
#: How many of the pool a study starts from at most.
MAX_SEEDS = 3


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file of an elite genome."""

    schema: str = ELITE_SCHEMA
    job_id: str
    slot: str
    promoted_ns: int
    live: LiveEvidence
    genome: dict[str, Any]


class Elite(msgspec.Struct, frozen=True, kw_only=True):
    """A genome of the pool.

    Attributes
    ----------
    genome : Genome
    live : what it has shown in the arena.
    promoted_ns : engine time of its promotion; its live evidence ends there.
    job_id, slot : which promotion told, and where it traded.
    """

    genome: Genome
    live: LiveEvidence
    promoted_ns: int
    job_id: str
    slot: str


def file_elite(layout: CatalogLayout, job: PromoteJob) -> Genome:
    """Keep the genome of a promotion in the pool; return it.

    A genome is in the pool once. Of two promotions the later one's evidence is kept, whichever is filed
    first, and filing one again changes nothing.

    Raises
    ------
    GenomeError
        The job's genome is none, or has another id than the job says.
    ForgeError
        It trades another instrument than the job says.
    """
    genome = decode(msgspec.json.encode(job.genome), known_features=feature_names(), source=job.job_id)
    if genome.id != job.genome_id:
        raise GenomeError(f"the genome's id is {genome.id}, the job says {job.genome_id}", source=job.job_id)
    if genome.instrument_id != job.asset:
        raise ForgeError(f"{job.job_id}: the genome trades {genome.instrument_id}, the job says {job.asset}")
    path = layout.elite_file(job.asset, genome.id)
    path.parent.mkdir(parents=True, exist_ok=True)
    new = _File(
        job_id=job.job_id,
        slot=job.slot,
        promoted_ns=job.created_ns,
        live=job.evidence,
        genome=msgspec.json.decode(encode(genome), type=dict[str, Any]),
    )
    with _locked(path.parent):
        standing = _read(path)
        if standing is None or (standing.promoted_ns, standing.job_id) < (new.promoted_ns, new.job_id):
            fault_point("elite.before_write")
            write_atomic(path, msgspec.json.format(msgspec.json.encode(new), indent=2) + b"\n")
    fault_point("elite.filed")
    return genome


def list_elites(layout: CatalogLayout, instrument_id: str) -> list[Elite]:
    """The pool of an instrument, best first: by live deflated Sharpe ratio, unknown ones last, then by id.

    A file that is damaged, or needs a feature that this version lacks, is left out.
    """
    found = []
    folder = layout.elite(instrument_id)
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else ():
        try:
            file = _read(path)
            if file is None:
                continue
            data = msgspec.json.encode(file.genome)
            genome = decode(data, known_features=feature_names(), source=path.name)
        except (GenomeError, StoreError):
            continue
        found.append(
            Elite(
                genome=genome,
                live=file.live,
                promoted_ns=file.promoted_ns,
                job_id=file.job_id,
                slot=file.slot,
            )
        )
    return sorted(found, key=lambda e: (-_or(e.live.dsr, -math.inf), e.genome.id))


def elite_seeds(
    layout: CatalogLayout, job: RecycleJob, data: StudyData, config: EvolutionConfig
) -> list[Genome]:
    """The best of the pool that a recycle job's study may start from, at most `MAX_SEEDS`.

    Trees of the data's clock and features, promoted before the job was asked, that have seen nothing of the
    rows the study is judged on, neither when they were bred nor live.
    """
    pool = list_elites(layout, job.asset)
    if not pool:
        return []
    judged_ns = judged_from_ns(data, config)
    seeds = []
    for elite in pool:
        genome = elite.genome
        span = genome.provenance.dataset_span
        fits = (
            genome.kind == "tree"
            and genome.clock == data.clock
            and set(genome.features) <= set(data.feature_names)
            and genome.id not in (job.seed_dna_from, job.terminated_model_id)
        )
        own = genome.provenance.dataset_id == data.card.id  # cut at the same places: its train part is ours
        unseen = own or span is None or span.end_ns <= judged_ns
        if fits and unseen and elite.promoted_ns <= min(job.created_ns, judged_ns):
            seeds.append(genome)
    return seeds[:MAX_SEEDS]


def _or(value: float | None, default: float) -> float:
    return default if value is None or math.isnan(value) else value


def _read(path: Path) -> _File | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_File)
    except FileNotFoundError:
        return None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise StoreError(
            f"{path}: not the file of an elite genome ({error}); remove it, the next promotion makes it anew"
        ) from None


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder against other workers; the system lets go of it when the process dies."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
