"""Import, simulate and inspect market data; build datasets.

Everything lands in a Nautilus data catalog (`--catalog`), whole or not at all. What an import refused, and
why, is counted and kept with the data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.table import Table

from apex_nautilus.cli._numbers import FiniteRange
from apex_nautilus.data import (
    DataError,
    ImportReport,
    build_dataset,
    import_binance_capture,
    import_freqtrade,
    inspect_catalog,
    to_catalog,
)
from apex_nautilus.data.build import DEFAULT_HALF_SPREAD_BPS
from apex_nautilus.data.inspect import StreamSummary
from apex_nautilus.features import FeatureError, names
from apex_nautilus.sim import PROFILES, Market, profile

_catalog = click.option(
    "--catalog",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("catalog/market"),
    show_default=True,
    help="The Nautilus data catalog.",
)
_as_json = click.option("--json", "as_json", is_flag=True, help="JSON, for machines.")
_replace = click.option("--replace", is_flag=True, help="Take the place of stored data over the same span.")
_max_bad = click.option(
    "--max-bad-share",
    type=FiniteRange(0.0, 1.0),
    default=0.001,
    show_default=True,
    help="Largest share of bad rows; above it nothing is imported.",
)
_paths = click.argument(
    "paths", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False)
)


@contextmanager
def _clear_errors() -> Iterator[None]:
    try:
        yield
    except (DataError, FeatureError, OSError) as e:
        raise click.ClickException(str(e)) from e


@click.group(help=__doc__)
def command() -> None:
    pass


@command.group("import")
def import_() -> None:
    """Bring recordings into the catalog."""


@import_.command("binance-capture")
@_paths
@click.option(
    "--instrument", required=True, metavar="ID", help="BTCUSDT-PERP.BINANCE, or BTCUSDT.BINANCE for spot."
)
@_catalog
@_max_bad
@click.option("--allow-truncated", is_flag=True, help="Keep what is whole of a file whose end is missing.")
@_replace
@_as_json
def binance_capture(
    paths: tuple[Path, ...],
    instrument: str,
    catalog: Path,
    max_bad_share: float,
    allow_truncated: bool,
    replace: bool,
    as_json: bool,
) -> None:
    """Import raw Binance websocket captures of one symbol.

    PATHS follow one another in time. Each line is `<receive_ns> <json>`: depth, trade and bookTicker streams
    and a REST depth snapshot; gzip or plain text.
    """
    with _clear_errors():
        report = import_binance_capture(
            paths,
            catalog,
            instrument,
            max_bad_share=max_bad_share,
            allow_truncated=allow_truncated,
            replace=replace,
        )
    _show_reports([report], as_json)


@import_.command("freqtrade")
@_paths
@_catalog
@_max_bad
@_replace
@_as_json
def freqtrade(
    paths: tuple[Path, ...], catalog: Path, max_bad_share: float, replace: bool, as_json: bool
) -> None:
    """Import freqtrade candles (feather).

    Pair, timeframe and market are read from each file's name: BTC_USDT-5m.feather is spot,
    BTC_USDT_USDT-5m-futures.feather the perpetual.
    """
    with _clear_errors():
        reports = import_freqtrade(paths, catalog, max_bad_share=max_bad_share, replace=replace)
    _show_reports(reports, as_json)


@command.command()
@_catalog
@click.option("--instrument", default=None, metavar="ID", help="Only this one.")
@click.option(
    "--gap",
    "gap_s",
    type=FiniteRange(min=0.0, min_open=True),
    default=5.0,
    show_default=True,
    metavar="SECONDS",
    help="Silence that counts as a gap.",
)
@_as_json
def inspect(catalog: Path, instrument: str | None, gap_s: float, as_json: bool) -> None:
    """Show what the catalog holds: spans, counts, gaps, crossed books, duplicates, clock skew."""
    with _clear_errors():
        summary = inspect_catalog(catalog, instrument, gap_s=gap_s)
    if as_json:
        click.echo(msgspec.json.encode(summary))
        return
    console = Console(markup=False)
    if summary.streams:
        table = Table(title="Books and trades", title_justify="left")
        table.add_column("")
        for s in summary.streams:
            table.add_column(s.instrument_id, justify="right", overflow="fold")
        for heading, text in _STREAM_LINES:
            table.add_row(heading, *(text(s) for s in summary.streams))
        console.print(table)
    if summary.bars:
        table = Table("bars", "from (UTC)", "to (UTC)", title="Bars", title_justify="left")
        for heading in ("count", "missing"):
            table.add_column(heading, justify="right")
        for b in summary.bars:
            table.add_row(b.bar_type, *map(_time, b.span_ns), f"{b.bars:,}", f"{b.missing:,}")
        console.print(table)
    if not summary.streams and not summary.bars:
        console.print(f"{catalog} defines instruments, but holds no data of them.")


@command.command()
@_catalog
@click.option(
    "--profile",
    "profile_id",
    type=click.Choice(sorted(PROFILES)),
    default=sorted(PROFILES)[0],
    show_default=True,
    help="What is traded, and by whom.",
)
@click.option(
    "--seconds",
    type=FiniteRange(min=1.0, max=1e7),
    default=600.0,
    show_default=True,
    help="Length of the market.",
)
@click.option("--seed", type=click.IntRange(min=0), default=7, show_default=True)
@_replace
@_as_json
def synth(catalog: Path, profile_id: str, seconds: float, seed: int, replace: bool, as_json: bool) -> None:
    """Simulate a market and write it into the catalog as if it had been recorded."""
    tape = Market(profile(profile_id), seed).run(round(seconds * 1e9))
    with _clear_errors():
        written = to_catalog(tape, tape.instrument, catalog, replace=replace)
    if as_json:
        click.echo(msgspec.json.encode({"instrument_id": tape.instrument.id, "written": written}))
    else:
        click.echo(
            f"{tape.instrument.id}: {written.deltas:,} level changes in {written.batches:,} batches and "
            f"{written.trades:,} trades of {seconds:g} s written to {catalog}"
        )


@command.command()
@click.argument("out", type=click.Path(path_type=Path, file_okay=False))
@click.option("--instrument", required=True, metavar="ID")
@click.option(
    "--clock",
    type=click.Choice(["book", "1s", "1m", "5m", "15m"]),
    default="5m",
    show_default=True,
    help="When a row is decided.",
)
@click.option(
    "--features", default=None, metavar="A,B,...", help="Names in the order of the columns; default all."
)
@click.option("--conflate-ms", type=click.IntRange(min=0), default=0, help="Thin the book clock.")
@click.option(
    "--half-spread-bps",
    type=FiniteRange(0.0, 1000.0),
    default=DEFAULT_HALF_SPREAD_BPS,
    show_default=True,
    help="Modelled half spread of bars.",
)
@_catalog
@_as_json
def dataset(
    out: Path,
    instrument: str,
    clock: str,
    features: str | None,
    conflate_ms: int,
    half_spread_bps: float,
    catalog: Path,
    as_json: bool,
) -> None:
    """Build a dataset folder OUT from the catalog."""
    kind = "book" if clock in ("book", "1s") else "bar"
    wanted = names(kind) if features is None else tuple(n.strip() for n in features.split(",") if n.strip())
    with _clear_errors():
        built = build_dataset(
            catalog, instrument, clock, wanted, out, conflate_ms=conflate_ms, half_spread_bps=half_spread_bps
        )
    if as_json:
        click.echo(msgspec.json.encode(built.card))
    else:
        click.echo(
            f"{out}: {len(built):,} rows of {len(wanted)} features at {clock}, path of "
            f"{built.path_ts_ns.shape[0]:,} {'bars' if built.is_bars else 'books'}\nid {built.id}"
        )


def _time(ns: int) -> str:
    return f"{datetime.fromtimestamp(ns // 1_000_000_000, UTC):%Y-%m-%d %H:%M:%S}"


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {n:,}" for name, n in sorted(counts.items())) or "none"


_STREAM_LINES: list[tuple[str, Callable[[StreamSummary], str]]] = [
    ("from (UTC)", lambda s: _time(s.span_ns[0])),
    ("to (UTC)", lambda s: _time(s.span_ns[1])),
    ("level changes", lambda s: f"{s.levels:,}"),
    ("book batches", lambda s: f"{s.batches:,}"),
    ("trades", lambda s: f"{s.trades:,}"),
    ("book emptied", lambda s: f"{s.clears:,}"),
    ("gaps", lambda s: f"{s.gaps:,}"),
    ("longest silence", lambda s: f"{s.longest_gap_s:.2f} s"),
    ("crossed", lambda s: f"{s.crossed:.3%}"),
    ("locked", lambda s: f"{s.locked:.3%}"),
    ("one-sided", lambda s: f"{s.one_sided:.3%}"),
    ("duplicate trades", lambda s: f"{s.duplicate_trades:,}"),
    ("venue time backwards", lambda s: f"{s.event_time_backwards:,}"),
    ("receive - venue time, least", lambda s: f"{s.skew_ms[0]:.1f} ms"),
    ("mean", lambda s: f"{s.skew_ms[1]:.1f} ms"),
    ("most", lambda s: f"{s.skew_ms[2]:.1f} ms"),
    ("refused at import", lambda s: _counts(s.refused)),
]


def _show_reports(reports: list[ImportReport], as_json: bool) -> None:
    if as_json:
        click.echo(msgspec.json.encode(reports))
        return
    for report in reports:
        lines = [
            ("rows", f"{report.rows:,}"),
            ("kept", _counts(report.kept)),
            ("refused", _counts(report.refused)),
            ("noted", _counts(report.noted)),
            ("written", _counts(report.written)),
        ]
        if report.first_ns is not None and report.last_ns is not None:
            lines.insert(1, ("span (UTC)", f"{_time(report.first_ns)} to {_time(report.last_ns)}"))
        if report.skew_ms_mean is not None:
            span = f"{report.skew_ms_min:.1f} to {report.skew_ms_max:.1f} ms"
            lines.append(("receive - venue time", f"{span}, mean {report.skew_ms_mean:.1f}"))
        if report.touch is not None and report.touch.compared:
            lines.append(
                (
                    "touch as the venue's",
                    f"{report.touch.share:.3%} of {report.touch.compared:,} (prices alone "
                    f"{report.touch.equal_prices / report.touch.compared:.3%})",
                )
            )
        table = Table(
            title=f"{report.instrument_id}: {', '.join(report.paths)}",
            title_justify="left",
            show_header=False,
        )
        table.add_column()
        table.add_column(overflow="fold")
        for name, text in lines:
            table.add_row(name, text)
        console = Console(markup=False)
        console.print(table)
        for example in report.examples:
            console.print(f"  {example}", highlight=False)
