"""What becomes of a file in ``incoming/``: taken as a challenger, refused with a reason, or expired later."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from apex_nautilus.store.atomic import fsync_directory, move, write_atomic
from apex_nautilus.store.champions import genome_fields
from apex_nautilus.store.faults import fault_point
from apex_nautilus.store.layout import CatalogLayout

__all__ = ["accept", "drop", "expire", "holds", "reject"]


def drop(layout: CatalogLayout, genome_id: str, genome_json: bytes) -> Path:
    """Write a genome into ``incoming/`` for the Pit Crew to find, atomically; returns the path."""
    target = layout.incoming_file(genome_id)
    write_atomic(target, genome_json)
    fault_point("incoming.dropped")
    return target


def holds(layout: CatalogLayout, genome_id: str) -> Path | None:
    """The first file of the catalog (in any role but rejected) that holds the genome `genome_id`, or None."""
    suffix = f"{genome_id}.json"
    for path in layout.genome_files():
        if path.name.endswith(suffix):
            return path
        if path.parent.parent == layout.champions_root and f'"{genome_id}"'.encode() in path.read_bytes():
            return path
    return None


def accept(layout: CatalogLayout, path: str | os.PathLike[str]) -> Path:
    """Move a validated file from ``incoming/`` to ``challengers/<instrument>/``; returns its new path.

    Raises
    ------
    StoreError
        The file has no id or instrument.
    """
    source = Path(path)
    genome = genome_fields(source.read_bytes(), str(source))
    target = layout.challenger_file(genome.instrument_id, genome.id)
    if not target.parent.is_dir():
        target.parent.mkdir(parents=True, exist_ok=True)
        fsync_directory(target.parent.parent)
    move(source, target)
    return target


def reject(layout: CatalogLayout, path: str | os.PathLike[str], reason: str) -> Path:
    """Move a file to ``rejected/`` with its reason in ``<name>.reason.txt`` beside it; returns its new path.

    The reason is written first: a crash in between leaves the file where it was, to be refused again. A
    different file that was refused under the same name before is kept: the newcomer's name then carries its
    digest.
    """
    source = Path(path)
    data = source.read_bytes()
    target = layout.rejected / source.name
    if target.exists() and target.read_bytes() != data:
        target = target.with_name(f"{target.stem}.{hashlib.sha256(data).hexdigest()[:12]}{target.suffix}")
    write_atomic(target.with_name(target.name + ".reason.txt"), reason.rstrip("\n").encode() + b"\n")
    fault_point("reject.reason")
    move(source, target)
    return target


def expire(layout: CatalogLayout, path: str | os.PathLike[str]) -> Path:
    """Move a challenger that found no slot to ``retired/`` under its own name; returns its new path."""
    source = Path(path)
    target = layout.retired / source.name
    move(source, target)
    return target
