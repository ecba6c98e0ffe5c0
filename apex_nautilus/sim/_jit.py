"""How this room compiles its kernels.

The kernels work on arrays that the caller allocated and never allocate themselves, so numba's reference counting has
nothing to count; it would cost more than the matching (100 against 43 ns a message) and a third of the compile time.
"""

from collections.abc import Callable
from typing import TypeVar

from numba import njit
from numba.core.options import DefaultOptions

__all__ = ["kernel"]

_Function = TypeVar("_Function", bound=Callable)

# The switch is numba's own but not public; without it the kernels are slower and otherwise the same.
_OPTIONS = {"_nrt": False} if hasattr(DefaultOptions, "_nrt") else {}


def kernel(function: _Function) -> _Function:
    """Compile a function that only reads and writes the arrays handed to it; cached on disk."""
    return njit(cache=True, error_model="numpy", **_OPTIONS)(function)
