"""Downloads from the venues' public archives: whole files, verified, in a folder.

In: a venue, a symbol, a kind of data and days. Out: the venue's own files, each proved to be whole, and what
became of each day. Importing them is another matter (`apex_nautilus.data.importers`).

The layout of a venue's archive is one module of `venues`, which registers it in `archive`; `fetch` brings one
file over an unreliable network, `run` many at a time.
"""

from __future__ import annotations

from apex_nautilus.data.download.archive import (
    Archive,
    DownloadError,
    Kind,
    Piece,
    Request,
    archives,
    get,
    plan,
    register,
)
from apex_nautilus.data.download.fetch import Watcher
from apex_nautilus.data.download.run import Download, FileOutcome, download

__all__ = [
    "Archive",
    "Download",
    "DownloadError",
    "FileOutcome",
    "Kind",
    "Piece",
    "Request",
    "Watcher",
    "archives",
    "download",
    "get",
    "plan",
    "register",
]
