"""The door of the watched directory: every file in ``incoming/`` is taken exactly once.

A file is first claimed by a rename to a hidden name beside it. From then on no writer reaches it by name: a
second file dropped under the old name is another file. Only then is it read, bounded, without following
links, decoded within the genome's limits and compiled. What passes moves on to ``challengers/<instrument>/``;
what does not moves to ``rejected/`` with the reason beside it. Both are renames inside one file system, and a
claim that a crash left behind is taken up by the next poll.

Writers write under a name that ends in ``.tmp`` or ``.part`` or begins with a dot, and rename when the file
is whole: such names are left alone. A writer that knows nothing of this and writes under the final name is
waited for as long as it holds the file open, where the system can tell (Linux, local file systems): what it
has not written yet is not held against it.

Many files at once cost little more than one: a batch is decided, flushed to the disk together, and then
moved.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import signal
import stat
from collections.abc import Callable, Collection
from pathlib import Path
from time import perf_counter_ns

import msgspec

from apex_nautilus.genome import Genome, GenomeError, check_artifact, compile_genome, decode
from apex_nautilus.store import CatalogLayout, fault_point, fsync_directory

__all__ = ["MAX_BYTES", "Arrival", "Intake", "is_unfinished"]

MAX_BYTES = 256 * 1024
#: Clocks that a feed hub serves.
CLOCKS = ("book", "1s")
"""Clocks of an arena on order books."""
_CLAIM = ".taken-"
_UNFINISHED = (".tmp", ".part")
_BATCH = 64
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


class _Decision(msgspec.Struct, frozen=True):
    """What is to become of a claimed file: a genome is taken, None is refused for the reason."""

    name: str
    claim: Path
    genome: Genome | None
    reason: str
    micros: float


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
        found = sorted(os.listdir(self._layout.incoming))
        # What a crash left claimed comes first.
        names = [n for n in found if n.startswith(_CLAIM)] + [n for n in found if not is_unfinished(n)]
        arrivals: list[Arrival] = []
        batch: list[_Decision] = []
        taken: dict[str, str] = {}
        seen: set[str] = set()
        for name in names:
            if room is not None and len(taken) >= room:
                break
            claimed = self._claim(name, seen)
            if claimed is None:
                continue
            seen.add(claimed)
            decision = self._decide(claimed, lambda genome_id: taken.get(genome_id) or living(genome_id))
            if decision is None:
                continue
            if decision.genome is not None:
                target = self._layout.challenger_name(decision.genome.id)
                taken[decision.genome.id] = f"in shadow ({target})"
            batch.append(decision)
            if len(batch) >= _BATCH:
                arrivals += self._carry_out(batch)
                batch = []
        return arrivals + self._carry_out(batch)

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
        if _is_being_written(incoming / found):
            return None
        try:
            os.rename(incoming / found, claim)
        except FileNotFoundError:
            return None  # renamed or withdrawn by its writer between listing and claim
        return name

    def _decide(self, name: str, living: Callable[[str], str | None]) -> _Decision | None:
        claim = self._layout.incoming / (_CLAIM + name)
        # Nobody can open it by its old name any more: one look is enough.
        if _is_being_written(claim):
            return None
        started = perf_counter_ns()
        genome, reason = None, ""
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
            genome, reason = None, str(error)
        return _Decision(name, claim, genome, reason, (perf_counter_ns() - started) / 1e3)

    def _carry_out(self, batch: list[_Decision]) -> list[Arrival]:
        """Move what was decided. Contents are on the disk before any name points at them, names when it
        returns; a crash in between leaves claims, which are decided again."""
        written, moves = [], []
        for decision in batch:
            if decision.genome is not None:
                folder = self._layout.challengers(decision.genome.instrument_id)
                folder.mkdir(parents=True, exist_ok=True)
                target = self._layout.challenger_file(decision.genome.instrument_id, decision.genome.id)
                written.append(decision.claim)
            else:
                target = self._free(decision.name)
                reason = target.with_name(target.name + ".reason.txt")
                reason.write_text(decision.reason + "\n", encoding="utf-8", errors="backslashreplace")
                written.append(reason)
            moves.append(target)
        # The journal is committed by the first of these; the others find little left to do.
        for path in written:
            _flush(path)
        fault_point("intake.flushed")
        arrivals = []
        for decision, target in zip(batch, moves, strict=True):
            # Whatever it is: a link itself is moved and never followed.
            os.rename(decision.claim, target)
            fault_point("intake.moved")
            arrivals.append(Arrival(decision.name, target, decision.genome, decision.reason, decision.micros))
        for folder in dict.fromkeys(
            [self._layout.incoming, *(path.parent for path in moves)] if moves else ()
        ):
            fsync_directory(folder)
        return arrivals

    def _free(self, name: str) -> Path:
        """A name in ``rejected/`` that neither a file nor a reason bears."""
        target = self._layout.rejected / name
        count = 1
        while os.path.lexists(target) or os.path.lexists(f"{target}.reason.txt"):
            count += 1
            target = self._layout.rejected / f"{count}-{name}"
        return target

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
        if genome.artifact is not None:
            check_artifact(genome.artifact, path.parent, source=name)
        compile_genome(genome)
        return genome


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


def _is_being_written(path: Path) -> bool:
    """Whether a process has the file open for writing: the system then refuses a lease on it.

    False where that cannot be told: another file system, another owner, or no regular file.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags)
    except OSError:
        return False
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return False
        # Who opens it while the lease is held makes the system tell us; by a signal that is ignored, not by
        # the usual one, which would end the process.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        return error.errno == errno.EAGAIN
    finally:
        os.close(descriptor)
    return False


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _plain(name: str) -> str:
    """Return `name`, or a plain stand-in where it could not carry a suffix or be shown in a terminal."""
    if _PLAIN_NAME.fullmatch(name):
        return name
    digest = hashlib.sha256(os.fsencode(name)).hexdigest()[:12]
    return f"{re.sub(r'[^A-Za-z0-9._-]', '_', name)[:100].lstrip('.')}-{digest}"
