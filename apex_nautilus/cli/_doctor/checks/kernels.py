"""Compiled kernels: where numba keeps them, whether they last, how long one takes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from apex_nautilus.cli._doctor.finding import Finding, Place

__all__ = ["check"]


def check(place: Place) -> Iterator[Finding]:
    import apex_nautilus

    root = Path(apex_nautilus.__file__).parent
    forced = place.environment.get("NUMBA_CACHE_DIR")
    folder = Path(forced) if forced else root / "genome" / "__pycache__"
    near = folder if folder.exists() else folder.parent
    kept = sum(1 for _ in (folder if forced else root).rglob("*.nbi"))
    if place.environment.get("NUMBA_DISABLE_JIT", "0") not in ("", "0"):
        yield Finding(
            "kernels", "fail", "NUMBA_DISABLE_JIT is set: nothing is compiled", "unset NUMBA_DISABLE_JIT"
        )
    elif os.access(near, os.W_OK):
        stamp = root / "__pycache__" / "kernels.stamp"
        state = "in step with their sources" if stamp.exists() or forced else "not stamped yet"
        yield Finding("kernels", "ok", f"{kept} kept in {folder if forced else root}, {state}")
    else:
        yield Finding(
            "kernels", "warn", f"{near} cannot be written: numba keeps them in the user's cache, which does "
            "not notice a change in another file",
            "after an update, remove ~/.cache/numba; or set NUMBA_CACHE_DIR",
        )  # fmt: skip
    seconds = _compile(place)
    note = "" if kept else "; the first run of each program compiles its own, about a minute in all"
    yield Finding("compiler", "ok", f"a small kernel in {seconds:.2f} s{note}")


def _compile(place: Place) -> float:
    """Seconds to compile a kernel that is kept nowhere; its answer is checked."""
    from numba import njit

    began = place.monotonic()

    def triangle(n):
        total = 0
        for i in range(n):
            total += i
        return total

    answer = njit(triangle)(10)
    if answer != 45:
        raise RuntimeError(f"the compiled kernel answers {answer}, not 45: numba and llvmlite do not fit")
    return place.monotonic() - began
