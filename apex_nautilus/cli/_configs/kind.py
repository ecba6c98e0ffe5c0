"""What is known of one kind of file, and how a file's kind is told."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from apex_nautilus._submodules import import_submodules

__all__ = ["Kind", "Reference", "find_kind", "known_kinds"]


@dataclass(frozen=True)
class Reference:
    """A path that a file names.

    Attributes
    ----------
    field : str
        Where it stands, ``agents[0].genome``.
    path : Path
        Made absolute by the kind's loader.
    what : {"file", "folder", "market"}
        What must be there; a market is a Nautilus catalog with data in it.
    """

    field: str
    path: Path
    what: Literal["file", "folder", "market"]


@dataclass(frozen=True)
class Kind:
    """One kind of file.

    Attributes
    ----------
    name : str
        What `--kind` calls it.
    schema : str
        What its files say in their field ``schema``; empty where they have none and are told by their fields.
    about : str
        A few words for a list of kinds.
    load : callable
        ``(path) -> object``: reads a file as the programs do. Raises ValueError, msgspec's errors or one of
        the package's with a message for people.
    shape : callable, optional
        ``() -> type``: the msgspec struct of the file, for finding all that is wrong with it at once. None
        where `load` alone knows (genomes).
    references : callable
        ``(loaded) -> iterable of Reference``.
    plain : callable
        ``(loaded) -> dict``: the fields as plain JSON values, defaults filled in.
    """

    name: str
    schema: str
    about: str
    load: Callable[[Path], Any]
    plain: Callable[[Any], dict[str, Any]]
    shape: Callable[[], type] | None = None
    references: Callable[[Any], Iterable[Reference]] = lambda loaded: ()


def known_kinds() -> dict[str, Kind]:
    """Every kind by name, sorted."""
    kinds: list[Kind] = [module.KIND for module in import_submodules("apex_nautilus.cli._configs.kinds")]
    return {kind.name: kind for kind in sorted(kinds, key=lambda k: k.name)}


def find_kind(data: Any, wanted: str | None = None) -> Kind | str:
    """Return the kind of a file by its decoded content, or in words why it cannot be told.

    A file says its kind in the field ``schema``; one without it is of a kind that has none, when all its
    fields but a few are known to that kind alone. `wanted` decides in place of both.
    """
    kinds = known_kinds()
    if wanted is not None:
        return kinds[wanted]
    if not isinstance(data, dict):
        return f"the file: expected an object with fields in braces, got {_json_type(data)}"
    by_schema = {kind.schema: kind for kind in kinds.values() if kind.schema}
    schema = data.get("schema")
    if schema is not None:
        if isinstance(schema, str) and schema in by_schema:
            return by_schema[schema]
        near = difflib.get_close_matches(str(schema), by_schema, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(by_schema))}"
        return f"schema: {schema!r} is not known; {hint}"
    by_fields = [(_overlap(kind, data), kind) for kind in kinds.values() if not kind.schema]
    best = max(by_fields, key=lambda pair: pair[0], default=(0.0, None))
    if best[1] is not None and best[0] > 0.5:
        return best[1]
    return (
        f"schema: missing, so the kind of file cannot be told; write one of {', '.join(sorted(by_schema))}, "
        "or name the kind with --kind"
    )


def _overlap(kind: Kind, data: dict[str, Any]) -> float:
    """Share of the file's fields that the kind knows."""
    import msgspec

    if kind.shape is None or not data:
        return 0.0
    known = {field.encode_name for field in msgspec.structs.fields(kind.shape())}
    return len(known & set(data)) / len(data)


def _json_type(value: Any) -> str:
    names = {dict: "an object", list: "an array", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
