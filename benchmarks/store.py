"""What lasts, by the second: ledger lines, their reading, and jobs through a queue.

Lines are appended by the ledger, by a plain append-only file, and by SQLite in WAL mode, each with every line
on the disk (``fsync``; SQLite ``synchronous=FULL``) and in groups of 256. All three hold the same text at the
end, which is read back and compared. The plain file does nothing but write: no sequence, no lock, no check of
what it finds when it is opened again; it is the floor, not an alternative. How long one line takes until it
is on the disk is told by itself, p50 and p99.

Jobs go from asked to answered through the file queue and through SQLite as a queue (one table, a transaction
for each of the three steps), with everything on the disk in both.
"""

from __future__ import annotations

import json
import os
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import msgspec
import numpy as np

from apex_nautilus.store import (
    CatalogLayout,
    FileJobQueue,
    LedgerReader,
    LedgerWriter,
    RecycleJob,
    read_ledger,
)

from .harness import Row, compare

__all__ = ["run"]

_GROUP = 256
_FIELDS = {"agent": "btc-1.e3", "cash": 201.53, "equity": 203.11, "position": 0.015, "trades": 17}
_START_NS = 1_700_000_000 * 10**9


def _lines(number: int) -> list[bytes]:
    """The very lines that a ledger writes for these records."""
    return [
        msgspec.json.encode(
            {"fields": _FIELDS, "kind": "mark", "seq": k, "ts_ns": _START_NS + k, "writer": "w"},
            order="sorted",
        )
        for k in range(number)
    ]


def _by_ledger(folder: Path, numbers: Iterator[int], size: int, group: int) -> Path:
    path = folder / f"ledger_{next(numbers)}"
    path.mkdir()
    with LedgerWriter(path, "w", group_commit=group) as ledger:
        for k in range(size):
            ledger.append("mark", _START_NS + k, _FIELDS)
    return ledger.path


def _by_ledger_together(folder: Path, numbers: Iterator[int], size: int, group: int) -> Path:
    path = folder / f"together_{next(numbers)}"
    path.mkdir()
    with LedgerWriter(path, "w", group_commit=1) as ledger:
        for start in range(0, size, group):
            ledger.append_many(
                ("mark", _START_NS + k, _FIELDS) for k in range(start, min(start + group, size))
            )
    return ledger.path


def _by_plain_file(folder: Path, numbers: Iterator[int], size: int, group: int) -> Path:
    path = folder / f"plain_{next(numbers)}.jsonl"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        for k in range(size):
            line = {"fields": _FIELDS, "kind": "mark", "seq": k, "ts_ns": _START_NS + k, "writer": "w"}
            os.write(descriptor, msgspec.json.encode(line, order="sorted") + b"\n")
            if (k + 1) % group == 0:
                os.fsync(descriptor)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return path


def _sqlite(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    return connection


def _by_sqlite(folder: Path, numbers: Iterator[int], size: int, group: int) -> Path:
    path = folder / f"sqlite_{next(numbers)}.db"
    connection = _sqlite(path)
    try:
        connection.execute("CREATE TABLE ledger (seq INTEGER PRIMARY KEY, ts_ns INTEGER, line BLOB)")
        for start in range(0, size, group):
            connection.execute("BEGIN")
            for k in range(start, min(start + group, size)):
                line = {"fields": _FIELDS, "kind": "mark", "seq": k, "ts_ns": _START_NS + k, "writer": "w"}
                row = (k, _START_NS + k, msgspec.json.encode(line, order="sorted"))
                connection.execute("INSERT INTO ledger VALUES (?, ?, ?)", row)
            connection.execute("COMMIT")
    finally:
        connection.close()
    return path


def _check(ledger: Path, plain: Path, database: Path, size: int) -> str:
    expected = _lines(size)
    connection = sqlite3.connect(database)
    try:
        rows = [line for (line,) in connection.execute("SELECT line FROM ledger ORDER BY seq")]
    finally:
        connection.close()
    if not (ledger.read_bytes().splitlines() == plain.read_bytes().splitlines() == rows == expected):
        raise RuntimeError("ledger, plain file and SQLite hold different lines")
    return f"the same {size} lines in all three, read back and compared"


def _appends(folder: Path, quick: bool) -> Iterator[Row]:
    numbers = count()
    for title, group, size in (
        ("each line on the disk", 1, 60 if quick else 1_000),
        (f"groups of {_GROUP}", _GROUP, 4_096 if quick else 65_536),
    ):
        arguments = (folder, numbers, size, group)
        same = _check(_by_ledger(*arguments), _by_plain_file(*arguments), _by_sqlite(*arguments), size)
        # SQLite holds a group in its own memory until it commits, as lines are that are handed over together;
        # lines that are appended one by one are with the system at once, as the plain file's are.
        for title2, ours, peer, theirs in (
            ("", _by_ledger, "plain open/write/fsync", _by_plain_file),
            (
                " handed over together" if group > 1 else "",
                _by_ledger_together,
                f"SQLite {sqlite3.sqlite_version} WAL",
                _by_sqlite,
            ),
        ):
            yield compare(
                f"ledger append, {title}{title2}",
                lambda o=ours, a=arguments: o(*a),
                lambda c=theirs, a=arguments: c(*a),
                work=size,
                unit="lines/s",
                peer=peer,
                goal_ratio=None,
                same_work=same,
                repeats=3 if quick else 5,
                warm=False,
            )


def _one_line(folder: Path, quick: bool) -> Iterator[Row]:
    """Milliseconds until one appended line is on the disk: the ledger's and the plain file's, in turn."""
    size, rounds = (50, 3) if quick else (400, 5)
    line = _lines(1)[0] + b"\n"
    table = []
    for k in range(rounds):
        path = folder / f"one_{k}"
        path.mkdir()
        plain = os.open(path / "plain.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        with LedgerWriter(path, "w", group_commit=1) as ledger:
            took = np.empty((size, 2))
            for n in range(size):
                start = time.perf_counter()
                ledger.append("mark", _START_NS + n, _FIELDS)
                middle = time.perf_counter()
                os.write(plain, line)
                os.fsync(plain)
                took[n] = middle - start, time.perf_counter() - middle
        os.close(plain)
        table.append(np.percentile(took, [50, 99], axis=0) * 1e3)
    for q, found in zip((50, 99), np.array(table).transpose(1, 0, 2), strict=True):
        ours, theirs = np.median(found, axis=0).tolist()
        yield Row(
            name=f"ledger append, one line until it is on the disk, p{q}",
            unit="ms",
            ours=ours,
            peer="plain write and fsync",
            theirs=theirs,
            ratio=theirs / ours,
            goal="",
            holds=None,
            same_work=f"{size} lines of {len(line)} bytes each, in turn, on one file system",
            repeats=rounds,
            spread=float((found[:, 0].max() - found[:, 0].min()) / ours),
        )


def _reads(folder: Path, quick: bool) -> Iterator[Row]:
    size = 20_000 if quick else 400_000
    with LedgerWriter(folder, "reads", group_commit=size) as ledger:
        ledger.append_many(("mark", _START_NS + k, _FIELDS) for k in range(size))

    def plain() -> int:
        with ledger.path.open("rb") as file:
            return sum(json.loads(line)["seq"] >= 0 for line in file)

    def ours() -> int:
        return sum(record.seq >= 0 for record in LedgerReader(ledger.path).new())

    if not ours() == plain() == len(read_ledger(ledger.path)) == size:
        raise RuntimeError("the readers find different numbers of records")
    yield compare(
        "ledger read, every record checked",
        ours,
        plain,
        work=size,
        unit="records/s",
        peer="json.loads, a line at a time",
        goal_ratio=1.0,
        same_work=f"{size} records, all counted",
        repeats=3,
    )
    reader = LedgerReader(ledger.path)
    list(reader.new())
    begin = _START_NS + size * 9 // 10
    window = {"start_ns": begin, "end_ns": begin + 100}

    def sought() -> list[int]:
        return [record.seq for record in reader.records(**window)]

    def scanned() -> list[int]:
        return [
            record.seq
            for record in LedgerReader(ledger.path).new()
            if window["start_ns"] <= record.ts_ns < window["end_ns"]
        ]

    if sought() != scanned():
        raise RuntimeError("seeking finds other records than scanning")
    yield compare(
        "ledger, 100 records by time",
        sought,
        scanned,
        work=100,
        unit="records/s",
        peer="reading from the start",
        goal_ratio=None,
        same_work="the same records",
        repeats=3,
    )


def _jobs(number: int) -> list[RecycleJob]:
    return [
        RecycleJob.create(asset="BTCUSDT-LINEAR.SIM", slot="btc-1", created_ns=_START_NS + k)
        for k in range(number)
    ]


def _by_queue(folder: Path, numbers: Iterator[int], jobs: list[RecycleJob]) -> list[str]:
    queue = FileJobQueue(CatalogLayout(folder / f"queue_{next(numbers)}"))
    for job in jobs:
        queue.put(job)
    done = []
    while (claim := queue.claim("w")) is not None:
        done.append(queue.complete(claim, {"genome_id": "g"}).job.job_id)
    return done


def _by_table(folder: Path, numbers: Iterator[int], jobs: list[RecycleJob]) -> list[str]:
    connection = _sqlite(folder / f"table_{next(numbers)}.db")
    done = []
    try:
        connection.execute(
            "CREATE TABLE jobs (id TEXT PRIMARY KEY, asked INTEGER, job BLOB, state TEXT, result BLOB)"
        )
        for job in jobs:
            row = (job.job_id, job.created_ns, msgspec.json.encode(job))
            connection.execute("INSERT OR IGNORE INTO jobs VALUES (?, ?, ?, 'todo', NULL)", row)
        while True:
            found = connection.execute(
                "UPDATE jobs SET state = 'doing' WHERE id = (SELECT id FROM jobs WHERE state = 'todo' "
                "ORDER BY asked LIMIT 1) RETURNING id"
            ).fetchone()
            if found is None:
                return done
            connection.execute(
                "UPDATE jobs SET state = 'done', result = ? WHERE id = ?", (b'{"genome_id":"g"}', found[0])
            )
            done.append(found[0])
    finally:
        connection.close()


def _queues(folder: Path, quick: bool) -> Iterator[Row]:
    jobs = _jobs(15 if quick else 100)
    numbers = count()
    if not _by_queue(folder, numbers, jobs) == _by_table(folder, numbers, jobs) == [j.job_id for j in jobs]:
        raise RuntimeError("the queues answer different jobs, or in another order")
    yield compare(
        "file queue, asked to answered",
        lambda: _by_queue(folder, numbers, jobs),
        lambda: _by_table(folder, numbers, jobs),
        work=len(jobs),
        unit="jobs/s",
        peer=f"SQLite {sqlite3.sqlite_version} WAL",
        goal_ratio=None,
        same_work=f"{len(jobs)} jobs answered in the order asked; SQLite: no owner, no death of a worker",
        repeats=3,
        warm=False,
    )


def run(quick: bool) -> Iterator[Row]:
    """Ledger and queue beside a plain file and SQLite."""
    with tempfile.TemporaryDirectory(prefix="apex-store-") as name:
        folder = Path(name)
        yield from _appends(folder, quick)
        yield from _one_line(folder, quick)
        yield from _reads(folder, quick)
        yield from _queues(folder, quick)
