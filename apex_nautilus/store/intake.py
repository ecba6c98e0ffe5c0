"""How a genome enters the catalog, where it is found again, and how one that found no slot leaves."""

from __future__ import annotations

import os
from pathlib import Path

from apex_nautilus.store.atomic import move, write_atomic
from apex_nautilus.store.faults import fault_point
from apex_nautilus.store.layout import CatalogLayout

__all__ = ["drop", "expire", "holds"]


def drop(layout: CatalogLayout, genome_id: str, genome_json: bytes) -> Path:
    """Write a genome into ``incoming/`` for the Pit Crew to find, atomically; returns the path."""
    target = layout.incoming_file(genome_id)
    write_atomic(target, genome_json)
    fault_point("incoming.dropped")
    return target


def holds(layout: CatalogLayout, genome_id: str, *, living: bool = False) -> Path | None:
    """The first file of the catalog that holds the genome `genome_id`, or None; rejected files do not count.

    Parameters
    ----------
    living : leave out the retired ones: those that died, were replaced, or found no slot.
    """
    suffix = f"{genome_id}.json"
    for path in layout.genome_files():
        if living and path.parent == layout.retired:
            continue
        if path.name.endswith(suffix):
            return path
        if path.parent.parent == layout.champions_root and f'"{genome_id}"'.encode() in path.read_bytes():
            return path
    return None


def expire(layout: CatalogLayout, path: str | os.PathLike[str]) -> Path:
    """Move a challenger that found no slot to ``retired/`` under its own name; returns its new path."""
    source = Path(path)
    target = layout.retired / source.name
    move(source, target)
    return target
