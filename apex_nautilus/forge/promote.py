"""The deployment gate, and the one way out of the Forge: a file in ``incoming/``.

A genome passes when, on the untouched test part,

- it made at least `min_trades` trades and was not ruined,
- its deflated Sharpe ratio, with N = all trials of the study and V the variance of their Sharpe ratios (see
  `Trials`), reaches the threshold,
- it did better than the lottery: the best of as many random genomes, chosen in the same way,
- none of the genomes that the study started from was bred on data that reaches into that part.

Whatever the gate says is written down: in the genome's evidence, and in the ledger with the reasons.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from statistics import NormalDist

import msgspec
import numpy as np

from apex_nautilus.forge.evaluation import Trial
from apex_nautilus.forge.journal import Clock
from apex_nautilus.genome import Evidence, Genome, Result, encode
from apex_nautilus.stats import deflated_sharpe_ratio, probabilistic_sharpe_ratio, trial_variance
from apex_nautilus.store import CatalogLayout, LedgerWriter, drop, fault_point, holds

__all__ = ["Lottery", "Trials", "deploy", "judge", "result_of"]

#: Chance that a study without any edge leaves one of its trials out of V.
LUCK = 0.05


class Trials(msgspec.Struct, frozen=True):
    """What the deflation needs to know of a study's trials.

    Attributes
    ----------
    count : N, every evaluation made, those of the studies that bred its seeds among them.
    sharpe_variance : V, variance of the per-trade Sharpe ratios of the trials that luck can explain.
    measured : trials with enough trades to have a Sharpe ratio.
    skilled : how many of these are beyond luck, and therefore not in V.
    sharpe_variance_all : the same variance with them.
    """

    count: int
    sharpe_variance: float
    measured: int
    skilled: int = 0
    sharpe_variance_all: float = 0.0

    @classmethod
    def of(cls, trials: Sequence[Trial], min_trades: int, *, inherited: int = 0) -> Trials:
        """Sum up trials.

        Every trial and the `inherited` ones count in N. V is measured on Sharpe ratios that can be compared:
        all per trade, all on the train part, of at least `min_trades` trades, since that of a handful of
        trades is noise of any size.

        The deflation asks what the best of N trials *without skill* would show, so V leaves out a trial that
        cannot be one of these: its Sharpe ratio times sqrt(trades - 1), normal where there is no skill, is
        above the quantile 1 - 0.05 / N, which in 95 of 100 studies not one of N skill-less trials reaches.
        Where nothing is found, V is therefore the variance over all. In a population that holds a real edge
        the latter says how far the edge lifts a trial above the others, and an edge found often and clearly
        would refuse itself.

        V is never below what the Sharpe ratio of skill-less trials of this many trades must vary by, the mean
        of 1 / (trades - 1): a population of near copies has a smaller one, and knows no less of luck.
        """
        count = len(trials) + inherited
        measured = [trial for trial in trials if trial.trades >= min_trades]
        if not measured:
            return cls(count, 1.0 / min_trades, 0, 0, 1.0 / min_trades)
        limit = luck_limit(count)
        lucky = [trial for trial in measured if trial.sharpe * math.sqrt(trial.trades - 1) <= limit]
        noise = float(np.mean([1.0 / (trial.trades - 1) for trial in lucky or measured]))
        return cls(
            count,
            max(trial_variance([trial.sharpe for trial in lucky]), noise),
            len(measured),
            len(measured) - len(lucky),
            max(trial_variance([trial.sharpe for trial in measured]), noise),
        )

    def deflated(self, result: Result, variance: float | None = None) -> float | None:
        """The deflated Sharpe ratio of a result, None below two trades; `variance` in place of V."""
        if (result.trades or 0) < 2:
            return None
        return deflated_sharpe_ratio(
            result.sharpe or 0.0,
            result.trades or 0,
            trial_variance=self.sharpe_variance if variance is None else variance,
            n_trials=max(self.count, 1),
            skew=result.skew or 0.0,
            kurtosis=result.kurtosis or 3.0,
        )


def luck_limit(n_trials: int) -> float:
    """Standard errors above zero that the best of `n_trials` skill-less trials stays below 95 times in 100
    (Bonferroni).
    """
    return NormalDist().inv_cdf(1.0 - LUCK / max(n_trials, 1))


class Lottery(msgspec.Struct, frozen=True):
    """The pretest of Chen and Navet: random genomes, the same budget, the same way of choosing.

    Attributes
    ----------
    trials : random genomes evaluated.
    train, validation, test : time-to-target of the one chosen, by part.
    trades : its trades on the test part.
    beaten : the evolved genome traded on the test part, and its time-to-target there is higher.
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
    target_ns = int(record["target_ts_ns"])
    result = Result(
        time_to_target=float(record["fitness"]),
        time_to_target_s=(target_ns - start_ns) / 1e9 if target_ns >= 0 else None,
        trades=trades,
        sharpe=sharpe,
        skew=skew,
        kurtosis=kurtosis,
        psr=probabilistic_sharpe_ratio(sharpe, trades, skew=skew, kurtosis=kurtosis) if trades > 1 else None,
        max_drawdown=float(record["max_drawdown"]),
        costs_usd=float(record["costs"]),
        final_equity_usd=float(record["final_equity"]),
    )
    return msgspec.structs.replace(result, dsr=trials.deflated(result))


def judge(
    result: Result,
    *,
    ruined: bool,
    lottery: Lottery | None,
    min_trades: int,
    dsr_threshold: float,
    peeked: Sequence[str] = (),
) -> tuple[str, ...]:
    """Reasons against a genome, from its result on the test part; none means that it passes.

    `peeked` are the seeds of its study that were bred on data which reaches into the test part.
    """
    reasons = [f"seed {seed} was bred on data that reaches into the test part" for seed in peeked]
    if (result.trades or 0) < min_trades:
        reasons.append(f"{result.trades} trades out of sample, fewer than {min_trades}")
    if ruined:
        reasons.append("ruined out of sample")
    if result.dsr is None or not result.dsr >= dsr_threshold:
        shown = "none" if result.dsr is None or math.isnan(result.dsr) else f"{result.dsr:.4f}"
        reasons.append(f"deflated Sharpe ratio {shown}, below {dsr_threshold:g}")
    if lottery is None:
        reasons.append("not compared with the lottery")
    elif not lottery.beaten and result.trades:
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
