"""Show a genome: its trees, its rules, its evidence."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from apex_nautilus.genome import Genome

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
    """Show a genome by its id (wherever in the catalog it is, also one that the gate kept) or by its file.

    \b
    apex-forge inspect genomes/btc_imbalance.json
    """
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
    say = partial(console.print, highlight=False)
    say(evidence_table(found))
    for name in ("signal", "confidence", "size"):
        tree = getattr(found, name)
        if tree is not None:
            say(f"\n{name} = {tree_to_text(tree, found.features)}")
            picture = Tree(name)
            grown(tree, picture)
            say(picture)
    say("")
    evidence = found.evidence
    for label, line in (*_rules(found), *_origin(found)):
        say(f"{label:<12}{line}")
    forced = ", deployed by force" if evidence.forced else ""
    say(f"{'gate':<12}{evidence.gate}{forced}")
    for reason in evidence.gate_reasons:
        say(f"{'':<12}- {reason}")


def _rules(genome: Genome) -> list[tuple[str, str]]:
    """What the genome trades by, in words."""
    from apex_nautilus.genome import BpsStop, Platt

    bracket, sizing, p = genome.bracket, genome.sizing, genome.calibration
    stop = (
        f"{bracket.stop.value:g} bps"
        if isinstance(bracket.stop, BpsStop)
        else f"{bracket.stop.multiple:g} deviations of the last {bracket.stop.window} returns"
    )
    odds = (
        f"p = sigmoid({p.a:.6g} x confidence {'-' if p.b < 0 else '+'} {abs(p.b):.6g})"
        if isinstance(p, Platt)
        else f"p by {len(p.scores)} isotonic knots of confidence"
    )
    size = (
        f"{sizing.kelly_fraction:g} of Kelly"
        if sizing.mode == "kelly"
        else f"evolved, between {sizing.lo:g} and {sizing.hi:g}"
    )
    bounds = f"quantity from {sizing.min_qty:g}" + (
        "" if sizing.max_qty is None else f" to {sizing.max_qty:g}"
    )
    return [
        ("enters", f"long above +{genome.entry_threshold:g}, short below -{genome.entry_threshold:g}"),
        (
            "bracket",
            f"stop {stop}, take-profit {bracket.reward_risk:g} x stop, out after {bracket.max_hold_s:g} s",
        ),
        ("odds", odds),
        ("size", f"{size}, stake {sizing.stake}, leverage up to {sizing.max_leverage:g}, {bounds}"),
    ]


def _origin(genome: Genome) -> list[tuple[str, str]]:
    """Where the genome comes from; nothing is said of what its file leaves out."""
    bred = genome.provenance
    variance = "" if bred.study_sharpe_variance is None else f", V {bred.study_sharpe_variance:.4g}"
    lines = [
        ("bred", None if bred.generation is None else f"in generation {bred.generation}, seed {bred.seed}"),
        ("parents", ", ".join(bred.parents) or None),
        ("trials", None if bred.study_trials is None else f"{bred.study_trials}{variance}"),
        ("dataset", bred.dataset_id and bred.dataset_id[:16]),
        ("job", bred.job_id and f"{bred.job_id} for slot {bred.slot}"),
    ]
    return [(label, line) for label, line in lines if line]
