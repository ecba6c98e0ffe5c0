"""What the verbs of `apex data` share: options, errors, and how a report reads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.table import Table

from apex_nautilus.cli._numbers import FiniteRange
from apex_nautilus.data import DataError, ImportReport
from apex_nautilus.features import FeatureError

__all__ = [
    "catalog_option",
    "clear_errors",
    "count_text",
    "json_option",
    "max_bad_option",
    "paths_argument",
    "replace_option",
    "show_reports",
    "time_text",
]

catalog_option = click.option(
    "--catalog",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("catalog/market"),
    show_default=True,
    help="The Nautilus data catalog.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="JSON, for machines.")
replace_option = click.option(
    "--replace", is_flag=True, help="Take the place of stored data over the same span."
)
max_bad_option = click.option(
    "--max-bad-share",
    type=FiniteRange(0.0, 1.0),
    default=0.001,
    show_default=True,
    help="Largest share of bad rows; above it nothing is imported.",
)
paths_argument = click.argument(
    "paths", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False)
)


@contextmanager
def clear_errors() -> Iterator[None]:
    """Turn what users can mend into one clear message."""
    try:
        yield
    except (DataError, FeatureError, OSError) as e:
        raise click.ClickException(str(e)) from e


def time_text(ns: int) -> str:
    """A time in UTC, to the second."""
    return f"{datetime.fromtimestamp(ns // 1_000_000_000, UTC):%Y-%m-%d %H:%M:%S}"


def count_text(counts: dict[str, int]) -> str:
    """Counts by name, on a line."""
    return ", ".join(f"{name} {n:,}" for name, n in sorted(counts.items())) or "none"


def show_reports(reports: list[ImportReport], as_json: bool) -> None:
    """Print what imports kept, refused and noted."""
    if as_json:
        click.echo(msgspec.json.encode(reports))
        return
    for report in reports:
        lines = [
            ("rows", f"{report.rows:,}"),
            ("kept", count_text(report.kept)),
            ("refused", count_text(report.refused)),
            ("noted", count_text(report.noted)),
            ("written", count_text(report.written)),
        ]
        if report.first_ns is not None and report.last_ns is not None:
            lines.insert(1, ("span (UTC)", f"{time_text(report.first_ns)} to {time_text(report.last_ns)}"))
        if report.skew_ms_mean is not None:
            span = f"{report.skew_ms_min:.1f} to {report.skew_ms_max:.1f} ms"
            lines.append(("receive - venue time", f"{span}, mean {report.skew_ms_mean:.1f}"))
        if report.touch is not None and report.touch.compared:
            lines.append(
                (
                    "touch as the venue's",
                    f"{report.touch.share:.3%} of {report.touch.compared:,} (prices alone "
                    f"{report.touch.equal_prices / report.touch.compared:.3%})",
                )
            )
        table = Table(
            title=f"{report.instrument_id}: {', '.join(report.paths)}",
            title_justify="left",
            show_header=False,
        )
        table.add_column()
        table.add_column(overflow="fold")
        for name, text in lines:
            table.add_row(name, text)
        console = Console(markup=False)
        console.print(table)
        for example in report.examples:
            console.print(f"  {example}", highlight=False)
