"""The deployment gate, and the one way out of the Forge: a file in ``incoming/``.

A genome passes when, on the untouched test part,

- it made at least `min_trades` trades and was not ruined,
- its deflated Sharpe ratio, with N = all trials of the study and V the variance of their Sharpe ratios,
  reaches the threshold,
- it did better than the lottery: the best of as many random genomes, chosen in the same way.

Whatever the gate says is written down: in the genome's evidence, and in the ledger with the reasons.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from apex_nautilus.forge.evaluation import Trial
from apex_nautilus.forge.journal import Clock
from apex_nautilus.genome import Evidence, Genome, Result, encode
from apex_nautilus.stats import deflated_sharpe_ratio, probabilistic_sharpe_ratio, trial_variance
from apex_nautilus.store import CatalogLayout, LedgerWriter, drop, fault_point, holds

__all__ = ["Lottery", "Trials", "deploy", "judge", "result_of"]


class Trials(msgspec.Struct, frozen=True):
    """What the deflation needs to know of a study's trials.

    Attributes
    ----------
    count : N, every evaluation made.
    sharpe_variance : V, variance of the per-trade Sharpe ratios of the trials with enough trades to have one.
    measured : how many those are.
    """

    count: int
    sharpe_variance: float
    measured: int

    @classmethod
    def of(cls, trials: Sequence[Trial], min_trades: int) -> Trials:
        """Sum up trials.

        A Sharpe ratio of a handful of trades is noise of any size, so trials below `min_trades` count in N
        but not in V. With fewer than two of the others V is what pure noise has at that length, 1 /
        min_trades.
        """
        sharpes = [trial.sharpe for trial in trials if trial.trades >= min_trades]
        variance = trial_variance(sharpes) if len(sharpes) > 1 else 1.0 / min_trades
        return cls(len(trials), variance, len(sharpes))


class Lottery(msgspec.Struct, frozen=True):
    """The pretest of Chen and Navet: random genomes, the same budget, the same way of choosing.

    Attributes
    ----------
    trials : random genomes evaluated.
    train, validation, test : time-to-target of the one chosen, by part.
    trades : its trades on the test part.
    beaten : the evolved genome's time-to-target on the test part is higher.
    """

    trials: int
    train: float
    validation: float
    test: float
    trades: int
    beaten: bool


def result_of(record: np.void, start_ns: int, trials: Trials) -> Result:
    """Sum up a replay as evidence.

    Parameters
    ----------
    record : of dtype RESULT.
    start_ns : when the replay began.
    trials : of the study, for the deflation.
    """
    trades = int(record["n_trades"])
    sharpe, skew = float(record["sharpe"]), float(record["skew"])
    # Power sums may fall short of the bound 1 + skew^2 by rounding when there are few trades.
    kurtosis = max(float(record["kurtosis"]), 1.0 + skew * skew)
    psr = dsr = None
    if trades >= 2:
        moments = {"skew": skew, "kurtosis": kurtosis}
        psr = probabilistic_sharpe_ratio(sharpe, trades, **moments)
        dsr = deflated_sharpe_ratio(
            sharpe, trades, trial_variance=trials.sharpe_variance, n_trials=max(trials.count, 1), **moments
        )
    target_ns = int(record["target_ts_ns"])
    return Result(
        time_to_target=float(record["fitness"]),
        time_to_target_s=(target_ns - start_ns) / 1e9 if target_ns >= 0 else None,
        trades=trades,
        sharpe=sharpe,
        skew=skew,
        kurtosis=kurtosis,
        psr=psr,
        dsr=dsr,
        max_drawdown=float(record["max_drawdown"]),
        costs_usd=float(record["costs"]),
        final_equity_usd=float(record["final_equity"]),
    )


def judge(
    result: Result, *, ruined: bool, lottery: Lottery | None, min_trades: int, dsr_threshold: float
) -> tuple[str, ...]:
    """Reasons against a genome, from its result on the test part; none means that it passes."""
    reasons = []
    if (result.trades or 0) < min_trades:
        reasons.append(f"{result.trades} trades out of sample, fewer than {min_trades}")
    if ruined:
        reasons.append("ruined out of sample")
    if result.dsr is None or not result.dsr >= dsr_threshold:
        shown = "none" if result.dsr is None or math.isnan(result.dsr) else f"{result.dsr:.4f}"
        reasons.append(f"deflated Sharpe ratio {shown}, below {dsr_threshold:g}")
    if lottery is None:
        reasons.append("not compared with the lottery")
    elif not lottery.beaten:
        reasons.append(
            f"time-to-target {result.time_to_target:.4f} out of sample, the lottery's is {lottery.test:.4f}"
        )
    return tuple(reasons)


def deploy(
    layout: CatalogLayout,
    genome: Genome,
    *,
    clock: Clock,
    ledger: LedgerWriter | None = None,
    force: bool = False,
    keep_refused: bool = False,
) -> Path | None:
    """Write a judged genome into ``incoming/`` as a challenger, or keep it in the ledger with the reasons.

    Parameters
    ----------
    layout : the catalog.
    genome : sealed, with evidence.
    clock : time of the ledger record.
    ledger : where the outcome is recorded.
    force : deploy a refused genome; its evidence then says ``forced``.
    keep_refused : deploy a refused genome as it is, its gate "refused": what a recycle job asks for, since
        backtest and paper slots are filled in any case.

    Returns
    -------
    The file, or None when the gate keeps it. A genome that lives in the catalog already is not written twice.
    """
    refused = genome.evidence.gate != "passed"
    fields = {
        "genome_id": genome.id,
        "instrument_id": genome.instrument_id,
        "gate": genome.evidence.gate,
        "reasons": genome.evidence.gate_reasons,
        "job_id": genome.provenance.job_id,
        "slot": genome.provenance.slot,
    }
    if refused and not (force or keep_refused):
        if ledger is not None:
            ledger.append("refused", clock(), fields | {"genome": encode(genome).decode()})
        return None
    if refused and force:
        evidence: Evidence = msgspec.structs.replace(genome.evidence, forced=True)
        genome = msgspec.structs.replace(genome, evidence=evidence)
    path = holds(layout, genome.id, living=True)
    if path is None:
        fault_point("forge.before_drop")
        path = drop(layout, genome.id, encode(genome))
    if ledger is not None:
        ledger.append("deployed", clock(), fields | {"forced": genome.evidence.forced})
    return path
