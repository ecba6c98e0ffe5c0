"""What is to be executed, and how one is judged."""

from dataclasses import dataclass
from typing import Literal

from ..features import get
from .population import Population
from .profiles import profile

__all__ = ["DEFAULT_FEATURES", "SIDES", "ExecutionSettings"]

SIDES = ("buy", "sell", "random")
DEFAULT_FEATURES = (
    "spread_bps",
    "imbalance",
    "pressure",
    "microprice_minus_mid_bps",
    "ofi_5",
    "trade_imbalance_10s",
    "realised_volatility_10s",
)


@dataclass(frozen=True, kw_only=True)
class ExecutionSettings:
    """What is to be executed, and how one is judged.

    Attributes
    ----------
    population : who else trades; None for the default of `instrument_id`.
    instrument_id : a market of `PROFILES`; used when there is no population.
    side : "buy", "sell", or "random": a fair coin each episode.
    size_usd : worth of the parent order at arrival, quote units; rounded down to whole lots.
    horizon_s : time there is, seconds.
    step_s : time between two decisions, seconds.
    slices : an order is at most the parent's size divided by this.
    features : book features that are observed, by name.
    latency_mu : location of the delays, logarithm of microseconds; None for that of a noise trader.
    protection_bps : an order that crosses does so up to this far from the mid.
    inventory_penalty : basis points that holding back the whole order over the whole horizon costs; it goes
        with the square of what is left, as in Almgren and Chriss (2001).
    time_penalty : basis points that being unfinished over the whole horizon costs.

    Raises
    ------
    ValueError naming the field that is out of bounds; KeyError for an unknown instrument, FeatureError for an
    unknown feature.
    """

    population: Population | None = None
    instrument_id: str = "BTCUSDT-LINEAR.SIM"
    side: Literal["buy", "sell", "random"] = "random"
    size_usd: float = 50_000.0
    horizon_s: float = 60.0
    step_s: float = 1.0
    slices: int = 10
    features: tuple[str, ...] = DEFAULT_FEATURES
    latency_mu: float | None = None
    protection_bps: float = 50.0
    inventory_penalty: float = 0.0
    time_penalty: float = 0.0

    def __post_init__(self) -> None:
        bounds = {
            "size_usd": (1e-9, 1e12),
            "horizon_s": (0.05, 86_400.0),
            "step_s": (0.05, self.horizon_s),
            "slices": (1, 10_000),
            "protection_bps": (0.0, 1_000.0),
            "inventory_penalty": (0.0, 1e6),
            "time_penalty": (0.0, 1e6),
        }
        for name, (low, high) in bounds.items():
            value = getattr(self, name)
            if not low <= value <= high:  # also catches NaN
                raise ValueError(f"{name}: {value!r} is outside [{low:g}, {high:g}]")
        if self.slices != int(self.slices):
            raise ValueError(f"slices: {self.slices!r} is not a whole number")
        if self.side not in SIDES:
            raise ValueError(f"side: {self.side!r} is none of {', '.join(SIDES)}")
        if not self.features:
            raise ValueError("features: name at least one book feature")
        object.__setattr__(self, "features", tuple(self.features))
        for name in self.features:
            get(name)
        self.market()

    def market(self) -> Population:
        """Return the population that is traded with."""
        return profile(self.instrument_id) if self.population is None else self.population
