"""The files of the trade log, and their reader.

=================================  =========================================================================
``settings_<session>.json``        what the session ran with, written once, before the first order
``trades_<session>.csv``           one line an execution, and nothing else
``funding_<session>.csv``          one line a funding payment; there from the first one on
``closed_<session>.csv``           one line a closed position, as its strategy told it; as the one before
``<desk>_<YYYY-MM-DD>.jsonl``      one line an order event of the desk on that UTC day, executions included,
                                   and one a funding payment or closed position
=================================  =========================================================================

A line is one write to the operating system, made before the next event is looked at: a process that is killed
loses nothing. It is flushed to the disk every `sync_every` lines and at the end. A last line that is torn is
cut off when the file is taken up again, and passed over by the reader. An execution that is told twice, as
venues do after a reconnection, is written once; so is a payment, and a closed position.
"""

from __future__ import annotations

import csv
import fcntl
import io
import os
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgspec

from apex_nautilus.store import StoreError, check_name, fsync_directory, write_atomic

__all__ = [
    "TRADE_LOG_SCHEMA",
    "ClosedTrade",
    "Execution",
    "Payment",
    "TradeFiles",
    "read_closed",
    "read_events",
    "read_executions",
    "read_payments",
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


class Payment(msgspec.Struct, frozen=True, kw_only=True):
    """What one position paid or received at a funding settlement. Numbers keep the digits they came with.

    Attributes
    ----------
    ts_ns : the settlement, nanoseconds since 1970 UTC.
    session, desk : whose.
    account_id, strategy_id, instrument_id, position_id : str
    quantity : signed position, base units (contracts).
    mark, rate : price at which it counted, share of the notional.
    funding : what was received, negative when paid.
    currency : of `funding`.
    """

    ts_ns: int
    session: str
    desk: str
    account_id: str
    strategy_id: str
    instrument_id: str
    position_id: str
    quantity: Decimal
    mark: Decimal
    rate: Decimal
    funding: Decimal
    currency: str

    @property
    def key(self) -> tuple[str, str, int]:
        """What tells one payment from another."""
        return self.instrument_id, self.strategy_id, self.ts_ns


class ClosedTrade(msgspec.Struct, frozen=True, kw_only=True):
    """A closed position, with what its strategy had decided and what it cost; see `engine.TradeRecord`.

    Attributes
    ----------
    ts_ns : of the last fill, nanoseconds since 1970 UTC.
    session, desk : whose.
    """

    ts_ns: int
    session: str
    desk: str
    strategy_id: str
    instrument_id: str
    number: int
    side: int
    quantity: float
    entry_ts_ns: int
    entry_price: float
    exit_price: float
    take_profit: float
    stop: float
    exit_kind: str
    p: float
    fraction: float
    fees: float
    spread: float
    slippage: float
    funding: float
    pnl: float

    @property
    def key(self) -> tuple[str, int, int]:
        """What tells one closed position from another."""
        return self.strategy_id, self.entry_ts_ns, self.ts_ns


type _Line = Execution | Payment | ClosedTrade


class TradeFiles:
    """Writes the files of one session.

    Life cycle: open (what a killed session left is taken up), `execution`, `payment`, `closed` and `event`
    any number of times, `close`.

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
        self._tables = {Execution: _Table(self.csv_path, Execution)}
        self._days: dict[int, _Appended] = {}
        fsync_directory(self.folder)

    def execution(self, one: Execution) -> bool:
        """Write an execution's line; False where it is there already.

        Raises
        ------
        OSError
            The disk is full or failing; nothing of the line stays, and it may be written again.
        """
        return self._tables[Execution].add(one, self._sync_every)

    def payment(self, one: Payment) -> bool:
        """Write a funding payment's line; as `execution`."""
        return self._table(Payment, "funding").add(one, self._sync_every)

    def closed(self, one: ClosedTrade) -> bool:
        """Write a closed position's line; as `execution`."""
        return self._table(ClosedTrade, "closed").add(one, self._sync_every)

    def _table(self, kind: type[_Line], name: str) -> _Table:
        table = self._tables.get(kind)
        if table is None:
            table = self._tables[kind] = _Table(self.folder / f"{name}_{self.session}.csv", kind)
            fsync_directory(self.folder)
        return table

    def event(self, ts_ns: int, kind: str, fields: Mapping[str, Any]) -> None:
        """Write an order event's line into the file of its day; raises OSError as `execution` does."""
        day = ts_ns // _DAY_NS
        line = {"time": time_text(ts_ns), "ts_ns": ts_ns, "session": self.session, "event": kind, **fields}
        self._day(day).append(msgspec.json.encode(line, enc_hook=str) + b"\n", self._sync_every)

    def flush(self) -> None:
        """Flush everything to the disk."""
        for file in self._files():
            file.sync()

    def close(self) -> None:
        """Flush and close; may be repeated."""
        for file in self._files():
            file.close()

    def _files(self) -> list[_Appended]:
        return [*(table.file for table in self._tables.values()), *self._days.values()]

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


class _Table:
    """A CSV file of one kind of line, each of them once."""

    def __init__(self, path: Path, kind: type[_Line]) -> None:
        self.file = _Appended(path)
        try:
            self._known = {_fingerprint(one) for one in _read(path, kind)}
            if self.file.size == 0:
                self.file.append(_row(_columns(kind)))
        except BaseException:
            self.file.close()
            raise

    def add(self, one: _Line, sync_every: int) -> bool:
        fingerprint = _fingerprint(one)
        if fingerprint in self._known:
            return False
        values = [int(v) if isinstance(v, bool) else v for v in msgspec.structs.astuple(one)]
        self.file.append(_row((time_text(one.ts_ns), *values)), sync_every)
        self._known.add(fingerprint)
        return True


def _columns(kind: type[_Line]) -> tuple[str, ...]:
    return ("time", *kind.__struct_fields__)


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


def _fingerprint(one: _Line) -> bytes:
    """Sixteen bytes for the key: a session that lasts holds one of them for each line."""
    return blake2b(msgspec.json.encode(one.key), digest_size=16).digest()


def time_text(ts_ns: int) -> str:
    """The time in UTC, to the nanosecond: ``2023-11-14T22:13:20.000000000Z``."""
    seconds, nanoseconds = divmod(ts_ns, 1_000_000_000)
    return f"{_second_text(seconds)}.{nanoseconds:09d}Z"


@lru_cache(maxsize=16)
def _second_text(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, tz=UTC).strftime("%Y-%m-%dT%H:%M:%S")


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
    return _read(path, Execution)


def read_payments(path: str | os.PathLike[str]) -> Iterator[Payment]:
    """The funding payments of one ``funding_<session>.csv``; as `read_executions`. None where there is no
    file: nothing was paid."""
    return _read(path, Payment) if os.path.exists(path) else iter(())


def read_closed(path: str | os.PathLike[str]) -> Iterator[ClosedTrade]:
    """The closed positions of one ``closed_<session>.csv``; as `read_payments`."""
    return _read(path, ClosedTrade) if os.path.exists(path) else iter(())


def _read[T: (Execution, Payment, ClosedTrade)](path: str | os.PathLike[str], kind: type[T]) -> Iterator[T]:
    columns = _columns(kind)
    readers = [(field.name, _FROM_TEXT[field.type]) for field in msgspec.structs.fields(kind)]
    with open(path, "rb") as file:
        for number, raw in enumerate(file, start=1):
            if not raw.endswith(b"\n"):
                return
            try:
                (row,) = csv.reader([raw.decode()])
                if number == 1:
                    if tuple(row) != columns:
                        raise ValueError(f"columns are {row}, expected {list(columns)}")
                    continue
                yield kind(**_parsed(row, readers))
            except (ValueError, InvalidOperation, csv.Error) as error:
                raise StoreError(f"{path}: line {number} is no {kind.__name__.lower()} ({error})") from None


_FROM_TEXT: dict[Any, Callable[[str], Any]] = {
    int: int,
    float: float,
    str: str,
    Decimal: Decimal,
    bool: lambda text: bool(int(text)),
}


def _parsed(row: list[str], readers: list[tuple[str, Callable[[str], Any]]]) -> dict[str, Any]:
    if len(row) != len(readers) + 1:
        raise ValueError(f"{len(row)} fields, expected {len(readers) + 1}")
    values = {name: read(text) for (name, read), text in zip(readers, row[1:], strict=True)}
    if row[0] != time_text(values["ts_ns"]):
        raise ValueError("time and ts_ns differ")
    return values


def read_events(
    folder: str | os.PathLike[str], desk: str, *, session: str | None = None
) -> Iterator[dict[str, Any]]:
    """The order events and funding payments of a desk, day by day, in the order written; a torn last line is
    passed over.

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
