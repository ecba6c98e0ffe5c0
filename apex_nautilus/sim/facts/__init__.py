"""The stylised facts, a family a file; what registers itself in a module here is measured.

Out: `facts()`, the `Fact` records by name. `sim.stylized_facts` measures them, `sim.realism` compares them.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from .fact import REGISTRY, Fact

__all__ = ["Fact", "facts"]


@cache
def _load() -> None:
    for module in sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name != "fact"):
        importlib.import_module(f"{__name__}.{module}")


def facts() -> dict[str, Fact]:
    """Every fact by name, in the order of the families' files."""
    _load()
    return dict(REGISTRY)
