"""The worker: a recycle job in, a new challenger out; a promotion in, one more genome to breed from.

The random seed of a job's study follows from the job's id, and its checkpoint lies in the catalog. So a
worker that is killed at any moment loses at most a generation: whoever claims the job next goes on from the
checkpoint and arrives at the same genome. A genome that bears the job's id answers the job, wherever in the
catalog it has got to. Which genomes of the elite pool its study starts from is written down by the first
attempt and kept by the next ones, however the pool has grown meanwhile.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec

from apex_nautilus.features import names as feature_names
from apex_nautilus.forge.config import EvolutionConfig
from apex_nautilus.forge.elite import elite_seeds, file_elite, list_elites
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
    JobQueue,
    JobStatus,
    LedgerWriter,
    PromoteJob,
    QueueUnavailable,
    RecycleJob,
    StoreError,
    fault_point,
    holds,
    read_all,
    read_champion,
    write_atomic,
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
    queue: JobQueue | None = None,
) -> JobStatus | None:
    """Take one job, answer it, and say how it ended; None when none waits.

    Jobs of dead workers are put back first. Of a recycle job the best candidate is always written, with
    whatever the gate says of it: backtest and paper slots are filled in any case. A promoted genome is filed
    in the elite pool.

    Parameters
    ----------
    layout : the catalog.
    datasets : dataset by instrument id, or a function that opens one.
    clock : time of the ledger records and of ``created_at``; by default the time of the job's request.
    config : of the study.
    owner : name of this worker, by default from the process number.
    progress : called with each generation's line.
    queue : where jobs are; by default the files of the catalog. Genomes go to the catalog in any case.

    Returns
    -------
    The job's status: ``done`` with ``result["genome_id"]`` and ``result["gate"]``, ``failed`` after three
    attempts, or ``todo`` when this attempt failed and another is left; the reason is in it.
    """
    queue = FileJobQueue(layout) if queue is None else queue
    queue.recover()
    claim = queue.claim(owner or f"worker-{os.getpid()}")
    if claim is None:
        return None
    try:
        with _pulse(queue, claim):
            if isinstance(claim.job, PromoteJob):
                genome = file_elite(layout, claim.job)
            else:
                genome = _answer(layout, claim.job, datasets, clock, config, progress)
    except Exception as error:  # noqa: BLE001 - whatever it is, it must not keep the next job from its answer
        return queue.fail(claim, f"{type(error).__name__}: {error}")
    except BaseException:
        claim.release()  # an interruption is not the job's fault: the next recovery puts it back
        raise
    fault_point("forge.before_complete")
    answer: dict[str, object] = {
        "genome_id": genome.id,
        "gate": genome.evidence.gate,
        "reasons": list(genome.evidence.gate_reasons),
    }
    if isinstance(claim.job, PromoteJob):
        answer["elite"] = True
    else:
        answer["seed_dna_from"] = claim.job.seed_dna_from
    return queue.complete(claim, answer)


@contextmanager
def _pulse(queue: JobQueue, claim: Claim) -> Iterator[None]:
    """Tell the queue from another thread that the worker lives, three times in each lease."""
    if queue.lease_s is None:
        yield
        return
    over = threading.Event()
    period_s = queue.lease_s / 3.0

    def beat() -> None:
        while not over.wait(period_s):
            try:
                if not queue.heartbeat(claim):
                    return  # taken for dead: the answer is given all the same, and the first one stands
            except QueueUnavailable:
                continue  # the server may come back before the lease ends

    thread = threading.Thread(target=beat, name=f"heartbeat-{claim.owner}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _answer(
    layout: CatalogLayout,
    job: RecycleJob,
    datasets: Mapping[str, StudyData] | Callable[[str], StudyData],
    clock: Clock | None,
    config: EvolutionConfig,
    progress: Callable[[GenerationReport], None] | None,
) -> Genome:
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
    seeds = (*(() if parent is None else (parent,)), *_elites(layout, job, data, config))
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


def _elites(layout: CatalogLayout, job: RecycleJob, data: StudyData, config: EvolutionConfig) -> list[Genome]:
    """The genomes of the elite pool that the job's study starts from, the same in each attempt."""
    kept = layout.studies / f"seeds-{hashlib.sha256(job.job_id.encode()).hexdigest()[:16]}.json"
    pool = elite_seeds(layout, job, data, config)
    if not kept.exists():
        write_atomic(kept, msgspec.json.encode([genome.id for genome in pool]) + b"\n")
        return pool
    chosen = msgspec.json.decode(kept.read_bytes(), type=list[str])
    found = {elite.genome.id: elite.genome for elite in list_elites(layout, job.asset)}
    return [found[genome_id] for genome_id in chosen if genome_id in found]


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
