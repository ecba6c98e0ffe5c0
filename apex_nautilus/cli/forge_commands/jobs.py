"""List the jobs of the Forge and what became of them."""

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
@click.option(
    "--queue",
    "where",
    default="file",
    show_default=True,
    help="file (CATALOG/jobs), redis://HOST:PORT/DB, or redis: the server that APEX_REDIS_URL names.",
)
@click.option("--json", "as_json", is_flag=True, help="JSON, for machines.")
def command(catalog: Path, state: str | None, where: str, as_json: bool) -> None:
    """List the jobs of the Forge: who waits, who is worked on, what was answered.

    Recycle jobs ask for a genome for an empty slot; promotions tell of one that proved itself live.

    \b
    apex-forge jobs --state failed
    """
    from rich.console import Console
    from rich.table import Table

    from apex_nautilus.cli.forge_commands._run import check_catalog
    from apex_nautilus.store import CatalogLayout, PromoteJob, StoreError, open_queue

    layout = CatalogLayout(catalog)
    if where == "file":
        check_catalog(catalog)
    try:
        # Looking makes no folders.
        known = open_queue(where, layout).jobs() if where != "file" or layout.jobs_todo.is_dir() else ()
        found = [status for status in known if state in (None, status.state)]
    except StoreError as error:
        raise click.ClickException(str(error)) from None
    found.sort(key=lambda status: (status.job.created_ns, status.job.job_id))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
        return
    if not found:
        place = catalog if where == "file" else "the queue"
        click.echo(f"no {'' if state is None else f'{state} '}jobs in {place}")
        return
    table = Table(title=f"{len(found)} job{'s' if len(found) > 1 else ''}")
    for name in ("state", "kind", "job", "asset", "slot", "genome", "seed DNA", "tries", "outcome"):
        # Ids are broken into lines and never cut off: they are there to be copied.
        table.add_column(name, overflow="fold", min_width=16 if name == "outcome" else None)
    for status in found:
        job = status.job
        outcome = status.reason or status.owner or ""
        if status.result is not None:
            outcome = f"{status.result.get('genome_id')} {status.result.get('gate')}"
        if isinstance(job, PromoteJob):
            kind, about, seed = "promote", job.genome_id, None
        else:
            kind, about, seed = "recycle", job.terminated_model_id, job.seed_dna_from
        table.add_row(
            status.state,
            kind,
            job.job_id,
            job.asset,
            job.slot,
            about or "-",
            seed or "-",
            str(status.attempts),
            outcome,
        )
    Console().print(table)
