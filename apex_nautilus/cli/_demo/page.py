"""The demonstration's report: what the simulated arena and the real excerpt came to, on one page."""

from __future__ import annotations

from pathlib import Path

from apex_nautilus.cli._arena_report import (
    arena_curves,
    arena_happenings,
    arena_panels,
    arena_tables,
    arena_weights,
)
from apex_nautilus.cli._demo.real import RealPart
from apex_nautilus.cli._demo.simulated import SimulatedPart
from apex_nautilus.engine.report import ReportTable, write_report
from apex_nautilus.forge import StudyResult
from apex_nautilus.genome import Result

__all__ = [
    "NOT_IN_TERMINAL",
    "REAL_HEADERS",
    "STUDY_HEADERS",
    "honest_words",
    "real_rows",
    "real_tables",
    "study_rows",
    "write_page",
]

STUDY_HEADERS = (
    "study", "trials", "TTT in sample", "TTT out", "trades in", "trades out", "Sharpe a trade in",
    "Sharpe a trade out", "DSR out", "equity in", "equity out", "gate",
)  # fmt: skip

#: Columns that the report has and a terminal has no room for.
NOT_IN_TERMINAL = ("Sharpe a trade in", "Sharpe a trade out", "equity in", "equity out", "gate")


def study_rows(studies: dict[str, StudyResult]) -> list[tuple]:
    """In and out of sample side by side, a row a study."""
    rows = []
    for name, study in studies.items():
        evidence = study.genome.evidence
        inside, outside = evidence.in_sample or Result(), evidence.out_of_sample or Result()
        gate = (
            evidence.gate
            if not evidence.gate_reasons
            else f"{evidence.gate}: {'; '.join(evidence.gate_reasons)}"
        )
        rows.append(
            (name, study.trials.count, _n(inside.time_to_target), _n(outside.time_to_target), inside.trades
            or 0,
             outside.trades or 0, _n(inside.sharpe), _n(outside.sharpe), _n(outside.dsr),
             _n(inside.final_equity_usd, 2),
             _n(outside.final_equity_usd, 2), gate)
        )  # fmt: skip
    return rows


REAL_HEADERS = (
    "agent", "genome", "trades in", "return in", "trades out", "return out", "trades in Nautilus",
    "wins", "fees", "return in Nautilus", "most decisions",
)  # fmt: skip


def real_rows(real: RealPart) -> list[tuple]:
    """The excerpt's agents: replay on the part the Forge was bred on, replay and Nautilus on the part it
    had not seen.
    """
    rows = []
    for a in real.backtest.agents:
        one = real.agents[a.slot]
        most = max(a.reasons, key=lambda reason: a.reasons[reason], default="-")
        rows.append(
            (a.slot, a.genome_id, int(one.in_sample["n_trades"]), _gain(one.in_sample, a.capital),
             int(one.out_of_sample["n_trades"]), _gain(one.out_of_sample, a.capital), len(a.trades), a.wins,
             round(a.fees, 4), f"{a.equity / a.capital - 1.0:+.2%}", most)
        )  # fmt: skip
    return rows


def _gain(record, capital: float) -> str:
    return f"{record['final_equity'] / capital - 1.0:+.2%}"


def honest_words(real: RealPart) -> str:
    """What the excerpt shows, whatever it shows."""
    passed = [name for name, s in real.studies.items() if s.genome.evidence.gate == "passed"]
    if passed:
        return (
            f"The gate passed {', '.join(passed)} on {real.seconds:.0f} s of recorded data. That is far too "
            f"little to believe "
            "in: import more and look again."
        )
    return (
        f"The Forge found nothing on {real.seconds:.0f} s of recorded data that its gate would pass, and so "
        f"short a recording "
        "could not prove an edge if there were one. With 5 bps of taker fee a side a move must be large to "
        "pay for its round trip."
    )


def real_tables(real: RealPart) -> list[ReportTable]:
    """Studies and agents on the recording."""
    return [
        ReportTable(
            "The Forge on recorded data, in and out of sample", STUDY_HEADERS, study_rows(real.studies)
        ),
        ReportTable(
            "Recorded data, replay and Nautilus: " + honest_words(real), REAL_HEADERS, real_rows(real)
        ),
    ]


def write_page(path: Path, simulated: SimulatedPart, real: RealPart, seed: int) -> None:
    """Write the report; it needs no network to be read."""
    write_report(
        path,
        title="apex_nautilus: the loop, closed once",
        subtitle=f"Seed {seed}. Three simulated markets in the picture, recorded data in the last tables.",
        curves=arena_curves(simulated.arena),
        weights=arena_weights(simulated.arena),
        happenings=arena_happenings(simulated.arena),
        panels=arena_panels(simulated.arena),
        tables=[
            *arena_tables(simulated.arena),
            ReportTable(
                "The Forge on the simulated history, in and out of sample",
                STUDY_HEADERS,
                study_rows(simulated.studies),
            ),
            *real_tables(real),
        ],
    )


def _n(value: float | None, digits: int = 3) -> float | str:
    return "-" if value is None or value != value else round(value, digits)
