"""Who holds what: runs that go on or were killed, jobs that nobody works on any more."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from apex_nautilus.cli._doctor.finding import Finding, Place

__all__ = ["check"]


def check(place: Place) -> Iterator[Finding]:
    from apex_nautilus.actors.runs import read_run
    from apex_nautilus.store import StoreError

    going, killed = [], []
    for folder in sorted(p.parent for p in place.runs.glob("*/run.json")) if place.runs.is_dir() else ():
        try:
            run = read_run(folder)  # None for the Forge's, which go on with `apex-forge resume`
        except StoreError as error:
            yield Finding("runs", "fail", str(error), f"move it away: mv {folder} {folder}.damaged")
            continue
        if run is not None and run.state == "running":
            (going if _is_locked(folder / ".run.lock") else killed).append(folder.name)
    if killed:
        yield Finding(
            "runs", "warn", f"killed while running: {', '.join(killed)}",
            f"the next arena marks them aborted; go on with: apex arena CONFIG --from runs/{killed[-1]}",
        )  # fmt: skip
    if going:
        yield Finding("runs", "ok", f"going on: {', '.join(going)}")
    elif not killed:
        yield Finding("runs", "ok", "none going on")
    yield from _jobs(place)


def _jobs(place: Place) -> Iterator[Finding]:
    roots = (
        [place.catalog, *(p.parent for p in place.runs.glob("*/jobs"))]
        if place.runs.is_dir()
        else [place.catalog]
    )
    stuck, waiting, failed = [], 0, 0
    for root in roots:
        doing = root / "jobs" / "doing"
        stuck += [p for p in sorted(doing.glob("*.json")) if not _is_locked(p)] if doing.is_dir() else []
        waiting += _count(root / "jobs" / "todo")
        failed += _count(root / "jobs" / "failed") if root == place.catalog else 0
    if stuck:
        yield Finding(
            "jobs", "warn", f"claimed, but their worker is gone: {', '.join(p.name for p in stuck[:3])}",
            "start apex-forge worker: it takes them up again",
        )  # fmt: skip
    elif failed:
        yield Finding("jobs", "warn", f"{failed} failed for good", "apex-forge jobs says why")
    else:
        yield Finding("jobs", "ok", f"{waiting} waiting, none stuck")


def _count(folder: Path) -> int:
    return sum(1 for p in folder.glob("*.json")) if folder.is_dir() else 0


def _is_locked(path: Path) -> bool:
    """Whether a living process holds a lock on the file; the lock tried here is given back at once."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
