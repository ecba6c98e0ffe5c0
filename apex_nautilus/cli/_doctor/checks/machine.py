"""Cores and memory, as far as this process may use them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from apex_nautilus.cli._doctor.finding import Finding, Place

__all__ = ["check"]

_LITTLE_BYTES = 3 << 30


def check(place: Place) -> Iterator[Finding]:
    cores = len(os.sched_getaffinity(0))
    yield Finding("cores", "ok", f"{cores}")
    memory = _available()
    if memory is None:
        return
    found = f"{memory / 2**30:,.1f} GiB available"
    if memory < _LITTLE_BYTES:
        yield Finding("memory", "warn", found, "the demonstration takes 2.4 GiB; close other programs first")
    else:
        yield Finding("memory", "ok", found)


def _available() -> int | None:
    """Bytes that may still be used: the machine's, or the control group's if that is less."""
    lines = {}
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            name, _, rest = line.partition(":")
            lines[name] = rest
        available = int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return None
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
        used = int(Path("/sys/fs/cgroup/memory.current").read_text(encoding="ascii"))
        return min(available, int(limit) - used) if limit != "max" else available
    except (OSError, ValueError):
        return available
