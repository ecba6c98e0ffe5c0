"""The door of the watched directory: every file in ``incoming/`` is taken exactly once.

A file is first claimed by a rename to a hidden name beside it. From then on no writer reaches it by name: a
second file dropped under the old name is another file. Only then is it read, bounded, without following
links, decoded within the genome's limits and compiled. What passes moves on to ``challengers/<instrument>/``;
what does not moves to ``rejected/`` with the reason beside it. Both are renames inside one file system, and a
claim that a crash left behind is taken up by the next poll.

Writers write under a name that ends in ``.tmp`` or ``.part`` or begins with a dot, and rename when the file
is whole: such names are left alone.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Callable, Collection
from pathlib import Path
from time import perf_counter_ns

import msgspec

from apex_nautilus.genome import Genome, GenomeError, compile_genome, decode
from apex_nautilus.store import CatalogLayout, move, write_atomic

__all__ = ["MAX_BYTES", "Arrival", "Intake", "is_unfinished"]

MAX_BYTES = 256 * 1024
#: Clocks that a feed hub serves.
CLOCKS = ("book", "1s")
"""Clocks of an arena on order books."""
_CLAIM = ".taken-"
_UNFINISHED = (".tmp", ".part")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,159}")


class Arrival(msgspec.Struct, frozen=True):
    """What became of one file: `genome` is None for a refused one, and `reason` then says why.

    `path` is where the file lies now; `micros` the wall time of load, validate and compile, for reports only.
    """

    name: str
    path: Path
    genome: Genome | None
    reason: str
    micros: float


def is_unfinished(name: str) -> bool:
    """Whether `name` belongs to a writer still: hidden, ``*.tmp`` or ``*.part``."""
    return name.startswith(".") or name.endswith(_UNFINISHED)


class Intake:
    """Takes what the Forge drops.

    Parameters
    ----------
    layout : CatalogLayout
        The watched catalog (or a run's copy of it).
    known_features : collection of str
        Names a genome may refer to.
    instruments : collection of str
        Instrument ids that have a slot; others are refused.
    """

    def __init__(
        self,
        layout: CatalogLayout,
        *,
        known_features: Collection[str],
        instruments: Collection[str],
        clocks: Collection[str] = CLOCKS,
    ):
        self._layout = layout
        self._features = frozenset(known_features)
        self._clocks = tuple(clocks)
        self._instruments = frozenset(instruments)

    def poll(self, living: Callable[[str], str | None], *, room: int | None = None) -> list[Arrival]:
        """Take every whole file in ``incoming/``, in the order of their names.

        Parameters
        ----------
        living : callable
            Says of a genome id where it already trades or shadows, None where it does not: the same genome is
            not taken twice at one time.
        room : int, optional
            How many valid ones may be taken; the files behind them stay where they are.

        Returns
        -------
        list of Arrival
            One for each file taken by this call, refused ones included.
        """
        found = sorted(p.name for p in self._layout.incoming.iterdir())
        # What a crash left claimed comes first.
        names = [n for n in found if n.startswith(_CLAIM)] + [n for n in found if not is_unfinished(n)]
        arrivals: list[Arrival] = []
        taken: dict[str, str] = {}
        seen: set[str] = set()
        for name in names:
            if room is not None and len(taken) >= room:
                break
            claimed = self._claim(name, seen)
            if claimed is None:
                continue
            seen.add(claimed)
            arrival = self._take(claimed, lambda genome_id: taken.get(genome_id) or living(genome_id))
            if arrival is None:
                continue
            if arrival.genome is not None:
                taken[arrival.genome.id] = f"in shadow ({arrival.path.name})"
            arrivals.append(arrival)
        return arrivals

    def _claim(self, found: str, seen: Collection[str]) -> str | None:
        """Rename an entry to a claim; return its plain name, or None where it is not to be had now: one of
        that name was `seen` in this poll, or is to be finished first."""
        incoming = self._layout.incoming
        name = _plain(found.removeprefix(_CLAIM))
        claim = incoming / (_CLAIM + name)
        if found == claim.name:
            return name
        if name in seen or os.path.lexists(claim):
            return None  # the next poll takes this one
        try:
            os.rename(incoming / found, claim)
        except FileNotFoundError:
            return None  # renamed or withdrawn by its writer between listing and claim
        return name

    def _take(self, name: str, living: Callable[[str], str | None]) -> Arrival | None:
        claim = self._layout.incoming / (_CLAIM + name)
        started = perf_counter_ns()
        try:
            genome = self.read(claim, name)
            where = living(genome.id)
            if where is not None:
                raise GenomeError(
                    f"genome {genome.id} is already {where}; drop another", path="id", source=name
                )
        except FileNotFoundError:
            return None
        except (GenomeError, OSError, ValueError) as error:
            path = self._reject(claim, name, str(error))
            return Arrival(name, path, None, str(error), (perf_counter_ns() - started) / 1e3)
        micros = (perf_counter_ns() - started) / 1e3
        folder = self._layout.challengers(genome.instrument_id)
        folder.mkdir(parents=True, exist_ok=True)
        target = self._layout.challenger_file(genome.instrument_id, genome.id)
        move(claim, target)
        return Arrival(name, target, genome, "", micros)

    def read(self, path: Path, name: str) -> Genome:
        """Read and check the genome in the file at `path`, called `name` in messages.

        Raises
        ------
        GenomeError
            When anything about it is not what it must be.
        OSError
            When it cannot be read.
        """
        if not name.endswith(".json"):
            raise GenomeError("a genome is a .json file; see docs/genome.md", source=name)
        genome = decode(_read_regular(path, name), known_features=self._features, source=name)
        if genome.instrument_id not in self._instruments:
            known = ", ".join(sorted(self._instruments))
            raise GenomeError(
                f"no slot trades {genome.instrument_id!r} (slots trade {known})",
                path="instrument_id",
                source=name,
            )
        if genome.clock not in self._clocks:
            fed = "order books" if set(self._clocks) <= set(CLOCKS) else "bars"
            need = "an order book" if genome.clock in CLOCKS else "bars"
            raise GenomeError(
                f"clock {genome.clock!r} needs {need}; the arena feeds agents from {fed} "
                f"(clocks: {', '.join(self._clocks)})",
                path="clock",
                source=name,
            )
        compile_genome(genome)
        return genome

    def _reject(self, claim: Path, name: str, reason: str) -> Path:
        target = self._layout.rejected / name
        count = 1
        while target.exists() or target.is_symlink():
            count += 1
            target = self._layout.rejected / f"{count}-{name}"
        # The reason first: a crash in between leaves a claim to be refused again, never a file without its
        # reason.
        write_atomic(target.with_name(target.name + ".reason.txt"), (reason + "\n").encode())
        os.rename(claim, target)  # whatever it is: a link itself is moved and never followed
        return target


def _read_regular(path: Path, name: str) -> bytes:
    """Read at most `MAX_BYTES`, never through a link and never from a pipe (which would block)."""
    info = path.lstat()
    if stat.S_ISLNK(info.st_mode):
        raise GenomeError("is a symbolic link; drop the file itself", source=name)
    if not stat.S_ISREG(info.st_mode):
        raise GenomeError("is not a regular file", source=name)
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise GenomeError(f"is larger than {MAX_BYTES} bytes", source=name)
    return data


def _plain(name: str) -> str:
    """Return `name`, or a plain stand-in where it could not carry a suffix or be shown in a terminal."""
    if _PLAIN_NAME.fullmatch(name):
        return name
    digest = hashlib.sha256(os.fsencode(name)).hexdigest()[:12]
    return f"{re.sub(r'[^A-Za-z0-9._-]', '_', name)[:100].lstrip('.')}-{digest}"
