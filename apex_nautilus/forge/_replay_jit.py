"""How the replay's inner kernels compile.

They read and write arrays that their caller holds and never allocate, so there is nothing for numba to count
references of; counting them at every call that passes the market's dozen arrays would cost more than the
trade itself.
"""

from __future__ import annotations

from collections.abc import Callable

from numba import njit
from numba.core.options import DefaultOptions

# The switch is numba's own, though not a documented one; without it the kernels are slower and otherwise the
# same.
_OPTIONS = {"_nrt": False} if hasattr(DefaultOptions, "_nrt") else {}


def kernel[F: Callable](function: F) -> F:
    """Compile a function that only reads and writes the arrays handed to it; cached on disk."""
    return njit(cache=True, error_model="numpy", **_OPTIONS)(function)
