"""The append-only ledger: every trial, verdict, promotion and swap, one JSON line each.

Each writing process has its own file, so that no two processes ever interleave bytes; readers merge the files
by engine time, then writer, then sequence number, which gives one order however the lines were written.

A line is handed to the operating system as one write as soon as it is appended: a process that is killed
loses nothing. It is flushed to the disk every `group_commit` lines: a machine that loses power loses less
than that many. A last line that is torn is dropped by readers and cut off when the writer reopens its file;
damage anywhere else is an error, because it cannot come from a crash. A write that fails (a full disk) is
taken back: nothing of it stays, and once there is room again the ledger goes on without a gap.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from apex_nautilus.store.atomic import fsync_directory
from apex_nautilus.store.errors import LedgerError
from apex_nautilus.store.faults import fault_point
from apex_nautilus.store.layout import check_name
from apex_nautilus.store.ledger_reader import LedgerReader, LedgerRecord, read_all, read_ledger

__all__ = ["LedgerRecord", "LedgerWriter", "read_all", "read_ledger"]


def _plain(value: Any) -> Any:
    """numpy scalars and arrays as Python numbers and lists, paths as text."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(
        f"a {type(value).__name__} cannot be written to a ledger; give numbers, text, lists or structs"
    )


# Sorted keys: the same record is the same bytes, whatever order the caller's mapping had.
_encoder = msgspec.json.Encoder(enc_hook=_plain, order="sorted")


class LedgerWriter:
    """Appends records to one ledger file; reopening it after a crash continues where the last whole line
    ended.

    Life cycle: open (an existing file is checked, a torn last line cut off, the file locked), `append` any
    number of times, `close` (or leave the ``with`` block), which flushes to the disk. After `close` nothing
    can be appended.

    Parameters
    ----------
    path : the ``.jsonl`` file, or a directory, in which the file is ``<writer>.jsonl``.
    writer : name of the writing process (letters, digits, ``_``, ``-``).
    group_commit : flush to the disk after this many lines; 1 flushes every line.

    Raises
    ------
    LedgerError
        The file is damaged before its last line, belongs to another writer, or is open in another writer.
    """

    def __init__(self, path: str | os.PathLike[str], writer: str, *, group_commit: int = 1) -> None:
        if group_commit < 1:
            raise ValueError(f"group_commit is {group_commit}; it must be at least 1")
        self.writer = check_name(writer, "writer")
        target = Path(path)
        self.path = target if target.suffix == ".jsonl" else target / f"{writer}.jsonl"
        self._group_commit = group_commit
        self._unflushed = 0
        is_new = not self.path.exists()
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise LedgerError(
                    f"{self.path}: another process is writing this ledger; "
                    "give each process its own writer name"
                ) from None
            self._next_seq = self._continue_after_last_whole_line()
        except BaseException:
            os.close(self._descriptor)
            self._descriptor = -1
            raise
        if is_new:
            fsync_directory(self.path.parent)

    def __enter__(self) -> LedgerWriter:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @property
    def next_seq(self) -> int:
        """The sequence number that the next record gets; also how many records the file holds."""
        return self._next_seq

    def append(self, kind: str, ts_ns: int, fields: Mapping[str, Any] | msgspec.Struct) -> int:
        """Append one record and return its sequence number.

        Parameters
        ----------
        kind : what happened.
        ts_ns : engine time in nanoseconds.
        fields : a mapping or msgspec struct of JSON-like values; numpy scalars and arrays are taken as
            numbers.
        """
        return self.append_many([(kind, ts_ns, fields)])

    def append_many(self, records: Iterable[tuple[str, int, Mapping[str, Any] | msgspec.Struct]]) -> int:
        """Append (kind, ts_ns, fields) records in one write; return the last sequence number (-1 for an empty
        ledger).

        Raises
        ------
        LedgerError
            The ledger is closed.
        OSError
            The disk is full or failing. Where the write failed, none of the records was appended and they
            may be tried again; where only the flush failed (`next_seq` has moved on) they stand.
        """
        if self._descriptor < 0:
            raise LedgerError(f"{self.path}: the ledger is closed; open a new LedgerWriter to append")
        lines = []
        seq = self._next_seq
        for kind, ts_ns, fields in records:
            line = {"seq": seq, "ts_ns": int(ts_ns), "writer": self.writer, "kind": kind, "fields": fields}
            lines.append(_encoder.encode(line))
            seq += 1
        if lines:
            self._write(b"\n".join(lines) + b"\n")
            fault_point("ledger.appended")
            self._next_seq = seq
            self._unflushed += len(lines)
            if self._unflushed >= self._group_commit:
                self.flush()
        return self._next_seq - 1

    def _write(self, data: bytes) -> None:
        """Append `data` whole, or not at all: the next line must never follow the head of a torn one."""
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._descriptor, view) :]
        except BaseException:
            if len(view) < len(data):
                self._cut(self._size)
            raise
        self._size += len(data)

    def _cut(self, size: int) -> None:
        """Shorten the file to `size`; a disk that refuses even that gets no further line."""
        try:
            os.ftruncate(self._descriptor, size)
        except OSError:
            os.close(self._descriptor)
            self._descriptor = -1
            raise

    def flush(self) -> None:
        """Flush what was appended to the disk."""
        if self._descriptor >= 0 and self._unflushed:
            os.fsync(self._descriptor)
            self._unflushed = 0

    def close(self) -> None:
        """Flush and close; may be called again."""
        if self._descriptor >= 0:
            try:
                self.flush()
            finally:
                os.close(self._descriptor)
                self._descriptor = -1

    def _continue_after_last_whole_line(self) -> int:
        reader = LedgerReader(self.path)
        for record in reader.new():
            if record.seq == 0 and record.writer != self.writer:
                raise LedgerError(
                    f"{self.path}: written by {record.writer!r}, not by {self.writer!r}; "
                    "each writer needs its own file"
                )
        self._size = reader.whole_bytes
        if self._size < os.fstat(self._descriptor).st_size:
            os.ftruncate(self._descriptor, self._size)
            os.fsync(self._descriptor)
        return reader.next_seq
