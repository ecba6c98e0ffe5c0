"""What a study is asked to do."""

from __future__ import annotations

import math

import msgspec

from apex_nautilus.forge.errors import ForgeError
from apex_nautilus.genome import BpsStop, VolatilityStop
from apex_nautilus.risk.entry_policy import AGGRESSIVE, PASSIVE

__all__ = ["EvolutionConfig", "default_brackets"]

Stop = VolatilityStop | BpsStop

_LONGEST_HOLD_S = 366 * 86_400.0

#: Most stops, and most time-outs, that a study chooses from; the seeds' own stops come on top.
_CHOICES = 100


class EvolutionConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sizes, rates and choices of one study.

    Attributes
    ----------
    population, generations : how many individuals, and how often they are replaced after the first.
    tournament : individuals that compete to become a parent.
    crossover, mutation : probability that a pair exchanges parts, that an individual is changed.
    immigrants : share of each generation that is made anew, against stagnation.
    elites : individuals that pass unchanged.
    min_depth, max_initial_depth : of the trees of the first generation (half full, half grown).
    max_depth, max_nodes : of any tree.
    hall_of_fame : behaviours kept for the choice on the validation part.
    stops : stop distances that evolution may choose from; empty for those that suit the clock.
    max_holds_s : time-outs that it may choose from, seconds; empty likewise.
    reward_risk, entry_threshold, kelly_fraction, max_leverage : of every genome of the study.
    execution : of every genome too: "aggressive", or "passive" on a clock of the book.
    equity_usd, target : capital at birth and the multiple of it that fitness asks for.
    train, validation : shares of the rows; the rest is the test part.
    probe_rows : rows on which two individuals must differ to count as two.
    prior_events : how many events of a fair game the calibration starts from; more is more cautious.
    slope_penalty : keeps the slope of the calibration near where it starts, per squared unit of the
        standardised score.
    min_trades : fewest trades that a Sharpe ratio is taken from, among the trials and at the gate.
    dsr_threshold : what the gate asks for.
    lottery : random genomes that the winner must beat; None for as many as the study evaluated, 0 for none
        (then nothing can pass).
    threads : of the evaluation; the result does not depend on it. None for all cores.
    """

    population: int = 200
    generations: int = 20
    tournament: int = 3
    crossover: float = 0.5
    mutation: float = 0.1
    immigrants: float = 0.05
    elites: int = 2
    min_depth: int = 1
    max_initial_depth: int = 3
    max_depth: int = 17
    max_nodes: int = 64
    hall_of_fame: int = 10
    stops: tuple[Stop, ...] = ()
    max_holds_s: tuple[float, ...] = ()
    reward_risk: float = 3.0
    entry_threshold: float = 0.5
    kelly_fraction: float = 0.5
    max_leverage: float = 10.0
    execution: str = AGGRESSIVE
    equity_usd: float = 200.0
    target: float = 2.0
    train: float = 0.6
    validation: float = 0.2
    probe_rows: int = 512
    prior_events: float = 10.0
    slope_penalty: float = 1.0
    min_trades: int = 30
    dsr_threshold: float = 0.95
    lottery: int | None = None
    threads: int | None = None

    def __post_init__(self) -> None:
        low_bounds = {
            "population": 4, "generations": 0, "tournament": 1, "elites": 0, "min_depth": 0,
            "max_initial_depth": 1, "max_nodes": 3, "hall_of_fame": 1, "probe_rows": 8, "prior_events": 0,
            "slope_penalty": 0, "min_trades": 2, "equity_usd": 1, "max_leverage": 0.1, "entry_threshold": 0,
        }  # fmt: skip
        for name, low in low_bounds.items():
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= low):
                raise ForgeError(f"{name} is {value!r}; it must be at least {low}")
        for name in ("crossover", "mutation", "immigrants", "train", "validation", "dsr_threshold"):
            value = getattr(self, name)
            if not 0.0 <= value <= 1.0:
                raise ForgeError(f"{name} is {value!r}; it is a share, between 0 and 1")
        if not self.min_depth <= self.max_initial_depth <= self.max_depth <= 17:
            raise ForgeError("depths must be in order: min_depth <= max_initial_depth <= max_depth <= 17")
        if self.max_nodes > 512:
            raise ForgeError(f"max_nodes is {self.max_nodes}; a genome's tree has at most 512")
        if self.elites >= self.population:
            raise ForgeError(f"{self.elites} elites leave no place in a population of {self.population}")
        if not self.train + self.validation < 1.0:
            raise ForgeError("train and validation take all rows; the test part must be left something")
        if not (0.0 < self.reward_risk < math.inf and 1.0 < self.target < math.inf):
            raise ForgeError("reward_risk must be positive and target above 1, both finite")
        if not self.prior_events > 0.0:
            raise ForgeError(f"prior_events is {self.prior_events!r}; it must be above 0")
        if not 0.0 < self.kelly_fraction <= 1.0:
            raise ForgeError(f"kelly_fraction is {self.kelly_fraction!r}; it must be above 0 and at most 1")
        if self.execution not in (AGGRESSIVE, PASSIVE):
            raise ForgeError(
                f"execution is {self.execution!r}; the replay, which judges genomes, knows "
                f"{AGGRESSIVE!r} and {PASSIVE!r}"
            )
        if self.threads is not None and self.threads < 1:
            raise ForgeError(f"threads is {self.threads}; it must be at least 1")
        for hold in self.max_holds_s:
            if not 0.0 < hold <= _LONGEST_HOLD_S:
                raise ForgeError(
                    f"max_holds_s has {hold!r}; a time-out is above 0 and at most {_LONGEST_HOLD_S:g} seconds"
                )
        for stop in self.stops:
            size = stop.value if isinstance(stop, BpsStop) else stop.multiple
            if not 0.0 < size < math.inf or (isinstance(stop, VolatilityStop) and stop.window < 1):
                raise ForgeError(f"stops has {stop!r}; its numbers must be positive and finite")
        for name in ("stops", "max_holds_s"):
            if len(getattr(self, name)) > _CHOICES:
                raise ForgeError(f"{name} has {len(getattr(self, name))} entries, the limit is {_CHOICES}")
        if self.lottery is not None and self.lottery < 0:
            raise ForgeError(f"lottery is {self.lottery}; it is a number of genomes")


def default_brackets(clock: str) -> tuple[tuple[Stop, ...], tuple[float, ...]]:
    """Stops and time-outs (seconds) offered to evolution on a clock when the configuration names none.

    On fast clocks a stop must be many deviations of one row wide to stand clear of the round trip's costs.
    """
    wide_bps = (BpsStop(10.0), BpsStop(20.0), BpsStop(40.0))
    by_clock = {
        "book": ((50, (10.0, 30.0)), (60.0, 300.0, 900.0)),
        "1s": ((50, (5.0, 10.0, 20.0)), (60.0, 300.0, 900.0)),
        "1m": ((20, (2.0, 4.0, 8.0)), (900.0, 3600.0, 14400.0)),
        "5m": ((20, (1.0, 2.0, 4.0)), (3600.0, 14400.0, 43200.0)),
        "15m": ((20, (1.0, 2.0, 4.0)), (14400.0, 43200.0, 86400.0)),
    }
    (window, multiples), holds = by_clock[clock]
    return (*wide_bps, *(VolatilityStop(multiple=m, window=window) for m in multiples)), holds
