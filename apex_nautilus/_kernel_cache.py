"""Keep compiled kernels in step with the sources they were made from.

Numba keeps compiled code beside each module and renews it when that module's file changes, but not when a
kernel in another file does that was compiled into it. After an update such code would go on running the old
version, so it is all thrown away when any file with kernels has changed.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

__all__ = ["discard_stale_kernels"]

_ROOT = Path(__file__).parent
_STAMP = "kernels.stamp"
_MARKS = (b"njit", b"cfunc", b"numba", b"_jit")


def discard_stale_kernels(root: Path = _ROOT) -> int:
    """Remove the compiled kernels below `root` if their sources have changed since they were last looked at.

    Safe beside other processes: one that finds a file gone compiles it anew. A folder that cannot be
    written to is left alone (numba then keeps its files in the user's own cache, by the path and age of
    each source).

    Returns
    -------
    int
        Files removed.
    """
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        source = path.read_bytes()
        if any(mark in source for mark in _MARKS):
            digest.update(f"{path.relative_to(root)}\0{len(source)}\0".encode() + source)
    stamp = root / "__pycache__" / _STAMP
    with contextlib.suppress(OSError):
        if stamp.read_text(encoding="ascii") == digest.hexdigest():
            return 0
    removed = 0
    try:
        for pattern in ("*.nbi", "*.nbc"):
            for path in root.rglob(f"__pycache__/{pattern}"):
                path.unlink(missing_ok=True)
                removed += 1
        stamp.parent.mkdir(exist_ok=True)
        temporary = stamp.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_text(digest.hexdigest(), encoding="ascii")
        temporary.replace(stamp)
    except OSError:
        return removed
    return removed
