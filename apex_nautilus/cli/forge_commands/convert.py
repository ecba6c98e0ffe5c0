"""Turn a strategy of the older form into a genome; a dataset teaches it its p."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

__all__ = ["command"]


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--instrument", metavar="ID", required=True, help="Instrument id; the dataset's.")
@click.option(
    "--dataset",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    required=True,
    help="Dataset with the features imbalance, pressure and clv.",
)
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), help="[default: FILE with .genome.json]"
)
@click.option("--stop-bps", type=float, default=20.0, show_default=True, help="Stop distance, basis points.")
@click.option(
    "--reward-risk", type=float, default=3.0, show_default=True, help="Take-profit in stop distances."
)
@click.option("--max-hold", type=float, default=300.0, show_default=True, help="Time-out, seconds.")
@click.option(
    "--threshold", type=float, default=0.5, show_default=True, help="Signal beyond which it enters."
)
def command(
    file: Path,
    instrument: str,
    dataset: Path,
    out: Path | None,
    stop_bps: float,
    reward_risk: float,
    max_hold: float,
    threshold: float,
) -> None:
    """Turn FILE, a strategy of the older form {"root": ...}, into a genome.

    The older form has a signal and nothing else. The size of the signal becomes its confidence, the dataset's
    first parts teach it the probability of winning, its last part is the out-of-sample evidence. Warns where
    the conversion changes what the strategy does.

    \b
    apex-forge convert old.json --instrument BTCUSDT-LINEAR.BYBIT --dataset data/btc-1s --stop-bps 15
    """
    from apex_nautilus.cli.forge_commands._run import evidence_table, open_dataset
    from apex_nautilus.forge import EvolutionConfig, ForgeError, convert_legacy
    from apex_nautilus.genome import BpsStop, Bracket, GenomeError, encode
    from apex_nautilus.store import write_atomic

    data = open_dataset(dataset, instrument)
    ends = datetime.fromtimestamp(int(data.ts_ns[-1]) / 1e9, tz=UTC).isoformat()
    try:
        genome, notes = convert_legacy(
            file.read_bytes(),
            data,
            Bracket(stop=BpsStop(stop_bps), max_hold_s=max_hold, reward_risk=reward_risk),
            config=EvolutionConfig(entry_threshold=threshold),
            source=file.name,
            created_at=ends,
        )
    except (GenomeError, ForgeError, ValueError) as error:
        raise click.ClickException(str(error)) from None
    target = out or file.with_suffix(".genome.json")
    write_atomic(target, encode(genome))
    for note in notes:
        click.echo(f"note: {note}", err=True)
    from rich.console import Console

    Console().print(evidence_table(genome))
    click.echo(f"written to {target}")
