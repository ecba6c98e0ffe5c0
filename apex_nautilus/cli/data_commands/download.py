"""Fetch files of a venue's public archive, and import them."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from apex_nautilus.cli._data import (
    catalog_option,
    clear_errors,
    json_option,
    max_bad_option,
    replace_option,
    show_reports,
)
from apex_nautilus.data.download import (
    Archive,
    Download,
    FileOutcome,
    Kind,
    Piece,
    Request,
    Watcher,
    archives,
    download,
    get,
    plan,
)

if TYPE_CHECKING:
    from apex_nautilus.data import ImportReport

_EXIT_FAILED, _EXIT_MISSING, _EXIT_STOPPED = 1, 3, 130
_LINE_EVERY_S = 10.0
_DATE = click.DateTime(formats=["%Y-%m-%d"])


def _kinds_help() -> str:
    lines = []
    for venue, archive in archives().items():
        for kind in archive.kinds.values():
            markets = ", ".join(kind.markets)
            lines.append(f"  {venue:8} {kind.name:15} {markets:22} {kind.remark}".rstrip())
    return "\b\nKinds:\n" + "\n".join(lines)


class _Command(click.Command):
    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        self.epilog = _kinds_help()
        super().format_epilog(ctx, formatter)


@click.command(cls=_Command)
@click.argument("venue")
@click.argument("symbol")
@click.option("--kind", "kind_name", required=True, help="What to fetch; see below.")
@click.option(
    "--from", "first", type=_DATE, metavar="YYYY-MM-DD", required=True, help="First day (UTC), included."
)
@click.option("--to", "last", type=_DATE, metavar="YYYY-MM-DD", required=True, help="Last day, included.")
@click.option("--interval", default=None, help="Length of klines: 1m, 5m, 1h.")
@click.option(
    "--market",
    type=click.Choice(["linear", "spot", "inverse"]),
    default="linear",
    show_default=True,
    help="Perpetuals margined in USDT, spot, or contracts margined in the coin.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("downloads"),
    show_default=True,
    help="Files go to OUT/VENUE/MARKET/KIND/SYMBOL.",
)
@click.option("--jobs", type=click.IntRange(1, 16), default=4, show_default=True, help="Files at a time.")
@click.option("--base-url", default=None, help="Another host with the same layout, such as a mirror.")
@click.option("--import", "then_import", is_flag=True, help="Import what is there into the catalog.")
@catalog_option
@max_bad_option
@replace_option
@json_option
def command(
    venue: str,
    symbol: str,
    kind_name: str,
    first: datetime,
    last: datetime,
    interval: str | None,
    market: str,
    out: Path,
    jobs: int,
    base_url: str | None,
    then_import: bool,
    catalog: Path,
    max_bad_share: float,
    replace: bool,
    as_json: bool,
) -> None:
    """Fetch the days from --from to --to of SYMBOL from VENUE's public archive.

    A file takes its name only when it has proved to be whole: by the venue's SHA-256 (Binance), or, as Bybit
    publishes none, by its length and the checksums inside the zip or gzip file. Interrupted files go on where
    they stopped when the command is run again; verified ones are passed over without asking the venue. Whole
    months come as one file where the venue packs them so.

    \b
    Exit code: 0 every day is there, 3 the venue does not have some of them,
    1 something failed, 2 wrong usage, 130 stopped by Ctrl-C.

    \b
    apex data download bybit BTCUSDT --kind ob500 --from 2025-06-01 --to 2025-06-02 --import
    """
    with clear_errors():
        archive, kind = get(venue.lower(), kind_name)
        today = datetime.now(UTC).date()
        request = Request(
            symbol.upper(),
            kind.name,
            market,
            interval,
            first.date(),
            last.date(),
            today,  # pyright: ignore
        )
        pieces = plan(kind, request)
        importer = _importer(kind) if then_import else None
        folder = out / archive.venue / market / kind.name / request.symbol
        if interval:
            folder /= interval
        with _watched(len(pieces)) as (watcher, ended):
            result = download(
                pieces, base_url or kind.base_url, folder, jobs=jobs, watcher=watcher, ended=ended
            )
    reports = None
    code = _exit_code(result)
    if importer is not None and code in (0, _EXIT_MISSING) and result.paths:
        with clear_errors():
            reports = _import(importer, result, archive, request, catalog, max_bad_share, replace)
    elif importer is not None:
        click.echo("nothing was imported: not every file could be fetched", err=True)
    _show(result, folder, reports, as_json)
    sys.exit(code)


def _exit_code(result: Download) -> int:
    if result.of("failed"):
        return _EXIT_FAILED
    if result.stopped:
        return _EXIT_STOPPED
    return _EXIT_MISSING if result.of("missing") else 0


# ---- importing


def _importer(kind: Kind):
    """The importer of a kind, asked for before anything is fetched."""
    from apex_nautilus.data import DataError
    from apex_nautilus.data.importers import registry

    if kind.importer is None:
        raise DataError(f"there is no importer of {kind.name}; leave --import out to fetch the files alone")
    try:
        return registry.get(kind.importer)
    except DataError as e:
        raise DataError(
            f"this version has no importer {kind.importer!r} for {kind.name}: {e} Leave --import out to "
            "fetch the files alone"
        ) from e


def _import(
    importer,
    result: Download,
    archive: Archive,
    request: Request,
    catalog: Path,
    max_bad_share: float,
    replace: bool,
) -> list[ImportReport]:
    options = {}
    if importer.instrument != "never":
        options["instrument"] = archive.instrument_id(request.symbol, request.market)
    if importer.allow_truncated:
        options["allow_truncated"] = False  # what was verified is whole
    return importer.run(
        result.paths,
        catalog,
        max_bad_share=max_bad_share,
        replace=replace,
        progress=lambda text: click.echo(text, err=True),
        **options,
    )


# ---- telling


def _size(count: int) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000  # pyright: ignore[reportAssignmentType]
    return f"{count:.2f} GB"


def _show(result: Download, folder: Path, reports: list[ImportReport] | None, as_json: bool) -> None:
    if as_json:
        click.echo(msgspec.json.encode({"download": result, "imported": reports}))
        return
    there = [f for f in result.files if f.path]
    proofs = sorted({f.proof for f in there})
    how = {"sha256": "the venue's SHA-256", "zip": "zip CRCs", "gzip": "gzip CRCs"}
    click.echo(
        f"{len(there)} files, {_size(sum(f.size for f in there))} in {folder}"
        + (f", verified by {', '.join(how[p] for p in proofs)}" if proofs else "")
        + f"; {_size(sum(f.fetched for f in there))} of it fetched now"
    )
    for file in result.of("missing"):
        click.echo(f"missing: {file.name} ({file.days})")
    for file in result.of("failed"):
        click.echo(f"failed: {file.name}: {file.reason}", err=True)
    if result.stopped:
        click.echo("stopped; the same command goes on from here", err=True)
    if reports is not None:
        show_reports(reports, as_json=False)


@contextmanager
def _watched(count: int) -> Iterator[tuple[Watcher, Callable[[FileOutcome], None]]]:
    """Progress bars on a terminal, a line now and then elsewhere; both on standard error."""
    from rich.console import Console

    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        lines = _Lines(count)
        yield lines, lines.ended
        return
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        bars = _Bars(progress, count)
        yield bars, bars.ended


class _Lines:
    """A line every ten seconds, and one for every remark."""

    def __init__(self, count: int):
        self._count = count
        self._done = 0
        self._bytes = 0
        self._told = time.monotonic()
        self._lock = threading.Lock()

    def begins(self, piece: Piece, have: int, total: int | None) -> None:
        if have:
            self.remarks(piece, f"goes on after {_size(have)}")

    def grows(self, piece: Piece, count: int) -> None:
        with self._lock:
            self._bytes += count
            now = time.monotonic()
            if now - self._told < _LINE_EVERY_S:
                return
            self._told = now
            text = f"{self._done} of {self._count} files, {_size(self._bytes)} fetched"
        click.echo(text, err=True)

    def remarks(self, piece: Piece, text: str) -> None:
        click.echo(f"{piece.name}: {text}", err=True)

    def ended(self, outcome: FileOutcome) -> None:
        with self._lock:
            self._done += 1


class _Bars:
    """A bar for every file under way, and their number in front."""

    def __init__(self, progress, count: int):
        self._progress = progress
        self._count = count
        self._done = 0
        self._tasks: dict[str, int] = {}
        self._lock = threading.Lock()

    def begins(self, piece: Piece, have: int, total: int | None) -> None:
        with self._lock:
            task = self._tasks.get(piece.name)
            if task is None:
                self._tasks[piece.name] = self._progress.add_task(piece.name, total=total, completed=have)
            else:
                self._progress.reset(task, total=total, completed=have)

    def grows(self, piece: Piece, count: int) -> None:
        with self._lock:
            task = self._tasks.get(piece.name)
        if task is not None:
            self._progress.advance(task, count)

    def remarks(self, piece: Piece, text: str) -> None:
        self._progress.console.print(f"{piece.name}: {text}", markup=False)

    def ended(self, outcome: FileOutcome) -> None:
        with self._lock:
            self._done += 1
            task = self._tasks.pop(outcome.name, None)
        if task is not None:
            self._progress.remove_task(task)
        if outcome.fetched:
            self._progress.console.print(f"{self._done}/{self._count} {outcome.name}", markup=False)
