"""The files of the trade log, and their reader.

=================================  =========================================================================
``settings_<session>.json``        what the session ran with, written once, before the first order
``trades_<session>.csv``           one line an execution, and nothing else
``<desk>_<YYYY-MM-DD>.jsonl``      one line an order event of the desk on that UTC day, executions included
=================================  =========================================================================

A line is one write to the operating system, made before the next event is looked at: a process that is killed
loses nothing. It is flushed to the disk every `sync_every` lines and at the end. A last line that is torn is
cut off when the file is taken up again, and passed over by the reader. An execution that is told twice, as
venues do after a reconnection, is written once.
"""

from __future__ import annotations

import csv
import fcntl
import io
import os
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import msgspec

from apex_nautilus.store import StoreError, check_name, fsync_directory, write_atomic

__all__ = [
    "TRADE_LOG_SCHEMA",
    "Execution",
    "TradeFiles",
    "read_events",
    "read_executions",
    "read_settings",
    "sessions",
    "time_text",
]

TRADE_LOG_SCHEMA = "apex.trade-log/1"
_SECRET = re.compile(r"passw|secret|api_?key|token|private|passphrase|credential", re.IGNORECASE)
_DAY_NS = 86_400_000_000_000


class Execution(msgspec.Struct, frozen=True, kw_only=True):
    """One fill of one order, as the venue told it. Numbers keep the digits that they came with.

    Attributes
    ----------
    ts_ns : time of the event, nanoseconds since 1970 UTC.
    session, desk : whose.
    account_id, strategy_id, instrument_id : str
    client_order_id, venue_order_id, trade_id, position_id : str
        `position_id` is "" where the venue names none.
    side : ``BUY`` or ``SELL``.
    order_type : ``MARKET``, ``LIMIT``, ...
    liquidity : ``MAKER``, ``TAKER`` or ``NO_LIQUIDITY_SIDE``.
    quantity : base units (contracts), positive.
    price : Decimal
    currency : of the price.
    commission : what was paid, negative for a rebate.
    commission_currency : str
    reconciliation : told by a reconciliation after a start and not by the venue's stream.
    """

    ts_ns: int
    session: str
    desk: str
    account_id: str
    strategy_id: str
    instrument_id: str
    client_order_id: str
    venue_order_id: str
    trade_id: str
    position_id: str
    side: str
    order_type: str
    liquidity: str
    quantity: Decimal
    price: Decimal
    currency: str
    commission: Decimal
    commission_currency: str
    reconciliation: bool

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells one execution from another."""
        return self.instrument_id, self.client_order_id, self.trade_id

    @property
    def cash(self) -> Decimal:
        """Change of cash in the price's currency, commission left out: negative for a buy. Contracts of
        multiplier 1."""
        return self.quantity * self.price * (-1 if self.side == "BUY" else 1)


_COLUMNS = ("time", *Execution.__struct_fields__)


class TradeFiles:
    """Writes the files of one session.

    Life cycle: open (what a killed session left is taken up), `execution` and `event` any number of times,
    `close`.

    Parameters
    ----------
    folder : made if missing.
    session : names the run; letters, digits, ``_``, ``-``.
    desk : whose trades these are; one process at a time writes a desk's days in one folder.
    settings : what the session runs with; names that look like those of secrets keep no value.
    sync_every : lines between two flushes to the disk.

    Raises
    ------
    StoreError
        A name cannot name a file, the session exists with other settings, another process writes it, or a
        line before the last is damaged.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        session: str,
        desk: str,
        settings: Mapping[str, Any],
        *,
        sync_every: int = 64,
    ) -> None:
        self.folder = Path(folder)
        self.session = check_name(session, "session")
        self.desk = check_name(desk, "desk")
        self._sync_every = max(1, sync_every)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._write_settings(settings)
        self.csv_path = self.folder / f"trades_{session}.csv"
        self._csv = _Appended(self.csv_path)
        self._days: dict[int, _Appended] = {}
        try:
            self._known = {one.key for one in read_executions(self.csv_path)}
            if self._csv.size == 0:
                self._csv.append(_row(_COLUMNS))
        except BaseException:
            self._csv.close()
            raise
        fsync_directory(self.folder)

    def execution(self, one: Execution) -> bool:
        """Write an execution's line; False where it is there already.

        Raises
        ------
        OSError
            The disk is full or failing; nothing of the line stays, and it may be written again.
        """
        if one.key in self._known:
            return False
        values = msgspec.structs.asdict(one)
        values["reconciliation"] = int(one.reconciliation)
        self._csv.append(_row((time_text(one.ts_ns), *values.values())), self._sync_every)
        self._known.add(one.key)
        return True

    def event(self, ts_ns: int, kind: str, fields: Mapping[str, Any]) -> None:
        """Write an order event's line into the file of its day; raises OSError as `execution` does."""
        day = ts_ns // _DAY_NS
        line = {"time": time_text(ts_ns), "ts_ns": ts_ns, "session": self.session, "event": kind, **fields}
        self._day(day).append(msgspec.json.encode(line, enc_hook=str) + b"\n", self._sync_every)

    def flush(self) -> None:
        """Flush everything to the disk."""
        for file in (self._csv, *self._days.values()):
            file.sync()

    def close(self) -> None:
        """Flush and close; may be repeated."""
        for file in (self._csv, *self._days.values()):
            file.close()

    def _day(self, day: int) -> _Appended:
        file = self._days.get(day)
        if file is None:
            for old in self._days.values():
                old.close()
            date = datetime.fromtimestamp(day * 86_400, tz=UTC).strftime("%Y-%m-%d")
            file = self._days[day] = _Appended(self.folder / f"{self.desk}_{date}.jsonl")
            fsync_directory(self.folder)
        elif file.is_closed:  # an event of yesterday that came late
            file = self._days[day] = _Appended(file.path)
        return file

    def _write_settings(self, settings: Mapping[str, Any]) -> None:
        path = self.folder / f"settings_{self.session}.json"
        content = {
            "schema": TRADE_LOG_SCHEMA,
            "session": self.session,
            "desk": self.desk,
            "settings": _without_secrets(msgspec.to_builtins(settings, enc_hook=str)),
        }
        data = msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n"
        try:
            write_atomic(path, data, exclusive=True)
        except FileExistsError:
            if path.read_bytes() != data:
                raise StoreError(
                    f"{path}: this session ran with other settings; name the new one differently, so that "
                    "each trade can be told what it was made with"
                ) from None


class _Appended:
    """A file that is only added to, whole lines at a time, by one process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._descriptor)
            raise StoreError(
                f"{path}: another process writes this log; give each process its own session and desk"
            ) from None
        self._unsynced = 0
        self.size = _whole(self._descriptor)
        os.ftruncate(self._descriptor, self.size)

    @property
    def is_closed(self) -> bool:
        return self._descriptor < 0

    def append(self, data: bytes, sync_every: int = 1) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError:
            os.ftruncate(self._descriptor, self.size)
            raise
        self.size += len(data)
        self._unsynced += 1
        if self._unsynced >= sync_every:
            self.sync()

    def sync(self) -> None:
        if self._descriptor >= 0 and self._unsynced:
            os.fsync(self._descriptor)
            self._unsynced = 0

    def close(self) -> None:
        if self._descriptor >= 0:
            self.sync()
            os.close(self._descriptor)
            self._descriptor = -1


def _whole(descriptor: int) -> int:
    """Bytes up to the end of the last whole line, found from the end."""
    size = os.fstat(descriptor).st_size
    end = size
    while end > 0:
        start = max(0, end - 65_536)
        found = os.pread(descriptor, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def _row(values: tuple[Any, ...]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue().encode()


def time_text(ts_ns: int) -> str:
    """The time in UTC, to the nanosecond: ``2023-11-14T22:13:20.000000000Z``."""
    seconds, nanoseconds = divmod(ts_ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, tz=UTC).strftime('%Y-%m-%dT%H:%M:%S')}.{nanoseconds:09d}Z"


def _without_secrets(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: "(not kept)" if _SECRET.search(str(key)) and item is not None else _without_secrets(item)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_without_secrets(item) for item in value]
    return value


# ---- reading


def sessions(folder: str | os.PathLike[str]) -> list[str]:
    """Names of the sessions that have a log in `folder`, sorted."""
    paths = Path(folder).glob("trades_*.csv")
    return sorted(path.name.removeprefix("trades_").removesuffix(".csv") for path in paths)


def read_settings(folder: str | os.PathLike[str], session: str) -> dict[str, Any]:
    """What a session ran with.

    Raises
    ------
    StoreError
        The file is not one of settings.
    FileNotFoundError
        There is none.
    """
    path = Path(folder) / f"settings_{check_name(session, 'session')}.json"
    try:
        content = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise StoreError(f"{path}: not the settings of a session ({error})") from None
    if content.get("schema") != TRADE_LOG_SCHEMA:
        raise StoreError(f"{path}: schema is {content.get('schema')!r}, expected {TRADE_LOG_SCHEMA!r}")
    return content


def read_executions(path: str | os.PathLike[str]) -> Iterator[Execution]:
    """The executions of one ``trades_<session>.csv``, in the order written, one at a time; a torn last line
    is passed over.

    Raises
    ------
    StoreError
        The file has other columns, or a whole line is no execution; the message names the line.
    """
    with open(path, "rb") as file:
        for number, raw in enumerate(file, start=1):
            if not raw.endswith(b"\n"):
                return
            try:
                (row,) = csv.reader([raw.decode()])
                if number == 1:
                    if tuple(row) != _COLUMNS:
                        raise ValueError(f"columns are {row}, expected {list(_COLUMNS)}")
                    continue
                yield _execution(row)
            except (ValueError, InvalidOperation, csv.Error) as error:
                raise StoreError(f"{path}: line {number} is no execution ({error})") from None


def _execution(row: list[str]) -> Execution:
    if len(row) != len(_COLUMNS):
        raise ValueError(f"{len(row)} fields, expected {len(_COLUMNS)}")
    values: dict[str, Any] = dict(zip(_COLUMNS, row, strict=True))
    if values.pop("time") != time_text(int(values["ts_ns"])):
        raise ValueError("time and ts_ns differ")
    values["ts_ns"] = int(values["ts_ns"])
    for name in ("quantity", "price", "commission"):
        values[name] = Decimal(values[name])
    values["reconciliation"] = bool(int(values["reconciliation"]))
    return Execution(**values)


def read_events(
    folder: str | os.PathLike[str], desk: str, *, session: str | None = None
) -> Iterator[dict[str, Any]]:
    """The order events of a desk, day by day, in the order written; a torn last line is passed over.

    Raises
    ------
    StoreError
        A whole line is no event; the message names file and line.
    """
    for path in sorted(Path(folder).glob(f"{check_name(desk, 'desk')}_????-??-??.jsonl")):
        with path.open("rb") as file:
            for number, raw in enumerate(file, start=1):
                if not raw.endswith(b"\n"):
                    break
                try:
                    line = msgspec.json.decode(raw, type=dict[str, Any])
                except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
                    raise StoreError(f"{path}: line {number} is no event ({error})") from None
                if session in (None, line.get("session")):
                    yield line
