"""Record a venue's live feed into the catalog."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import click
import msgspec

from apex_nautilus.cli._data import clear_errors, json_option, max_bad_option, replace_option, show_reports
from apex_nautilus.cli._numbers import FiniteRange

_CONVERTED = "converted.json"


@click.command()
@click.argument("config", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--seconds",
    type=FiniteRange(min=0.1, max=1e9),
    default=None,
    help="Stop after so long, whatever the configuration says.",
)
@click.option(
    "--convert-only",
    is_flag=True,
    help="Record nothing; convert the recordings of this configuration that were not converted yet, such as "
    "that of a recorder that was killed.",
)
@click.option("--no-convert", is_flag=True, help="Leave the streams as they are, for a later --convert-only.")
@click.option(
    "--log-level",
    type=click.Choice(["DEBUG", "INFO", "WARNING", "ERROR"]),
    default="ERROR",
    show_default=True,
    help="Of Nautilus's own log.",
)
@max_bad_option
@replace_option
@json_option
def command(
    config: Path,
    seconds: float | None,
    convert_only: bool,
    no_convert: bool,
    log_level: str,
    max_bad_share: float,
    replace: bool,
    as_json: bool,
) -> None:
    """Record the feeds that CONFIG names, until Ctrl-C, SIGTERM or the time given there.

    No keys are needed. What is heard is streamed to disk at once and, when the recording stops, written into
    the catalog: books checked and put in order, bad messages counted. The streams stay where they are.

    \b
    CONFIG is JSON, relative paths start from its folder:
      schema    "apex.record/1"
      name      of the recording
      venues    [{"venue": "bybit" | "binance-usdm" | "binance-spot", "instruments": [ids],
                  "environment": "mainnet" | "testnet", "depth": levels,
                  "base_url_http", "base_url_ws": another host}]
      record    ["deltas", "trades", "quotes", "bars"], the first two by default
      bars      their lengths, ["1m", "5m"]
      catalog, streams                      folders
      flush_s, rotate_s, max_seconds        1, 3600, none
      connect_timeout_s, silence_timeout_s  30, 60

    \b
    apex data record configs/record/bybit.json --seconds 3600
    """
    from apex_nautilus.data.importers.nautilus_stream import import_nautilus_stream
    from apex_nautilus.engine.config import ConfigError
    from apex_nautilus.engine.recording import RecordingError, load_record_config, record

    if convert_only and (no_convert or seconds is not None):
        raise click.UsageError("--convert-only goes with neither --no-convert nor --seconds")
    try:
        wanted = load_record_config(config)
    except ConfigError as e:
        raise click.ClickException(str(e)) from e

    def say(text: str) -> None:
        click.echo(text, err=True)

    failure = None
    folders = []
    if convert_only:
        folders = _left(Path(wanted.streams), wanted.name, say)
    else:
        with clear_errors():
            try:
                recording = record(wanted, seconds=seconds, progress=say, log_level=log_level)
                folders = [Path(recording.folder)]
                heard = recording.heard or {}
                say("heard " + ", ".join(f"{n:,} {kind}" for kind, n in heard.items()))
            except RecordingError as e:
                failure = e
        if failure is not None:
            raise click.ClickException(
                f"{failure}\nWhat was heard before is under {wanted.streams}; `--convert-only` writes it "
                "into the catalog"
            )
    if no_convert:
        say(f"streams under {folders[0]}")
        return
    reports = []
    with clear_errors():
        for folder in folders:
            if not any(folder.glob("*/*/*.feather")):
                say(f"{folder}: nothing was recorded")
                continue
            found = import_nautilus_stream(
                [folder], wanted.catalog, max_bad_share=max_bad_share, replace=replace
            )
            _mark(folder, found)
            reports += found
    show_reports(reports, as_json)


def _mark(folder: Path, reports: list) -> None:
    from apex_nautilus.store.atomic import write_atomic

    write_atomic(folder / _CONVERTED, msgspec.json.format(msgspec.json.encode(reports)) + b"\n")


def _left(streams: Path, name: str, say) -> list[Path]:
    """The recordings of that name that ended and were not converted."""
    from apex_nautilus.engine.recording import LOCK_FILE, RECORDING_FILE

    found = []
    for path in sorted(streams.glob(f"live/*/{RECORDING_FILE}"), key=lambda p: p.stat().st_mtime_ns):
        folder = path.parent
        try:
            told = msgspec.json.decode(path.read_bytes(), type=dict)
        except msgspec.DecodeError as e:
            raise click.ClickException(
                f"{path}: not JSON ({e}); remove the recording or mend the file"
            ) from e
        if told.get("name") != name or (folder / _CONVERTED).exists():
            continue
        lock = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            found.append(folder)
        except BlockingIOError:
            say(f"{folder}: still being recorded, left alone")
        finally:
            os.close(lock)
    if not found:
        say(f"no recording named {name!r} under {streams} waits to be converted")
    return found
