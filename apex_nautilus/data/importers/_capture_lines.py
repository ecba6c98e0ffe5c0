"""The lines of websocket recordings of many kinds, brought to one shape.

Read are cryptofeed's recordings, format 2 (one JSON object a line with `t`, `conn`, `ts`, `data`) and format
1 (``<seconds>: <json>``, with ``wss://… <-> <seconds>`` where a connection opens), and ``<receive_ns>
<json>``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from apex_nautilus.data.importers._lines import lines
from apex_nautilus.data.importers.report import RowLedger

__all__ = ["Entry", "entries"]

_LARGEST = 2**63 - 1
_OLD = re.compile(rb"([0-8]?\d{1,9}(?:\.\d{1,9})?): (.*)", re.DOTALL)
_OPENED = re.compile(
    rb"((?:wss?|https?)://\S+) (<->|<-|->) ([0-8]?\d{1,9}(?:\.\d{1,9})?)(?:: (.*))?", re.DOTALL
)
_RAW = re.compile(rb"(\d{16,19}) (.*)", re.DOTALL)


class _Line(msgspec.Struct):
    t: str
    ts: float = 0.0
    conn: str = ""
    addr: str = ""
    url: str = ""
    exchange: str = ""
    data: str = ""


@dataclass(slots=True)
class Entry:
    """One line: `kind` is header, connect, send, http or recv; `address` where its connection leads."""

    kind: str
    receive_ns: int
    address: str
    text: str | bytes
    exchange: str = ""


def entries(path: Path, rows: RowLedger, *, allow_truncated: bool = False) -> Iterator[Entry]:
    """Yield the lines of a recording; one that is of no known shape is refused and counted in `rows`.

    Raises
    ------
    ImportRefused
        When the file cannot be read, or too many lines are bad.
    """
    decoder = msgspec.json.Decoder(_Line)
    addresses: dict[str, str] = {}
    for raw in lines(path, rows, allow_truncated=allow_truncated):
        rows.rows += 1
        if raw.startswith(b"{"):
            try:
                line = decoder.decode(raw)
                receive = round(line.ts * 1e6) * 1_000  # no more is in the double
                if not 0 <= receive <= _LARGEST:
                    raise ValueError("ts is outside the times that can be")
            except (msgspec.DecodeError, UnicodeDecodeError, ValueError, OverflowError, RecursionError) as e:
                rows.refuse("bad_line", f"no line of a recording: {e}")
                continue
            if line.t == "connect":
                addresses[line.conn] = line.addr
            address = line.url or line.addr or addresses.get(line.conn, "")
            yield Entry(line.t, receive, address, line.data, line.exchange)
        elif match := _OLD.fullmatch(raw):
            yield Entry("recv", _seconds(match[1]), addresses.get("", ""), match[2])
        elif match := _RAW.fullmatch(raw):
            if int(match[1]) <= _LARGEST:
                yield Entry("recv", int(match[1]), "", match[2])
            else:
                rows.refuse("bad_line", "a time of receipt that 64 bits do not hold")
        elif match := _OPENED.fullmatch(raw):
            address = match[1].decode("ascii", "replace")
            kind = "connect" if match[2] == b"<->" else "send" if match[2] == b"<-" else "http"
            if kind == "connect":
                addresses[""] = address
            yield Entry(kind, _seconds(match[3]), address, match[4] or b"")
        else:
            rows.refuse("bad_line", f"expected a line of a recording, got {raw[:60]!r}")


def _seconds(text: bytes) -> int:
    whole, _, part = text.partition(b".")
    return int(whole) * 1_000_000_000 + int(part.ljust(9, b"0"))
