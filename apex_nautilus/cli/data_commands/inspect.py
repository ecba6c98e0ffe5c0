"""Show what a catalog holds: spans, gaps, crossed books, spreads, depth, clock skew; as a page too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click
import msgspec

from apex_nautilus.cli._data import catalog_option, clear_errors, count_text, json_option, time_text
from apex_nautilus.cli._numbers import FiniteRange
from apex_nautilus.cli._progress_line import progress_line
from apex_nautilus.data import inspect_catalog
from apex_nautilus.data.inspect_report import CatalogSummary, Gap, Quantiles, QuotesSummary, StreamSummary


def _spread(quantiles: Quantiles | None, unit: str) -> str:
    if quantiles is None:
        return "-"
    return (
        f"{quantiles.p1:.3g} / {quantiles.p50:.3g} / {quantiles.p95:.3g} / {quantiles.p99:.3g} / "
        f"{quantiles.most:.3g} {unit}"
    )


def _sizes(stream: StreamSummary, levels: int) -> str:
    if stream.depth is None:
        return "-"
    return f"{sum(stream.depth.bid_sizes[:levels]):.4g} / {sum(stream.depth.ask_sizes[:levels]):.4g}"


_STREAM_LINES: list[tuple[str, Callable[[StreamSummary], str]]] = [
    ("from (UTC)", lambda s: time_text(s.span_ns[0])),
    ("to (UTC)", lambda s: time_text(s.span_ns[1])),
    ("level changes", lambda s: f"{s.levels:,}"),
    ("book batches", lambda s: f"{s.batches:,}"),
    ("trades", lambda s: f"{s.trades:,}"),
    ("batches, trades a second", lambda s: f"{s.batches_per_s:,.1f}, {s.trades_per_s:,.2f}"),
    ("traded, base units", lambda s: f"{s.traded:,.4g}"),
    ("bought by takers", lambda s: "-" if s.bought_share is None else f"{s.bought_share:.1%}"),
    ("book emptied", lambda s: f"{s.clears:,}"),
    ("gaps", lambda s: f"{s.gaps:,}"),
    ("longest silence", lambda s: f"{s.longest_gap_s:.2f} s"),
    ("crossed", lambda s: f"{s.crossed:.3%}"),
    ("locked", lambda s: f"{s.locked:.3%}"),
    ("one-sided", lambda s: f"{s.one_sided:.3%}"),
    ("spread 1/50/95/99/100 %", lambda s: _spread(s.spread_bps, "bps")),
    ("size at touch, bid / ask", lambda s: _sizes(s, 1)),
    ("size of ten levels", lambda s: _sizes(s, 10)),
    ("duplicate trades", lambda s: f"{s.duplicate_trades:,}"),
    ("venue time backwards", lambda s: f"{s.event_time_backwards:,}"),
    ("receive - venue time, least", lambda s: f"{s.skew_ms[0]:.1f} ms"),
    ("mean", lambda s: f"{s.skew_ms[1]:.1f} ms"),
    ("1/50/95/99/100 %", lambda s: _spread(s.skew, "ms")),
    ("refused at import", lambda s: count_text(s.refused)),
]


_QUOTE_LINES: list[tuple[str, Callable[[QuotesSummary], str]]] = [
    ("from (UTC)", lambda q: time_text(q.span_ns[0])),
    ("to (UTC)", lambda q: time_text(q.span_ns[1])),
    ("quotes", lambda q: f"{q.quotes:,}"),
    ("repeated", lambda q: f"{q.repeated:,}"),
    ("gaps", lambda q: f"{q.gaps:,}"),
    ("longest silence", lambda q: f"{q.longest_gap_s:.2f} s"),
    ("crossed", lambda q: f"{q.crossed:.3%}"),
    ("locked", lambda q: f"{q.locked:.3%}"),
    ("one-sided", lambda q: f"{q.one_sided:.3%}"),
    ("spread 1/50/95/99/100 %", lambda q: _spread(q.spread_bps, "bps")),
    ("venue time backwards", lambda q: f"{q.event_time_backwards:,}"),
    ("receive - venue time 1/50/95/99/100 %", lambda q: _spread(q.skew, "ms")),
]


@click.command()
@catalog_option
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
@click.option(
    "--html",
    "page",
    type=click.Path(path_type=Path, dir_okay=False),
    default=None,
    metavar="FILE",
    help="Write a page with pictures, which needs nothing but a browser.",
)
@json_option
def command(catalog: Path, instrument: str | None, gap_s: float, page: Path | None, as_json: bool) -> None:
    """Read the catalog through once and show what it holds and what is wrong with it.

    Files that are damaged or overlap are named and the rest is read all the same; the exit code is 1 then.

    \b
    apex data inspect
    apex data inspect --instrument BTCUSDT-PERP.BINANCE --gap 1 --html market.html
    """
    with clear_errors():
        with progress_line("rows", quiet=as_json) as progress:
            summary = inspect_catalog(
                catalog, instrument, gap_s=gap_s, timeline=page is not None, progress=progress
            )
        if page is not None:
            from apex_nautilus.data.inspect_page import write_inspect_page

            write_inspect_page(page, summary, title=f"Catalog {catalog}")
    if as_json:
        for one in (*summary.streams, *summary.bars, *summary.quotes):
            one.timeline = None
        for one in summary.bars:
            one.prices = None
        click.echo(msgspec.json.encode(summary))
    else:
        _show(summary, catalog)
        if page is not None:
            click.echo(f"page {page}")
    if summary.problems:
        raise SystemExit(1)


def _show(summary: CatalogSummary, catalog: Path) -> None:
    from rich.table import Table

    from apex_nautilus.cli._show import console_of_width

    console = console_of_width()

    def table(title: str, *headings: str, left: int = 1) -> Table:
        made = Table(title=title, title_justify="left")
        for place, heading in enumerate(headings):
            made.add_column(heading, justify="left" if place < left else "right", overflow="fold")
        return made

    if summary.streams:
        shown = table("Books and trades", "", *(s.instrument_id for s in summary.streams))
        for heading, text in _STREAM_LINES:
            shown.add_row(heading, *(text(s) for s in summary.streams))
        console.print(shown)
    gaps = [(s.instrument_id, gap) for s in summary.streams for gap in s.longest_gaps]
    gaps += [(b.bar_type, gap) for b in summary.bars for gap in b.holes]
    gaps += [(f"quotes of {q.instrument_id}", gap) for q in summary.quotes for gap in q.longest_gaps]
    if gaps:
        shown = table("Longest gaps", "in", "after (UTC)", "for", left=2)
        for name, gap in gaps:
            shown.add_row(name, time_text(gap.start_ns), _length(gap))
        console.print(shown)
    if summary.bars:
        headings = ("count", "missing", "duplicates", "no volume", "impossible", "outliers")
        shown = table("Bars", "bars", "from (UTC)", "to (UTC)", *headings, left=3)
        for b in summary.bars:
            counts = (b.bars, b.missing, b.duplicates, b.zero_volume, b.outside_range, b.outliers)
            shown.add_row(b.bar_type, *map(time_text, b.span_ns), *(f"{n:,}" for n in counts))
        console.print(shown)
    if summary.quotes:
        shown = table("Quotes", "", *(q.instrument_id for q in summary.quotes))
        for heading, text in _QUOTE_LINES:
            shown.add_row(heading, *(text(q) for q in summary.quotes))
        console.print(shown)
    if summary.external:
        shown = table(
            "Published from outside", "series", "of", "from (UTC)", "to (UTC)", "values", "stale", left=4
        )
        for e in summary.external:
            whom = e.instrument_id or "the market"
            shown.add_row(e.name, whom, *map(time_text, e.span_ns), f"{e.values:,}", f"{e.stale:,}")
        console.print(shown)
    if summary.other:
        shown = table("Not read here", "kind", "of", "from (UTC)", "to (UTC)", "files", "rows", left=4)
        for o in summary.other:
            shown.add_row(o.kind, o.identifier, *map(time_text, o.span_ns), f"{o.files:,}", f"{o.rows:,}")
        console.print(shown)
    if not (summary.streams or summary.bars or summary.quotes or summary.external or summary.other):
        console.print(f"{catalog} defines instruments, but holds no data of them.", markup=False)
    for problem in summary.problems:
        click.echo(f"{problem.file}: {problem.what}", err=True)


def _length(gap: Gap) -> str:
    if gap.seconds < 120:
        return f"{gap.seconds:.2f} s"
    minutes, seconds = divmod(round(gap.seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s"
