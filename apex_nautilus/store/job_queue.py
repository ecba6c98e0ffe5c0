"""The port between the arena and the Forge: jobs, and what every queue of them promises.

Two queues keep the same promises: files of one catalog (`file_jobs`) and a Redis server (`redis_jobs`).

- **Idempotent by id**: a job whose id the queue knows, in whatever state, is not taken a second time.
- **At least once**: a job belongs to the worker that claimed it while that worker lives. When it dies,
  however it dies, the job is given to another.
- **The first answer stands**, also when a worker that was taken for dead answers after its successor.
- **Poison**: a job whose third attempt ends in an error, or in the death of its worker, is put away as
  failed, with the reason.
- **Order**: who asked first is served first; a job that was given back comes before those that nobody tried
  yet.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Protocol

import msgspec

from apex_nautilus.store.errors import StoreError
from apex_nautilus.store.layout import check_name

__all__ = [
    "JOB_SCHEMA",
    "MAX_ATTEMPTS",
    "Claim",
    "Job",
    "JobQueue",
    "JobStatus",
    "LiveEvidence",
    "PromoteJob",
    "QueueUnavailable",
    "RecycleJob",
    "decode_job",
    "encode_job",
]

JOB_SCHEMA = "apex.job/1"
MAX_ATTEMPTS = 3


class QueueUnavailable(StoreError):
    """The queue's server does not answer. Nothing is known of the call; every call may be repeated."""


class RecycleJob(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="job_type",
    tag="RECYCLE_DNA",
):
    """A request for a genome to fill a slot.

    Attributes
    ----------
    job_id : unique; asking twice under one id asks once.
    asset : the instrument id of the slot.
    slot : which slot is empty.
    terminated_model_id : id of the genome that died, None when the slot was never filled.
    seed_dna_from : id of the genome to start from (the asset's best by DSR so far), None for a fresh start.
    created_ns : engine time of the request, nanoseconds.
    schema : constant.
    """

    job_id: str
    asset: str
    slot: str
    terminated_model_id: str | None = None
    seed_dna_from: str | None = None
    created_ns: int
    schema: str = JOB_SCHEMA

    @classmethod
    def create(
        cls,
        *,
        asset: str,
        slot: str,
        created_ns: int,
        terminated_model_id: str | None = None,
        seed_dna_from: str | None = None,
    ) -> RecycleJob:
        """A job whose id follows from its content, so that a crashed caller who asks again asks for the same
        job.
        """
        content = f"{asset}|{slot}|{created_ns}|{terminated_model_id}|{seed_dna_from}"
        return cls(
            job_id=f"recycle-{slot}-{_digest(content)}",
            asset=asset,
            slot=slot,
            terminated_model_id=terminated_model_id,
            seed_dna_from=seed_dna_from,
            created_ns=created_ns,
        )

    @property
    def job_type(self) -> str:
        """``RECYCLE_DNA``."""
        return "RECYCLE_DNA"

    @property
    def file_name(self) -> str:
        """``recycle_job_<UTC to the nanosecond>_<slot>.json``: sorts by time of request."""
        return f"recycle_job_{_utc(self.created_ns)}_{check_name(self.slot, 'slot')}.json"


class LiveEvidence(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an agent has shown in the arena; numbers that are not known are None.

    Attributes
    ----------
    trades : closed trades it was judged by.
    sharpe : per trade, not annualised.
    psr, dsr : probabilistic and deflated Sharpe ratio.
    trials, trials_variance : N and V of the deflation: all agents judged in this arena.
    capital, equity : USD at birth and when it was promoted.
    """

    trades: int
    sharpe: float | None = None
    psr: float | None = None
    dsr: float | None = None
    trials: int = 0
    trials_variance: float | None = None
    capital: float | None = None
    equity: float | None = None


class PromoteJob(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="job_type",
    tag="PROMOTE_DNA",
):
    """News of a genome that has proven itself live: the Forge is to breed from it.

    Attributes
    ----------
    job_id : unique; telling twice under one id tells once.
    asset, slot : where it trades.
    genome_id : its id.
    genome : the genome itself, as its file has it: the Forge may run on another machine than the arena.
    evidence : LiveEvidence
    created_ns : engine time of the promotion, nanoseconds.
    schema : constant.
    """

    job_id: str
    asset: str
    slot: str
    genome_id: str
    genome: dict[str, Any]
    evidence: LiveEvidence
    created_ns: int
    schema: str = JOB_SCHEMA

    @classmethod
    def create(
        cls,
        *,
        asset: str,
        slot: str,
        genome_id: str,
        genome_json: bytes,
        evidence: LiveEvidence,
        created_ns: int,
    ) -> PromoteJob:
        """A job whose id follows from slot, genome and time.

        Raises
        ------
        StoreError
            `genome_json` is not a JSON object.
        """
        try:
            genome = msgspec.json.decode(genome_json, type=dict[str, Any])
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise StoreError(f"genome {genome_id}: its file is not a JSON object ({error})") from None
        return cls(
            job_id=f"promote-{slot}-{_digest(f'{asset}|{slot}|{created_ns}|{genome_id}')}",
            asset=asset,
            slot=slot,
            genome_id=genome_id,
            genome=genome,
            evidence=evidence,
            created_ns=created_ns,
        )

    @property
    def job_type(self) -> str:
        """``PROMOTE_DNA``."""
        return "PROMOTE_DNA"

    @property
    def file_name(self) -> str:
        """``promote_job_<UTC to the nanosecond>_<slot>_<genome>.json``: a champion and its challenger, or the
        agents of two runs, may be promoted at one instant."""
        slot, genome = check_name(self.slot, "slot"), check_name(self.genome_id, "genome")
        return f"promote_job_{_utc(self.created_ns)}_{slot}_{genome}.json"


Job = RecycleJob | PromoteJob
"""Either kind; ``job_type`` in the file tells which."""


class JobStatus(msgspec.Struct, frozen=True):
    """Where a job stands.

    Attributes
    ----------
    state : ``todo``, ``doing``, ``done`` or ``failed``.
    job : the request.
    attempts : how many times it was claimed.
    owner : who works on it, when ``doing``.
    result : what `complete` was given, when ``done``.
    reason : why it failed, when ``failed``.
    """

    state: str
    job: Job
    attempts: int = 0
    owner: str | None = None
    result: dict[str, Any] | None = None
    reason: str | None = None


class Claim:
    """A job in the hands of one worker, until the queue's `complete` or `fail`.

    Attributes
    ----------
    job : the request.
    attempt : 1 for the first delivery.
    owner : name of the worker.
    """

    def __init__(self, job: Job, attempt: int, owner: str) -> None:
        self.job = job
        self.attempt = attempt
        self.owner = owner

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.job.job_id!r}, attempt={self.attempt}, owner={self.owner!r})"

    def release(self) -> None:
        """Let go without an answer; after the next `recover` the job is there for anybody."""
        raise NotImplementedError


class JobQueue(Protocol):
    """What the arena, the worker and the commands need of a queue.

    Life cycle: the arena `put`s; a worker `recover`s and `claim`s, tells `heartbeat` more often than once in
    `lease_s` while it works, then `complete`s or `fail`s; anybody asks for `status`. Every call may come from
    any number of threads and processes.

    Attributes
    ----------
    lease_s : after so many seconds without a heartbeat a worker counts as dead; None where the queue sees its
        death by other means and needs no heartbeat.
    """

    @property
    def lease_s(self) -> float | None: ...

    def put(self, job: Job) -> bool:
        """Add a job; False when its id is known already (then nothing changes)."""
        ...

    def claim(self, owner: str) -> Claim | None:
        """Take the next job for the worker `owner`, or None when none waits."""
        ...

    def heartbeat(self, claim: Claim) -> bool:
        """Say that the worker lives; False when the job is no longer its own."""
        ...

    def complete(self, claim: Claim, result: dict[str, Any]) -> JobStatus:
        """Record the answer; one that stands already is kept and returned."""
        ...

    def fail(self, claim: Claim, reason: str) -> JobStatus:
        """Give a job back after an error, or put it away after `MAX_ATTEMPTS`."""
        ...

    def recover(self) -> list[str]:
        """Give back the jobs of dead workers; return their ids."""
        ...

    def status(self, job_id: str) -> JobStatus | None:
        """Where a job stands, None when its id is unknown."""
        ...

    def jobs(self) -> Iterator[JobStatus]:
        """Every job once."""
        ...

    def close(self) -> None:
        """Let go of connections; may be repeated."""
        ...


def encode_job(job: Job) -> bytes:
    """The job as JSON, for people to read as well."""
    return msgspec.json.format(msgspec.json.encode(job), indent=2) + b"\n"


_decoder = msgspec.json.Decoder(Job)


def decode_job(data: bytes) -> Job:
    """A job from its JSON; raises what `errors.NOT_JSON` lists."""
    return _decoder.decode(data)


def _digest(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _utc(ts_ns: int) -> str:
    seconds, nanoseconds = divmod(ts_ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, tz=UTC).strftime('%Y%m%dT%H%M%S')}{nanoseconds:09d}Z"
