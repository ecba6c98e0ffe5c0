"""How long work shows itself: a live table on a terminal, plain lines elsewhere, JSON lines for machines."""

from __future__ import annotations

import sys
import time

import click
import msgspec
from rich.console import Console
from rich.live import Live
from rich.table import Table

from apex_nautilus.forge import GenerationReport

__all__ = ["Progress", "say_that_it_compiles"]

_SHOWN = 15
_COMPILING = "the first run compiles its kernels, which takes up to a minute or so; later runs start at once"


class Progress:
    """Shows a study's generations as they come. Use as a context manager and pass `show` to `evolve`.

    Parameters
    ----------
    title : what is evolved.
    generations : how many there will be, for the estimate of the time left.
    as_json : one JSON object a line on standard output instead.
    """

    def __init__(self, title: str, generations: int, *, as_json: bool = False) -> None:
        self._title = title
        self._generations = generations
        self._as_json = as_json
        self._console = Console(stderr=True)
        self._reports: list[tuple[GenerationReport, float, float]] = []
        self._live: Live | None = None
        self._started = self._last = time.perf_counter()
        self._first_generation: int | None = None

    def __enter__(self) -> Progress:
        return self

    def _open(self) -> None:
        """Begin to show: with the first line, so that a worker without a job shows nothing."""
        if not self._as_json:
            if self._console.is_terminal:
                self._live = Live(self._table(), console=self._console, refresh_per_second=4)
                self._live.__enter__()
            else:
                click.echo(self._title, err=True)

    def __exit__(self, *exc_info) -> None:
        if self._live is not None:
            self._live.__exit__(*exc_info)

    def show(self, report: GenerationReport) -> None:
        """Take a generation's line."""
        if not self._reports:
            self._open()
        now = time.perf_counter()
        rate = report.new_trials / max(now - self._last, 1e-9)
        if self._first_generation is None:
            self._first_generation = report.generation
        done = report.generation - self._first_generation
        # The first generation carries the compilation and says nothing about those to come.
        per_generation = (now - self._started) / done if done else float("nan")
        if not done:
            self._started = now
        left = per_generation * (self._generations - report.generation)
        self._last = now
        self._reports.append((report, rate, left))
        if self._as_json:
            fields = msgspec.to_builtins(report) | {
                "kind": "generation",
                "evaluations_per_second": round(rate, 1),
            }
            click.echo(msgspec.json.encode(fields).decode())
        elif self._live is not None:
            self._live.update(self._table())
        else:
            click.echo("  ".join(f"{name} {value}" for name, value in _cells(report, rate, left)), err=True)
            sys.stderr.flush()

    def _table(self) -> Table:
        table = Table(
            title=self._title,
            caption="best, median, trades: train; validation and DSR: the best one on validation, "
            "which chooses nothing yet;\nthe test part is still shut",
        )
        rows = [_cells(*line) for line in self._reports[-_SHOWN:]]
        for name, _ in rows[0] if rows else _cells(_EMPTY, 0.0, float("nan")):
            table.add_column(name, justify="right")
        for row in rows:
            table.add_row(*(value for _, value in row))
        return table


def say_that_it_compiles(as_json: bool) -> None:
    """Tell people why the first run is slow to start."""
    if not as_json:
        click.echo(_COMPILING, err=True)


def _duration(seconds: float) -> str:
    if seconds != seconds:
        return "-"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}m{rest:02d}s" if minutes else f"{rest} s"


_EMPTY = GenerationReport(0, 0.0, 0.0, 0, 0, 0, 0, 0)


def _cells(report: GenerationReport, rate: float, left: float) -> list[tuple[str, str]]:
    return [
        ("generation", str(report.generation)),
        ("best", f"{report.best:+.4f}"),
        ("median", f"{report.median:+.4f}"),
        ("validation", "-" if report.validation is None else f"{report.validation:+.4f}"),
        ("DSR", "-" if report.validation_dsr is None else f"{report.validation_dsr:.3f}"),
        ("trades", str(report.trades)),
        ("nodes", str(report.nodes)),
        ("trials", str(report.trials)),
        ("evals/s", f"{rate:.0f}"),
        ("ETA", _duration(left)),
    ]
