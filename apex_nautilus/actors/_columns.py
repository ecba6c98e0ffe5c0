"""Many records of one kind, held field by field."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, overload

import msgspec
import numpy as np

__all__ = ["Columns"]

_NUMBERS = {float: "d", int: "q"}
_MANY = 1 << 10  # texts that differ, from which on a field's texts are taken to be different each


class _Texts:
    """The texts of one field: each once and a number a record, or one after the other where they are many."""

    __slots__ = ("_bytes", "_codes", "_ends", "_known", "_names")

    def __init__(self) -> None:
        self._codes = array("i")
        self._names: list[str] = []
        self._known: dict[str, int] | None = {}
        self._bytes = bytearray()
        self._ends = array("q")

    def append(self, text: str) -> None:
        if self._known is None:
            self._bytes += text.encode()
            self._ends.append(len(self._bytes))
            return
        code = self._known.setdefault(text, len(self._names))
        if code == len(self._names):
            self._names.append(text)
        self._codes.append(code)
        if code == _MANY:
            self._known = None
            codes, names = self._codes, self._names
            self._codes, self._names = array("i"), []
            for earlier in codes:
                self.append(names[earlier])

    def __getitem__(self, index: int) -> str:
        if self._known is not None:
            return self._names[self._codes[index]]
        start = self._ends[index - 1] if index else 0
        return self._bytes[start : self._ends[index]].decode()


class Columns[R: msgspec.Struct](Sequence[R]):
    """A sequence of structs that takes 8 bytes a number and little for texts, instead of objects.

    Items are made anew each time they are asked for; `column` gives a field of all of them at once.

    Parameters
    ----------
    kind : type
        A struct whose fields are float, int or str.
    items : iterable, optional
        What it holds from the beginning.

    Raises
    ------
    TypeError
        When a field is of another type.
    """

    __slots__ = ("_fields", "_kind", "_n")

    def __init__(self, kind: type[R], items: Iterable[R] = ()) -> None:
        self._kind = kind
        self._n = 0
        self._fields: dict[str, array | _Texts] = {}
        for f in msgspec.structs.fields(kind):
            if f.type is not str and f.type not in _NUMBERS:
                raise TypeError(f"{kind.__name__}.{f.name}: a column holds float, int or str, not {f.type}")
            self._fields[f.name] = _Texts() if f.type is str else array(_NUMBERS[f.type])
        for item in items:
            self.append(item)

    def append(self, item: R) -> None:
        """Add a record at the end."""
        for name, values in self._fields.items():
            values.append(getattr(item, name))
        self._n += 1

    def column(self, name: str) -> np.ndarray:
        """A number of every record, (n,) float64 or int64; a copy.

        Raises
        ------
        KeyError
            When there is no such field, or it holds texts.
        """
        values = self._fields[name]
        if isinstance(values, _Texts):
            raise KeyError(f"{name}: holds texts; read them item by item")
        return np.array(values)

    def __len__(self) -> int:
        return self._n

    @overload
    def __getitem__(self, index: int) -> R: ...

    @overload
    def __getitem__(self, index: slice) -> list[R]: ...

    def __getitem__(self, index: int | slice) -> R | list[R]:
        if isinstance(index, slice):
            return [self._at(i) for i in range(*index.indices(self._n))]
        at = index + self._n if index < 0 else index
        if not 0 <= at < self._n:
            raise IndexError(f"{self._kind.__name__} {index} of {self._n}")
        return self._at(at)

    def __iter__(self) -> Iterator[R]:
        return map(self._at, range(self._n))

    def __eq__(self, other: Any) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    __hash__ = None  # pyright: ignore[reportAssignmentType]

    def __repr__(self) -> str:
        return f"Columns({self._kind.__name__}, {self._n} items)"

    def _at(self, index: int) -> R:
        return self._kind(**{name: values[index] for name, values in self._fields.items()})
