"""Show a configuration as the programs see it, defaults filled in."""

from __future__ import annotations

import json
from pathlib import Path

import click

from apex_nautilus.cli._configs import known_kinds

__all__ = ["command"]


@click.command()
@click.argument("path", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--kind",
    type=click.Choice(list(known_kinds())),
    help="Take the file for this kind, whatever it says.",
)
@click.option("--json", "as_json", is_flag=True, help="JSON, for machines.")
def command(path: Path, kind: str | None, as_json: bool) -> None:
    """Show every field of the configuration in PATH, and whether the file says it or the default does.

    Paths are shown as the programs take them, absolute. A file in which something is wrong is refused with
    all that `apex config check` says of it, except that what it points to need not be there.

    \b
    apex config show configs/arena.json
    """
    from apex_nautilus.cli._configs import resolve_file
    from apex_nautilus.cli._configs.check import check_file

    report = check_file(path, kind, references=False)
    if report.problems:
        lines = [f"{p.field + ': ' if p.field else ''}{p.message}" for p in report.problems]
        raise click.ClickException(f"{path}: " + "\n  ".join(["something is wrong with it", *lines]))
    name, config, fields = resolve_file(path, kind)
    if as_json:
        sources = [{"field": f.field, "value": f.value, "source": f.source} for f in fields]
        click.echo(json.dumps({"file": str(path), "kind": name, "config": config, "fields": sources}))
        return
    _print(path, name, fields)


def _print(path: Path, name: str, fields) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=f"{escape(str(path))} ({name})", title_justify="left")
    table.add_column("field", overflow="fold")
    table.add_column("value", overflow="fold")
    table.add_column("from")
    for field in fields:
        style = "dim" if field.source == "default" else ""
        table.add_row(escape(field.field), escape(_text(field.value)), field.source, style=style)
    console = Console()
    console.print(table)


def _text(value) -> str:
    if isinstance(value, dict) and "primitive" in value:
        return _tree(value)
    return json.dumps(value, ensure_ascii=False)


def _tree(node) -> str:
    """A tree of a genome on one line, as ``mul(Feature 0, 0.6)``."""
    primitive = node["primitive"]
    if isinstance(primitive, dict):
        ((name, value),) = primitive.items()
        return f"{name} {value}" if name == "Feature" else json.dumps(value)
    inner = [_tree(child) for child in node.get("children", [])]
    if "k" in node:
        inner.append(f"k={node['k']}")
    return f"{primitive}({', '.join(inner)})"
