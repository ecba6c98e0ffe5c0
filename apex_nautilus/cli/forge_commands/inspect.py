"""Show a genome: its trees, its rules, its evidence."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["command"]


@click.command()
@click.argument("genome", metavar="ID_OR_FILE")
@click.option(
    "--catalog",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("catalog"),
    show_default=True,
    help="Where to look for the id.",
)
@click.option("--json", "as_json", is_flag=True, help="The genome's own JSON.")
def command(genome: str, catalog: Path, as_json: bool) -> None:
    """Show a genome by its id (wherever in the catalog it is) or by its file."""
    from rich.console import Console
    from rich.tree import Tree

    from apex_nautilus.cli.forge_commands._run import evidence_table
    from apex_nautilus.features import names
    from apex_nautilus.forge import find_genome
    from apex_nautilus.genome import GenomeError, Node, decode, encode, tree_to_text
    from apex_nautilus.store import CatalogLayout

    path = Path(genome)
    if path.is_file():
        try:
            found = decode(path.read_bytes(), known_features=names(), source=path.name)
        except GenomeError as error:
            raise click.ClickException(str(error)) from None
    else:
        found = find_genome(CatalogLayout(catalog), genome)
        if found is None:
            raise click.ClickException(f"{catalog} has no readable genome {genome!r}, and it is not a file")
    if as_json:
        click.echo(encode(found).decode(), nl=False)
        return

    def grown(node: Node, branch: Tree) -> None:
        head = node.primitive
        if isinstance(head, str):
            below = branch.add(head if node.k is None else f"{head} (k = {node.k})")
            for child in node.children:
                grown(child, below)
        else:
            branch.add(tree_to_text(node, found.features))

    console = Console()
    console.print(evidence_table(found))
    for name in ("signal", "confidence", "size"):
        tree = getattr(found, name)
        if tree is not None:
            console.print(f"\n{name} = {tree_to_text(tree, found.features)}", highlight=False)
            picture = Tree(name)
            grown(tree, picture)
            console.print(picture, highlight=False)
    evidence, provenance = found.evidence, found.provenance
    console.print(f"\nenters beyond +-{found.entry_threshold:g}; {found.bracket}", highlight=False)
    console.print(f"{found.calibration}; {found.sizing}", highlight=False)
    console.print(
        f"bred in generation {provenance.generation}, seed {provenance.seed}, "
        f"{provenance.study_trials} trials, from {', '.join(provenance.parents) or 'nothing'}",
        highlight=False,
    )
    forced = ", forced" if evidence.forced else ""
    console.print(f"gate {evidence.gate}{forced}", highlight=False)
    for reason in evidence.gate_reasons:
        console.print(f"  - {reason}", highlight=False)
