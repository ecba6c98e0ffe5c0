"""Answer the arena's jobs: evolve a challenger for each slot that fell empty."""

from __future__ import annotations

import time
from pathlib import Path

import click
import msgspec

from apex_nautilus._field_errors import readable

__all__ = ["command"]


@click.command()
@click.option(
    "--catalog",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path("catalog"),
    show_default=True,
    help="Where jobs are asked and genomes dropped.",
)
@click.option(
    "--dataset-root",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    required=True,
    help="Folder of datasets; each job takes the one of its instrument that ends last.",
)
@click.option(
    "--queue",
    "where",
    default="file",
    show_default=True,
    help="file (CATALOG/jobs), redis://HOST:PORT/DB, or redis: the server that APEX_REDIS_URL names.",
)
@click.option(
    "--lease",
    type=click.FloatRange(1.0, 86_400.0),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="Redis: a worker that was not heard of for so long counts as dead.",
)
@click.option("--once", is_flag=True, help="Answer the jobs that wait, then end.")
@click.option("--max-jobs", type=click.IntRange(1), help="End after that many.")
@click.option(
    "--config",
    "config_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="JSON file with the fields of a study's configuration; see docs/forge.md.",
)
@click.option("--population", type=int, help="Individuals of each study.  [default: 100, or the file's]")
@click.option("--generations", type=int, help="Generations of each study.  [default: 10, or the file's]")
@click.option(
    "--threads",
    type=int,
    help="Threads of the evaluation; the result does not depend on it  [default: all cores]",
)
@click.option(
    "--poll",
    type=click.FloatRange(0.0, 3600.0, min_open=True),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="How often to look for jobs.",
)
@click.option("--json", "as_json", is_flag=True, help="JSON lines on standard output, for machines.")
def command(
    catalog: Path,
    dataset_root: Path,
    where: str,
    lease: float,
    once: bool,
    max_jobs: int | None,
    config_file: Path | None,
    population: int | None,
    generations: int | None,
    threads: int | None,
    poll: float,
    as_json: bool,
) -> None:
    """Answer the jobs in CATALOG/jobs, or on a Redis server; genomes go to CATALOG in any case.

    Each recycle job gets the best genome of a study that starts from the job's seed DNA; its random seed
    follows from the job's id. The genome is written whatever the gate says of it, and says so. A promoted
    genome is filed in CATALOG/elite, from which later studies start too. A password is taken from
    APEX_REDIS_PASSWORD. Kill the worker at any time: the next one takes the job up from the last generation.
    A job that fails three times goes to jobs/failed with the reason.

    \b
    apex-forge worker --dataset-root data --once
    apex-forge worker --dataset-root data --queue redis://localhost:6379/0
    """
    from apex_nautilus.cli.forge_commands._progress import Progress, say_that_it_compiles
    from apex_nautilus.cli.forge_commands._run import open_catalog
    from apex_nautilus.forge import WORKER_CONFIG, EvolutionConfig, ForgeError, work_once
    from apex_nautilus.store import QueueUnavailable, StoreError, open_queue

    asked = {"population": population, "generations": generations, "threads": threads}
    try:
        config = WORKER_CONFIG
        if config_file is not None:
            config = msgspec.json.decode(config_file.read_bytes(), type=EvolutionConfig)
        config = msgspec.structs.replace(config, **{k: v for k, v in asked.items() if v is not None})
    except (ForgeError, msgspec.MsgspecError, OSError, UnicodeDecodeError, RecursionError) as error:
        told = readable(str(error), EvolutionConfig)
        raise click.ClickException(f"{config_file or 'worker'}: {told}") from None
    layout = open_catalog(catalog)
    try:
        queue = open_queue(where, layout, lease_s=lease)
    except StoreError as error:
        raise click.ClickException(str(error)) from None
    answered, is_lost = 0, False
    say_that_it_compiles(as_json)
    try:
        while max_jobs is None or answered < max_jobs:
            try:
                with Progress("job", config.generations, as_json=as_json) as progress:
                    status = work_once(
                        layout,
                        lambda asset: _latest(dataset_root, asset),
                        config=config,
                        progress=progress.show,
                        queue=queue,
                    )
            except QueueUnavailable as error:
                if once:
                    raise
                if not is_lost:
                    click.echo(f"{error}; going on to ask", err=True)
                is_lost = True
                time.sleep(poll)
                continue
            is_lost = False
            if status is None:
                if once:
                    break
                time.sleep(poll)
                continue
            answered += status.state != "todo"
            _report(status, as_json)
    except KeyboardInterrupt:
        click.echo("stopped; an unanswered job is taken up again by the next worker", err=True)
        raise SystemExit(130) from None
    except (StoreError, OSError) as error:
        raise click.ClickException(str(error)) from None
    if not as_json:
        click.echo(f"{answered} jobs closed")


def _latest(root: Path, asset: str):
    """The dataset of an instrument whose data ends last."""
    from apex_nautilus.data import DataError, Dataset

    found = []
    for card in sorted({*root.glob("card.json"), *root.glob("*/card.json")}):
        try:
            data = Dataset.open(card.parent)
        except DataError:
            continue
        if data.instrument.id == asset:
            found.append((data.card.span_ns[1], data.card.id, data))
    if not found:
        raise KeyError(asset)
    return max(found, key=lambda item: item[:2])[2]


def _report(status, as_json: bool) -> None:
    if as_json:
        click.echo(msgspec.json.encode(msgspec.to_builtins(status) | {"kind": "job"}).decode())
    elif status.state == "done":
        click.echo(f"{status.job.job_id}: genome {status.result['genome_id']}, gate {status.result['gate']}")
    else:
        click.echo(
            f"{status.job.job_id}: attempt {status.attempts} failed ({status.reason}); now {status.state}",
            err=True,
        )
