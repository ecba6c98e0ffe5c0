"""A run is a folder: its own copy of the strategies, its ledger, and whether it ended.

A backtest changes who trades, so it never works on the catalog itself. `open_run` copies the strategies (and
what is still asked of the Forge) of a catalog, or of an earlier run, into ``runs/<id>/``; the same start
repeats to the byte. The process that runs it holds a lock on the folder's ``run.json``. A run that is neither
finished nor locked was killed: `mark_aborted` says so, and a new run may start from what it left, which is
brought in order first.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
from pathlib import Path
from typing import Literal

import msgspec

from apex_nautilus.actors.dropped_files import MAX_BYTES
from apex_nautilus.actors.recovery import recover_arena
from apex_nautilus.genome import MAX_ARTIFACT_BYTES
from apex_nautilus.store import (
    CatalogLayout,
    LedgerWriter,
    SlotOwner,
    StoreError,
    check_name,
    fault_point,
    write_atomic,
)
from apex_nautilus.store.atomic import fsync_directory

__all__ = ["Run", "RunState", "mark_aborted", "open_run", "read_run"]

_FILE = "run.json"
_LOCK = ".run.lock"
_MAKING = ".making"
_MAKING_LOCK = ".making.lock"


_SCHEMA = "apex.run/1"


class _Kind(msgspec.Struct):
    """What every ``run.json`` says of itself; the Forge keeps runs beside ours.

    Its early ones say the same schema: they are told by the dataset that they name.
    """

    schema: str = ""
    dataset: str = ""


class RunState(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Content of ``run.json``."""

    run_id: str
    source: str
    state: Literal["running", "finished", "aborted"]
    schema: str = _SCHEMA


class Run:
    """A run that this process owns. Life cycle: `open_run`, work in `layout`, `finish` (or `abort`), once."""

    def __init__(self, layout: CatalogLayout, state: RunState, descriptor: int):
        self.layout = layout
        self.run_id = state.run_id
        self._state = state
        self._descriptor = descriptor

    def finish(self) -> None:
        """Say that the run ended as it should, and let go of the folder."""
        self._end("finished")

    def abort(self) -> None:
        """Say that the run ended in an error, and let go of the folder.

        Where even that cannot be written (a full disk), the next `mark_aborted` says so.
        """
        try:
            self._end("aborted")
        except OSError:
            return

    def _end(self, state: Literal["finished", "aborted"]) -> None:
        if self._descriptor < 0:
            raise StoreError(f"run {self.run_id} has ended already")
        try:
            _write_state(self.layout.root, msgspec.structs.replace(self._state, state=state))
        finally:
            os.close(self._descriptor)
            self._descriptor = -1


def open_run(source: str | os.PathLike[str], runs: str | os.PathLike[str], run_id: str) -> Run:
    """Make ``runs/<run_id>/`` from the strategies of `source` and lock it.

    Parameters
    ----------
    source : path
        A catalog, or the folder of an aborted or finished run.
    runs : path
        Where run folders live; made if missing.
    run_id : str
        Name of the new folder.

    Raises
    ------
    StoreError
        When the folder exists or `run_id` cannot name one, or `source` has no strategies or is a run that is
        still going on.
    """
    check_name(run_id, "run")
    origin = CatalogLayout(source)
    if not origin.strategies.is_dir():
        raise StoreError(
            f"{origin.root}: no strategies/ here; give a catalog (`apex-forge evolve` makes one) or "
            "the folder of a run"
        )
    runs = Path(runs)
    mark_aborted(runs)
    if read_run(origin.root) is not None:
        mark_aborted(origin.root.parent)
    earlier = read_run(origin.root)
    if earlier is not None:
        if earlier.state == "running":
            raise StoreError(
                f"{origin.root}: this run is still going on; wait for it or start from another folder"
            )
        _bring_in_order(origin)
    root = runs / run_id
    taken = StoreError(f"{root}: a run of this name exists; choose another --run")
    if root.exists():
        raise taken
    runs.mkdir(parents=True, exist_ok=True)
    with (runs / _MAKING_LOCK).open("wb") as alone:
        fcntl.flock(alone, fcntl.LOCK_EX)
        for leftover in runs.glob(f".*{_MAKING}"):
            shutil.rmtree(leftover, ignore_errors=True)  # of a start that was killed
        # Under another name until it is whole: from half a copy a run must neither begin nor go on.
        made = runs / f".{run_id}{_MAKING}"
        made.mkdir()
        descriptor = os.open(made / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            state = RunState(run_id=run_id, source=str(origin.root), state="running")
            _write_state(made, state)
            _copy(origin, CatalogLayout(made))
            fault_point("run.copied")
            if root.exists():
                raise taken
            os.rename(made, root)
            fsync_directory(runs)
        except BaseException:
            os.close(descriptor)
            shutil.rmtree(made, ignore_errors=True)
            raise
    return Run(CatalogLayout(root), state, descriptor)


def _copy(origin: CatalogLayout, layout: CatalogLayout) -> None:
    """Copy the strategies, and what is still asked of the Forge."""
    # What anybody may drop is not to be trusted with a copy of its own kind; the rest was validated.
    shutil.copytree(
        origin.strategies,
        layout.strategies,
        symlinks=True,
        ignore=lambda folder, names: names if Path(folder) == origin.incoming else (),
    )
    layout.ensure()
    for path in sorted(origin.incoming.iterdir()) if origin.incoming.is_dir() else ():
        _copy_dropped(path, layout.incoming / path.name)
    ended = [path for folder in (origin.jobs_done, origin.jobs_failed) for path in folder.glob("*.json")]
    # A worker that was killed between its answer and its last step leaves the request beside the answer.
    answered = {path.name.split(".")[0] for path in ended}
    for folder in (origin.jobs_todo, origin.jobs_doing):
        for path in sorted(folder.glob("*.json")) if folder.is_dir() else ():
            if path.name.split(".")[0] not in answered:
                shutil.copyfile(path, layout.jobs_todo / f"{path.name.split('.')[0]}.json")


def _copy_dropped(source: Path, target: Path) -> None:
    """Copy what lies in ``incoming/`` so that the intake refuses the copy for the reason of the original.

    Links stay links and are never followed; of a file too large just enough to be so (networks,
    ``*.onnx``, may be larger than genomes); anything else (a pipe, a folder, what cannot be read) is stood in
    for by an empty folder.
    """
    try:
        kind = source.lstat().st_mode
        if stat.S_ISLNK(kind):
            target.symlink_to(os.readlink(source))
        elif stat.S_ISREG(kind):
            left = (MAX_ARTIFACT_BYTES if source.name.endswith(".onnx") else MAX_BYTES) + 1
            with source.open("rb") as file, target.open("wb") as copy:
                while left and (piece := file.read(min(left, 1 << 20))):
                    copy.write(piece)
                    left -= len(piece)
        else:
            target.mkdir()
    except FileNotFoundError:
        return  # taken or withdrawn meanwhile
    except PermissionError:
        target.mkdir()


def read_run(root: str | os.PathLike[str]) -> RunState | None:
    """The state of the run in `root`, or None where it is not the folder of an arena's run.

    Raises
    ------
    StoreError
        When ``run.json`` is not readable.
    """
    path = Path(root) / _FILE
    try:
        data = path.read_bytes()
        kind = msgspec.json.decode(data, type=_Kind)
        if kind.schema != _SCHEMA or kind.dataset:
            return None
        return msgspec.json.decode(data, type=RunState)
    except FileNotFoundError:
        return None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise StoreError(f"{path}: not the state of a run ({error})") from None


def mark_aborted(runs: str | os.PathLike[str]) -> list[str]:
    """Mark every run whose process is gone without an end; return their ids."""
    marked = []
    for path in sorted(Path(runs).glob(f"*/{_FILE}")):
        try:
            state = read_run(path.parent)
        except StoreError:
            continue  # damaged: who wants to go on from it is told
        if state is None or state.state != "running" or path.parent.name.endswith(_MAKING):
            continue
        descriptor = os.open(path.parent / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue  # its process lives
        else:
            _write_state(path.parent, msgspec.structs.replace(state, state="aborted"))
            marked.append(state.run_id)
        finally:
            os.close(descriptor)
    return marked


def _bring_in_order(layout: CatalogLayout) -> None:
    layout.ensure()
    owner = SlotOwner(layout)
    try:
        with LedgerWriter(layout.ledger, "arena") as ledger:
            recover_arena(layout, ledger)
    finally:
        owner.release()


def _write_state(root: Path, state: RunState) -> None:
    write_atomic(root / _FILE, msgspec.json.format(msgspec.json.encode(state), indent=2) + b"\n")
