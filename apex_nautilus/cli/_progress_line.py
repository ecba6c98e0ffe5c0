"""One line on a terminal that says how far long work has come, how fast, and for how long yet."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["progress_line", "progress_text"]

_EVERY_S = 0.5


def progress_text(done: int, total: int, seconds: float, unit: str) -> str:
    """``12,000,000 of 80,000,000 rows  15 %  3,100,000 rows/s  ETA 0:22``."""
    rate = done / seconds if seconds > 0 else 0.0
    text = f"{done:,} of {total:,} {unit}  {done / total if total else 1.0:4.0%}  {rate:,.0f} {unit}/s"
    if rate > 0 and total > done:
        minutes, rest = divmod(round((total - done) / rate), 60)
        text += f"  ETA {minutes}:{rest:02d}"
    return text


@contextmanager
def progress_line(unit: str, *, quiet: bool = False) -> Iterator[Callable[[int, int], None] | None]:
    """A function to be called with what is done and the total; it writes to the standard error.

    None where nobody looks: `quiet`, or the standard error is no terminal.
    """
    stream = sys.stderr
    if quiet or not stream.isatty():
        yield None
        return
    began = shown = time.monotonic()

    def show(done: int, total: int) -> None:
        nonlocal shown
        now = time.monotonic()
        if now - shown >= _EVERY_S:
            shown = now
            stream.write(f"\r{progress_text(done, total, now - began, unit)}\x1b[K")
            stream.flush()

    try:
        yield show
    finally:
        if shown > began:
            stream.write("\r\x1b[K")
            stream.flush()
