"""The folders of the workspace: there, writable, and with room on the disk."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from apex_nautilus.cli._doctor.finding import Finding, Place

__all__ = ["check"]

_FEW_BYTES = 1 << 30
_TOO_FEW_BYTES = 64 << 20


def check(place: Place) -> Iterator[Finding]:
    if not place.catalog.is_dir() and not (place.root / "configs").is_dir():
        yield Finding(
            "workspace", "warn", f"{place.root} has neither configs/ nor catalog/", "make one: apex init DIR"
        )
    for folder in (
        place.root,
        place.catalog,
        place.market,
        place.catalog / "strategies" / "incoming",
        place.runs,
    ):
        if folder.is_dir():
            yield _writable(place, folder)
    usage = shutil.disk_usage(place.root)
    found = f"{usage.free / 2**30:,.1f} GiB free of {usage.total / 2**30:,.0f}"
    if usage.free < _TOO_FEW_BYTES:
        yield Finding("disk", "fail", found, "make room: ledgers and catalogs could not be written")
    elif usage.free < _FEW_BYTES:
        yield Finding("disk", "warn", found, "make room: a day of one order book takes about 1 GiB")
    else:
        yield Finding("disk", "ok", found)


def _writable(place: Place, folder: Path) -> Finding:
    name = f"folder {place.shown(folder)}"
    probe = folder / f".apex-doctor.{os.getpid()}.tmp"
    try:
        with probe.open("xb") as file:
            file.write(b"x")
            os.fsync(file.fileno())
    except OSError as error:
        return Finding(
            name, "fail", f"cannot be written: {error.strerror or error}", f"chown or chmod u+rwx {folder}"
        )
    finally:
        probe.unlink(missing_ok=True)
    return Finding(name, "ok", "writable")
