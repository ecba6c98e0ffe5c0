"""Run the benchmarks: `python -m benchmarks [NAME...] [--quick] [--json FILE] [--markdown FILE] [--list]`."""

from __future__ import annotations

import importlib
import json
import pkgutil
import sys
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

import benchmarks
from benchmarks.harness import MissingPeer, Row, missing_row

_COLUMNS = ("measure", "unit", "ours", "peer", "theirs", "ratio", "goal", "holds", "spread")
_NOT_BENCHMARKS = {"harness", "__main__"}


def _names() -> list[str]:
    modules = pkgutil.iter_modules(benchmarks.__path__)
    return sorted(m.name for m in modules if m.name not in _NOT_BENCHMARKS and not m.name.startswith("_"))


def _number(x: float | None) -> str:
    if x is None:
        return "-"
    for bound, suffix in ((1e9, " G"), (1e6, " M"), (1e4, " k")):
        if abs(x) >= bound:
            return f"{x / (1e3 if suffix == ' k' else bound):,.3g}{suffix}"
    return f"{x:,.4g}"


def _table(rows: list[Row]) -> Table:
    table = Table(title="apex_nautilus benchmarks", title_justify="left")
    for column in _COLUMNS:
        right = column in {"ours", "theirs", "ratio", "spread"}
        table.add_column(column, justify="right" if right else "left")
    for r in rows:
        table.add_row(*_cells(r))
    return table


def _cells(r: Row) -> list[str]:
    holds = "-" if r.holds is None else ("yes" if r.holds else "NO")
    ratio = "-" if r.ratio is None else f"{r.ratio:,.3g}x"
    spread = "-" if r.spread is None else f"{r.spread:.0%}"
    return [r.name, r.unit, _number(r.ours), r.peer, _number(r.theirs), ratio, r.goal, holds, spread]


def _markdown(rows: list[Row]) -> str:
    lines = ["| " + " | ".join(_COLUMNS) + " |", "|" + "---|" * len(_COLUMNS)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in _cells(r)) + " |" for r in rows]
    return "\n".join(lines) + "\n"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("names", nargs=-1)
@click.option("--quick", is_flag=True, help="Smaller work, at most about a minute a benchmark.")
@click.option(
    "--json",
    "json_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also write one JSON object a line.",
)
@click.option(
    "--markdown",
    "markdown_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also write the table as Markdown.",
)
@click.option("--list", "list_names", is_flag=True, help="Name the benchmarks and end.")
def main(
    names: tuple[str, ...], quick: bool, json_file: Path | None, markdown_file: Path | None, list_names: bool
) -> None:
    """Measure against named peers in the same run; print a table and the ratios."""
    known = _names()
    if list_names:
        click.echo("\n".join(known))
        return
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise click.UsageError(f"no benchmark named {', '.join(unknown)} (known: {', '.join(known)})")
    console = Console(width=None if sys.stdout.isatty() else 170)
    rows: list[Row] = []
    for name in names or known:
        console.print(f"[dim]running {name} ...[/dim]")
        try:
            for row in importlib.import_module(f"benchmarks.{name}").run(quick):
                rows.append(row)
                console.print(
                    f"  {row.name}: ours {_number(row.ours)}, {row.peer} {_number(row.theirs)} {row.unit}"
                )
        except MissingPeer as error:
            rows.append(missing_row(name, "-", "peer", "", str(error)))
    console.print(_table(rows))
    for row in rows:
        if row.same_work:
            console.print(
                f"[dim]{row.name}: same work: {row.same_work} (median of {row.repeats})[/dim]",
                highlight=False,
            )
    if json_file is not None:
        json_file.write_text("".join(json.dumps(r.as_dict()) + "\n" for r in rows), encoding="utf-8")
    if markdown_file is not None:
        markdown_file.write_text(_markdown(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
