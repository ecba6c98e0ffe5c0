"""The genome file as structs (schema ``apex.genome/1``). Unknown fields are refused.

The structs hold shapes and types; limits and agreement between fields are checked in `validation`, which the
codec calls. Trees are `Node` objects, immutable and hashable.
"""

from __future__ import annotations

from typing import Literal, get_args

import msgspec

SCHEMA = "apex.genome/1"

Kind = Literal["tree", "oracle", "dolphin"]
Clock = Literal["book", "1s", "1m", "5m", "15m"]
CLOCKS: tuple[str, ...] = get_args(Clock)

#: Limits a file must keep; `docs/genome.md` lists them.
MAX_FILE_BYTES = 256 * 1024
MAX_NODES = 512
MAX_DEPTH = 17
MAX_CONSTANT = 1e6
MAX_FEATURES = 256
MAX_KNOTS = 32


class Feature(msgspec.Struct, frozen=True, tag=True):
    """Terminal: the value of the genome's feature number ``index``."""

    index: int


class Constant(msgspec.Struct, frozen=True, tag=True):
    """Terminal: a number, finite, at most 1e6 in magnitude."""

    value: float


class Node(msgspec.Struct, frozen=True):
    """A node of a tree.

    Attributes
    ----------
    primitive : str, Feature or Constant
        Name from `PRIMITIVES`, or a terminal (then without children).
    children : tuple of Node
        Arguments in order.
    k : int or None
        Window of a windowed primitive.
    """

    primitive: str | Feature | Constant
    children: tuple[Node, ...] = ()
    k: int | None = None


class Platt(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="platt"):
    """p = sigmoid(a x + b) (Platt 1999)."""

    a: float = 1.0
    b: float = 0.0


class Isotonic(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="isotonic"):
    """Monotone map from raw score to p, linear between at most 32 knots, flat outside them."""

    scores: tuple[float, ...]
    probabilities: tuple[float, ...]


Calibration = Platt | Isotonic


class VolatilityStop(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="volatility"
):
    """Stop distance: `multiple` standard deviations of the mid's last `window` log returns, row by row."""

    multiple: float = 1.0
    window: int = 50


class BpsStop(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="bps"):
    """Stop distance: `value` basis points of the touch."""

    value: float


class Bracket(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Take-profit at `reward_risk` stop distances, stop at one, time-out after `max_hold_s` seconds."""

    stop: VolatilityStop | BpsStop
    max_hold_s: float
    reward_risk: float = 3.0


class Sizing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How much to stake.

    `lo` and `hi` bound the fraction of mode ``evolved``: lo + (hi - lo) * sigmoid(size tree). Quantities are
    in base units; `max_qty` None is no bound of the genome's own.
    """

    mode: Literal["kelly", "evolved"] = "kelly"
    kelly_fraction: float = 0.5
    stake: Literal["risk", "notional"] = "risk"
    max_leverage: float = 10.0
    min_qty: float = 0.0
    max_qty: float | None = None
    lo: float = 0.0
    hi: float = 1.0


class Tensor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Name and shape of one network input; -1 is a free axis."""

    name: str
    shape: tuple[int, ...]


class Artifact(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file that lies beside the JSON, by its plain name."""

    file: str
    sha256: str
    inputs: tuple[Tensor, ...] = ()


class Span(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A stretch of data, UTC nanoseconds, the end excluded."""

    start_ns: int
    end_ns: int


class Provenance(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the genome comes from. Does not act, so it is not part of the id."""

    parents: tuple[str, ...] = ()
    generation: int | None = None
    seed: int | None = None
    created_at: str | None = None
    package_version: str | None = None
    dataset_id: str | None = None
    dataset_span: Span | None = None
    dsg_id: str | None = None
    causal_parents: tuple[str, ...] = ()
    job_id: str | None = None
    slot: str | None = None
    study_trials: int | None = None
    study_sharpe_variance: float | None = None


class Result(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one judgement found. None is "not measured"; Sharpe is per observation, money in USD."""

    time_to_target: float | None = None
    time_to_target_s: float | None = None
    trades: int | None = None
    sharpe: float | None = None
    skew: float | None = None
    kurtosis: float | None = None
    psr: float | None = None
    dsr: float | None = None
    pbo: float | None = None
    max_drawdown: float | None = None
    costs_usd: float | None = None
    final_equity_usd: float | None = None


class Evidence(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was found out about the genome. Does not act, so it is not part of the id."""

    in_sample: Result | None = None
    out_of_sample: Result | None = None
    adversarial: Result | None = None
    gate: Literal["passed", "refused", "none"] = "none"
    gate_reasons: tuple[str, ...] = ()
    forced: bool = False


class Genome(msgspec.Struct, frozen=True, kw_only=True):
    """A strategy as data; see `docs/genome.md` for each field.

    `signal`, `confidence` and (sizing ``evolved``) `size` are for kind ``tree``, `artifact` for ``oracle``,
    `parameters` for ``dolphin``.
    """

    schema: str = SCHEMA
    id: str = ""
    kind: Kind = "tree"
    instrument_id: str
    clock: Clock = "5m"
    conflate_ms: int = 0
    features: tuple[str, ...] = ()
    signal: Node | None = None
    confidence: Node | None = None
    size: Node | None = None
    entry_threshold: float = 0.5
    calibration: Calibration = msgspec.field(default_factory=Platt)
    bracket: Bracket
    sizing: Sizing = msgspec.field(default_factory=Sizing)
    execution: str = "aggressive"
    parameters: dict[str, bool | int | float | str] | None = None
    artifact: Artifact | None = None
    provenance: Provenance = msgspec.field(default_factory=Provenance)
    evidence: Evidence = msgspec.field(default_factory=Evidence)

    @property
    def trees(self) -> tuple[Node, ...]:
        """The trees in the order of a program's outputs: signal, confidence, and size if there is one."""
        return tuple(tree for tree in (self.signal, self.confidence, self.size) if tree is not None)
