"""Genomes: strategies as data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from apex_nautilus.cli._configs.kind import Kind, Reference

__all__ = ["KIND"]


def _load(path: Path) -> Any:
    from apex_nautilus.features import names
    from apex_nautilus.genome import compile_genome, load

    genome = load(path, known_features=names())
    compile_genome(genome)
    return path, genome


def _references(loaded: Any) -> Iterator[Reference]:
    path, genome = loaded
    if genome.artifact is not None:
        yield Reference("artifact.file", path.parent / genome.artifact.file, "file")


def _plain(loaded: Any) -> dict[str, Any]:
    import msgspec

    from apex_nautilus.genome import encode

    return msgspec.json.decode(encode(loaded[1]))


KIND = Kind("genome", "apex.genome/1", "a strategy as data", _load, _plain, references=_references)
