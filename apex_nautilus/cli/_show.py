"""What the verbs share in front of a person: a console, a table, a folder made anew."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["console_of_width", "fresh_folder", "show_table", "teller"]

_MARK = ".apex-made"
_LOG_WIDTH = 160


def console_of_width() -> Console:
    """A console as wide as the terminal; where there is none (a log), wide enough for the tables."""
    from rich.console import Console

    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_LOG_WIDTH)


def teller(console: Console) -> Callable[[str], None]:
    """A function that prints a line with the seconds gone by since it was made."""
    began = time.monotonic()

    def say(text: str) -> None:
        console.print(f"[dim]{time.monotonic() - began:5.0f} s[/dim]  {text}", soft_wrap=True)

    return say


def show_table(
    console: Console,
    title: str,
    headers: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    drop: Sequence[str] = (),
) -> None:
    """Print a table, without the columns named in `drop`."""
    from rich.table import Table

    kept = [i for i, header in enumerate(headers) if header not in drop]
    table = Table(title=title, title_justify="left")
    for i in kept:
        table.add_column(headers[i])
    for row in rows:
        table.add_row(*(str(row[i]) for i in kept))
    console.print(table)


def fresh_folder(out: Path) -> None:
    """Make `out` an empty folder; one that holds files is emptied only if this function made it before.

    Raises
    ------
    click.ClickException
        When the folder holds something else.
    """
    if out.exists() and any(out.iterdir()) and not (out / _MARK).exists():
        raise click.ClickException(
            f"{out} holds files that this command did not write; name another folder with --out"
        )
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    (out / _MARK).touch()
