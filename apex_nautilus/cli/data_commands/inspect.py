"""Show what a catalog holds: spans, counts, gaps, crossed books, duplicates, clock skew."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.table import Table

from apex_nautilus.cli._data import catalog_option, clear_errors, count_text, json_option, time_text
from apex_nautilus.cli._numbers import FiniteRange
from apex_nautilus.data import inspect_catalog
from apex_nautilus.data.inspect import StreamSummary

_STREAM_LINES: list[tuple[str, Callable[[StreamSummary], str]]] = [
    ("from (UTC)", lambda s: time_text(s.span_ns[0])),
    ("to (UTC)", lambda s: time_text(s.span_ns[1])),
    ("level changes", lambda s: f"{s.levels:,}"),
    ("book batches", lambda s: f"{s.batches:,}"),
    ("trades", lambda s: f"{s.trades:,}"),
    ("book emptied", lambda s: f"{s.clears:,}"),
    ("gaps", lambda s: f"{s.gaps:,}"),
    ("longest silence", lambda s: f"{s.longest_gap_s:.2f} s"),
    ("crossed", lambda s: f"{s.crossed:.3%}"),
    ("locked", lambda s: f"{s.locked:.3%}"),
    ("one-sided", lambda s: f"{s.one_sided:.3%}"),
    ("duplicate trades", lambda s: f"{s.duplicate_trades:,}"),
    ("venue time backwards", lambda s: f"{s.event_time_backwards:,}"),
    ("receive - venue time, least", lambda s: f"{s.skew_ms[0]:.1f} ms"),
    ("mean", lambda s: f"{s.skew_ms[1]:.1f} ms"),
    ("most", lambda s: f"{s.skew_ms[2]:.1f} ms"),
    ("refused at import", lambda s: count_text(s.refused)),
]


@click.command()
@catalog_option
@click.option("--instrument", default=None, metavar="ID", help="Only this one.")
@click.option(
    "--gap",
    "gap_s",
    type=FiniteRange(min=0.0, min_open=True),
    default=5.0,
    show_default=True,
    metavar="SECONDS",
    help="Silence that counts as a gap.",
)
@json_option
def command(catalog: Path, instrument: str | None, gap_s: float, as_json: bool) -> None:
    """Show what the catalog holds: spans, counts, gaps, crossed books, duplicates, clock skew."""
    with clear_errors():
        summary = inspect_catalog(catalog, instrument, gap_s=gap_s)
    if as_json:
        click.echo(msgspec.json.encode(summary))
        return
    console = Console(markup=False)
    if summary.streams:
        table = Table(title="Books and trades", title_justify="left")
        table.add_column("")
        for s in summary.streams:
            table.add_column(s.instrument_id, justify="right", overflow="fold")
        for heading, text in _STREAM_LINES:
            table.add_row(heading, *(text(s) for s in summary.streams))
        console.print(table)
    if summary.bars:
        table = Table("bars", "from (UTC)", "to (UTC)", title="Bars", title_justify="left")
        for heading in ("count", "missing"):
            table.add_column(heading, justify="right")
        for b in summary.bars:
            table.add_row(b.bar_type, *map(time_text, b.span_ns), f"{b.bars:,}", f"{b.missing:,}")
        console.print(table)
    if not summary.streams and not summary.bars:
        console.print(f"{catalog} defines instruments, but holds no data of them.")
