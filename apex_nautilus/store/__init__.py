"""What lasts: ledgers, champions, recycle jobs and the layout of a catalog directory, as plain files.

Everything in this room survives a crash at any point. A file is written whole or not at all (`atomic`), a
ledger is only appended to and forgives a torn last line (`ledger`), and every change of state is one rename,
in an order from which the directories alone tell what was going on (`champions`, `jobs`, `intake`). Start-up
is recovery: the process that owns the slots calls `recover(layout)`, a worker calls
`FileJobQueue(layout).recover()`.

In: genome JSON as bytes, records, jobs. Out: the same, whole. Nothing here runs a strategy or knows the
engine; time is given by the caller.
"""

from __future__ import annotations

from apex_nautilus.store.atomic import clean_temporaries, fsync_directory, move, remove, write_atomic
from apex_nautilus.store.champions import (
    CHAMPION_SCHEMA,
    Champion,
    RecoveryReport,
    genome_fields,
    install,
    list_champions,
    next_epoch,
    read_champion,
    recover,
    retire,
    swap,
)
from apex_nautilus.store.errors import LedgerError, StoreError
from apex_nautilus.store.faults import fault_point
from apex_nautilus.store.file_jobs import FileJobQueue
from apex_nautilus.store.intake import drop, expire, holds
from apex_nautilus.store.job_queue import (
    JOB_SCHEMA,
    MAX_ATTEMPTS,
    Claim,
    Job,
    JobQueue,
    JobStatus,
    LiveEvidence,
    PromoteJob,
    QueueUnavailable,
    RecycleJob,
)
from apex_nautilus.store.layout import CatalogLayout, check_name
from apex_nautilus.store.ledger import LedgerWriter
from apex_nautilus.store.ledger_reader import LedgerReader, LedgerRecord, iterate_all, read_all, read_ledger
from apex_nautilus.store.open_queue import open_queue
from apex_nautilus.store.owner import SlotOwner

__all__ = [
    "CHAMPION_SCHEMA",
    "JOB_SCHEMA",
    "MAX_ATTEMPTS",
    "CatalogLayout",
    "Champion",
    "Claim",
    "FileJobQueue",
    "Job",
    "JobQueue",
    "JobStatus",
    "LedgerError",
    "LedgerReader",
    "LedgerRecord",
    "LedgerWriter",
    "LiveEvidence",
    "PromoteJob",
    "QueueUnavailable",
    "RecoveryReport",
    "RecycleJob",
    "SlotOwner",
    "StoreError",
    "check_name",
    "clean_temporaries",
    "drop",
    "expire",
    "fault_point",
    "fsync_directory",
    "genome_fields",
    "holds",
    "install",
    "iterate_all",
    "list_champions",
    "move",
    "next_epoch",
    "open_queue",
    "read_all",
    "read_champion",
    "read_ledger",
    "recover",
    "remove",
    "retire",
    "swap",
    "write_atomic",
]
