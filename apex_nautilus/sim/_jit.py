"""How this room compiles its kernels.

The kernels work on arrays that the caller allocated and never allocate themselves, so numba's reference
counting has nothing to count; it would cost more than the matching (100 against 40 ns a message). They are
inlined into whoever calls them: a book is four arrays and a market eighteen, and handing those over at each
call cost a quarter of the market's speed and a sixth of the matching's; two seconds of compile time. Kernels
that only other kernels call go without the wrappers that Python would need: unpacking a whole market in
each of them would be most of the compile time.
"""

from collections.abc import Callable
from typing import Any

from numba import njit
from numba.core.options import DefaultOptions

__all__ = ["apart", "entry", "kernel", "loop"]

_OPTIONS: dict[str, Any] = {"cache": True, "error_model": "numpy", "forceinline": True}
if hasattr(DefaultOptions, "_nrt"):
    # The switch is numba's own but not public; without it the kernels are slower and otherwise the same.
    _OPTIONS["_nrt"] = False


def entry(function: Callable) -> Any:
    """Compile a kernel that Python may call too."""
    return njit(**_OPTIONS)(function)


def loop(function: Callable) -> Any:
    """Compile a kernel that runs for long: other threads of Python go on meanwhile."""
    return njit(nogil=True, **_OPTIONS)(function)


def kernel(function: Callable) -> Any:
    """Compile a private kernel that only kernels call; Python calling it would crash."""
    return njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, **_OPTIONS)(function)


def apart(function: Callable) -> Any:
    """Compile a private kernel that is called, not inlined: for what happens seldom, in big kernels."""
    options = {**_OPTIONS, "forceinline": False}
    return njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, **options)(function)
