"""Reading ledgers without holding them: records one at a time, from a place, from a time, and as they are
written.

`LedgerReader` reads a file in blocks and keeps of each block where it begins and between which times its
records lie. What was read once is found again without reading what lies between, and what was appended since
is read alone. Times need not be in order: a block is passed over only where none of its records can be meant.

The rules are the writer's: a last line that is torn is not there (yet); damage anywhere else, and a sequence
number that is missing or repeated, is an error.
"""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from apex_nautilus.store.errors import NOT_JSON, LedgerError

__all__ = ["LedgerReader", "LedgerRecord", "iterate_all", "read_all", "read_ledger"]

_BLOCK = 1 << 18


class LedgerRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of a ledger.

    Attributes
    ----------
    seq : 0, 1, 2, ... without gaps in one file.
    ts_ns : engine time (nanoseconds since 1970, UTC) as given by the writer's clock.
    writer : who wrote it; also the file's name.
    kind : what happened, for example ``trial``, ``verdict``, ``swap``.
    fields : the numbers it was made from. A NaN or infinity given to `append` is read back as None (JSON has
        neither).
    """

    seq: int
    ts_ns: int
    writer: str
    kind: str
    fields: dict[str, Any]


_decoder = msgspec.json.Decoder(LedgerRecord)


class _Block:
    """A stretch of whole lines that has been read once."""

    __slots__ = ("end", "first_seq", "hi_ns", "lo_ns", "start")

    def __init__(self, start: int, first_seq: int) -> None:
        self.start = self.end = start
        self.first_seq = first_seq
        self.lo_ns, self.hi_ns = 0, -1

    def take(self, record: LedgerRecord, end: int) -> None:
        if self.hi_ns < self.lo_ns:
            self.lo_ns = self.hi_ns = record.ts_ns
        self.lo_ns, self.hi_ns = min(self.lo_ns, record.ts_ns), max(self.hi_ns, record.ts_ns)
        self.end = end


class LedgerReader:
    """Reads one ledger file, again and again, while it grows.

    Memory is that of one record and of a few numbers for each quarter of a MiB of the file.

    Parameters
    ----------
    path : the ``.jsonl`` file; it need not exist yet.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._blocks: list[_Block] = []
        self._next_seq = 0
        self._whole = 0  # bytes of whole lines
        self._last_ns = -(1 << 63)
        self._in_order = True

    @property
    def next_seq(self) -> int:
        """How many records have been read so far."""
        return self._next_seq

    @property
    def whole_bytes(self) -> int:
        """Bytes that the records read so far fill."""
        return self._whole

    @property
    def is_in_order(self) -> bool:
        """Whether no record read so far has an earlier time than the one before it."""
        return self._in_order

    def new(self) -> Iterator[LedgerRecord]:
        """The records that were appended since the last call, one at a time; all of them at the first.

        Take all that it gives: a record that was not taken is given by the next call.

        Raises
        ------
        LedgerError
            A line before the last is not a record, a sequence number is missing or repeated, or the file has
            become shorter than what was read.
        """
        try:
            file = self.path.open("rb")
        except FileNotFoundError:
            if self._whole:
                raise LedgerError(f"{self.path}: is gone after {self._next_seq} records were read") from None
            return
        with file:
            if os.fstat(file.fileno()).st_size < self._whole:
                raise LedgerError(
                    f"{self.path}: is shorter than the {self._whole} bytes read before; ledgers only grow: "
                    "restore the file, or read it anew"
                )
            file.seek(self._whole)
            torn = 0
            line_number = self._next_seq
            for line in file:
                line_number += 1
                record = _decode(line[:-1]) if line.endswith(b"\n") else None
                if record is None:
                    torn = torn or line_number
                    continue
                if torn:
                    raise LedgerError(
                        f"{self.path}: line {torn} is not a ledger record though line {line_number} is; "
                        "a crash cannot do this: "
                        "restore the file from a copy, or cut it before that line"
                    )
                if record.seq != self._next_seq:
                    raise LedgerError(
                        f"{self.path}: line {line_number} has seq {record.seq}, expected {self._next_seq}: "
                        "a record is missing or repeated"
                    )
                self._note(record, len(line))
                yield record

    def _note(self, record: LedgerRecord, size: int) -> None:
        if not self._blocks or self._blocks[-1].end - self._blocks[-1].start >= _BLOCK:
            self._blocks.append(_Block(self._whole, record.seq))
        self._whole += size
        self._blocks[-1].take(record, self._whole)
        self._next_seq = record.seq + 1
        self._in_order = self._in_order and record.ts_ns >= self._last_ns
        self._last_ns = record.ts_ns

    def records(
        self,
        *,
        start_ns: int | None = None,
        end_ns: int | None = None,
        kinds: Iterable[str] | None = None,
        first_seq: int = 0,
    ) -> Iterator[LedgerRecord]:
        """Records in the order written, one at a time.

        Parameters
        ----------
        start_ns, end_ns : keep records from `start_ns` on and before `end_ns`, by engine time.
        kinds : keep only these kinds; all when None.
        first_seq : keep records from this sequence number on.

        Raises
        ------
        LedgerError
            As `new` does.
        """
        wanted = None if kinds is None else frozenset(kinds)

        def meant(record: LedgerRecord) -> bool:
            return (
                record.seq >= first_seq
                and (start_ns is None or record.ts_ns >= start_ns)
                and (end_ns is None or record.ts_ns < end_ns)
                and (wanted is None or record.kind in wanted)
            )

        known = self._next_seq
        for index, block in enumerate(list(self._blocks)):
            following = self._blocks[index + 1].first_seq if index + 1 < len(self._blocks) else known
            if following <= first_seq or block.first_seq >= known:
                continue
            if (start_ns is not None and block.hi_ns < start_ns) or (
                end_ns is not None and block.lo_ns >= end_ns
            ):
                continue
            yield from (record for record in self._again(block, known) if meant(record))
        # What nobody has read yet is read past the block it belongs to, and kept in mind from then on.
        yield from (record for record in self.new() if meant(record))

    def _again(self, block: _Block, known: int) -> Iterator[LedgerRecord]:
        start, end = block.start, block.end
        with self.path.open("rb") as file:
            file.seek(start)
            for line in file:
                start += len(line)
                record = _decode(line[:-1])
                if record is None:
                    raise LedgerError(
                        f"{self.path}: was changed after it had been read, before byte {start}; restore it"
                    )
                if record.seq >= known:
                    return
                yield record
                if start >= end:
                    return


def read_ledger(path: str | os.PathLike[str]) -> list[LedgerRecord]:
    """All whole records of one ledger file, in the order written; a torn last line is dropped.

    Raises
    ------
    LedgerError
        A line before the last is not a record, or a sequence number is missing or repeated.
    """
    os.stat(path)  # a file that is not there is no empty ledger
    return list(LedgerReader(path).new())


def read_all(directory: str | os.PathLike[str], *, kinds: Iterable[str] | None = None) -> list[LedgerRecord]:
    """The records of every ``.jsonl`` file in `directory`, ordered by (ts_ns, writer, seq).

    Parameters
    ----------
    directory : usually `CatalogLayout.ledger`; one that does not exist holds no records.
    kinds : keep only these kinds; all when None.
    """
    return list(iterate_all(directory, kinds=kinds))


def iterate_all(
    directory: str | os.PathLike[str],
    *,
    kinds: Iterable[str] | None = None,
    start_ns: int | None = None,
    end_ns: int | None = None,
) -> Iterator[LedgerRecord]:
    """The records of every ``.jsonl`` file in `directory`, merged by (ts_ns, writer, seq), one at a time.

    A file whose times are in order, as an arena's are, is read as it is merged; one whose times go back has
    what is asked of it sorted in memory first.

    Parameters
    ----------
    directory : as for `read_all`.
    kinds : keep only these kinds; all when None.
    start_ns, end_ns : keep records from `start_ns` on and before `end_ns`.
    """
    wanted = None if kinds is None else frozenset(kinds)

    def key(record: LedgerRecord) -> tuple[int, str, int]:
        return record.ts_ns, record.writer, record.seq

    streams = []
    for path in sorted(Path(directory).glob("*.jsonl")):
        reader = LedgerReader(path)
        for _ in reader.new():  # finds the blocks and checks every line, before the first record is given out
            pass
        stream = reader.records(kinds=wanted, start_ns=start_ns, end_ns=end_ns)
        streams.append(stream if reader.is_in_order else iter(sorted(stream, key=key)))
    return heapq.merge(*streams, key=key)


def _decode(line: bytes) -> LedgerRecord | None:
    try:
        return _decoder.decode(line)
    except NOT_JSON:
        return None
