"""The run folder of a study: what it was started with, its checkpoint, and what came of it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import click
import msgspec

from apex_nautilus.cli.forge_commands._progress import Progress, say_that_it_compiles
from apex_nautilus.data import DataError, Dataset, openings_by_study
from apex_nautilus.forge import (
    EvolutionConfig,
    ForgeError,
    StudyResult,
    deploy,
    evolve,
    find_genome,
    study_id_of,
)
from apex_nautilus.genome import Genome, Result, encode, tree_to_text
from apex_nautilus.store import CatalogLayout, LedgerError, LedgerWriter, StoreError, write_atomic

__all__ = [
    "RunFile",
    "check_catalog",
    "execute",
    "find_seeds",
    "load_run",
    "open_catalog",
    "open_dataset",
    "save_run",
]

_RUN_SCHEMA = "apex.forge-run/1"
_OLD_SCHEMA = "apex.run/1"  # before the arena's runs had that name to themselves


class RunFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``run.json``: enough to take the run up again. Paths are relative to the run's folder where they can
    be.
    """

    schema: str = _RUN_SCHEMA
    dataset: str
    catalog: str
    seed: int
    seeds: tuple[str, ...] = ()
    force: bool = False
    deploy: bool = True
    config: EvolutionConfig


def save_run(folder: Path, run: RunFile) -> None:
    """Write ``run.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / "run.json", msgspec.json.format(msgspec.json.encode(run), indent=2) + b"\n")


def load_run(folder: Path) -> RunFile:
    """Read ``run.json``; raises ClickException when the folder is not a run."""
    try:
        run = msgspec.json.decode((folder / "run.json").read_bytes(), type=RunFile)
    except FileNotFoundError:
        raise click.ClickException(
            f"{folder} is not a run: it has no run.json; start one with apex-forge evolve"
        ) from None
    except (msgspec.MsgspecError, ForgeError, RecursionError, UnicodeDecodeError) as error:
        raise click.ClickException(f"{folder / 'run.json'}: {error}") from None
    if run.schema not in (_RUN_SCHEMA, _OLD_SCHEMA):
        raise click.ClickException(
            f"{folder / 'run.json'}: schema {run.schema!r}; this reads {_RUN_SCHEMA!r}"
        )
    return msgspec.structs.replace(run, schema=_RUN_SCHEMA)


def open_dataset(path: Path, instrument_id: str | None = None) -> Dataset:
    """Open a dataset; raises ClickException when it cannot be, or is of another instrument."""
    try:
        data = Dataset.open(path)
    except (DataError, OSError) as error:
        raise click.ClickException(str(error)) from None
    if instrument_id and data.instrument.id != instrument_id:
        raise click.ClickException(f"{path} is a dataset of {data.instrument.id}, not of {instrument_id}")
    return data


def open_catalog(root: Path) -> CatalogLayout:
    """The catalog at `root`, its folders made where they are missing; raises ClickException where that cannot
    be, and rather than scatter them over a folder that is something else.
    """
    root = Path(os.path.normpath(root))
    try:
        if root.is_dir():
            check_catalog(root)
        return CatalogLayout(root).ensure()
    except OSError as error:
        raise click.ClickException(f"{root}: cannot be a catalog ({error})") from None


def check_catalog(root: Path) -> None:
    """Raise ClickException when a folder holds things, and nothing of a catalog.

    One that holds a README alone is the catalog as it is shipped.
    """
    layout = CatalogLayout(root)
    ours = (layout.strategies, layout.jobs, layout.market, layout.ledger, layout.studies)
    things = [entry for entry in root.iterdir() if not entry.name.startswith((".", "README"))]
    if things and not any(folder.is_dir() for folder in ours):
        raise click.ClickException(
            f"{root} is not a catalog: it holds other things, and no strategies or jobs; "
            "name the catalog's folder, or an empty one"
        )


def find_seeds(layout: CatalogLayout, ids: Sequence[str]) -> list[Genome]:
    """The genomes to start from; raises ClickException when one is nowhere."""
    seeds = []
    for genome_id in ids:
        genome = find_genome(layout, genome_id)
        if genome is None:
            raise click.ClickException(f"{layout.root} has no readable genome {genome_id} to start from")
        seeds.append(genome)
    return seeds


def execute(folder: Path, run: RunFile, data: Dataset, *, as_json: bool, reopen_test: bool = False) -> None:
    """Run a study to its end, deploy what the gate lets through, and print what came of it.

    Ctrl-C leaves the checkpoint of the last whole generation and ends the program with 130.
    """
    layout = open_catalog(folder / run.catalog)
    seeds = find_seeds(layout, run.seeds)

    def clock() -> int:
        # The end of the data: a run repeated is the same to the byte.
        return int(data.ts_ns[-1])

    study_id = study_id_of(data, run.config, run.seed, seeds)
    title = f"study {study_id}: {data.instrument.id} on {data.clock}, {len(data):,} rows"
    path = None
    say_that_it_compiles(as_json)
    try:
        with LedgerWriter(layout.ledger, f"forge-{study_id}", group_commit=1000) as ledger:
            with Progress(title, run.config.generations, as_json=as_json) as progress:
                result = evolve(
                    data,
                    run.config,
                    run.seed,
                    clock=clock,
                    seeds=seeds,
                    progress=progress.show,
                    checkpoint=folder / "checkpoint.json",
                    ledger=ledger,
                    reopen_test=reopen_test,
                )
            write_atomic(folder / f"genome_{result.genome.id}.json", encode(result.genome))
            write_atomic(
                folder / "result.json", msgspec.json.format(msgspec.json.encode(_summary(result))) + b"\n"
            )
            others = _other_openings(layout, data.card.id, study_id)
            if run.deploy:
                path = deploy(layout, result.genome, clock=clock, ledger=ledger, force=run.force)
    except KeyboardInterrupt:
        click.echo(f"stopped; go on with: apex-forge resume {folder}", err=True)
        raise SystemExit(130) from None
    except (ForgeError, StoreError, LedgerError, OSError) as error:
        raise click.ClickException(str(error)) from None
    if as_json:
        fields = _summary(result) | {
            "kind": "result",
            "deployed": None if path is None else str(path),
            "other_studies_that_opened_the_test_part": others,
        }
        click.echo(msgspec.json.encode(fields).decode())
    else:
        _print(result, path, folder, deployed=run.deploy, others=others)


def _other_openings(layout: CatalogLayout, dataset_id: str, study_id: str) -> int:
    """How many other studies of this catalog have opened the test part of the dataset."""
    return len(openings_by_study(layout.ledger, dataset_id).keys() - {study_id})


def _summary(result: StudyResult) -> dict:
    plain = msgspec.to_builtins(result)
    del plain["genome"], plain["reports"]
    genome = result.genome
    return plain | {
        "genome_id": genome.id,
        "gate": genome.evidence.gate,
        "reasons": genome.evidence.gate_reasons,
        "in_sample": msgspec.to_builtins(genome.evidence.in_sample),
        "out_of_sample": msgspec.to_builtins(genome.evidence.out_of_sample),
    }


def _print(result: StudyResult, path: Path | None, folder: Path, *, deployed: bool, others: int) -> None:
    from rich.console import Console

    console = Console()
    say = partial(console.print, highlight=False)
    genome = result.genome
    console.print(evidence_table(genome, result.validation))
    for name, tree in zip(("signal", "confidence"), genome.trees):
        say(f"{name:<12}{tree_to_text(tree, genome.features)}")
    lottery = result.lottery
    if lottery is not None:
        verdict = "beaten" if lottery.beaten else "not beaten"
        say(
            f"lottery     {lottery.trials} random genomes, the chosen one {lottery.test:+.4f} "
            f"out of sample: {verdict}"
        )
    trials = result.trials
    say(
        f"trials      {trials.count}, {trials.measured} with enough trades for a Sharpe ratio, "
        f"variance V {trials.sharpe_variance:.4g}"
    )
    if trials.skilled:
        strict = "-" if result.dsr_all_trials is None else f"{result.dsr_all_trials:.4f}"
        say(f"            {trials.skilled} of these are beyond luck and not in V;")
        say(f"            with them V is {trials.sharpe_variance_all:.4g}, the DSR out of sample {strict}")
    say(f"gate        {genome.evidence.gate}")
    for reason in genome.evidence.gate_reasons:
        say(f"            - {reason}")
    if others:
        say(
            f"note        {others} other {'study has' if others == 1 else 'studies have'} opened the test "
            "part of this dataset; their trials are not in N"
        )
    if path is not None:
        console.print(f"deployed    {path}", soft_wrap=True)
    elif deployed:
        console.print("kept        in the ledger, not deployed; --force deploys it with forced evidence")
    console.print(f"run         {folder}", soft_wrap=True)
    console.print(f"genome      {folder / f'genome_{genome.id}.json'}", soft_wrap=True)


_LABELS = {
    "sharpe": "Sharpe per trade",
    "psr": "PSR",
    "dsr": "DSR",
    "pbo": "PBO",
    "time_to_target_s": "target reached after, s",
    "costs_usd": "costs, USD",
    "final_equity_usd": "final equity, USD",
}


def evidence_table(genome: Genome, validation: Result | None = None):
    """A genome's evidence as a rich table, in-sample beside out-of-sample."""
    from rich.table import Table

    table = Table(title=f"genome {genome.id}  {genome.instrument_id}  {genome.clock}")
    table.add_column("")
    parts: list[tuple[str, Result | None]] = [("in sample", genome.evidence.in_sample)]
    if validation is not None:
        parts.append(("validation", validation))
    parts.append(("out of sample", genome.evidence.out_of_sample))
    for name, _ in parts:
        table.add_column(name, justify="right")
    for field in Result.__struct_fields__:
        values = [None if part is None else getattr(part, field) for _, part in parts]
        if any(value is not None for value in values):
            shown = ("-" if v is None else f"{v:d}" if isinstance(v, int) else f"{v:.4f}" for v in values)
            table.add_row(_LABELS.get(field, field.replace("_", " ")), *shown)
    return table
