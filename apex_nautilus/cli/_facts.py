"""Stylised facts in front of a person or a machine; and the markets they are measured on."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.table import Table

    from apex_nautilus.sim.observation import Observation
    from apex_nautilus.sim.realism import FactRealism, Verdict
    from apex_nautilus.sim.stylized_facts import Measurement

__all__ = [
    "FactTable",
    "cell",
    "distance",
    "measured_json",
    "number",
    "observe_catalog",
    "observe_tape_file",
    "realism_table",
    "verdict_text",
]


@dataclass(frozen=True, slots=True)
class FactTable:
    """Facts of several markets side by side."""

    names: list[str]
    seconds: list[float]
    measured: list[dict[str, Measurement]]

    def headers(self) -> list[str]:
        """Heads of the columns."""
        return [
            "fact",
            "at",
            "unit",
            *(f"{n}, {_length(s)}" for n, s in zip(self.names, self.seconds, strict=True)),
        ]

    def rows(self) -> Iterator[list[str]]:
        """One row a number of each fact."""
        for name, first in self.measured[0].items():
            for at, point in enumerate(first.fact.points):
                cells = [cell(m[name].values[at], m[name].errors[at]) for m in self.measured]
                yield [name if at == 0 else "", point, first.fact.unit if at == 0 else "", *cells]

    def json_lines(self) -> Iterator[str]:
        """One JSON object a market."""
        for name, seconds, measured in zip(self.names, self.seconds, self.measured, strict=True):
            yield json.dumps({"market": name, "seconds": seconds, "facts": measured_json(measured)})


def measured_json(measured: dict[str, Measurement]) -> dict[str, Any]:
    """Values and errors by fact and point; what is not known, or infinite, is null."""
    return {
        name: {
            "unit": m.fact.unit,
            "rows": m.count,
            "values": dict(zip(m.fact.points, map(number, m.values), strict=True)),
            "errors": dict(zip(m.fact.points, map(number, m.errors), strict=True)),
        }
        for name, m in measured.items()
    }


def number(value: float) -> float | None:
    """A float as JSON has it: NaN and infinities are none."""
    return float(value) if math.isfinite(value) else None


def cell(value: float, error: float) -> str:
    """``1.23 ± 0.04``; a dash where nothing is known."""
    if math.isnan(value):
        return "-"
    text = f"{value:,.3g}" if abs(value) < 1e4 else f"{value:,.0f}"
    return f"{text} ± {error:.2g}" if math.isfinite(error) else text


def _length(seconds: float) -> str:
    return f"{seconds / 60:.3g} min" if seconds >= 60 else f"{seconds:.3g} s"


def observe_tape_file(path: Path) -> tuple[str, Observation]:
    """Name and observation of a tape file.

    Raises
    ------
    click.ClickException
        When the file is no tape.
    """
    from apex_nautilus.sim.observation import ObservationError
    from apex_nautilus.sim.stylized_facts import observe_tape
    from apex_nautilus.sim.tape_file import TapeFileError, load_tape

    try:
        tape = load_tape(path)
        return path.stem, observe_tape(tape)
    except (TapeFileError, ObservationError, OSError) as error:
        raise click.ClickException(str(error)) from None


def observe_catalog(catalog: Path, instrument_id: str) -> tuple[str, Observation]:
    """Name and observation of an instrument in a catalog.

    Raises
    ------
    click.ClickException
        When the catalog does not have it.
    """
    from apex_nautilus.data import DataError, load_instrument, read_events
    from apex_nautilus.sim.observation import ObservationError, observe

    try:
        instrument = load_instrument(catalog, instrument_id)
        return instrument_id, observe(read_events(catalog, instrument_id), instrument)
    except (DataError, ObservationError, OSError) as error:
        raise click.ClickException(str(error)) from None


def realism_table(lines: list[FactRealism], title: str) -> Table:
    """The realism table: distances, limits, verdicts, and how many facts pass."""
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    table.add_column("fact")
    for head in ("W1, 95 % of real", "L1, 95 % of real"):
        table.add_column(head, justify="right")
    names = list(lines[0].verdicts)
    for name in names:
        table.add_column(f"{name}: W1", justify="right")
        table.add_column("L1", justify="right")
        table.add_column("")
    for line in lines:
        cells = [line.fact.name, distance(line.wasserstein_limit), distance(line.l1_limit)]
        for verdict in line.verdicts.values():
            cells += [distance(verdict.wasserstein), distance(verdict.l1), verdict_text(verdict)]
        table.add_row(*cells)
    table.add_section()
    totals = ["passed", "", ""]
    for name in names:
        said = [line.verdicts[name].passes for line in lines]
        totals += [f"{sum(p is True for p in said)} of {sum(p is not None for p in said)}", "", ""]
    table.add_row(*totals)
    return table


def distance(value: float) -> str:
    """A distance; a dash where there is none."""
    return "-" if math.isnan(value) else f"{value:.3g}"


def verdict_text(verdict: Verdict) -> str:
    """One word."""
    return {True: "passes", False: "fails", None: "unknown"}[verdict.passes]
