"""Write a strategy of your own to begin with, and its test."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["command"]


@click.command()
@click.argument("name")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("strategies"),
    show_default=True,
    help="Folder to write to; made when missing.",
)
@click.option("--force", is_flag=True, help="Replace files of that name.")
def command(name: str, out: Path, force: bool) -> None:
    """Write a strategy called NAME, which trades as it stands, and its test.

    NAME is written like a module, my_edge; its class is then MyEdge. The strategy is an ordinary Nautilus
    strategy on this package's base class, which places brackets and keeps the agent's own ledger. Change what
    it looks at and when it trades; the test runs it in Nautilus on markets made by hand.

    docs/your-own-strategy.md goes through the file step by step.

    \b
    apex new-strategy my_edge --out strategies
    """
    from apex_nautilus.cli._new_strategy import class_name, problem_with_name, rendered
    from apex_nautilus.store.atomic import write_atomic

    problem = problem_with_name(name, out)
    if problem:
        raise click.ClickException(problem)
    files = {out / file: text for file, text in rendered(name).items()}
    there = [str(path) for path in files if path.exists()]
    if there and not force:
        raise click.ClickException(
            f"{' and '.join(there)}: there already, and may hold your work; choose another name, or replace "
            "with --force"
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
        for path, text in files.items():
            write_atomic(path, text.encode())
    except OSError as error:
        raise click.ClickException(f"{error.filename or out}: {error.strerror or error}") from None
    strategy, test = files
    click.echo(f"wrote {strategy}\n      {test}\n")
    click.echo("Test it (pip install pytest, if it is not there):\n")
    click.echo(f"  python -m pytest {test}\n")
    click.echo("Run it beside genomes: add an agent to a backtest configuration. The path is relative to")
    click.echo("that file; from configs/backtest.json of a workspace, for one, it is\n")
    click.echo(
        f'  {{"slot": "{name.replace("_", "-")}", "instrument_id": "BTCUSDT-PERP.BINANCE",\n'
        f'   "strategy": "../{strategy.as_posix()}:{class_name(name)}"}}'
    )
