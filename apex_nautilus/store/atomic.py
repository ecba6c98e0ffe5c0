"""Files that are either whole or absent, whatever happens while they are written.

A file is written under a temporary name in its own directory, flushed to the disk, and renamed: rename within
one file system is atomic on POSIX, and the directory is flushed so that the new name survives a power failure
too.
"""

from __future__ import annotations

import itertools
import os
import re
from pathlib import Path

from apex_nautilus.store.faults import fault_point

__all__ = ["clean_temporaries", "fsync_directory", "move", "remove", "write_atomic"]

_serial = itertools.count()
_TEMPORARY = re.compile(r"\..+\.(\d+)\.\d+\.tmp")


def fsync_directory(path: str | os.PathLike[str]) -> None:
    """Flush a directory's entries (names created, renamed or removed in it) to the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomic(path: str | os.PathLike[str], data: bytes, *, exclusive: bool = False) -> None:
    """Write `data` to `path` so that a reader or a crash sees the old file or the new one, never a part.

    Parameters
    ----------
    path : the file to create or replace; its directory must exist.
    data : the whole content.
    exclusive : refuse to replace: raises FileExistsError when `path` exists, also when another process
        creates it at the same moment.

    Raises
    ------
    FileExistsError
        `exclusive` and the file exists.
    OSError
        The directory is missing, not writable or full. The temporary file is removed.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.{next(_serial)}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        try:
            fault_point("atomic.temporary_created")
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        fault_point("atomic.temporary_written")
        if exclusive:
            os.link(temporary, target)  # unlike rename, a link never replaces
            os.unlink(temporary)
        else:
            os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    fault_point("atomic.renamed")
    fsync_directory(target.parent)


def move(source: str | os.PathLike[str], destination: str | os.PathLike[str]) -> None:
    """Rename a file inside one file system, atomically and durably; an existing destination is replaced.

    The file's content is flushed first, so that the new name never points at data that the disk does not
    have.

    Raises
    ------
    FileNotFoundError
        The source is gone (another process took it), or the destination's directory is missing.
    """
    source, destination = Path(source), Path(destination)
    descriptor = os.open(source, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    fault_point("move.flushed")
    os.rename(source, destination)
    fault_point("move.renamed")
    fsync_directory(destination.parent)
    if source.parent != destination.parent:
        fsync_directory(source.parent)


def remove(path: str | os.PathLike[str]) -> None:
    """Remove a file durably; one that is already gone is no error (removal may be repeated after a crash)."""
    target = Path(path)
    try:
        os.unlink(target)
    except FileNotFoundError:
        return
    fault_point("remove.unlinked")
    fsync_directory(target.parent)


def clean_temporaries(directory: str | os.PathLike[str]) -> list[Path]:
    """Remove the temporary files that dead writers left in `directory` (not below it); return what was
    removed.

    A temporary file carries its writer's process number; those of living processes are left alone.
    """
    removed = []
    for entry in sorted(Path(directory).iterdir()):
        match = _TEMPORARY.fullmatch(entry.name)
        if match and not _is_alive(int(match.group(1))):
            entry.unlink(missing_ok=True)
            removed.append(entry)
    return removed


def _is_alive(pid: int) -> bool:
    if pid == os.getpid():
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
