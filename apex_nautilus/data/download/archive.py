"""What a venue's public archive looks like: which files hold which days, and how each proves to be whole.

One module a venue describes its archive and registers it here; fetching (`fetch`) knows no venue.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Literal

from apex_nautilus._submodules import import_submodules
from apex_nautilus.data.errors import DataError

__all__ = [
    "Archive",
    "DownloadError",
    "Kind",
    "Market",
    "Piece",
    "Request",
    "archives",
    "days",
    "get",
    "month_end",
    "months_then_days",
    "plan",
    "register",
]

Market = Literal["linear", "inverse", "spot"]
_SYMBOL = re.compile(r"[A-Z0-9][A-Z0-9_-]{0,39}")
_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class DownloadError(DataError):
    """A download that cannot be done as asked, or that failed; the message says what and how to mend it."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One file of an archive.

    Parameters
    ----------
    url_path : str
        Path at the host, with its leading slash.
    first, last : date
        The days it holds, both included.
    checksum_path : str or None
        Path of a file that begins with the SHA-256 in hexadecimal, where the venue publishes one.
    packing : {"zip", "gzip"}
        What proves it whole where there is no checksum: every byte is unpacked (and thrown away) and held
        against the CRCs inside.
    otherwise : tuple of Piece
        What to fetch when the host does not have this file: the days of a month, or the same day by another
        name.
    """

    url_path: str
    first: date
    last: date
    checksum_path: str | None
    packing: Literal["zip", "gzip"]
    otherwise: tuple[Piece, ...] = ()

    @property
    def name(self) -> str:
        """The file's name at the venue, which is kept: importers read the symbol and the day from it."""
        return self.url_path.rpartition("/")[2]

    @property
    def days_text(self) -> str:
        """The days it holds, as people write them."""
        return str(self.first) if self.first == self.last else f"{self.first} to {self.last}"


@dataclass(frozen=True, slots=True)
class Request:
    """What is wanted of an archive; `first` and `last` are both included, `today` is the day in UTC."""

    symbol: str
    kind: str
    market: Market
    interval: str | None
    first: date
    last: date
    today: date


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of data of an archive.

    Parameters
    ----------
    name : str
        What the command line calls it.
    markets : tuple
        Where it exists.
    base_url : str
        The host, without a trailing slash.
    pieces : callable
        ``pieces(request)`` gives the files in order of time; they may overlap the span's ends.
    intervals : tuple of str
        The lengths to choose from, empty where there are none.
    importer : str or None
        The kind of importer (`apex_nautilus.data.importers.registry`) that reads the files.
    remark : str
        What a user should know, in a sentence.
    """

    name: str
    markets: tuple[Market, ...]
    base_url: str
    pieces: Callable[[Request], Iterator[Piece]]
    intervals: tuple[str, ...] = ()
    importer: str | None = None
    remark: str = ""


@dataclass(frozen=True, slots=True)
class Archive:
    """A venue's archive.

    Parameters
    ----------
    venue : str
        What the command line calls it.
    kinds : dict
        Its kinds of data by name.
    instrument_id : callable
        ``instrument_id(symbol, market)`` is the Nautilus id of what the files hold.
    """

    venue: str
    kinds: dict[str, Kind] = field(default_factory=dict)
    instrument_id: Callable[[str, Market], str] = lambda symbol, market: symbol


_registry: dict[str, Archive] = {}


def register(archive: Archive) -> Archive:
    """Add a venue's archive.

    Raises
    ------
    ValueError
        When another has that name.
    """
    if archive.venue in _registry:
        raise ValueError(f"archive {archive.venue!r} is registered twice")
    _registry[archive.venue] = archive
    return archive


def archives() -> dict[str, Archive]:
    """Return all archives by venue; the modules of `venues` are imported for it."""
    import_submodules("apex_nautilus.data.download.venues")
    return dict(sorted(_registry.items()))


def get(venue: str, kind: str) -> tuple[Archive, Kind]:
    """Return a venue's archive and one of its kinds.

    Raises
    ------
    DownloadError
        When there is none; the message lists those there are.
    """
    known = archives()
    if venue not in known:
        raise DownloadError(f"no archive of {venue!r} is known; known are {', '.join(known)}")
    archive = known[venue]
    if kind not in archive.kinds:
        raise DownloadError(f"{venue} has no {kind!r}; its kinds are {', '.join(sorted(archive.kinds))}")
    return archive, archive.kinds[kind]


def plan(kind: Kind, request: Request) -> list[Piece]:
    """Return the files that hold the days wanted.

    Raises
    ------
    DownloadError
        When symbol, market, interval or days cannot be, or a name of the archive could leave its folder.
    """
    if not _SYMBOL.fullmatch(request.symbol):
        raise DownloadError(f"{request.symbol!r} is no symbol (capital letters and digits, as BTCUSDT)")
    if request.market not in kind.markets:
        raise DownloadError(f"{kind.name} exists for {', '.join(kind.markets)}, not for {request.market}")
    if kind.intervals and request.interval not in kind.intervals:
        raise DownloadError(
            f"{kind.name} needs an interval, one of {', '.join(kind.intervals)}; got {request.interval}"
        )
    if not kind.intervals and request.interval is not None:
        raise DownloadError(f"{kind.name} has no interval; leave {request.interval} out")
    if request.last < request.first:
        raise DownloadError(f"the last day, {request.last}, lies before the first, {request.first}")
    if request.last >= request.today:
        raise DownloadError(
            f"{request.last} is not over yet (it is {request.today} in UTC): a day is published after its end"
        )
    pieces = list(kind.pieces(request))
    for piece in pieces:
        _check_names(piece)
    return pieces


def _check_names(piece: Piece) -> None:
    for path in (piece.url_path, piece.checksum_path):
        if path is not None and not all(_PART.fullmatch(p) for p in path.removeprefix("/").split("/")):
            raise DownloadError(f"{path!r} is no name of an archive's file")
    for other in piece.otherwise:
        _check_names(other)


def days(first: date, last: date) -> Iterator[date]:
    """Yield the days from `first` to `last`, both included."""
    for i in range((last - first).days + 1):
        yield first + timedelta(days=i)


def month_end(day: date) -> date:
    """Return the last day of a day's month."""
    following = (day.replace(day=28) + timedelta(days=4)).replace(day=1)
    return following - timedelta(days=1)


def months_then_days(
    request: Request, monthly: Callable[[date], Piece], daily: Callable[[date], Piece]
) -> Iterator[Piece]:
    """Yield a month's file where the whole month is wanted and over, its days otherwise.

    A month is published some days after its end; until then its days take its place (`Piece.otherwise`).
    """
    day = request.first
    while day <= request.last:
        end = month_end(day)
        if day.day == 1 and end <= request.last and end < request.today:
            yield monthly(day)
            day = end
        else:
            yield daily(day)
        day += timedelta(days=1)
