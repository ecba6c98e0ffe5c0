"""What an import kept, what it refused and why: nothing is dropped without a count."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec

from apex_nautilus.data.errors import ImportRefused

__all__ = ["ImportReport", "RowLedger", "TouchCheck"]

_EXAMPLES = 10
_CHECK_FROM = 5_000


class TouchCheck(msgspec.Struct):
    """The rebuilt book against the venue's own best bid and ask, matched by update id."""

    compared: int = 0
    equal_prices: int = 0
    equal_touches: int = 0  # prices and sizes

    @property
    def share(self) -> float:
        """Share of compared touches equal in price and size; NaN when none could be compared."""
        return self.equal_touches / self.compared if self.compared else math.nan


class ImportReport(msgspec.Struct, kw_only=True):
    """The outcome of one import.

    Attributes
    ----------
    kept, refused, noted : counts by kind of row. `refused` rows are bad and weigh against the limit;
        `noted` ones are in order but left no data (diffs older than the snapshot, say), or were kept with
        a remark.
    examples : the first refused rows, as ``FILE:LINE: reason: detail``.
    skew_ms_min, skew_ms_mean, skew_ms_max : receive time minus venue time of kept rows; negative when the
        recording clock runs behind the venue's.
    first_ns, last_ns : receive times of the first and last kept row.
    """

    source: str
    instrument_id: str
    paths: list[str]
    rows: int
    kept: dict[str, int]
    refused: dict[str, int]
    noted: dict[str, int]
    examples: list[str]
    first_ns: int | None = None
    last_ns: int | None = None
    skew_ms_min: float | None = None
    skew_ms_mean: float | None = None
    skew_ms_max: float | None = None
    touch: TouchCheck | None = None
    written: dict[str, int] = msgspec.field(default_factory=dict)
    files: list[str] = msgspec.field(default_factory=list)


class RowLedger:
    """Counts rows by fate and stops an import whose share of bad rows passes the limit.

    Parameters
    ----------
    max_bad_share : float
        Largest share of refused rows. Checked from the 5,000th row on and at the end.
    """

    def __init__(self, max_bad_share: float):
        if not 0.0 <= max_bad_share <= 1.0:
            raise ValueError(f"max_bad_share must be a share in [0, 1], got {max_bad_share!r}")
        self.max_bad_share = max_bad_share
        self.rows = 0
        self.bad = 0
        self.kept: dict[str, int] = {}
        self.refused: dict[str, int] = {}
        self.noted: dict[str, int] = {}
        self.examples: list[str] = []
        self.place = ""
        self.line = 0

    def keep(self, kind: str, count: int = 1) -> None:
        """Count rows that became data."""
        self.kept[kind] = self.kept.get(kind, 0) + count

    def note(self, reason: str, count: int = 1) -> None:
        """Count rows that are in order but need a remark."""
        if count:
            self.noted[reason] = self.noted.get(reason, 0) + count

    def refuse(self, reason: str, detail: str, count: int = 1) -> None:
        """Count bad rows; raises ImportRefused once there are too many of them."""
        if count == 0:
            return
        self.refused[reason] = self.refused.get(reason, 0) + count
        self.bad += count
        if len(self.examples) < _EXAMPLES:
            self.examples.append(f"{self.place}:{self.line}: {reason}: {detail}")
        if self.rows >= _CHECK_FROM:
            self.check()

    def check(self) -> None:
        """Raise ImportRefused when the share of bad rows is above the limit."""
        if self.bad > self.max_bad_share * self.rows:
            counts = ", ".join(f"{reason} {n}" for reason, n in sorted(self.refused.items()))
            raise ImportRefused(
                f"{self.bad} of {self.rows} rows are bad ({self.bad / max(self.rows, 1):.2%}, allowed "
                f"{self.max_bad_share:.2%}): {counts}. First: {'; '.join(self.examples[:3])}. "
                "Nothing was imported; mend the source or raise --max-bad-share"
            )

    def report(self, source: str, instrument_id: str, paths: Sequence[str], **more: Any) -> ImportReport:
        """Return the outcome of the import these rows are of; `more` are further fields of the report."""
        return ImportReport(
            source=source,
            instrument_id=instrument_id,
            paths=list(paths),
            rows=self.rows,
            kept=self.kept,
            refused=self.refused,
            noted=self.noted,
            examples=self.examples,
            **more,
        )
