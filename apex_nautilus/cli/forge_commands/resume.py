"""Take up a run where it stopped, or let it go on for longer."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

__all__ = ["command"]


@click.command()
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--generations", type=int, help="Total to reach, when the run is to be longer than it was asked to be."
)
@click.option("--threads", type=int, help="Threads of the evaluation; the result does not depend on it.")
@click.option("--force", is_flag=True, help="Deploy what the gate refuses, marked as forced.")
@click.option("--json", "as_json", is_flag=True, help="JSON lines on standard output, for machines.")
def command(run: Path, generations: int | None, threads: int | None, force: bool, as_json: bool) -> None:
    """Take up the run in folder RUN from its last checkpoint.

    100 generations and a resumption to 200 give what 200 in one go give, byte for byte. A run that had
    finished has seen its test part; going on with it opens that part again, which the ledger records.
    """
    from apex_nautilus.cli.forge_commands._run import execute, load_run, open_dataset, save_run
    from apex_nautilus.forge import ForgeError

    kept = load_run(run)
    changes = {"generations": generations, "threads": threads}
    try:
        config = msgspec.structs.replace(kept.config, **{k: v for k, v in changes.items() if v is not None})
    except ForgeError as error:
        raise click.ClickException(str(error)) from None
    kept = msgspec.structs.replace(
        kept, config=config, force=kept.force or force, deploy=kept.deploy or force
    )
    if generations is not None and (run / "result.json").exists():
        click.echo(
            "this run has opened its test part before; the ledger records that it does so again", err=True
        )
    save_run(run, kept)
    execute(run, kept, open_dataset(run / kept.dataset), as_json=as_json)
