"""What is wrong with a value, field by field, against a msgspec struct.

msgspec stops at the first thing that does not fit; a person who mends a file wants all of them at once. So
the value is walked beside the type, and msgspec is asked about each leaf alone.
"""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterator
from typing import Any, Union, get_args, get_origin

import msgspec

from apex_nautilus._field_errors import unknown_field

__all__ = ["Problem", "shape_problems"]


class Problem(msgspec.Struct, frozen=True):
    """One thing that is wrong: where (empty for the whole file), and what with how to mend it."""

    field: str
    message: str


def shape_problems(data: Any, kind: type) -> list[Problem]:
    """Everything in which `data` does not fit the struct `kind`, in the order of the file."""
    return list(_problems(data, kind, ""))


def _problems(value: Any, kind: Any, where: str) -> Iterator[Problem]:
    struct = _struct_of(kind)
    if struct is not None and isinstance(value, dict):
        yield from _struct_problems(value, struct, where)
        return
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (list, tuple) and isinstance(value, list) and arguments:
        for i, inner in enumerate(value):
            yield from _problems(inner, arguments[0], f"{where}[{i}]")
        return
    if origin is dict and isinstance(value, dict):
        for name, inner in value.items():
            yield from _problems(inner, arguments[1], f"{where}.{name}" if where else name)
        return
    yield from _leaf_problems(value, kind, where)


def _struct_of(kind: Any) -> type[msgspec.Struct] | None:
    """The struct that an object would become: `kind` itself, or the only one that it may be."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return kind
    if get_origin(kind) in (Union, types.UnionType):
        structs = [a for a in get_args(kind) if isinstance(a, type) and issubclass(a, msgspec.Struct)]
        return structs[0] if len(structs) == 1 else None
    return None


def _struct_problems(value: dict[str, Any], struct: type[msgspec.Struct], where: str) -> Iterator[Problem]:
    fields = {field.encode_name: field for field in msgspec.structs.fields(struct)}
    tag = struct.__struct_config__.tag_field
    clean = True
    unknown = [name for name in value if name not in fields and name != tag]
    for name in value:
        field = f"{where}.{name}" if where else name
        if name in unknown:
            clean = False
            yield Problem(field, unknown_field(name, [n for n in fields if n not in value] or list(fields)))
        elif name in fields:
            for problem in _problems(value[name], fields[name].type, field):
                clean = False
                yield problem
    for name, field in fields.items():
        if field.required and name not in value and not _misspelt(name, unknown):
            clean = False
            yield Problem(f"{where}.{name}" if where else name, "is missing")
    if clean:  # each field fits; what the struct says of them together
        yield from _leaf_problems(value, struct, where)


def _leaf_problems(value: Any, kind: Any, where: str) -> Iterator[Problem]:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        message, at, place = str(error).rpartition(" - at `$")
        field = where + place.rstrip("`") if at else where
        message = message if at else str(error)
        yield Problem(field.lstrip("."), _plain(message, value))
    except Exception as error:  # noqa: BLE001 - what a struct's own check raises is its own affair
        yield Problem(where, str(error))


def _plain(message: str, value: Any) -> str:
    """msgspec's message, begun small, with the value that was found."""
    text = message[:1].lower() + message[1:].replace("`", "")
    if isinstance(value, str | int | float) and text.startswith(("expected", "invalid enum")):
        return f"{text} ({msgspec.json.encode(value).decode()[:60]})"
    return text


def _misspelt(name: str, unknown: list[str]) -> bool:
    """Whether a missing field is likely one that was reported as misspelt."""
    return bool(difflib.get_close_matches(name, unknown, n=1, cutoff=0.6))
