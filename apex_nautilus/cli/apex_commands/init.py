"""Make a workspace: configurations, a catalog, sample data, and what to run next."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

__all__ = ["command"]


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option("--force", is_flag=True, help="Put files that were changed back as they come.")
def command(folder: Path, force: bool) -> None:
    """Make DIR a workspace and say what to run in it.

    It gets configurations of a backtest, an arena and a study of the Forge, a genome that trades, forty
    seconds of a recorded order book, and an empty catalog. Nothing is downloaded.

    Files that are there already are left alone, so it may be run again to bring back what is missing;
    --force also replaces those of its own files that you have changed.

    \b
    apex init my-workspace
    """
    from apex_nautilus.cli._workspace import STEPS, lay_out

    new = not folder.exists() or not any(folder.iterdir())
    try:
        laid = lay_out(folder, force=force)
    except OSError as error:
        raise click.ClickException(f"{error.filename or folder}: {error.strerror or error}") from None
    if new:  # also an empty folder that was there
        click.echo(f"{folder}: a new workspace, {len(laid.written)} files")
    else:
        _tell(folder, laid)
    click.echo("\nNext, one after the other:\n")
    if folder.resolve() != Path.cwd():
        click.echo(f"  cd {shlex.quote(str(folder))}")
    for what, line in STEPS:
        click.echo(f"\n  # {what}\n  {line}")
    click.echo("\nREADME.md there says what each folder is for.")


def _tell(folder: Path, laid) -> None:
    parts = [f"{len(names)} {what}" for what, names in laid._asdict().items() if names]
    click.echo(f"{folder}: was there; {', '.join(parts)}")
    for what, names in laid._asdict().items():
        for name in names:
            click.echo(f"  {what:<8}  {name}")
    if laid.kept:
        click.echo("What was kept may differ from what this command writes; --force replaces it.")
