"""The arena's lines on their way into the ledger, also while the disk refuses them.

A backtest without a ledger is worth nothing: the first line that cannot be written ends it, with the reason.
A live arena cannot just end, for it has positions to guard. Its lines wait, in their order, and are written
when there is room again; until then `is_failing` is set and the arena opens nothing new. Whatever is in the
file is whole lines without a gap.
"""

from __future__ import annotations

from apex_nautilus.actors import records
from apex_nautilus.store import LedgerError, LedgerWriter

__all__ = ["Journal"]


class Journal:
    """Writes records for one arena.

    Parameters
    ----------
    writer : LedgerWriter
        Open; closed by `close`.
    must_go_on : bool
        Keep lines that cannot be written, in place of raising.
    """

    def __init__(self, writer: LedgerWriter, *, must_go_on: bool) -> None:
        self._writer = writer
        self._must_go_on = must_go_on
        self._waiting: list[tuple[str, int, records.Record]] = []
        self._trouble = ""

    @property
    def is_failing(self) -> bool:
        """Whether a line waits, or may not have reached the disk."""
        return bool(self._trouble)

    @property
    def trouble(self) -> str:
        """Why, and how many lines wait; "" where nothing is wrong."""
        return f"{self._trouble}; {len(self._waiting)} lines wait, nothing is opened" if self._trouble else ""

    def write(self, ts_ns: int, record: records.Record, *, flush: bool = False) -> None:
        """Append a record at engine time `ts_ns`; with `flush` it is on the disk when this returns.

        Raises
        ------
        LedgerError
            When it cannot be written and the arena need not go on.
        """
        self._waiting.append((records.kind_of(record), ts_ns, record))
        self._try(flush=flush)

    def retry(self) -> None:
        """Try to write what waits, where anything does."""
        if self._trouble:
            self._try(flush=True)

    def flush(self) -> None:
        """Flush to the disk what was written; raises as `write` does."""
        self._try(flush=True)

    def close(self) -> None:
        """Write what waits, flush, and let go of the file.

        Raises
        ------
        LedgerError
            When some of it could not be written; the file is let go of all the same.
        """
        self._must_go_on = False
        try:
            self._try(flush=True)
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Let go of the file, and of what waits."""
        self._waiting.clear()
        try:
            self._writer.close()
        except OSError as error:
            self._trouble = error.strerror or str(error)

    def _try(self, *, flush: bool) -> None:
        before = self._writer.next_seq
        try:
            if self._waiting:
                self._writer.append_many(self._waiting)
                self._waiting.clear()
            if flush or self._trouble:
                self._writer.flush()
            self._trouble = ""
        except (OSError, LedgerError) as error:
            if self._writer.next_seq != before:  # written whole; it is the flush that failed
                self._waiting.clear()
            why = getattr(error, "strerror", None) or str(error)
            self._trouble = f"{self._writer.path}: cannot be written ({why})"
            if not self._must_go_on:
                raise LedgerError(f"{self._trouble}; make room, then start again") from None
