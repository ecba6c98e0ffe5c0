"""List the recycle jobs and what became of them."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

__all__ = ["command"]


@click.command()
@click.option(
    "--catalog",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path("catalog"),
    show_default=True,
    help="The catalog.",
)
@click.option(
    "--state", type=click.Choice(["todo", "doing", "done", "failed"]), help="Only jobs in this state."
)
@click.option("--json", "as_json", is_flag=True, help="JSON, for machines.")
def command(catalog: Path, state: str | None, as_json: bool) -> None:
    """List the recycle jobs in CATALOG/jobs: who waits, who is worked on, what was answered."""
    from rich.console import Console
    from rich.table import Table

    from apex_nautilus.cli.forge_commands._run import check_catalog
    from apex_nautilus.store import CatalogLayout, FileJobQueue

    check_catalog(catalog)
    layout = CatalogLayout(catalog)
    # Looking makes no folders.
    known = FileJobQueue(layout).jobs() if layout.jobs_todo.is_dir() else ()
    found = [status for status in known if state in (None, status.state)]
    found.sort(key=lambda status: (status.job.created_ns, status.job.job_id))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
        return
    if not found:
        click.echo(f"no {'' if state is None else f'{state} '}recycle jobs in {catalog}")
        return
    table = Table(title=f"{len(found)} recycle job{'s' if len(found) > 1 else ''}")
    for name in ("state", "job", "asset", "slot", "died", "seed DNA", "tries", "outcome"):
        # Ids are broken into lines and never cut off: they are there to be copied.
        table.add_column(name, overflow="fold", min_width=16 if name == "outcome" else None)
    for status in found:
        job = status.job
        outcome = status.reason or status.owner or ""
        if status.result is not None:
            outcome = f"{status.result.get('genome_id')} {status.result.get('gate')}"
        table.add_row(
            status.state,
            job.job_id,
            job.asset,
            job.slot,
            job.terminated_model_id or "-",
            job.seed_dna_from or "-",
            str(status.attempts),
            outcome,
        )
    Console().print(table)
