"""What killed programs left half-written."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from apex_nautilus.cli._doctor.finding import Finding, Place

__all__ = ["check"]

_HALF = re.compile(r"(\.part|\.partial|\.tmp|\.staging|\.writing)$|^\.(staging|apex-staging)")
_WRITER = re.compile(r"\.(\d+)\.(?:\d+\.)?(?:tmp|staging)$")
_SKIP = frozenset({".git", ".venv", "__pycache__", "node_modules"})
#: A program may be writing it at this very moment.
_FRESH_S = 60.0


def check(place: Place) -> Iterator[Finding]:
    found = sorted(_half_written(place, place.root, depth=8)) if place.root.is_dir() else []
    if not found:
        yield Finding("leftovers", "ok", "nothing half-written")
        return
    shown = ", ".join(place.shown(p) for p in found[:4]) + (
        f" and {len(found) - 4} more" if len(found) > 4 else ""
    )
    yield Finding(
        "leftovers", "warn", f"half-written: {shown}",
        f"they harm nothing; when no import, download or run goes on: rm -r {' '.join(map(str, found[:4]))}",
    )  # fmt: skip


def _half_written(place: Place, folder: Path, depth: int) -> Iterator[Path]:
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        if entry.name in _SKIP or entry.is_symlink():
            continue
        path = Path(entry.path)
        if _HALF.search(entry.name):
            if not _in_use(place, path):
                yield path
        elif entry.is_dir() and depth:
            yield from _half_written(place, path, depth - 1)


def _in_use(place: Place, path: Path) -> bool:
    """Whether its writer lives, by the process number in its name, or else whether it is new."""
    writer = _WRITER.search(path.name)
    if writer:
        return Path(f"/proc/{writer.group(1)}").exists()
    try:
        return place.wall() - path.stat().st_mtime < _FRESH_S
    except OSError:
        return True
