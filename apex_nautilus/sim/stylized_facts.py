"""Stylised facts of a market, each with its error: a simulated tape and a recording on one scale.

Facts are registered in `sim.facts`, a family a file. What they mean: docs/stylized-facts.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from zlib import crc32

import numpy as np

from .bootstrap import bootstrap_errors
from .facts import Fact, facts
from .market import Tape
from .observation import Observation, observe

__all__ = ["Measurement", "observe_tape", "stylized_facts"]


@dataclass(frozen=True, slots=True)
class Measurement:
    """One fact of one market.

    Attributes
    ----------
    fact : what was measured.
    count : rows it was measured on.
    values, errors : float64 (len(fact.points),), the statistic and its standard error by the stationary
        bootstrap. NaN where the stretch is too short to say.
    """

    fact: Fact
    count: int
    values: np.ndarray
    errors: np.ndarray


def observe_tape(tape: Tape) -> Observation:
    """Lay out a simulated tape for measuring.

    Raises
    ------
    ObservationError
        When the book was never whole.
    """
    received = int(tape.events["ts_init_ns"][-1]) + 1 if len(tape.events) else 0
    return observe(tape.events, tape.instrument, end_ns=max(tape.end_ns, received))


def stylized_facts(
    observation: Observation,
    rng: np.random.Generator,
    *,
    resamples: int = 200,
    only: Iterable[str] | None = None,
) -> dict[str, Measurement]:
    """Measure a stretch of a market.

    Parameters
    ----------
    observation : of a tape (`observe_tape`) or of recorded events (`observe`).
    rng : draws the bootstrap's blocks.
    resamples : of the bootstrap; 0 for no errors (NaN).
    only : names of facts; all by default.

    Raises
    ------
    KeyError
        When a name is unknown; the message lists the known ones.
    ValueError
        When `resamples` is 1 or negative.
    """
    known = facts()
    chosen = list(known) if only is None else list(dict.fromkeys(only))
    for name in chosen:
        if name not in known:
            raise KeyError(f"no fact {name!r} (known: {', '.join(known)})")
    if resamples == 1 or resamples < 0:
        raise ValueError(f"resamples must be 0 or 2 and more, got {resamples}")
    # A stream a fact, so that its error does not depend on which others are asked for.
    entropy = int(rng.integers(1 << 63))
    measured = {}
    for name in chosen:
        fact = known[name]
        rows = fact.rows(observation)
        values = fact.statistic(rows)
        errors = np.full(len(fact.points), np.nan)
        if resamples and len(rows) and np.isfinite(values).any():
            own = np.random.default_rng([entropy, crc32(name.encode())])
            dependence = None if fact.dependence is None else fact.dependence(rows)
            errors = bootstrap_errors(rows, fact.statistic, own, resamples=resamples, dependence=dependence)
            errors[~np.isfinite(values)] = np.nan
        measured[name] = Measurement(fact, len(rows), values, errors)
    return measured
