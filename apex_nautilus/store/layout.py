"""Where everything lies in a catalog directory, and how instrument ids and slots become file names."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, unquote

from apex_nautilus.store.errors import StoreError

__all__ = ["CatalogLayout", "check_name"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_GENOME_ID = re.compile(r"[0-9a-f]{16}")


def check_name(name: str, what: str) -> str:
    """Return `name` when it may be part of a file name, otherwise raise StoreError saying `what` it was.

    Letters, digits, ``_`` and ``-``, at most 64, beginning with a letter or digit: no dot and no slash, so
    that no name can leave its directory or be taken for a temporary file.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise StoreError(
            f"{what} {name!r} cannot name a file: use 1 to 64 letters, digits, '_' or '-', "
            "beginning with a letter or digit"
        )
    return name


class CatalogLayout:
    """The folders and file names of one catalog directory.

    Nothing is created or read until `ensure()` or an operation of this room asks for it.

    Parameters
    ----------
    root : the catalog directory (made by `ensure()` when missing).
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root)
        self.market = self.root / "market"
        self.strategies = self.root / "strategies"
        self.incoming = self.strategies / "incoming"
        self.challengers_root = self.strategies / "challengers"
        self.champions_root = self.strategies / "champions"
        self.retired = self.strategies / "retired"
        self.rejected = self.strategies / "rejected"
        self.jobs = self.root / "jobs"
        self.jobs_todo = self.jobs / "todo"
        self.jobs_doing = self.jobs / "doing"
        self.jobs_done = self.jobs / "done"
        self.jobs_failed = self.jobs / "failed"
        self.jobs_ids = self.jobs / "ids"
        self.elite_root = self.root / "elite"
        self.ledger = self.root / "ledger"
        self.studies = self.root / "studies"

    def __repr__(self) -> str:
        return f"CatalogLayout({str(self.root)!r})"

    def ensure(self) -> CatalogLayout:
        """Make the folders that do not exist; return self."""
        for folder in (
            self.market,
            self.incoming,
            self.challengers_root,
            self.champions_root,
            self.retired,
            self.rejected,
            self.jobs_todo,
            self.jobs_doing,
            self.jobs_done,
            self.jobs_failed,
            self.jobs_ids,
            self.ledger,
            self.studies,
        ):
            folder.mkdir(parents=True, exist_ok=True)
        return self

    @staticmethod
    def folder_name(instrument_id: str) -> str:
        """The folder of an instrument: its id, with a slash and other unsafe characters percent-encoded."""
        name = quote(instrument_id, safe="")
        if not name or len(name) > 128 or name.startswith("."):
            raise StoreError(
                f"instrument id {instrument_id!r} cannot name a folder: "
                "it is empty, too long (128 characters, percent-encoded) or starts with a dot"
            )
        return name

    def challengers(self, instrument_id: str) -> Path:
        """The folder of the challengers of one instrument."""
        return self.challengers_root / self.folder_name(instrument_id)

    def champions(self, instrument_id: str) -> Path:
        """The folder of the champions of one instrument."""
        return self.champions_root / self.folder_name(instrument_id)

    def champion_file(self, instrument_id: str, slot: str) -> Path:
        """The file that says who trades in `slot`."""
        return self.champions(instrument_id) / f"{check_name(slot, 'slot')}.json"

    def retired_file(self, slot: str, epoch: int, genome_id: str) -> Path:
        """The file that keeps the genome which held `slot` during `epoch`."""
        return self.retired / f"{check_name(slot, 'slot')}.{epoch:06d}.{_checked_id(genome_id)}.json"

    @staticmethod
    def challenger_name(genome_id: str) -> str:
        """The file name under which a new genome is dropped into `incoming/`."""
        return f"strategy_challenger_{_checked_id(genome_id)}.json"

    def incoming_file(self, genome_id: str) -> Path:
        """The path under which a new genome is dropped into `incoming/`."""
        return self.incoming / self.challenger_name(genome_id)

    def challenger_file(self, instrument_id: str, genome_id: str) -> Path:
        """The path of a genome in shadow."""
        return self.challengers(instrument_id) / self.challenger_name(genome_id)

    def elite(self, instrument_id: str) -> Path:
        """The folder of the elite genomes of one instrument: those that proved themselves live."""
        return self.elite_root / self.folder_name(instrument_id)

    def elite_file(self, instrument_id: str, genome_id: str) -> Path:
        """The file of one elite genome with its live evidence."""
        return self.elite(instrument_id) / f"{_checked_id(genome_id)}.json"

    def ledger_file(self, writer: str) -> Path:
        """The ledger of one writing process."""
        return self.ledger / f"{check_name(writer, 'writer')}.jsonl"

    def instruments(self) -> list[str]:
        """The ids of the instruments that have a champion or challenger folder, sorted."""
        found = set()
        for folder in (self.champions_root, self.challengers_root):
            if folder.is_dir():
                found.update(unquote(entry.name) for entry in folder.iterdir() if entry.is_dir())
        return sorted(found)

    def genome_files(self) -> Iterator[Path]:
        """Every file that holds a genome, newest role first: champions, challengers, incoming, retired;
        sorted within.
        """
        for folder, pattern in (
            (self.champions_root, "*/*.json"),
            (self.challengers_root, "*/*.json"),
            (self.incoming, "*.json"),
            (self.retired, "*.json"),
        ):
            yield from (path for path in sorted(folder.glob(pattern)) if not path.name.startswith("."))


def _checked_id(genome_id: str) -> str:
    if not isinstance(genome_id, str) or not _GENOME_ID.fullmatch(genome_id):
        raise StoreError(
            f"genome id {genome_id!r} is not 16 lower-case hex digits; seal the genome before it is stored"
        )
    return genome_id
