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
moved. What cannot be moved (a full disk, a folder of somebody else's) stays where it is, is told in
`Intake.stuck`, and is tried again by the next poll; it keeps nothing else waiting.

The network of an oracle lies beside its genome and is dropped first. An ``*.onnx`` file waits until a genome
names it and then goes where the genome goes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from time import perf_counter_ns

import msgspec

from apex_nautilus.actors.dropped_files import MAX_BYTES, flush, is_being_written, plain_name, read_regular
from apex_nautilus.genome import Genome, GenomeError, check_artifact, compile_genome, decode
from apex_nautilus.risk import check_execution
from apex_nautilus.store import CatalogLayout, fault_point, fsync_directory, write_atomic

__all__ = ["MAX_BYTES", "Arrival", "Intake", "is_unfinished"]

#: Clocks that a feed hub serves.
CLOCKS = ("book", "1s")
"""Clocks of an arena on order books."""
_CLAIM = ".taken-"
_UNFINISHED = (".tmp", ".part")
_NETWORK = ".onnx"
_BATCH = 64


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
    network: Path | None = None


class _Artifact(msgspec.Struct):
    file: str


class _Named(msgspec.Struct):
    """What a file says of the network beside it; read where the rest of it may be wrong."""

    artifact: _Artifact | None = None


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

    Attributes
    ----------
    stuck : dict of str to str
        Names of what the latest poll could not move, and why.
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
        self.stuck: dict[str, str] = {}

    def poll(
        self, living: Callable[[str], str | None], *, room: int | None = None, limit: int | None = None
    ) -> list[Arrival]:
        """Take every whole file in ``incoming/``, in the order of their names.

        Parameters
        ----------
        living : callable
            Says of a genome id where it already trades or shadows, None where it does not: the same genome is
            not taken twice at one time.
        room : int, optional
            How many valid ones may be taken; the files behind them stay where they are.
        limit : int, optional
            How many files may be decided on, so that a flood does not keep the caller from other work.

        Returns
        -------
        list of Arrival
            One for each file taken by this call, refused ones included.
        """
        stuck, self.stuck = self.stuck, {}
        try:
            found = sorted(os.listdir(self._layout.incoming))
        except OSError as error:
            self.stuck[self._layout.incoming.name] = _why(error)
            return []
        # What a crash left claimed comes first, what could not be moved the last time comes last.
        names = [n for n in found if n.startswith(_CLAIM)]
        names += [n for n in found if not is_unfinished(n) and not n.endswith(_NETWORK)]
        names.sort(key=lambda n: plain_name(n.removeprefix(_CLAIM)) in stuck)
        arrivals: list[Arrival] = []
        batch: list[_Decision] = []
        taken: dict[str, str] = {}
        seen: set[str] = set()
        decided = 0
        for name in names:
            if (room is not None and len(taken) >= room) or (limit is not None and decided >= limit):
                break
            claimed = self._claim(name, seen)
            if claimed is None:
                continue
            seen.add(claimed)
            decision = self._decide(claimed, lambda genome_id: taken.get(genome_id) or living(genome_id))
            if decision is None:
                continue
            decided += 1
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
        name = plain_name(found.removeprefix(_CLAIM))
        claim = incoming / (_CLAIM + name)
        if found == claim.name:
            return name
        if name in seen or os.path.lexists(claim):
            return None  # the next poll takes this one
        if is_being_written(incoming / found):
            return None
        try:
            os.rename(incoming / found, claim)
        except FileNotFoundError:
            return None  # renamed or withdrawn by its writer between listing and claim
        except OSError as error:
            self.stuck[name] = _why(error)
            return None
        return name

    def _decide(self, name: str, living: Callable[[str], str | None]) -> _Decision | None:
        claim = self._layout.incoming / (_CLAIM + name)
        # Nobody can open it by its old name any more: one look is enough.
        if is_being_written(claim):
            return None
        started = perf_counter_ns()
        genome, reason, data = None, "", b""
        try:
            data, is_shared = read_regular(claim, name)
            network = self._network_of(data)
            if network is not None and is_being_written(network):
                return None
            genome = self._check(data, claim.parent, name)
            where = living(genome.id)
            if where is not None:
                raise GenomeError(
                    f"genome {genome.id} is already {where}; drop another", path="id", source=name
                )
        except FileNotFoundError:
            return None
        except (GenomeError, PermissionError, ValueError) as error:
            genome, reason = None, str(error)
        except OSError as error:  # the disk's fault or the system's, not the file's
            self.stuck[name] = _why(error)
            return None
        else:
            if is_shared and not self._make_own(claim, name, data):
                return None
        micros = (perf_counter_ns() - started) / 1e3
        return _Decision(name, claim, genome, reason, micros, self._network_of(data))

    def _make_own(self, claim: Path, name: str, data: bytes) -> bool:
        """Put the bytes that were checked into a file of our own; return whether that worked."""
        try:
            write_atomic(claim, data)
        except OSError as error:
            self.stuck[name] = _why(error)
            return False
        return True

    def _network_of(self, data: bytes) -> Path | None:
        """The entry in ``incoming/`` that the content of a file names as its network, where there is one."""
        try:
            artifact = msgspec.json.decode(data, type=_Named).artifact
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None
        if artifact is None or plain_name(artifact.file) != artifact.file or artifact.file.endswith(".json"):
            return None
        path = self._layout.incoming / artifact.file
        return path if os.path.lexists(path) and not is_unfinished(path.name) else None

    def _carry_out(self, batch: list[_Decision]) -> list[Arrival]:
        """Move what was decided. Contents are on the disk before any name points at them, names when it
        returns; a crash in between leaves claims, which are decided again."""
        moves = [(d, target) for d in batch if (target := self._prepare(d)) is not None]
        fault_point("intake.flushed")
        arrivals = []
        for decision, target in moves:
            try:
                if decision.network is not None:
                    # First: a genome without its network is refused once more, a network alone would wait.
                    os.rename(decision.network, self._free(decision.network.name))
                # Whatever it is: a link itself is moved and never followed.
                os.rename(decision.claim, target)
            except OSError as error:
                self._leave(decision, target, error)
                continue
            fault_point("intake.moved")
            arrivals.append(Arrival(decision.name, target, decision.genome, decision.reason, decision.micros))
        folders = [self._layout.incoming, *(target.parent for _, target in moves)] if moves else []
        for folder in dict.fromkeys(folders):
            fsync_directory(folder)
        return arrivals

    def _prepare(self, decision: _Decision) -> Path | None:
        """Flush what is to be moved, or the reason that goes beside it, to the disk; return where it goes, or
        None where that failed."""
        target = None
        try:
            if decision.genome is not None:
                target = self._layout.challenger_file(decision.genome.instrument_id, decision.genome.id)
                target.parent.mkdir(parents=True, exist_ok=True)
                flush(decision.claim)
            else:
                target = self._free(decision.name)
                reason = _reason_of(target)
                reason.write_text(decision.reason + "\n", encoding="utf-8", errors="backslashreplace")
                # The journal is committed by the first of a batch; the others find little left to do.
                flush(reason)
        except OSError as error:
            self._leave(decision, target, error)
            return None
        return target

    def _leave(self, decision: _Decision, target: Path | None, error: OSError) -> None:
        """Keep a claim for the next poll, and no reason beside what is not there."""
        self.stuck[decision.name] = _why(error)
        if decision.genome is None and target is not None:
            with suppress(OSError):
                _reason_of(target).unlink(missing_ok=True)

    def _free(self, name: str) -> Path:
        """A name in ``rejected/`` that neither a file nor a reason bears."""
        target = self._layout.rejected / name
        count = 1
        while os.path.lexists(target) or os.path.lexists(_reason_of(target)):
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
        return self._check(read_regular(path, name)[0], path.parent, name)

    def _check(self, data: bytes, folder: Path, name: str) -> Genome:
        """Check the content of a file in `folder`, called `name`."""
        if not name.endswith(".json"):
            need = "a genome is a .json file, its network an .onnx file; see docs/genome.md"
            raise GenomeError(need, source=name)
        genome = decode(data, known_features=self._features, source=name)
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
        try:
            check_execution(genome.execution, on_bars=genome.clock not in CLOCKS)
        except ValueError as error:
            raise GenomeError(str(error).removeprefix("execution: "), path="execution", source=name) from None
        if genome.artifact is not None:
            check_artifact(genome.artifact, folder, source=name)
        if genome.kind != "tree":
            raise GenomeError(
                f"is whole and in order, but agents of the arena trade trees and not yet {genome.kind!r}",
                path="kind",
                source=name,
            )
        compile_genome(genome)
        return genome


def _reason_of(target: Path) -> Path:
    return target.with_name(target.name + ".reason.txt")


def _why(error: OSError) -> str:
    return error.strerror or str(error)
