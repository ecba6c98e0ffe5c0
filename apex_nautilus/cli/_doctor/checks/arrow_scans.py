"""The folder of eigenvalue scans in Arrow files, if the environment names one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from apex_nautilus.cli._doctor.finding import Finding, Place

__all__ = ["check"]

_VARIABLE = "APEX_ARROW_SCANS"


def check(place: Place) -> Iterator[Finding]:
    named = place.environment.get(_VARIABLE, "").strip()
    if not named:
        yield Finding("scans", "ok", f"no folder configured ({_VARIABLE} is not set)")
        return
    folder = Path(named)
    if not folder.is_dir():
        yield Finding(
            "scans", "fail", f"{folder}: no such folder", f"make it, or change or unset {_VARIABLE}"
        )
        return
    files = [p for p in folder.rglob("*.arrow") if p.is_file()]
    if not files:
        yield Finding("scans", "warn", f"{folder}: no .arrow file", "is the scanner running?")
        return
    newest = max(files, key=lambda p: (p.stat().st_mtime, p.name))
    problem = _unreadable(newest)
    if problem:
        yield Finding("scans", "fail", f"{newest}: {problem}", "remove it, or write it again")
    else:
        age = place.wall() - newest.stat().st_mtime
        yield Finding("scans", "ok", f"{len(files)} files, the newest {age:,.0f} s old and readable")


def _unreadable(path: Path) -> str:
    import pyarrow as pa
    import pyarrow.ipc

    try:
        with pa.memory_map(str(path)) as source:
            try:
                pa.ipc.open_file(source)
            except pa.ArrowInvalid:
                source.seek(0)
                pa.ipc.open_stream(source)
    except (pa.ArrowException, OSError) as error:
        return str(error).splitlines()[0]
    return ""
