"""How this room compiles its kernels.

The kernels work on arrays that the caller allocated and never allocate themselves, so numba's reference
counting has nothing to count; it would cost more than the matching (100 against 40 ns a message). Kernels
that only other kernels call go without the wrappers that Python would need: unpacking a whole market in
each of them would be most of the compile time.

Compiled code is kept on disk. Numba renews it when the file of the kernel changes, but not when another
kernel does that it calls; here it is renewed when any file of the room changes.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba import njit
from numba.core.options import DefaultOptions

__all__ = ["entry", "kernel"]

_OPTIONS: dict[str, Any] = {"cache": True, "error_model": "numpy"}
if hasattr(DefaultOptions, "_nrt"):
    # The switch is numba's own but not public; without it the kernels are slower and otherwise the same.
    _OPTIONS["_nrt"] = False

_SOURCES = hashlib.sha256(
    b"".join(p.read_bytes() for p in sorted(Path(__file__).parent.glob("*.py")))
).hexdigest()


def entry(function: Callable) -> Any:
    """Compile a kernel that Python may call too."""
    return _stamped(njit(**_OPTIONS)(function))


def kernel(function: Callable) -> Any:
    """Compile a private kernel that only kernels call; Python calling it would crash."""
    return _stamped(njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, **_OPTIONS)(function))


def _stamped(dispatcher: Any) -> Any:
    """Let the kept code depend on all sources of the room, where numba lets us at its index."""
    index = getattr(getattr(dispatcher, "_cache", None), "_cache_file", None)
    if index is not None and hasattr(index, "_source_stamp"):
        index._source_stamp = (index._source_stamp, _SOURCES)
    return dispatcher
