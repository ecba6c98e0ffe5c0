"""Keys and passwords in a file, where they must not be. What was found is never shown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from apex_nautilus.cli._configs.shape import Problem

__all__ = ["find_secrets", "is_secret_name"]

_NAME = re.compile(
    r"(^|_)(api_?key|api_?secret|secret(_?key)?|private_?key|passphrase|password|passwd|access_?token|auth_?token"
    r"|bearer|credentials?)$"
)
_VALUE = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----|^[a-z][a-z0-9+.-]*://[^/\s:@]*:[^/\s@]+@", re.IGNORECASE
)
_MEND = (
    "keys come from the environment, never from a file; remove it here, and replace the key if others saw it"
)


def is_secret_name(name: str) -> bool:
    """Whether a field of that name would hold a key, whichever way its words are joined."""
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().replace("-", "_")
    return _NAME.search(snake) is not None


def find_secrets(data: Any) -> list[Problem]:
    """Every field that is called like a key or holds one, at any depth."""
    return list(_walk(data, ""))


def _walk(value: Any, where: str) -> Iterator[Problem]:
    if isinstance(value, dict):
        for name, inner in value.items():
            field = f"{where}.{name}" if where else name
            if is_secret_name(name) and inner not in (None, "", [], {}):
                yield Problem(field, _MEND)
            else:
                yield from _walk(inner, field)
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from _walk(inner, f"{where}[{i}]")
    elif isinstance(value, str) and _VALUE.search(value):
        yield Problem(where, f"holds a key or a password: {_MEND}")
