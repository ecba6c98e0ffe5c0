"""A file with its defaults filled in, and which fields they are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec

from apex_nautilus.cli._configs.check import read_file
from apex_nautilus.cli._configs.kind import find_kind

__all__ = ["Field", "resolve_file"]


class Field(msgspec.Struct, frozen=True):
    """One field as a program sees it, and whether the file says it or the default does."""

    field: str
    value: Any
    source: Literal["file", "default"]


def resolve_file(path: Path, kind: str | None = None) -> tuple[str, dict[str, Any], list[Field]]:
    """Return the kind of a file that `check_file` found sound, its whole content, and its fields one by one.

    An empty list or object is a field of its own; so is a tree of a genome, which is one value.

    Raises
    ------
    ValueError
        When the file's kind cannot be told.
    """
    data, problems = read_file(path)
    found = find_kind(data, kind)
    if problems or isinstance(found, str):
        raise ValueError(f"{path}: {problems[0].message if problems else found}")
    resolved = found.plain(found.load(path))
    return found.name, resolved, list(_flatten(resolved, data, ""))


def _flatten(value: Any, given: Any, where: str) -> Iterator[Field]:
    """The leaves of `value`; those that `given` has at the same place are from the file."""
    missing = object()
    if isinstance(value, dict) and value and "primitive" not in value:
        for name, inner in value.items():
            said = given.get(name, missing) if isinstance(given, dict) else missing
            yield from _one(inner, said, f"{where}.{name}" if where else name, missing)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for i, inner in enumerate(value):
            said = given[i] if isinstance(given, list) and i < len(given) else missing
            yield from _one(inner, said, f"{where}[{i}]", missing)
    else:
        yield Field(where, value, "file")


def _one(value: Any, said: Any, where: str, missing: object) -> Iterator[Field]:
    for field in _flatten(value, None if said is missing else said, where):
        yield Field(field.field, field.value, "default") if said is missing else field
