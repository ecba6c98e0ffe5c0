"""Reading what anybody may have dropped, without being led astray or kept waiting by it."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import signal
import stat
from pathlib import Path

from apex_nautilus.genome import GenomeError

__all__ = ["MAX_BYTES", "flush", "is_being_written", "plain_name", "read_regular"]

MAX_BYTES = 256 * 1024
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,159}")


def read_regular(path: Path, name: str) -> tuple[bytes, bool]:
    """Read at most `MAX_BYTES`, never through a link and never from a pipe (which would block).

    Returns
    -------
    bytes
    bool
        Whether somebody else may still change the file: it is of another owner, or has a second name (a hard
        link) somewhere.
    """
    info = path.lstat()
    if stat.S_ISLNK(info.st_mode):
        raise GenomeError("is a symbolic link; drop the file itself", source=name)
    if not stat.S_ISREG(info.st_mode):
        raise GenomeError("is not a regular file", source=name)
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        info = os.fstat(descriptor)
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise GenomeError(f"is larger than {MAX_BYTES} bytes", source=name)
    return data, info.st_nlink > 1 or info.st_uid != os.geteuid()


def is_being_written(path: Path) -> bool:
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


def flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def plain_name(name: str) -> str:
    """Return `name`, or a plain stand-in where it could not carry a suffix or be shown in a terminal."""
    if _PLAIN_NAME.fullmatch(name):
        return name
    digest = hashlib.sha256(os.fsencode(name)).hexdigest()[:12]
    return f"{re.sub(r'[^A-Za-z0-9._-]', '_', name)[:100].lstrip('.')}-{digest}"
