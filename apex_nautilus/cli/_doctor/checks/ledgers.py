"""Ledgers: every line whole, none missing."""

from __future__ import annotations

from collections.abc import Iterator

from apex_nautilus.cli._doctor.finding import Finding, Place

__all__ = ["check"]


def check(place: Place) -> Iterator[Finding]:
    from apex_nautilus.store import LedgerError, read_ledger

    files = [*place.catalog.glob("ledger/*.jsonl"), *place.runs.glob("*/ledger/*.jsonl")]
    lines, sound = 0, True
    for path in sorted(files):
        try:
            lines += len(read_ledger(path))
            with path.open("rb") as file:
                whole = file.seek(0, 2) == 0 or (file.seek(-1, 2), file.read(1))[1] == b"\n"
        except (LedgerError, OSError) as error:
            sound = False
            yield Finding("ledgers", "fail", str(error), "restore the file from a copy")
            continue
        if not whole:
            sound = False
            yield Finding(
                "ledgers", "warn", f"{place.shown(path)}: the last line is torn, its writer was killed",
                "nothing to do: it is left out when read and cut off when written to again",
            )  # fmt: skip
    if sound:
        yield Finding(
            "ledgers", "ok", f"{len(files)} files, {lines:,} lines, all whole" if files else "none yet"
        )
