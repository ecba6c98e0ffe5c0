"""What the registry says of a feature, as a table for people and as a record for machines."""

from __future__ import annotations

import math
from collections.abc import Iterable

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from apex_nautilus.features import FeatureSpec
from apex_nautilus.features.reference import age_text, bound_text, warmup_text

__all__ = ["KINDS", "FeatureRecord", "print_features", "record_of"]

KINDS = {
    "book": "Features of the book (clocks: book, 1s)",
    "bar": "Features of closed bars (clocks: 1m, 5m, 15m)",
    "external": "Features published from outside",
}


class FeatureRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A feature as JSON tells it. Bounds that do not exist are null; times are nanoseconds."""

    name: str
    kind: str
    unit: str
    low: float | None
    high: float | None
    neutral: float
    inputs: tuple[str, ...]
    warmup_rows: int
    warmup_ns: int
    warmup_trades: int
    stale_after_ns: int
    formula: str
    source: str


def record_of(spec: FeatureSpec) -> FeatureRecord:
    """The record of a feature."""
    return FeatureRecord(
        name=spec.name,
        kind=spec.kind,
        unit=spec.unit,
        low=spec.low if math.isfinite(spec.low) else None,
        high=spec.high if math.isfinite(spec.high) else None,
        neutral=spec.neutral,
        inputs=spec.inputs,
        warmup_rows=spec.warmup_rows,
        warmup_ns=spec.warmup_ns,
        warmup_trades=spec.warmup_trades,
        stale_after_ns=spec.stale_after_ns,
        formula=spec.formula,
        source=spec.source,
    )


def _patience(spec: FeatureSpec) -> str:
    """How long until its values count, or how long one of them does."""
    return f"up to {age_text(spec.stale_after_ns)}" if spec.kind == "external" else warmup_text(spec)


def print_features(console: Console, title: str, specs: Iterable[FeatureSpec]) -> None:
    """Print a table; its three columns hold two or three facts each, so that 80 columns are enough."""
    table = Table(title=title, title_justify="left", title_style="bold", show_lines=True, expand=True)
    table.add_column("name\nunit", no_wrap=True)
    table.add_column("range\nundefined\nwarm-up, age", no_wrap=True)
    table.add_column("formula\nsource", overflow="fold", ratio=1)
    for spec in specs:
        table.add_row(
            Text.assemble((spec.name, "bold"), "\n", (spec.unit, "dim")),
            f"{bound_text(spec.low)} to {bound_text(spec.high)}\n{spec.neutral:g}\n{_patience(spec)}",
            Text.assemble(spec.formula, "\n", (spec.source, "dim")),
        )
    console.print(table)
