"""Make the arena's books again from its journal, and hold every sum in it against them."""

from __future__ import annotations

from pathlib import Path

import click

from apex_nautilus.cli._ledger import common_options, print_rows

__all__ = ["command"]

_COLUMNS = (
    ("agent", "agent"),
    ("instrument", "instrument_id"),
    ("capital", "capital"),
    ("realised", "realised"),
    ("fees", "fees"),
    ("funding", "funding"),
    ("cash", "cash"),
    ("position", "position"),
    ("entry price", "average_price"),
    ("trades", "trades"),
    ("buried", "buried"),
)


@click.command()
@common_options
@click.option("--writer", default="arena", show_default=True, help="Whose journal: the name of its file.")
def command(root: Path, writer: str, last: int | None, as_json: bool) -> None:
    """Print what each agent of the arena below ROOT owns, by its fills, fees and funding alone.

    The books are made again line by line from the journal, and every sum that a line names (cash, position,
    treasury, trades) must be the one they make, to the last digit; the first that is not is an error. Of a
    journal that was continued, the latest life is shown.

    \b
    apex ledger books runs/six-0001
    """
    from apex_nautilus.actors.books import rebuild_books
    from apex_nautilus.store import CatalogLayout, LedgerError, read_ledger

    path = CatalogLayout(root).ledger_file(writer)
    if not path.is_file():
        raise click.ClickException(f"{root}: no {path.relative_to(root)} here; give the folder of a run")
    try:
        lives = rebuild_books(read_ledger(path))
    except LedgerError as error:
        raise click.ClickException(str(error)) from None
    if not lives:
        raise click.ClickException(f"{path}: no arena was opened here")
    books = lives[-1]
    rows = [
        {
            "agent": a.name,
            "instrument_id": a.instrument_id,
            "strategy_id": a.strategy_id,
            "capital": a.account.capital,
            "realised": a.account.realised,
            "fees": a.account.fees,
            "funding": a.account.funding,
            "cash": a.account.balance,
            "position": a.account.position,
            "average_price": a.account.average_price,
            "trades": len(a.returns),
            "buried": a.is_buried,
        }
        for a in books.agents.values()
    ]
    print_rows("agents", rows, _COLUMNS, last=last, as_json=as_json)
    if not as_json:
        click.echo(
            f"{sum(life.lines for life in lives)} lines agree; the account must hold {books.cash:.4f}, "
            f"of which the treasury {books.treasury:.4f}"
        )
