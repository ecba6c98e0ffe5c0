"""The stylised facts, a family a file; what registers itself in a module here is measured.

Out: `facts()`, the `Fact` records by name. `sim.stylized_facts` measures them, `sim.realism` compares them.
"""

from __future__ import annotations

from functools import cache

from apex_nautilus._submodules import import_submodules

from .fact import REGISTRY, Fact

__all__ = ["Fact", "facts"]


@cache
def _load() -> None:
    import_submodules(__name__)


def facts() -> dict[str, Fact]:
    """Every fact by name, in the order of the families' files."""
    _load()
    return dict(REGISTRY)
