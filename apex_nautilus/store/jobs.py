"""The queue of recycle jobs, as files: the arena asks for a new genome, the Forge answers.

A job is a file that moves by atomic renames: ``todo/`` -> ``doing/`` -> ``done/`` or ``failed/``.

- **Claim** is a rename whose new name carries the attempt and the owner
  (``<job>.try1.<owner>.json``). The owner also holds a lock on the file; the system drops it when the process
  dies, however it dies, so a dead owner is told from a slow one without any clock.
- **At least once**: `recover` puts the jobs of dead owners back. A worker that was killed after its genome
  was written will be asked again; its answer is the same because its random seed comes from the job's id.
- **Idempotent by id**: a job id that the queue knows, in whatever state, is not taken a second time, and the
  first result stands.
- **Poison**: a job whose third attempt fails goes to ``failed/`` with the reason.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from apex_nautilus.store.atomic import clean_temporaries, move, remove, write_atomic
from apex_nautilus.store.errors import NOT_JSON, StoreError
from apex_nautilus.store.faults import fault_point
from apex_nautilus.store.layout import CatalogLayout, check_name

__all__ = ["JOB_SCHEMA", "MAX_ATTEMPTS", "Claim", "FileJobQueue", "JobStatus", "RecycleJob"]

JOB_SCHEMA = "apex.job/1"
MAX_ATTEMPTS = 3

_STEM = re.compile(r"(recycle_job_[0-9TZ]+_[A-Za-z0-9_-]+)(?:\.try([0-9]+))?(?:\.([A-Za-z0-9_-]+))?\.json")


class RecycleJob(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request for a genome to fill a slot.

    Attributes
    ----------
    job_id : unique; asking twice under one id asks once.
    asset : the instrument id of the slot.
    slot : which slot is empty.
    terminated_model_id : id of the genome that died, None when the slot was never filled.
    seed_dna_from : id of the genome to start from (the asset's best by DSR so far), None for a fresh start.
    created_ns : engine time of the request, nanoseconds.
    job_type, schema : constants.
    """

    job_id: str
    asset: str
    slot: str
    terminated_model_id: str | None = None
    seed_dna_from: str | None = None
    created_ns: int
    job_type: str = "RECYCLE_DNA"
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
            job_id=f"recycle-{slot}-{hashlib.sha256(content.encode()).hexdigest()[:16]}",
            asset=asset,
            slot=slot,
            terminated_model_id=terminated_model_id,
            seed_dna_from=seed_dna_from,
            created_ns=created_ns,
        )

    @property
    def file_name(self) -> str:
        """``recycle_job_<UTC to the nanosecond>_<slot>.json``: sorts by time of request."""
        seconds, nanoseconds = divmod(self.created_ns, 1_000_000_000)
        utc = datetime.fromtimestamp(seconds, tz=UTC).strftime("%Y%m%dT%H%M%S")
        return f"recycle_job_{utc}{nanoseconds:09d}Z_{check_name(self.slot, 'slot')}.json"


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
    job: RecycleJob
    attempts: int = 0
    owner: str | None = None
    result: dict[str, Any] | None = None
    reason: str | None = None


class _Outcome(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of a file in ``done/`` or ``failed/``."""

    job: RecycleJob
    attempts: int
    result: dict[str, Any] | None = None
    reason: str | None = None


class Claim:
    """A job in the hands of one worker, until `FileJobQueue.complete` or `fail`; dropped, it can be
    redelivered.
    """

    def __init__(self, job: RecycleJob, path: Path, attempt: int, owner: str, descriptor: int) -> None:
        self.job = job
        self.path = path
        self.attempt = attempt
        self.owner = owner
        self._descriptor = descriptor

    def __repr__(self) -> str:
        return f"Claim({self.job.job_id!r}, attempt={self.attempt}, owner={self.owner!r})"

    def __del__(self) -> None:
        self.release()

    def release(self) -> None:
        """Let go of the lock without an answer: the next `recover` may give the job to someone else."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class FileJobQueue:
    """The queue in one catalog; any number of processes of one machine may use it at the same time.

    Life cycle: the arena `put`s, a worker `recover`s once as it starts, then `claim`s and `complete`s or
    `fail`s; anyone may ask for the `status`.

    Parameters
    ----------
    layout : the catalog; its folders are made.
    """

    def __init__(self, layout: CatalogLayout) -> None:
        self.layout = layout.ensure()
        self._folders = {
            "done": layout.jobs_done,
            "failed": layout.jobs_failed,
            "doing": layout.jobs_doing,
            "todo": layout.jobs_todo,
        }

    def put(self, job: RecycleJob) -> bool:
        """Add a job; False when its id is known already (then nothing changes).

        Raises
        ------
        StoreError
            The slot cannot be part of a file name, or another job has the same slot and time.
        """
        if self.status(job.job_id) is not None:
            return False
        try:
            write_atomic(self.layout.jobs_todo / job.file_name, _pretty(job), exclusive=True)
        except FileExistsError:
            if self.status(job.job_id) is not None:
                return False
            raise StoreError(
                f"{job.file_name}: another job asks for this slot at the same nanosecond"
            ) from None
        fault_point("jobs.put")
        return True

    def claim(self, owner: str) -> Claim | None:
        """Take the oldest job that waits, or None.

        Parameters
        ----------
        owner : name of the worker, for people who look at the folder.
        """
        check_name(owner, "owner")
        for path, stem, attempts, _ in self._files("todo"):
            descriptor = _lock(path)
            if descriptor is None:
                continue
            attempt = attempts + 1
            target = self.layout.jobs_doing / f"{stem}.try{attempt}.{owner}.json"
            fault_point("jobs.locked")
            try:
                move(path, target)
            except FileNotFoundError:
                os.close(descriptor)
                continue
            fault_point("jobs.claimed")
            try:
                job = msgspec.json.decode(target.read_bytes(), type=RecycleJob)
            except NOT_JSON as error:
                self._reject(target, stem, error)
                os.close(descriptor)
                continue
            claim = Claim(job, target, attempt, owner, descriptor)
            if self._answered(job, stem) is not None:  # asked again after it had been answered
                remove(target)
                claim.release()
                continue
            return claim
        return None

    def complete(self, claim: Claim, result: dict[str, Any]) -> JobStatus:
        """Record the answer and close the job; an answer that stands already is kept and returned.

        Parameters
        ----------
        claim : from `claim`.
        result : JSON-like; names the genome written (``genome_id``) and what the gate said.
        """
        return self._close(claim, "done", result=result)

    def fail(self, claim: Claim, reason: str) -> JobStatus:
        """Give a job back after an error; after `MAX_ATTEMPTS` it goes to ``failed/`` with the reason."""
        if claim.attempt >= MAX_ATTEMPTS:
            return self._close(claim, "failed", reason=reason)
        move(claim.path, self.layout.jobs_todo / f"{_stem(claim.path)}.try{claim.attempt}.json")
        fault_point("jobs.returned")
        claim.release()
        return JobStatus(state="todo", job=claim.job, attempts=claim.attempt, reason=reason)

    def recover(self) -> list[str]:
        """Put the jobs of dead workers back (or to ``failed/`` after three attempts); returns their file
        names.

        Also removes what a crash left behind: temporary files, and claims whose answer had been written.
        """
        for folder in self._folders.values():
            clean_temporaries(folder)
        redelivered = []
        for path, stem, attempts, owner in self._files("doing"):
            descriptor = _lock(path)
            if descriptor is None:
                continue  # its owner lives
            try:
                job = msgspec.json.decode(path.read_bytes(), type=RecycleJob)
                if self._answered(job, stem) is not None:
                    remove(path)
                elif attempts >= MAX_ATTEMPTS:
                    reason = f"worker {owner} died during attempt {attempts} of {MAX_ATTEMPTS}"
                    claim = Claim(job, path, attempts, owner or "unknown", descriptor)
                    descriptor = -1
                    self._close(claim, "failed", reason=reason)
                    redelivered.append(path.name)
                else:
                    move(path, self.layout.jobs_todo / f"{stem}.try{attempts}.json")
                    redelivered.append(path.name)
            except NOT_JSON as error:  # a crash left it between its claim and its being put away
                self._reject(path, stem, error)
            except FileNotFoundError:
                continue  # another process recovered it first
            finally:
                if descriptor >= 0:
                    os.close(descriptor)
        for path, stem, _, _ in self._files("todo"):
            if any((self._folders[state] / f"{stem}.json").exists() for state in ("done", "failed")):
                remove(path)
        return redelivered

    def status(self, job_id: str) -> JobStatus | None:
        """Where the job stands, or None when the queue does not know it."""
        for status in self.jobs():
            if status.job.job_id == job_id:
                return status
        return None

    def jobs(self) -> Iterator[JobStatus]:
        """Every job: answered ones first, then those being worked on, then waiting ones; by time within."""
        for state in ("done", "failed", "doing", "todo"):
            for path, _, attempts, owner in self._files(state):
                try:
                    data = path.read_bytes()
                    if state in ("done", "failed"):
                        outcome = msgspec.json.decode(data, type=_Outcome)
                        yield _closed(state, outcome)
                    else:
                        yield JobStatus(state, msgspec.json.decode(data, type=RecycleJob), attempts, owner)
                except (FileNotFoundError, *NOT_JSON):
                    # Moved on meanwhile (its next folder shows it), or no job at all (`claim` puts it away).
                    continue

    def _files(self, state: str) -> list[tuple[Path, str, int, str | None]]:
        """(path, stem, attempts, owner) of the job files in one folder, oldest first."""
        found = []
        for path in sorted(self._folders[state].iterdir()):
            match = _STEM.fullmatch(path.name)
            if match and path.is_file():
                found.append((path, match.group(1), int(match.group(2) or 0), match.group(3)))
        return found

    def _answered(self, job: RecycleJob, stem: str) -> JobStatus | None:
        for state in ("done", "failed"):
            path = self._folders[state] / f"{stem}.json"
            if path.exists():
                try:
                    outcome = msgspec.json.decode(path.read_bytes(), type=_Outcome)
                except NOT_JSON as error:
                    raise StoreError(
                        f"{path}: not the answer to a job ({error}); move it away to have the job done again"
                    ) from None
                if outcome.job.job_id == job.job_id:
                    return _closed(state, outcome)
        return None

    def _close(
        self, claim: Claim, state: str, *, result: dict[str, Any] | None = None, reason: str | None = None
    ) -> JobStatus:
        stem = _stem(claim.path)
        outcome = _Outcome(job=claim.job, attempts=claim.attempt, result=result, reason=reason)
        standing = self._answered(claim.job, stem)
        if standing is None:
            try:
                write_atomic(self._folders[state] / f"{stem}.json", _pretty(outcome), exclusive=True)
            except FileExistsError:
                standing = self._answered(claim.job, stem)
        fault_point("jobs.answered")
        remove(claim.path)
        fault_point("jobs.closed")
        claim.release()
        return standing or JobStatus(state, claim.job, claim.attempt, None, result, reason)

    def _reject(self, path: Path, stem: str, error: Exception) -> None:
        """A file in the queue that is no job: kept as it is in ``failed/``, with its reason beside it."""
        reason = f"not a recycle job: {error}\n"
        write_atomic(self.layout.jobs_failed / f"{stem}.json.reason.txt", reason.encode())
        move(path, self.layout.jobs_failed / f"{stem}.json.invalid")


def _lock(path: Path) -> int | None:
    """An open, locked descriptor of the file at `path`, or None when another process holds or moved it."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.stat(path).st_ino != os.fstat(descriptor).st_ino:
            raise FileNotFoundError(path)
    except (BlockingIOError, FileNotFoundError):
        os.close(descriptor)
        return None
    return descriptor


def _closed(state: str, outcome: _Outcome) -> JobStatus:
    return JobStatus(state, outcome.job, outcome.attempts, None, outcome.result, outcome.reason)


def _stem(path: Path) -> str:
    match = _STEM.fullmatch(path.name)
    if match is None:
        raise StoreError(f"{path}: not the name of a job file")
    return match.group(1)


def _pretty(struct: msgspec.Struct) -> bytes:
    return msgspec.json.format(msgspec.json.encode(struct), indent=2) + b"\n"
