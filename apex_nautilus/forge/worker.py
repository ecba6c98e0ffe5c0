"""The worker: a recycle job in, a new challenger out.

The random seed of a job's study follows from the job's id, and its checkpoint lies in the catalog. So a
worker that is killed at any moment loses at most a generation: whoever claims the job next goes on from the
checkpoint and arrives at the same genome. A genome that bears the job's id answers the job, wherever in the
catalog it has got to.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from apex_nautilus.features import names as feature_names
from apex_nautilus.forge.config import EvolutionConfig
from apex_nautilus.forge.errors import ForgeError
from apex_nautilus.forge.evaluation import StudyData
from apex_nautilus.forge.evolution import GenerationReport
from apex_nautilus.forge.journal import Clock
from apex_nautilus.forge.promote import deploy
from apex_nautilus.forge.study import evolve, study_id_of
from apex_nautilus.genome import Genome, GenomeError, decode
from apex_nautilus.store import (
    CatalogLayout,
    Claim,
    FileJobQueue,
    JobStatus,
    LedgerWriter,
    RecycleJob,
    StoreError,
    fault_point,
    holds,
    read_all,
    read_champion,
)

__all__ = ["WORKER_CONFIG", "find_genome", "job_seed", "work_once"]

#: What a job's study is, unless the caller says otherwise: small enough to answer within a minute or so.
WORKER_CONFIG = EvolutionConfig(population=100, generations=10)


def job_seed(job: RecycleJob) -> int:
    """The seed of a job's study: the first 63 bits of the SHA-256 of its id."""
    return int.from_bytes(hashlib.sha256(job.job_id.encode()).digest()[:8], "big") >> 1


def find_genome(layout: CatalogLayout, genome_id: str) -> Genome | None:
    """The genome with this id, wherever in the catalog it is, the ledger of refused ones included; None when
    it is nowhere or cannot be read.
    """
    path = holds(layout, genome_id)
    if path is not None:
        return _read(path)
    for record in reversed(read_all(layout.ledger, kinds=["refused"])):
        if record.fields.get("genome_id") == genome_id:
            return _decoded(str(record.fields["genome"]).encode(), f"ledger {record.writer}")
    return None


def work_once(
    layout: CatalogLayout,
    datasets: Mapping[str, StudyData] | Callable[[str], StudyData],
    clock: Clock | None = None,
    *,
    config: EvolutionConfig = WORKER_CONFIG,
    owner: str | None = None,
    progress: Callable[[GenerationReport], None] | None = None,
) -> JobStatus | None:
    """Take one job, answer it, and say how it ended; None when none waits.

    Jobs of dead workers are put back first. The best candidate is always written, with whatever the gate says
    of it: backtest and paper slots are filled in any case.

    Parameters
    ----------
    layout : the catalog.
    datasets : dataset by instrument id, or a function that opens one.
    clock : time of the ledger records and of ``created_at``; by default the time of the job's request.
    config : of the study.
    owner : name of this worker, by default from the process number.
    progress : called with each generation's line.

    Returns
    -------
    The job's status: ``done`` with ``result["genome_id"]`` and ``result["gate"]``, ``failed`` after three
    attempts, or ``todo`` when this attempt failed and another is left; the reason is in it.
    """
    queue = FileJobQueue(layout)
    queue.recover()
    claim = queue.claim(owner or f"worker-{os.getpid()}")
    if claim is None:
        return None
    try:
        genome = _answer(layout, claim, datasets, clock, config, progress)
    except Exception as error:  # noqa: BLE001 - whatever it is, it must not keep the next job from its answer
        return queue.fail(claim, f"{type(error).__name__}: {error}")
    except BaseException:
        claim.release()  # an interruption is not the job's fault: the next recovery puts it back
        raise
    fault_point("forge.before_complete")
    return queue.complete(
        claim,
        {
            "genome_id": genome.id,
            "gate": genome.evidence.gate,
            "reasons": list(genome.evidence.gate_reasons),
            "seed_dna_from": claim.job.seed_dna_from,
        },
    )


def _answer(
    layout: CatalogLayout,
    claim: Claim,
    datasets: Mapping[str, StudyData] | Callable[[str], StudyData],
    clock: Clock | None,
    config: EvolutionConfig,
    progress: Callable[[GenerationReport], None] | None,
) -> Genome:
    job = claim.job
    standing = _answer_of(layout, job)
    if standing is not None:
        return standing
    try:
        data = datasets(job.asset) if callable(datasets) else datasets[job.asset]
    except KeyError:
        raise ForgeError(
            f"there is no dataset of {job.asset}; build one and start the worker with it"
        ) from None
    if data.instrument.id != job.asset:
        raise ForgeError(f"the dataset for {job.asset} is of {data.instrument.id}")
    now = clock or (lambda: job.created_ns)
    parent = find_genome(layout, job.seed_dna_from) if job.seed_dna_from else None
    seeds = () if parent is None else (parent,)
    seed = job_seed(job)
    study_id = study_id_of(data, config, seed, seeds)
    run = layout.studies / study_id
    run.mkdir(parents=True, exist_ok=True)
    with LedgerWriter(layout.ledger, f"forge-{study_id}", group_commit=1000) as ledger:
        result = evolve(
            data,
            config,
            seed,
            clock=now,
            seeds=seeds,
            progress=progress,
            checkpoint=run / "checkpoint.json",
            ledger=ledger,
            exclude=_known_ids(layout, job),
            job_id=job.job_id,
            slot=job.slot,
        )
        deploy(layout, result.genome, clock=now, ledger=ledger, keep_refused=True)
    return result.genome


def _answer_of(layout: CatalogLayout, job: RecycleJob) -> Genome | None:
    """The genome that an earlier attempt wrote for this job."""
    mark = msgspec.json.encode(job.job_id)
    for path in layout.genome_files():
        if not _mentions(path, mark):
            continue
        genome = _read(path)
        if genome is not None and genome.provenance.job_id == job.job_id:
            return genome
    return None


def _mentions(path: Path, mark: bytes) -> bool:
    try:
        return mark in path.read_bytes()
    except FileNotFoundError:
        return False  # moved on between listing and reading; it is found where it went


def _read(path: Path) -> Genome | None:
    is_challenger = path.name.startswith("strategy_challenger_")
    try:
        data = path.read_bytes() if is_challenger else read_champion(path).genome_json()
    except (FileNotFoundError, StoreError):
        return None
    return _decoded(data, path.name)


def _decoded(data: bytes, source: str) -> Genome | None:
    try:
        return decode(data, known_features=feature_names(), source=source)
    except GenomeError:
        return None


def _known_ids(layout: CatalogLayout, job: RecycleJob) -> set[str]:
    """Genomes that would be no new challenger: the dead one, and all that the catalog has of this
    instrument.
    """
    known = {job.terminated_model_id} if job.terminated_model_id else set()
    for path in layout.genome_files():
        genome = _read(path)
        if genome is not None and genome.instrument_id == job.asset:
            known.add(genome.id)
    return known
