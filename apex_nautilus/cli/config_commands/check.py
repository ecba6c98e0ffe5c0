"""Say everything that is wrong with configurations, genomes and champion files."""

from __future__ import annotations

from pathlib import Path

import click

from apex_nautilus.cli._configs import known_kinds

__all__ = ["command"]


@click.command()
@click.argument(
    "paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True)
)
@click.option(
    "--kind",
    type=click.Choice(list(known_kinds())),
    help="Take the files for this kind, whatever they say.",
)
@click.option("--json", "as_json", is_flag=True, help="JSON, for machines.")
def command(paths: tuple[Path, ...], kind: str | None, as_json: bool) -> None:
    """Check files, and all JSON files of the folders among the PATHs.

    A file says what it is in its field "schema" (apex.backtest/1; docs/first-steps.md lists them all); a
    study of the Forge has none and is told by its fields. Checked are the names and types of fields, their
    ranges, what the programs themselves ask of them, whether the files and folders they name are there, and
    that no keys or passwords are in them.

    Nothing is run or written. Exits with 1 when anything is wrong.

    \b
    apex config check configs genomes
    apex config check study.json --kind forge
    """
    import msgspec

    from apex_nautilus.cli._configs import check_file

    files = _files(paths)
    reports = [check_file(path, kind) for path in files]
    wrong = sum(bool(report.problems) for report in reports)
    if as_json:
        click.echo(msgspec.json.encode(reports))
    else:
        for report in reports:
            click.echo(f"{report.file}: {_verdict(report)}")
            for problem in report.problems:
                click.echo(f"  {problem.field + ': ' if problem.field else ''}{problem.message}")
        if len(reports) > 1:
            click.echo(f"\n{len(reports)} files, {wrong} with something wrong")
    if wrong:
        raise SystemExit(1)


def _verdict(report) -> str:
    if not report.problems:
        return f"{report.kind}, nothing wrong"
    count = "1 thing" if len(report.problems) == 1 else f"{len(report.problems)} things"
    return f"{report.kind + ', ' if report.kind else ''}{count} wrong"


def _files(paths: tuple[Path, ...]) -> list[Path]:
    found: dict[Path, None] = {}
    for path in paths:
        inside = (
            sorted(p for p in path.rglob("*.json") if not p.name.startswith(".")) if path.is_dir() else [path]
        )
        if not inside:
            raise click.ClickException(f"{path}: no JSON file in this folder; name the files to check")
        found.update(dict.fromkeys(inside))
    return list(found)
