"""What is wrong with a configuration file, in words for the person who wrote it."""

from __future__ import annotations

import difflib
import re
import types
from collections.abc import Iterable
from typing import Any, Union, get_args, get_origin

import msgspec

__all__ = ["readable", "unknown_field"]

_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)


def readable(message: str, kind: type[msgspec.Struct]) -> str:
    """msgspec's message about a file of `kind` with the field first.

    ``agents[0].capital: Expected `float`, got `str```. A field that does not exist is answered by the nearest
    one that does, and what a struct says of its own fields bears their whole names.
    """
    text, at, place = message.rpartition(" - at `$")
    where = place.rstrip("`").lstrip(".") if at else ""
    text = text if at else message
    unknown = _UNKNOWN.fullmatch(text)
    if unknown is not None:
        name = unknown.group(1)
        return f"{f'{where}.{name}' if where else name}: {unknown_field(name, _fields_at(kind, where))}"
    own = re.match(rf"{re.escape(where.rpartition('.')[2])}: (\w+) (?=must be |is below )", text)
    if where and own is not None:
        return f"{where}.{own.group(1)}: {text[own.end() :]}"
    return f"{where or 'the file'}: {text}" if at else message


def unknown_field(name: str, known: Iterable[str]) -> str:
    """What to say of a field that does not exist, with the nearest of those that do."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if near:
        return f"is not a field; did you mean {near[0]!r}?"
    return f"is not a field here; known are {', '.join(known)}" if known else "is not a field here"


def _fields_at(kind: Any, where: str) -> list[str]:
    """Names of the fields at a place such as ``agents[0].venue``; none where the place is no struct."""
    for step in re.findall(r"[^.\[\]]+|\[[^\]]*\]", where):
        struct = _struct_of(kind)
        if step.startswith("["):
            arguments = get_args(kind)
            kind = arguments[-1] if arguments else None
        elif struct is None:
            return []
        else:
            types_of = {field.encode_name: field.type for field in msgspec.structs.fields(struct)}
            kind = types_of.get(step)
    struct = _struct_of(kind)
    return [] if struct is None else [field.encode_name for field in msgspec.structs.fields(struct)]


def _struct_of(kind: Any) -> type[msgspec.Struct] | None:
    """The struct that `kind` is, or the only one that it may be."""
    candidates = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)
    found = [c for c in candidates if isinstance(c, type) and issubclass(c, msgspec.Struct)]
    return found[0] if len(found) == 1 else None
