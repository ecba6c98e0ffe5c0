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
@click.option(
    "--threads",
    type=int,
    help="Threads of the evaluation; the result does not depend on it  [default: the run's]",
)
@click.option("--force", is_flag=True, help="Deploy what the gate refuses, marked as forced.")
@click.option(
    "--reopen-test",
    is_flag=True,
    help="Open the test part again, for a run that had finished and is to go on; the ledger tells.",
)
@click.option("--json", "as_json", is_flag=True, help="JSON lines on standard output, for machines.")
def command(
    run: Path,
    generations: int | None,
    threads: int | None,
    force: bool,
    reopen_test: bool,
    as_json: bool,
) -> None:
    """Take up the run in folder RUN from its last checkpoint.

    100 generations and a resumption to 200 give what 200 in one go give, byte for byte. A run that had
    finished has seen its test part; what it chooses after going on would be judged by data already seen, so
    that is refused unless --reopen-test asks for it.

    \b
    apex-forge resume runs/forge-3f2a1b0c --generations 200
    """
    from apex_nautilus.cli.forge_commands._run import execute, load_run, open_dataset, save_run
    from apex_nautilus.forge import ForgeError

    before = kept = load_run(run)
    changes = {"generations": generations, "threads": threads}
    try:
        config = msgspec.structs.replace(kept.config, **{k: v for k, v in changes.items() if v is not None})
    except ForgeError as error:
        raise click.ClickException(str(error)) from None
    kept = msgspec.structs.replace(
        kept, config=config, force=kept.force or force, deploy=kept.deploy or force
    )
    data = open_dataset(run / kept.dataset)
    save_run(run, kept)
    try:
        execute(run, kept, data, as_json=as_json, reopen_test=reopen_test)
    except click.ClickException:
        save_run(run, before)  # what was refused is not to be taken up next time
        raise
