"""What the verbs of `apex ledger` share: opening a ledger, selecting its lines, showing them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from apex_nautilus.store import LedgerRecord

__all__ = ["common_options", "open_ledger", "print_rows", "time_text"]


def common_options(command: Callable[..., None]) -> Callable[..., None]:
    """The argument ROOT and the options ``--last`` and ``--json``, alike for all verbs."""
    command = click.option("--json", "as_json", is_flag=True, help="One JSON object a line, for machines.")(
        command
    )
    command = click.option(
        "--last", type=click.IntRange(min=1), default=None, metavar="N", help="Only the last N lines."
    )(command)
    return click.argument(
        "root", type=click.Path(path_type=Path, exists=True, file_okay=False), default=Path("catalog")
    )(command)


def open_ledger(root: Path, kinds: Iterable[str] | None = None) -> list[LedgerRecord]:
    """All lines of the ledgers below `root`, of these kinds, in the order of engine time.

    Raises
    ------
    click.ClickException
        When there is no ledger, or a line of it is damaged.
    """
    from apex_nautilus.store import CatalogLayout, StoreError, read_all

    folder = CatalogLayout(root).ledger
    if not folder.is_dir():
        raise click.ClickException(f"{root}: no ledger/ here; give a catalog or the folder of a run")
    try:
        return read_all(folder, kinds=kinds)
    except StoreError as error:
        raise click.ClickException(str(error)) from None


def print_rows(
    title: str,
    rows: Sequence[dict[str, Any]],
    columns: Sequence[tuple[str, str]],
    *,
    last: int | None,
    as_json: bool,
) -> None:
    """Print rows as a table of `columns` (heading, key), or whole as JSON, one object a line."""
    if last is not None:
        rows = rows[-last:]
    if as_json:
        for row in rows:
            click.echo(json.dumps(row, sort_keys=True))
        return
    from rich.markup import escape

    from apex_nautilus.cli._show import console_of_width, show_table

    if not rows:
        click.echo(f"no {title}")
        return
    cells = [[escape(_cell(key, row.get(key))) for _, key in columns] for row in rows]
    headings = [heading for heading, _ in columns]
    show_table(console_of_width(), escape(f"{title}: {len(rows):,}"), headings, cells)


def time_text(ts_ns: int) -> str:
    """UTC to the millisecond."""
    seconds, rest = divmod(ts_ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, tz=UTC):%Y-%m-%d %H:%M:%S}.{rest // 1_000_000:03d}"


def _cell(key: str, value: Any) -> str:
    if value is None:
        return "-"
    if key.endswith("ts_ns") and isinstance(value, int):
        return time_text(value)
    if not isinstance(value, float):
        return str(value)
    if key == "quantity" or key.endswith("price"):
        return f"{value:.10g}"
    return f"{value:,.2f}" if abs(value) >= 1000.0 else f"{value:.4g}"
