"""How sure are we: statistics that judge a track record.

In: returns per observation (a trade, a mark), the number of trials, the variance of their Sharpe ratios. Out:
probabilities and lengths. Sharpe ratios are per observation, kurtosis is raw, trials count the dead.
Imports nothing of the house.
"""

from apex_nautilus.stats.drawdown import max_drawdown
from apex_nautilus.stats.paired import PairedComparison, paired_comparison
from apex_nautilus.stats.pbo import probability_of_backtest_overfitting
from apex_nautilus.stats.psr import (
    deflated_sharpe_ratio,
    expected_maximum_sharpe,
    minimum_track_record_length,
    probabilistic_sharpe_ratio,
    trial_variance,
)
from apex_nautilus.stats.sharpe import (
    Moments,
    annualised,
    moments,
    moments_from_sums,
    per_observation,
    sharpe_ratio,
)
from apex_nautilus.stats.track_record import TrackRecord
from apex_nautilus.stats.watchtower_errors import (
    BRACKETS,
    SHAPES,
    ErrorRow,
    ErrorSettings,
    choose_decay_threshold,
    error_table,
    simulated_trades,
)

__all__ = [
    "BRACKETS",
    "SHAPES",
    "ErrorRow",
    "ErrorSettings",
    "Moments",
    "PairedComparison",
    "TrackRecord",
    "annualised",
    "choose_decay_threshold",
    "deflated_sharpe_ratio",
    "error_table",
    "expected_maximum_sharpe",
    "max_drawdown",
    "minimum_track_record_length",
    "moments",
    "moments_from_sums",
    "paired_comparison",
    "per_observation",
    "probabilistic_sharpe_ratio",
    "probability_of_backtest_overfitting",
    "sharpe_ratio",
    "simulated_trades",
    "trial_variance",
]
