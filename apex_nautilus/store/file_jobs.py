"""The job queue of one catalog, as files.

A job is a file that moves by atomic renames: ``todo/`` -> ``doing/`` -> ``done/`` or ``failed/``.

- **Claim** is a rename whose new name carries the attempt and the owner (``<job>.try1.<owner>.json``). The
  owner also holds a lock on the file; the system drops it when the process dies, however it dies, so a dead
  owner is told from a slow one without any clock or heartbeat.
- **Known ids** are names in ``ids/``, each a hard link to the job's own file, wherever that moves: to ask
  whether an id is known, or how its job stands, looks at a handful of names and never lists the queue. The
  link count says whether the job still lies in it. Two links to one file share its lock, so that a job can
  never be held twice.
- **At least once**: `recover` puts the jobs of dead owners back. A worker that was killed after its genome
  was written will be asked again; its answer is the same because its random seed comes from the job's id.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from apex_nautilus.store.atomic import clean_temporaries, fsync_directory, move, remove, write_atomic
from apex_nautilus.store.errors import NOT_JSON, StoreError
from apex_nautilus.store.faults import fault_point
from apex_nautilus.store.job_queue import MAX_ATTEMPTS, Claim, Job, JobStatus, decode_job, encode_job
from apex_nautilus.store.layout import CatalogLayout, check_name

__all__ = ["FileClaim", "FileJobQueue"]

_STEM = re.compile(
    r"((?:recycle|promote)_job_([0-9TZ]+)_[A-Za-z0-9_-]+)(?:\.try([0-9]+))?(?:\.([A-Za-z0-9_-]+))?\.json"
)
_LOOKS = 8  # at a job's own places, before the whole queue is listed
_PLAIN_ID = re.compile(r"[A-Za-z0-9_-]{1,120}")


class _Outcome(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of a file in ``done/`` or ``failed/``."""

    job: Job
    attempts: int
    result: dict[str, Any] | None = None
    reason: str | None = None


class _File(msgspec.Struct, frozen=True):
    """A job's file in one of the four folders, as its name tells."""

    state: str
    path: Path
    stem: str
    utc: str
    attempts: int
    owner: str | None


class FileClaim(Claim):
    """A job file in ``doing/`` and the lock on it; dropped, it can be redelivered."""

    def __init__(self, job: Job, path: Path, attempt: int, owner: str, descriptor: int) -> None:
        super().__init__(job, attempt, owner)
        self.path = path
        self._descriptor = descriptor

    def __del__(self) -> None:
        self.release()

    def release(self) -> None:
        """Let go of the lock without an answer: the next `recover` may give the job to someone else."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    @property
    def is_held(self) -> bool:
        """Whether this claim still holds its lock."""
        return self._descriptor >= 0


class FileJobQueue:
    """The queue in one catalog; any number of processes of one machine may use it at the same time.

    Life cycle: the arena `put`s, a worker `recover`s as it starts, then `claim`s and `complete`s or
    `fail`s; anyone may ask for the `status`.

    Parameters
    ----------
    layout : the catalog; its folders are made.
    """

    lease_s: float | None = None

    def __init__(self, layout: CatalogLayout) -> None:
        self.layout = layout.ensure()
        self._folders = {
            "todo": layout.jobs_todo,
            "doing": layout.jobs_doing,
            "done": layout.jobs_done,
            "failed": layout.jobs_failed,
        }

    def __repr__(self) -> str:
        return f"FileJobQueue({str(self.layout.root)!r})"

    # ---------------------------------------------------------------- asking

    def put(self, job: Job) -> bool:
        """Add a job; False when its id is known already (then nothing changes).

        Takes as long with ten thousand jobs in the queue as with none.

        Raises
        ------
        StoreError
            The slot cannot be part of a file name, or another job has the same slot and time.
        """
        stem = job.file_name.removesuffix(".json")
        key = self._key(job.job_id)
        try:
            return self._finish_put(job, key)
        except FileNotFoundError:
            pass  # a new id
        standing = self._find(stem)
        if standing is not None:
            if standing.job.job_id == job.job_id:
                return False  # put by hand, or before ids were kept
            raise StoreError(f"{stem}.json: another job asks for this slot at the same nanosecond")
        try:
            write_atomic(key, encode_job(job), exclusive=True)
        except FileExistsError:
            return self._finish_put(job, key)
        fault_point("jobs.known")
        try:
            self._enter(key, stem)
        except FileExistsError:
            if self._same_file(key, self.layout.jobs_todo / f"{stem}.json"):
                return False  # another caller finished what this one had begun
            remove(key)
            raise StoreError(f"{stem}.json: another job asks for this slot at the same nanosecond") from None
        fault_point("jobs.put")
        return True

    def _finish_put(self, job: Job, key: Path) -> bool:
        """Put a job whose id has been seen, if a crash kept it from the queue; raises FileNotFoundError for a
        new id."""
        if key.stat().st_nlink > 1:
            return False
        try:
            request = decode_job(key.read_bytes())
        except NOT_JSON as error:
            raise StoreError(f"{key}: not a job ({error}); remove it to have the job asked again") from None
        if request.job_id != job.job_id:
            raise StoreError(f"{key}: is of job {request.job_id!r}, not of {job.job_id!r}; remove it")
        stem = request.file_name.removesuffix(".json")
        if self._find(stem) is not None:
            return False
        try:
            self._enter(key, stem)
        except FileExistsError:
            return False
        return True

    def _enter(self, key: Path, stem: str) -> None:
        os.link(key, self.layout.jobs_todo / f"{stem}.json")
        fsync_directory(self.layout.jobs_todo)

    # ---------------------------------------------------------------- working

    def claim(self, owner: str) -> FileClaim | None:
        """Take the oldest job that waits, or None.

        Parameters
        ----------
        owner : name of the worker, for people who look at the folder.
        """
        check_name(owner, "owner")
        for file in self._files("todo"):
            descriptor = _lock(file.path)
            if descriptor is None:
                continue
            attempt = file.attempts + 1
            target = self.layout.jobs_doing / f"{file.stem}.try{attempt}.{owner}.json"
            fault_point("jobs.locked")
            try:
                move(file.path, target)
            except FileNotFoundError:
                os.close(descriptor)
                continue
            fault_point("jobs.claimed")
            try:
                job = decode_job(target.read_bytes())
            except NOT_JSON as error:
                self._reject(target, file.stem, error)
                os.close(descriptor)
                continue
            claim = FileClaim(job, target, attempt, owner, descriptor)
            if self._answered(job, file.stem) is not None or not self._keep_id(job, target, file.stem):
                remove(target)  # asked again after it had been answered, or under a second name
                claim.release()
                continue
            return claim
        return None

    def heartbeat(self, claim: Claim) -> bool:
        """Whether the claim still holds; there is nothing to renew, its lock lasts as long as its process."""
        held = _own(claim)
        return held.is_held and held.path.exists()

    def complete(self, claim: Claim, result: dict[str, Any]) -> JobStatus:
        """Record the answer and close the job; an answer that stands already is kept and returned.

        Parameters
        ----------
        claim : from `claim`.
        result : JSON-like; names the genome written (``genome_id``) and what the gate said.
        """
        return self._close(_own(claim), "done", result=result)

    def fail(self, claim: Claim, reason: str) -> JobStatus:
        """Give a job back after an error; after `MAX_ATTEMPTS` it goes to ``failed/`` with the reason.

        A claim that was lost meanwhile changes nothing; the job's status is returned.
        """
        held = _own(claim)
        if not held.path.exists():
            held.release()
            return self.status(held.job.job_id) or JobStatus("todo", held.job, held.attempt, reason=reason)
        if held.attempt >= MAX_ATTEMPTS:
            return self._close(held, "failed", reason=reason)
        stem = _named(held.path, "doing").stem
        move(held.path, self.layout.jobs_todo / f"{stem}.try{held.attempt}.json")
        fault_point("jobs.returned")
        held.release()
        return JobStatus(state="todo", job=held.job, attempts=held.attempt, reason=reason)

    def recover(self) -> list[str]:
        """Put the jobs of dead workers back (or to ``failed/`` after three attempts); return their ids.

        Also removes what a crash left behind: temporary files, and claims whose answer had been written.
        """
        for folder in (*self._folders.values(), self.layout.jobs_ids):
            clean_temporaries(folder)
        redelivered = []
        for file in self._files("doing"):
            descriptor = _lock(file.path)
            if descriptor is None:
                continue  # its owner lives
            try:
                job = decode_job(file.path.read_bytes())
                if self._answered(job, file.stem) is not None:
                    remove(file.path)
                elif file.attempts >= MAX_ATTEMPTS:
                    reason = f"worker {file.owner} died during attempt {file.attempts} of {MAX_ATTEMPTS}"
                    claim = FileClaim(job, file.path, file.attempts, file.owner or "unknown", descriptor)
                    descriptor = -1
                    self._close(claim, "failed", reason=reason)
                    redelivered.append(job.job_id)
                else:
                    move(file.path, self.layout.jobs_todo / f"{file.stem}.try{file.attempts}.json")
                    redelivered.append(job.job_id)
            except NOT_JSON as error:  # a crash left it between its claim and its being put away
                self._reject(file.path, file.stem, error)
            except FileNotFoundError:
                continue  # another process recovered it first
            finally:
                if descriptor >= 0:
                    os.close(descriptor)
        for file in self._files("todo"):
            if any((self._folders[state] / f"{file.stem}.json").exists() for state in ("done", "failed")):
                remove(file.path)
        return redelivered

    # ---------------------------------------------------------------- looking

    def status(self, job_id: str) -> JobStatus | None:
        """Where the job stands, or None when the queue does not know it."""
        key = self._key(job_id)
        for _ in range(_LOOKS):
            try:
                stem = decode_job(key.read_bytes()).file_name.removesuffix(".json")
                links = key.stat().st_nlink
            except (FileNotFoundError, *NOT_JSON):
                break  # never put through a queue: by hand, or before ids were kept
            found = self._find(stem)
            if found is not None and found.job.job_id == job_id:
                return found
            if links < 2 or key.stat().st_nlink < 2:
                break
            # It lies in the queue and was renamed while its places were looked at.
        for status in self.jobs():
            if status.job.job_id == job_id:
                return status
        return None

    def jobs(self) -> Iterator[JobStatus]:
        """Every job once: answered ones first, then failed, those being worked on, and waiting ones."""
        found: dict[str, JobStatus] = {}
        # In the direction in which jobs move, so that one that moves on meanwhile is met again; the way back
        # to ``todo/`` is looked at twice.
        for state in ("todo", "doing", "todo", "done", "failed"):
            for file in self._files(state):
                if state == "todo" and file.stem in found:
                    continue
                status = self._read(file)
                if status is not None:
                    found[file.stem] = status
        order = {"done": 0, "failed": 1, "doing": 2, "todo": 3}
        yield from sorted(found.values(), key=lambda s: (order[s.state], s.job.created_ns, s.job.job_id))

    def close(self) -> None:
        """Nothing is held open."""

    # ---------------------------------------------------------------- files

    def _key(self, job_id: str) -> Path:
        """The name of an id in ``ids/``; one that cannot be a file name is told by its digest."""
        if not job_id:
            raise StoreError("job_id: is empty; a job needs an id")
        plain = _PLAIN_ID.fullmatch(job_id)
        name = job_id if plain else f"sha256.{hashlib.sha256(job_id.encode()).hexdigest()}"
        return self.layout.jobs_ids / f"{name}.json"

    @staticmethod
    def _same_file(one: Path, other: Path) -> bool:
        try:
            return os.path.samefile(one, other)
        except FileNotFoundError:
            return False

    def _keep_id(self, job: Job, path: Path, stem: str) -> bool:
        """Tie the job's id to its file at `path`; False where the id is that of another job in the queue."""
        key = self._key(job.job_id)
        try:
            os.link(path, key)
        except FileExistsError:
            if self._same_file(key, path):
                return True
            try:
                known = decode_job(key.read_bytes())
                own = known.file_name.removesuffix(".json")
                if own != stem and (key.stat().st_nlink > 1 or self._find(own) is not None):
                    return False
            except NOT_JSON:
                pass  # a damaged name is made anew
            remove(key)  # the catalog was copied, which makes two files of two links
            os.link(path, key)
        fsync_directory(key.parent)
        return True

    def _find(self, stem: str) -> JobStatus | None:
        """The job of this name, looked for where it can be, in the direction in which it moves."""
        tries = (stem, *(f"{stem}.try{n}" for n in range(1, MAX_ATTEMPTS)))
        places = [_named(self.layout.jobs_todo / f"{name}.json", "todo") for name in tries]
        places += [file for file in self._files("doing") if file.stem == stem]
        places += [_named(self._folders[state] / f"{stem}.json", state) for state in ("done", "failed")]
        for file in places:
            status = self._read(file)
            if status is not None:
                return status
        return None

    def _read(self, file: _File) -> JobStatus | None:
        """The status that a file tells, None when it has moved on or is no job (`claim` puts it away)."""
        try:
            data = file.path.read_bytes()
            if file.state in ("done", "failed"):
                return _closed(file.state, msgspec.json.decode(data, type=_Outcome))
            return JobStatus(file.state, decode_job(data), file.attempts, file.owner)
        except (FileNotFoundError, IsADirectoryError, *NOT_JSON):
            return None

    def _files(self, state: str) -> Iterator[_File]:
        """The job files in one folder, oldest first; what bears such a name and is no file is passed over."""
        found = [_STEM.fullmatch(name) for name in os.listdir(self._folders[state])]
        for match in sorted((m for m in found if m), key=lambda m: (m.group(2), m.group(0))):
            path = self._folders[state] / match.group(0)
            if path.is_file():
                yield _of(match, path, state)

    def _answered(self, job: Job, stem: str) -> JobStatus | None:
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
        self,
        claim: FileClaim,
        state: str,
        *,
        result: dict[str, Any] | None = None,
        reason: str | None = None,
    ) -> JobStatus:
        stem = _named(claim.path, "doing").stem
        outcome = _Outcome(job=claim.job, attempts=claim.attempt, result=result, reason=reason)
        standing = self._answered(claim.job, stem)
        if standing is None:
            data = msgspec.json.format(msgspec.json.encode(outcome), indent=2) + b"\n"
            try:
                write_atomic(self._folders[state] / f"{stem}.json", data, exclusive=True)
            except FileExistsError:
                standing = self._answered(claim.job, stem)
        fault_point("jobs.answered")
        remove(claim.path)
        fault_point("jobs.closed")
        claim.release()
        return standing or JobStatus(state, claim.job, claim.attempt, None, result, reason)

    def _reject(self, path: Path, stem: str, error: Exception) -> None:
        """A file in the queue that is no job: kept as it is in ``failed/``, with its reason beside it."""
        reason = f"not a job: {error}\n"
        write_atomic(self.layout.jobs_failed / f"{stem}.json.reason.txt", reason.encode())
        move(path, self.layout.jobs_failed / f"{stem}.json.invalid")


def _own(claim: Claim) -> FileClaim:
    """Return `claim`, or raise TypeError where it comes from another kind of queue."""
    if not isinstance(claim, FileClaim):
        raise TypeError(f"{claim!r} was not claimed from a file queue; hand it to the queue it came from")
    return claim


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


def _named(path: Path, state: str) -> _File:
    match = _STEM.fullmatch(path.name)
    if match is None:
        raise StoreError(f"{path}: not the name of a job file")
    return _of(match, path, state)


def _of(match: re.Match[str], path: Path, state: str) -> _File:
    return _File(state, path, match.group(1), match.group(2), int(match.group(3) or 0), match.group(4))
