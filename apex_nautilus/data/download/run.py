"""Fetching the files of a span, several at a time, into a folder that one process works on."""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import msgspec

from apex_nautilus.data.download.archive import DownloadError, Piece
from apex_nautilus.data.download.fetch import FetchedFile, Fetcher, Missing, Stopped, Unreachable, Watcher

__all__ = ["Download", "FileOutcome", "Silent", "download"]


class FileOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one file.

    `outcome` is ``fetched``, ``there`` (verified by a former run), ``missing`` (the venue has none) or
    ``failed``; `proof` says what showed it to be whole.
    """

    name: str
    days: str
    outcome: Literal["fetched", "there", "missing", "failed"]
    path: str = ""
    size: int = 0
    fetched: int = 0
    sha256: str = ""
    proof: str = ""
    reason: str = ""


class Download(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of a run, files in order of time; `stopped` when it was interrupted, or the
    host could not be reached."""

    files: list[FileOutcome]
    stopped: bool = False

    def of(self, outcome: str) -> list[FileOutcome]:
        """The files with that outcome."""
        return [f for f in self.files if f.outcome == outcome]

    @property
    def paths(self) -> list[Path]:
        """The files that are there, in order of time."""
        return [Path(f.path) for f in self.files if f.path]


class Silent:
    """A watcher that tells nobody."""

    def begins(self, piece: Piece, have: int, total: int | None) -> None: ...

    def grows(self, piece: Piece, count: int) -> None: ...

    def remarks(self, piece: Piece, text: str) -> None: ...


def download(
    pieces: Sequence[Piece],
    base_url: str,
    folder: str | os.PathLike[str],
    *,
    jobs: int = 4,
    watcher: Watcher | None = None,
    ended: Callable[[FileOutcome], None] = lambda outcome: None,
    pause: Callable[[float], bool] | None = None,
    stop: threading.Event | None = None,
) -> Download:
    """Fetch files into a folder; those a former run verified are passed over without a request.

    Parameters
    ----------
    pieces : as `plan` gives them.
    base_url : the host.
    folder : made when missing; one process at a time works on it.
    jobs : files at a time.
    watcher : is told how files come along, from the threads that fetch.
    ended : is told the outcome of each file, from the calling thread.
    pause : ``pause(seconds)`` waits between attempts and returns whether to stop; by default on `stop`.
    stop : ends the run when set; so does KeyboardInterrupt. What was under way stays in ``.part`` files.

    Returns
    -------
    Download
        Files in order of time. Where a month was missing and its days were fetched instead, the days.

    Raises
    ------
    DownloadError
        When the address is none, another process works on the folder, or the disk is full.
    """
    if jobs < 1:
        raise DownloadError(f"jobs must be at least 1, got {jobs}")
    folder = Path(folder)
    stop = threading.Event() if stop is None else stop
    fetcher = Fetcher(
        base_url,
        connections=jobs,
        pause=stop.wait if pause is None else pause,
        stopping=stop.is_set,
        watcher=Silent() if watcher is None else watcher,
    )
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with _held(folder):
            return _run(pieces, fetcher, folder, jobs, ended, stop)
    finally:
        fetcher.close()


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    lock = os.open(folder / ".downloading", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise DownloadError(f"{folder}: another process downloads into it; wait for it to end") from None
    finally:
        os.close(lock)


def _run(
    pieces: Sequence[Piece],
    fetcher: Fetcher,
    folder: Path,
    jobs: int,
    ended: Callable[[FileOutcome], None],
    stop: threading.Event,
) -> Download:
    outcomes: dict[Piece, FileOutcome] = {}
    waiting = list(reversed(pieces))
    running: dict[Future[FileOutcome], Piece] = {}
    with ThreadPoolExecutor(jobs, thread_name_prefix="download") as pool:
        try:
            while waiting or running:
                while waiting and len(running) < jobs and not stop.is_set():
                    piece = waiting.pop()
                    if piece not in outcomes:
                        running[pool.submit(_fetch, fetcher, piece, folder, stop)] = piece
                if not running:
                    break
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    piece = running.pop(future)
                    try:
                        outcome = future.result()
                    except Stopped:
                        stop.set()
                        continue
                    if outcome.outcome == "missing" and piece.otherwise:
                        waiting.extend(reversed(piece.otherwise))
                        continue
                    outcomes[piece] = outcome
                    ended(outcome)
        except KeyboardInterrupt:
            stop.set()
        except BaseException:
            stop.set()  # the threads end at their next block
            raise
    ordered = sorted(outcomes.items(), key=lambda item: (item[0].first, item[0].last))
    return Download(files=[outcome for _, outcome in ordered], stopped=stop.is_set())


def _fetch(fetcher: Fetcher, piece: Piece, folder: Path, stop: threading.Event) -> FileOutcome:
    named = {"name": piece.name, "days": piece.days_text}
    try:
        file = fetcher.fetch(piece, folder)
    except Missing:
        return FileOutcome(**named, outcome="missing", reason="the venue has no such file")
    except DownloadError as e:
        if isinstance(e, Unreachable):
            stop.set()
        return FileOutcome(**named, outcome="failed", reason=str(e))
    except OSError as e:
        if e.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DownloadError(
                f"{folder}: the disk is full. What was fetched is kept in .part files; make room and run the "
                "command again"
            ) from e
        raise DownloadError(f"{folder / piece.name}: cannot be written: {e.strerror or e}") from e
    return FileOutcome(**named, outcome="fetched" if file.fetched else "there", **_told(file))


def _told(file: FetchedFile) -> dict:
    return {
        "path": str(file.path),
        "size": file.size,
        "fetched": file.fetched,
        "sha256": file.sha256,
        "proof": file.proof,
    }
