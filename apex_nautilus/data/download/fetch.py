"""Fetching one file over HTTP so that interruptions cost no more than what was under way.

Bytes go to ``<name>.part``; a second file beside it, ``<name>.part.json``, says which version of the remote
file they belong to (ETag or Last-Modified). A dropped connection is taken up again from there with a range
request, in this run or in a later one; a server that ignores ranges sends the whole again. A file takes its
name only when it has proved to be whole, in one atomic rename, and a small card beside it, ``.verified``,
lets the next run pass it over without asking the venue.
"""

from __future__ import annotations

import email.utils
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol
from urllib.parse import urljoin, urlsplit

import msgspec
import urllib3

from apex_nautilus.data.download.archive import DownloadError, Piece
from apex_nautilus.data.download.integrity import Damaged, check_packing, read_checksum, sha256_of
from apex_nautilus.store.atomic import move, remove, write_atomic

__all__ = ["FetchedFile", "Fetcher", "Missing", "Stopped", "Unreachable", "Watcher"]

_BLOCK = 1 << 18
_ATTEMPTS = 6  # in a row without a new byte
_LONGEST_PAUSE_S = 60.0
_LONGEST_WISH_S = 600.0  # the longest Retry-After that is obeyed
_REDIRECTS = 3
_LARGEST_CHECKSUM = 4096
_PASSING = {408, 418, 425, 429, 500, 502, 503, 504}
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


class Missing(Exception):
    """The venue does not have the file."""


class Stopped(Exception):
    """The run was asked to stop; what was fetched stays in the ``.part`` file."""


class Unreachable(DownloadError):
    """The host cannot be reached: no other file will fare better."""


class _Broken(Exception):
    """An attempt that failed in passing; `wait_s` is the server's wish, `fresh` whether bytes came."""

    def __init__(self, reason: str, wait_s: float | None = None, *, fresh: bool = False):
        super().__init__(reason)
        self.wait_s = wait_s
        self.fresh = fresh


class Watcher(Protocol):
    """Is told how a file comes along; called from the threads that fetch."""

    def begins(self, piece: Piece, have: int, total: int | None) -> None: ...

    def grows(self, piece: Piece, count: int) -> None: ...

    def remarks(self, piece: Piece, text: str) -> None: ...


class _PartCard(msgspec.Struct):
    """Which version of which remote file the bytes of a ``.part`` belong to."""

    url: str
    validator: str  # ETag or Last-Modified, for If-Range; empty when the server gives none
    total: int | None


class _VerifiedCard(msgspec.Struct):
    size: int
    mtime_ns: int
    sha256: str
    proof: str


@dataclass(frozen=True, slots=True)
class FetchedFile:
    """A file that is there and whole.

    `proof` says what showed it: the venue's ``sha256``, or the checksums inside a ``zip`` or ``gzip``.
    `fetched` counts the bytes that this run transferred for it, 0 when it was there before.
    """

    path: Path
    size: int
    sha256: str
    proof: Literal["sha256", "zip", "gzip"]
    fetched: int


class Fetcher:
    """Fetches files of one host; may be used by several threads at once, each on a file of its own.

    Parameters
    ----------
    base_url : str
        Scheme and host, perhaps a path; nothing is fetched from anywhere else, not even after a redirect.
    connections : int
        How many threads use it.
    pause : callable
        ``pause(seconds)`` waits and returns whether to stop.
    stopping : callable
        Whether to stop; asked between blocks.
    watcher : Watcher
    """

    def __init__(
        self,
        base_url: str,
        *,
        connections: int,
        pause: Callable[[float], bool],
        stopping: Callable[[], bool],
        watcher: Watcher,
    ):
        split = urlsplit(base_url)
        if split.scheme not in ("http", "https") or not split.hostname or split.query or split.fragment:
            raise DownloadError(f"{base_url!r} is no address of a host such as https://data.binance.vision")
        self._base = base_url.rstrip("/")
        self._origin = (split.scheme, split.netloc)
        self._pause = pause
        self._stopping = stopping
        self._watcher = watcher
        self._pool = urllib3.PoolManager(
            maxsize=connections,
            retries=False,
            timeout=urllib3.Timeout(connect=15.0, read=60.0),
            headers={"User-Agent": "apex_nautilus", "Accept-Encoding": "identity"},
        )

    def close(self) -> None:
        """Close the connections."""
        self._pool.clear()

    # ---- one file

    def fetch(self, piece: Piece, folder: Path) -> FetchedFile:
        """Bring a file into `folder`, or find it there.

        Raises
        ------
        Missing
            The venue does not have it.
        Stopped
            The run was asked to stop.
        DownloadError
            It cannot be fetched, or was damaged twice.
        """
        path = folder / piece.name
        known = self._known(path)
        if known is not None:
            return known
        folder.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.part")
        wanted = self._checksum(piece) if piece.checksum_path is not None else None
        if path.exists():  # someone put it there: it only has to prove itself
            with suppress(Damaged):
                return self._accept(path, piece, wanted, 0)
        fetched = 0
        for again in (False, True):
            fetched += self._transfer(piece, part)
            try:
                self._prove(part, piece, wanted)
                break
            except Damaged as e:
                remove(part)
                remove(_card_path(part))
                if again:
                    raise DownloadError(
                        f"{self._base}{piece.url_path}: damaged twice ({e}); nothing was kept. Try later: "
                        "the venue may be replacing the file"
                    ) from e
                self._watcher.remarks(piece, f"{e}; fetching it again")
                if piece.checksum_path is not None:
                    wanted = self._checksum(piece)  # the venue may have replaced both
        move(part, path)
        remove(_card_path(part))
        return self._accept(path, piece, wanted, fetched, proved=True)

    def _known(self, path: Path) -> FetchedFile | None:
        """The file if a former run verified it and it has not changed since."""
        try:
            card = msgspec.json.decode(_verified_path(path).read_bytes(), type=_VerifiedCard)
            found = path.stat()
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            return None
        if found.st_size != card.size or card.proof not in ("sha256", "zip", "gzip"):
            return None
        if found.st_mtime_ns != card.mtime_ns and sha256_of(path) != card.sha256:
            return None  # another time alone is what copying does
        return FetchedFile(path, card.size, card.sha256, card.proof, 0)  # pyright: ignore[reportArgumentType]

    def _prove(self, path: Path, piece: Piece, wanted: str | None) -> None:
        if wanted is None:
            check_packing(path, piece.packing)
        elif (found := sha256_of(path)) != wanted:
            raise Damaged(f"its SHA-256 is {found[:12]}…, the venue's checksum says {wanted[:12]}…")

    def _accept(
        self, path: Path, piece: Piece, wanted: str | None, fetched: int, *, proved: bool = False
    ) -> FetchedFile:
        if not proved:
            self._prove(path, piece, wanted)
        found = path.stat()
        digest = wanted or sha256_of(path)
        proof = "sha256" if wanted else piece.packing
        card = _VerifiedCard(found.st_size, found.st_mtime_ns, digest, proof)
        write_atomic(_verified_path(path), msgspec.json.encode(card) + b"\n")
        return FetchedFile(path, found.st_size, digest, proof, fetched)

    # ---- requests

    def _checksum(self, piece: Piece) -> str | None:
        """The venue's SHA-256 of a file; None when it has the file but not its checksum."""
        try:
            text = self._persist(lambda: self._small(f"{self._base}{piece.checksum_path}"), piece)
        except Missing:
            return None
        try:
            return read_checksum(text)
        except Damaged as e:
            raise DownloadError(f"{self._base}{piece.checksum_path}: {e}") from e

    def _small(self, url: str) -> bytes:
        response = self._open(url, {})
        try:
            body = response.read(_LARGEST_CHECKSUM + 1)
        except urllib3.exceptions.HTTPError as e:
            raise _Broken(_words(e)) from e
        finally:
            response.close()
        if len(body) > _LARGEST_CHECKSUM:
            raise DownloadError(f"{url}: longer than a checksum file is")
        return body

    def _transfer(self, piece: Piece, part: Path) -> int:
        """Fill the ``.part`` file to its end; return the bytes that were transferred."""
        moved = 0

        def count(n: int) -> None:
            nonlocal moved
            moved += n
            self._watcher.grows(piece, n)

        url = f"{self._base}{piece.url_path}"
        self._persist(lambda: self._attempt(url, piece, part, count), piece)
        return moved

    def _persist[T](self, attempt: Callable[[], T], piece: Piece) -> T:
        """Repeat an attempt, with growing pauses, while it fails in passing."""
        failures = 0
        while True:
            if self._stopping():
                raise Stopped
            try:
                return attempt()
            except _Broken as e:
                failures = 1 if e.fresh else failures + 1
                if failures >= _ATTEMPTS:
                    kind = Unreachable if _no_way(e.__cause__) else DownloadError
                    raise kind(
                        f"{self._base}{piece.url_path}: {e}, {_ATTEMPTS} times in a row; run the command "
                        "again to go on from where it stopped"
                    ) from e
                wait = min(2.0 ** (failures - 1), _LONGEST_PAUSE_S)
                if e.wait_s is not None:
                    if e.wait_s > _LONGEST_WISH_S:
                        raise DownloadError(
                            f"{self._base}: asks to come back in {e.wait_s:.0f} s ({e}); run the command "
                            "again then"
                        ) from e
                    wait = max(wait, e.wait_s)
                self._watcher.remarks(piece, f"{e}; again in {wait:.0f} s")
                if self._pause(wait):
                    raise Stopped from e

    def _attempt(self, url: str, piece: Piece, part: Path, count: Callable[[int], None]) -> None:
        card = self._part_card(part, url)
        have = part.stat().st_size if part.exists() else 0
        if card is None or (not card.validator and piece.checksum_path is None):
            have = 0  # nothing says that the bytes there belong to what would follow
        if card is not None and have and card.total == have:
            return  # all there: the run before was stopped ahead of the rename
        headers = {}
        if have:
            headers["Range"] = f"bytes={have}-"
            if card is not None and card.validator:
                headers["If-Range"] = card.validator
        response = self._open(url, headers)
        try:
            start, total = _extent(response, have)
            fresh = _PartCard(url, _validator(response), total)
            write_atomic(_card_path(part), msgspec.json.encode(fresh))
            self._watcher.begins(piece, start, total)
            self._pour(response, part, start, total, count)
        finally:
            response.close()

    def _pour(
        self,
        response: urllib3.BaseHTTPResponse,
        part: Path,
        start: int,
        total: int | None,
        count: Callable[[int], None],
    ) -> None:
        came = 0
        with part.open("r+b" if part.exists() else "wb") as file:
            file.seek(start)
            file.truncate()
            try:
                for block in response.stream(_BLOCK, decode_content=False):
                    file.write(block)
                    came += len(block)
                    count(len(block))
                    if self._stopping():
                        raise Stopped
            except (urllib3.exceptions.HTTPError, ConnectionError, TimeoutError) as e:
                raise _Broken(_words(e), fresh=came > 0) from e
        if total is not None and start + came != total:
            raise _Broken(f"{start + came:,} of {total:,} bytes came", fresh=came > 0)

    def _part_card(self, part: Path, url: str) -> _PartCard | None:
        try:
            card = msgspec.json.decode(_card_path(part).read_bytes(), type=_PartCard)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            return None
        return card if card.url == url else None

    def _open(self, url: str, headers: dict[str, str]) -> urllib3.BaseHTTPResponse:
        """Send a GET; return a response that has a body to read.

        Raises
        ------
        Missing, DownloadError, _Broken
        """
        for _ in range(_REDIRECTS + 1):
            try:
                response = self._pool.request(
                    "GET",
                    url,
                    headers={**self._pool.headers, **headers},
                    preload_content=False,
                    redirect=False,
                )
            except urllib3.exceptions.HTTPError as e:
                raise _Broken(_words(e)) from e
            status = response.status
            if status in (200, 206):
                return response
            response.close()
            if status in (301, 302, 303, 307, 308):
                url = self._follow(url, response.headers.get("Location", ""))
                continue
            if status in (404, 410):
                raise Missing
            if status == 416:
                # The file is shorter than what is here: it was replaced. Begin anew.
                headers = {k: v for k, v in headers.items() if k not in ("Range", "If-Range")}
                continue
            if status in _PASSING:
                raise _Broken(f"status {status}", _retry_after(response))
            hint = " (the venue may refuse your region)" if status in (403, 451) else ""
            raise DownloadError(f"{url}: refused with status {status}{hint}")
        raise DownloadError(f"{url}: redirected more than {_REDIRECTS} times")

    def _follow(self, url: str, location: str) -> str:
        target = urljoin(url, location)
        split = urlsplit(target)
        if (split.scheme, split.netloc) != self._origin:
            raise DownloadError(
                f"{url}: redirected to another host, {split.netloc or location}; not followed"
            )
        return target


# ---- helpers


def _card_path(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _verified_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.verified")


def _extent(response: urllib3.BaseHTTPResponse, have: int) -> tuple[int, int | None]:
    """Return (offset at which the body begins, size of the whole file)."""
    if response.status == 206:
        match = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if match is None or int(match[1]) != have or int(match[2]) + 1 != int(match[3]):
            raise DownloadError(
                f"the server sent {response.headers.get('Content-Range')!r} when asked for what follows byte "
                f"{have}; delete the .part file to begin anew"
            )
        return have, int(match[3])
    length = response.headers.get("Content-Length", "")
    return 0, int(length) if length.isdigit() else None


def _validator(response: urllib3.BaseHTTPResponse) -> str:
    etag = response.headers.get("ETag", "")
    if etag and not etag.startswith("W/"):  # a weak one promises no equal bytes
        return etag
    return response.headers.get("Last-Modified", "")


def _retry_after(response: urllib3.BaseHTTPResponse) -> float | None:
    """Seconds that the server asks for; a date is counted from the server's own clock."""
    wish = response.headers.get("Retry-After", "").strip()
    if wish.isdigit():
        return float(wish)
    try:
        until = email.utils.parsedate_to_datetime(wish)
        now = email.utils.parsedate_to_datetime(response.headers.get("Date", ""))
        return max(0.0, (until - now).total_seconds())
    except (TypeError, ValueError):
        return None


def _no_way(error: BaseException | None) -> bool:
    return isinstance(error, urllib3.exceptions.NewConnectionError | urllib3.exceptions.ConnectTimeoutError)


def _words(error: Exception) -> str:
    if _no_way(error):  # asked first: it counts as a time-out too
        return "the host cannot be reached"
    if isinstance(error, urllib3.exceptions.TimeoutError):
        return "no answer in time"
    if isinstance(error, urllib3.exceptions.SSLError):
        return f"no secure connection ({error})"
    return "the connection was lost"
