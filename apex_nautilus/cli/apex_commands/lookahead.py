"""Find out whether a strategy looks into the future."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from apex_nautilus.forge.lookahead import Leak, LookaheadReport

__all__ = ["command"]


@click.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--catalog",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("catalog/market"),
    show_default=True,
    help="Market data to examine a genome on.",
)
@click.option("--instrument", metavar="ID", help="Its data  [default: the genome's own instrument]")
@click.option("--clock", help="Clock of the rows  [default: the genome's own]")
@click.option(
    "--dataset",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Examine the columns of this dataset instead; with its data in --catalog, against those.",
)
@click.option(
    "--moments", type=click.IntRange(1, 10_000), default=20, show_default=True, help="Moments to try."
)
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Draws the moments.")
@click.option("--json", "as_json", is_flag=True, help="JSON, for machines.")
def command(
    file: Path,
    catalog: Path,
    instrument: str | None,
    clock: str | None,
    dataset: Path | None,
    moments: int,
    seed: int,
    as_json: bool,
) -> None:
    """Find out whether the strategy in FILE looks into the future.

    FILE is a genome, or a backtest configuration (apex.backtest/1) whose agents are examined, also those
    written by hand.

    A genome and its features are computed again on data that end at drawn moments, on data that go on
    differently after them, and on data that begin later; whatever moves in the past is a leak, named with
    its feature, row and time. Series from outside in the catalog must not be known before they happened. Of
    a dataset, the columns are compared with what its data give and with what comes after them. A backtest
    is run again with its data cut at the moments; orders before the cut must be the same.

    Exits with 1 when a leak is found.

    \b
    apex lookahead genomes/btc_imbalance.json --moments 50
    apex lookahead genomes/btc_imbalance.json --dataset data/btc-book
    apex lookahead configs/backtest.json --moments 3
    """
    from apex_nautilus.cli._lookahead import examine_backtest, examine_genome, is_backtest
    from apex_nautilus.data import DataError
    from apex_nautilus.engine import ConfigError, MarketDataError
    from apex_nautilus.features import FeatureError
    from apex_nautilus.forge import ForgeError
    from apex_nautilus.genome import GenomeError
    from apex_nautilus.store import StoreError

    try:
        if is_backtest(file):
            reports = examine_backtest(file, moments=moments, seed=seed)
        else:
            reports = examine_genome(
                file, catalog, instrument=instrument, clock=clock, dataset=dataset, moments=moments, seed=seed
            )
    except (
        ConfigError, DataError, FeatureError, ForgeError, GenomeError, MarketDataError, StoreError,
    ) as error:  # fmt: skip
        raise click.ClickException(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"{error.filename or file}: {error.strerror or error}") from None
    leaks = [leak for _, report in reports for leak in report.leaks]
    if as_json:
        import msgspec

        body = [{"examined": what, **msgspec.to_builtins(report)} for what, report in reports]
        click.echo(msgspec.json.encode({"file": str(file), "leaks": len(leaks), "reports": body}))
    else:
        _print(reports, leaks)
    if leaks:
        raise SystemExit(1)


def _print(reports: list[tuple[str, LookaheadReport]], leaks: list[Leak]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False)
    for what, report in reports:
        table = Table(title=escape(what), title_justify="left")
        table.add_column("question")
        table.add_column("values compared", justify="right")
        table.add_column("moved")
        for check, question in _QUESTIONS.items():
            if check in report.compared or any(leak.check == check for leak in report.leaks):
                moved = list(dict.fromkeys(leak.name for leak in report.leaks if leak.check == check))
                shown = f"[red]{escape(', '.join(moved))}[/red]" if moved else "nothing"
                table.add_row(question, f"{report.compared.get(check, 0):,}", shown)
        console.print(table)
    for leak in leaks:
        console.print(f"[red]leak[/red]  {escape(_sentence(leak))}", soft_wrap=True)
    console.print("no leak found" if not leaks else f"{len(leaks)} leak{'s' * (len(leaks) > 1)} found")


_QUESTIONS = {
    "cut": "data end at a moment",
    "changed": "data go on differently",
    "start": "data begin later",
    "column": "columns of the dataset",
    "publication": "series from outside",
    "orders": "orders before the cut",
}


def _sentence(leak: Leak) -> str:
    where = f"{leak.name}: {leak.rows:,} rows, first {leak.row} at {_clock(leak.row_ts_ns)}"
    if leak.check == "orders":
        return f"{leak.name}: at {_clock(leak.row_ts_ns)} {leak.note}"
    if leak.note:
        return f"{where}; {leak.note}"
    how = {
        "cut": f"without what comes after {_clock(leak.moment_ns)}",
        "changed": f"when another market follows {_clock(leak.moment_ns)}",
        "start": f"when data begin at {_clock(leak.moment_ns)}",
    }.get(leak.check, f"from the data up to {_clock(leak.moment_ns)}")
    return f"{where}: {leak.whole:.9g}, but {leak.other:.9g} {how}"


def _clock(ts_ns: int) -> str:
    import numpy as np

    return str(np.datetime64(ts_ns, "ns").astype("datetime64[ms]")).replace("T", " ")
