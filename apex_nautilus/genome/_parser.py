"""A JSON reader that cannot be hurt by its input.

Every bound is checked while reading, before anything of that size is built: bytes, depth, values, length of a
string or number, depth and nodes of a tree. Refused beside bad syntax: duplicate keys, NaN and Infinity,
numbers that overflow, bad UTF-8, lone surrogates. It reads the largest file allowed in a few milliseconds.

msgspec and the standard library are faster or more general, but neither refuses duplicate keys, both recurse
to a depth the caller cannot choose, and neither says at which JSON path the trouble lies.
"""

from __future__ import annotations

import re

from apex_nautilus.genome.errors import GenomeError
from apex_nautilus.genome.schema import MAX_DEPTH, MAX_FILE_BYTES, MAX_NODES

#: Three full trees take some 4,700 values; the rest is head-room for provenance and evidence.
MAX_VALUES = 8192
#: A tree of MAX_DEPTH takes two levels a node, the terminal one more, the file itself one.
MAX_NESTING = 2 * MAX_DEPTH + 4
MAX_STRING = 4096
MAX_NUMBER = 40

_SPACE = re.compile(r"[ \t\n\r]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_PLAIN = re.compile(r'[^"\\\x00-\x1f]*')
_ESCAPE = re.compile(r'["\\/bfnrt]|u[0-9a-fA-F]{4}')
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_SHORT = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


def parse(data: bytes, source: str) -> object:
    """Read one JSON document within the limits of a genome file.

    Parameters
    ----------
    data : bytes
        The whole file.
    source : str
        Name for error messages.

    Returns
    -------
    object
        dict, list, str, int, float, bool or None.

    Raises
    ------
    GenomeError
        For whatever is wrong, with the JSON path and the limit.
    """
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise GenomeError(f"bytes are needed, not {type(data).__name__}", source=source)
    if len(data) > MAX_FILE_BYTES:
        raise GenomeError(f"{len(data)} bytes, the limit is {MAX_FILE_BYTES} (256 KiB)", source=source)
    try:
        text = bytes(data).decode("utf-8")
    except UnicodeDecodeError as error:
        raise GenomeError(f"not UTF-8 at byte {error.start}", source=source) from None
    return _Reader(text, source).document()


class _Reader:
    """One pass over the text; `path` is where the pass stands, for error messages."""

    __slots__ = ("nodes", "path", "position", "source", "text", "values")

    def __init__(self, text: str, source: str) -> None:
        self.text = text
        self.source = source
        self.position = 0
        self.path: list[str | int] = []
        self.values = 0
        self.nodes = 0

    def document(self) -> object:
        self._space()
        value = self._value(0, 0)
        if self.position != len(self.text):
            raise self._error("more text after the end of the document")
        return value

    def _error(self, reason: str) -> GenomeError:
        return GenomeError(f"{reason} (character {self.position})", path=join(self.path), source=self.source)

    def _space(self) -> None:
        self.position = _SPACE.match(self.text, self.position).end()  # type: ignore[union-attr]

    def _value(self, nesting: int, tree_depth: int) -> object:
        self.values += 1
        if self.values > MAX_VALUES:
            raise self._error(f"more than {MAX_VALUES} values in the file, the limit")
        if nesting > MAX_NESTING:
            raise self._error(f"nested deeper than {MAX_NESTING} levels, the limit")
        text, position = self.text, self.position
        first = text[position : position + 1]
        if first == "{":
            value = self._object(nesting, tree_depth)
        elif first == "[":
            value = self._array(nesting, tree_depth)
        elif first == '"':
            value = self._string()
        elif first == "-" or "0" <= first <= "9":
            value = self._number()
        elif text.startswith("true", position):
            self.position, value = position + 4, True
        elif text.startswith("false", position):
            self.position, value = position + 5, False
        elif text.startswith("null", position):
            self.position, value = position + 4, None
        elif text.startswith(("NaN", "Infinity"), position):
            raise self._error("NaN and Infinity are not numbers of JSON; use finite ones")
        elif not first:
            raise self._error("the file ends where a value should stand")
        else:
            raise self._error(f"{first!r} where a value should stand")
        self._space()
        return value

    def _object(self, nesting: int, tree_depth: int) -> dict[str, object]:
        result: dict[str, object] = {}
        text = self.text
        self.position += 1
        self._space()
        if text.startswith("}", self.position):
            self.position += 1
            return result
        while True:
            if not text.startswith('"', self.position):
                raise self._error("a field name in double quotes should stand here")
            key = self._string()
            self.path.append(key)
            if key in result:
                raise self._error("duplicate field")
            self._space()
            if not text.startswith(":", self.position):
                raise self._error("':' should follow the field name")
            self.position += 1
            self._space()
            if nesting == 0:
                self.nodes = 1  # each field of the file may be a tree of its own
            if key == "children" and text.startswith("[", self.position):
                if tree_depth >= MAX_DEPTH and not _EMPTY.match(text, self.position):
                    raise self._error(f"tree deeper than {MAX_DEPTH}, the limit")
                result[key] = self._array(nesting + 1, tree_depth + 1, children=True)
                self._space()
            else:
                result[key] = self._value(nesting + 1, tree_depth)
            self.path.pop()
            if text.startswith(",", self.position):
                self.position += 1
                self._space()
            elif text.startswith("}", self.position):
                self.position += 1
                return result
            else:
                raise self._error("',' or '}' should stand here")

    def _array(self, nesting: int, tree_depth: int, *, children: bool = False) -> list[object]:
        result: list[object] = []
        text = self.text
        self.position += 1
        self._space()
        if text.startswith("]", self.position):
            self.position += 1
            return result
        while True:
            self.path.append(len(result))
            if children:
                self.nodes += 1
                if self.nodes > MAX_NODES:
                    raise self._error(f"more than {MAX_NODES} nodes in the tree, the limit")
            result.append(self._value(nesting + 1, tree_depth))
            self.path.pop()
            if text.startswith(",", self.position):
                self.position += 1
                self._space()
            elif text.startswith("]", self.position):
                self.position += 1
                return result
            else:
                raise self._error("',' or ']' should stand here")

    def _string(self) -> str:
        text, start = self.text, self.position + 1
        end = _PLAIN.match(text, start).end()  # type: ignore[union-attr]
        value = text[start:end]
        if text.startswith("\\", end):
            value, end = self._escaped(value, end)
        if len(value) > MAX_STRING:
            raise self._error(f"a string longer than {MAX_STRING} characters, the limit")
        if not text.startswith('"', end):
            raise self._error("a string without an end, or with a control character in it")
        self.position = end + 1
        return value

    def _escaped(self, head: str, end: int) -> tuple[str, int]:
        """The string from its first escape on, and where it ends; it stops reading at the limit."""
        text = self.text
        pieces, length = [head], len(head)
        while length <= MAX_STRING and text.startswith("\\", end):
            escape = _ESCAPE.match(text, end + 1)
            if escape is None:
                raise self._error("bad escape in a string")
            found = escape.group()
            start = escape.end()
            end = _PLAIN.match(text, start).end()  # type: ignore[union-attr]
            pieces += (_SHORT[found] if len(found) == 1 else chr(int(found[1:], 16)), text[start:end])
            length += 1 + end - start
        value = "".join(pieces)
        if _SURROGATE.search(value):
            # Escaped pairs are one character; whatever is still a surrogate after joining has no partner.
            try:
                value = value.encode("utf-16", "surrogatepass").decode("utf-16")
            except UnicodeDecodeError:
                raise self._error("a lone surrogate in a string") from None
        return value, end

    def _number(self) -> int | float:
        match = _NUMBER.match(self.text, self.position)
        if match is None:
            if self.text.startswith("-Infinity", self.position):
                raise self._error("NaN and Infinity are not numbers of JSON; use finite ones")
            raise self._error("a malformed number")
        found = match.group()
        if len(found) > MAX_NUMBER:
            raise self._error(f"a number longer than {MAX_NUMBER} characters, the limit")
        self.position = match.end()
        if found.lstrip("-").isdigit():
            return int(found)
        value = float(found)
        if value in (float("inf"), float("-inf")):
            raise self._error(f"{found} is too large for a float64")
        return value


_EMPTY = re.compile(r"\[[ \t\n\r]*\]")


def join(path: list[str | int]) -> str:
    """The JSON path as text: ``["signal", "children", 1]`` is ``signal.children[1]``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            # A field name is foreign text: keep one line, printable and short.
            name = part if part.isidentifier() and len(part) <= 64 else ascii(part[:64])
            text += f".{name}" if text else name
    return text
