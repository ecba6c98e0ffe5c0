"""Breed strategies on a dataset and offer the best to the gate."""

from __future__ import annotations

import os
from pathlib import Path

import click
import msgspec

from apex_nautilus._field_errors import readable

__all__ = ["command"]


@click.command()
@click.option("--dataset", type=click.Path(file_okay=False, path_type=Path), help="Folder of a dataset.")
@click.option(
    "--catalog",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("catalog"),
    show_default=True,
    help="Where genomes, jobs and ledgers live; made when missing.",
)
@click.option("--instrument", metavar="ID", help="Instrument id; needed without --dataset, checked with it.")
@click.option(
    "--clock", default="5m", show_default=True, help="Clock of a dataset made from --catalog/market."
)
@click.option(
    "--features", metavar="A,B,...", help="Features of a dataset made here; all of the clock's by default."
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Run folder  [default: runs/forge-<study>]",
)
@click.option(
    "--config",
    "config_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="JSON file with fields of EvolutionConfig (docs/forge.md); the options below override it.",
)
@click.option("--population", type=int, help="Individuals  [default: 200]")
@click.option("--generations", type=int, help="Generations after the first  [default: 20]")
@click.option(
    "--seed", type=click.IntRange(0), default=1, show_default=True, help="Seed of every random number."
)
@click.option(
    "--threads",
    type=int,
    help="Threads of the evaluation; the result does not depend on it  [default: all cores]",
)
@click.option(
    "--lottery",
    type=int,
    help="Random genomes to beat; 0 leaves the pretest out, and nothing passes  [default: all evaluated]",
)
@click.option(
    "--dsr", "dsr_threshold", type=float, help="Deflated Sharpe ratio that the gate asks for  [default: 0.95]"
)
@click.option("--min-trades", type=int, help="Fewest trades that a Sharpe ratio is taken from  [default: 30]")
@click.option(
    "--max-hold",
    "max_holds_s",
    type=float,
    multiple=True,
    metavar="SECONDS",
    help="Time-out to choose from; repeat  [default: by the clock, see docs/forge.md]",
)
@click.option(
    "--from",
    "seeds",
    multiple=True,
    metavar="GENOME_ID",
    help="Start from this genome of the catalog; repeat.",
)
@click.option("--force", is_flag=True, help="Deploy what the gate refuses, marked as forced.")
@click.option(
    "--reopen-test",
    is_flag=True,
    help="Open the test part again, where this study has opened it at another generation; the ledger tells.",
)
@click.option("--no-deploy", is_flag=True, help="Write nothing into the catalog's incoming folder.")
@click.option("--json", "as_json", is_flag=True, help="JSON lines on standard output, for machines.")
def command(
    dataset: Path | None,
    catalog: Path,
    instrument: str | None,
    clock: str,
    features: str | None,
    out: Path | None,
    config_file: Path | None,
    seed: int,
    seeds: tuple[str, ...],
    force: bool,
    reopen_test: bool,
    no_deploy: bool,
    as_json: bool,
    **overrides,
) -> None:
    """Breed strategies on a dataset and offer the best to the gate.

    The data is cut in time: trees are bred on the first part, one is chosen and calibrated on the second, and
    the third is opened once, to judge it. What passes the gate is dropped into CATALOG/strategies/incoming;
    what does not is kept in the ledger with the reasons. A study that is begun anew with other --generations
    would choose by data it has seen, so that is refused unless --reopen-test asks for it.

    The same dataset, seed and options give the same genome, byte for byte. Ctrl-C keeps the last generation;
    go on with `apex-forge resume RUN`.

    \b
    apex-forge evolve --dataset data/btc-1s --population 200 --generations 20 --seed 7
    apex-forge evolve --instrument BTCUSDT-LINEAR.BYBIT --clock 1s --features imbalance,ofi_5
    """
    from apex_nautilus.cli.forge_commands._run import (
        RunFile,
        execute,
        find_seeds,
        open_catalog,
        open_dataset,
        save_run,
    )
    from apex_nautilus.forge import EvolutionConfig, ForgeError, study_id_of

    try:
        fields = {} if config_file is None else msgspec.json.decode(config_file.read_bytes(), type=dict)
        fields |= {name: value for name, value in overrides.items() if value not in (None, ())}
        config = msgspec.convert(fields, EvolutionConfig)
    except (msgspec.MsgspecError, ForgeError, RecursionError, UnicodeDecodeError) as error:
        where = "" if config_file is None else f" ({config_file} and options)"
        raise click.ClickException(f"configuration{where}: {readable(str(error), EvolutionConfig)}") from None

    if out is not None:
        _refuse_second_run(out)
    if dataset is not None:
        given = click.get_current_context().get_parameter_source
        for name in ("clock", "features"):
            if given(name) is click.core.ParameterSource.COMMANDLINE:
                raise click.ClickException(
                    f"--{name} is for a dataset made here, {dataset} has its own; leave one of the two out"
                )
    if dataset is None:
        if instrument is None:
            raise click.ClickException(
                "give --dataset, or --instrument to make one from the catalog's market data"
            )
        dataset = (out or catalog / "studies") / f"dataset-{instrument.replace('/', '-')}-{clock}"
        _build(catalog / "market", instrument, clock, features, dataset)
    data = open_dataset(dataset, instrument)
    if out is None:
        out = (
            Path("runs")
            / f"forge-{study_id_of(data, config, seed, find_seeds(open_catalog(catalog), seeds))}"
        )
        _refuse_second_run(out)
    run = RunFile(
        dataset=_relative(dataset, out),
        catalog=_relative(catalog, out),
        seed=seed,
        seeds=seeds,
        force=force,
        deploy=not no_deploy,
        config=config,
    )
    save_run(out, run)
    execute(out, run, data, as_json=as_json, reopen_test=reopen_test)


def _refuse_second_run(out: Path) -> None:
    """A run that failed before its first generation has left nothing to be lost, and is begun again."""
    if any((out / name).exists() for name in ("checkpoint.json", "result.json")):
        raise click.ClickException(
            f"{out} holds a run already; choose another --out, or: apex-forge resume {out}"
        )


def _relative(path: Path, folder: Path) -> str:
    return os.path.relpath(path.resolve(), folder.resolve())


def _build(market: Path, instrument: str, clock: str, features: str | None, target: Path) -> None:
    from apex_nautilus.data import DataError, build_dataset
    from apex_nautilus.data.dataset import BOOK_CLOCKS
    from apex_nautilus.features import FeatureError, names

    wanted = (
        [name.strip() for name in features.split(",")]
        if features
        else names("book" if clock in BOOK_CLOCKS else "bar")
    )
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        build_dataset(market, instrument, clock, wanted, target)
    except (DataError, FeatureError, OSError) as error:
        raise click.ClickException(str(error)) from None
