"""What the arena writes into its ledger: one struct a kind of line, money in USD, times in UTC nanoseconds.

Every line is made of engine time and numbers of the run alone (no wall clock, no random ids), so that a run
that is repeated writes the same bytes.
"""

from __future__ import annotations

import math

import msgspec

__all__ = [
    "Allocation",
    "Birth",
    "Burial",
    "Delays",
    "Expiry",
    "Fill",
    "Finish",
    "Funding",
    "FundingRates",
    "Job",
    "JobEnd",
    "Mark",
    "Mismatch",
    "Opening",
    "OrderRefusal",
    "Reconciled",
    "Record",
    "Recovery",
    "Rejection",
    "Swap",
    "SwapBegin",
    "Trade",
    "Trespass",
    "VerdictLine",
    "kind_of",
]


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all lines. The kind of a line is its class's name in lower case, words joined by an
    underscore."""


class Opening(Record):
    """The run begins: the venue's balance is the treasury's."""

    account_cash: float
    slots: tuple[str, ...]


class FundingRates(Record):
    """What is known of the funding of a traded perpetual; see `engine.FundingCoverage`."""

    instrument_id: str
    source: str
    settlements: int
    gaps: tuple[tuple[int, int], ...] = ()


class Birth(Record):
    """`capital` moved from the treasury to a new agent. `role` is ``champion`` or ``shadow``; positions are
    counted in units of ``10**-size_precision``."""

    agent: str
    role: str
    slot: str
    epoch: int
    instrument_id: str
    genome: str
    strategy_id: str
    capital: float
    treasury: float
    size_precision: int | None = None


class Fill(Record):
    """One fill of one agent. `qty` is signed, buys positive; `fee` is what was paid (negative: a rebate)."""

    agent: str
    order: str
    qty: float
    price: float
    fee: float
    position: float
    cash: float


class Funding(Record):
    """What a position of one agent received at a settlement: `amount`, negative when it paid."""

    agent: str
    instrument_id: str
    position: float
    mark: float
    rate: float
    amount: float
    cash: float


class Trade(Record):
    """A position of one agent was closed, told by its strategy; see `engine.TradeRecord`.

    `side` is +1 or -1, `quantity` the largest position held. `pnl` is net of `fees` and `funding`; `spread`
    and `slippage` are in the prices already (positive where they cost, see `risk.shortfall`). `p` is NaN
    where the entry was not decided by it.
    """

    agent: str
    genome: str
    number: int
    side: int
    quantity: float
    entry_ts_ns: int
    entry_price: float
    exit_ts_ns: int
    exit_price: float
    exit_kind: str
    p: float
    fraction: float
    pnl: float
    fees: float
    spread: float
    slippage: float
    funding: float = 0.0


class Mark(Record):
    """An agent's numbers at a mark of engine time."""

    agent: str
    cash: float
    equity: float
    position: float
    trades: int


class VerdictLine(Record):
    """A judgement with the numbers it was made from; see `watchtower.Verdict`.

    `equity` is `cash` and what `position` would bring at `touch`, the price that it would close at. The
    limits in force stand beside the numbers that were held against them.
    """

    agent: str
    role: str
    slot: str
    epoch: int
    genome: str
    verdict: str
    reason: str
    equity: float
    capital: float
    floor: float
    smallest_notional: float
    trades: int
    sharpe: float
    psr: float
    dsr: float
    trials: int
    trials_variance: float
    judged: int = 0
    skew: float = math.nan
    kurtosis: float = math.nan
    benchmark: float = math.nan
    cash: float = math.nan
    position: float = math.nan
    touch: float = math.nan
    max_leverage: float = math.nan
    decay_psr: float = math.nan
    decay_dsr: float = math.nan
    promotion_dsr: float = math.nan


class Allocation(Record):
    """The weights of all champions, in the order of `agents`; see `allocator.Allocation`."""

    agents: tuple[str, ...]
    weights: tuple[float, ...]
    multipliers: tuple[float, ...]
    gains: tuple[float, ...]
    turnover: float
    floor: float
    cap: float


class Burial(Record):
    """An agent is flat and removed; its cash went back to the treasury."""

    agent: str
    role: str
    slot: str
    epoch: int
    genome: str
    cause: str
    cash: float
    fees: float
    trades: int
    treasury: float
    funding: float = 0.0


class SwapBegin(Record):
    """A challenger won; both agents are being flattened."""

    slot: str
    epoch: int
    outgoing: str
    incoming: str
    probability: float
    marks: int
    reason: str


class Swap(Record):
    """The champion file of `slot` names `incoming` from `epoch` on. `outgoing` is "" where the slot was
    empty.

    What closing cost is in the burial of the outgoing agent: its ledger pays for it.
    """

    slot: str
    epoch: int
    outgoing: str
    incoming: str


class OrderRefusal(Record):
    """An order of an agent was denied or rejected."""

    agent: str
    order: str
    reason: str


class Trespass(Record):
    """A command about another's order or position was refused; see `engine.order_guard`.

    `sender` and `owner` are agents, or strategy ids where they are none of ours; `sender` is "" where
    somebody spoke in the owner's name. `command` is ``submit``, ``amend``, ``cancel`` or ``control``.
    """

    sender: str
    owner: str
    command: str
    order: str
    reason: str


class Expiry(Record):
    """A challenger did not trade for too long and was retired."""

    agent: str
    genome: str
    reason: str


class Rejection(Record):
    """A file was refused."""

    name: str
    reason: str


class Job(Record):
    """A request to the Forge was put into the queue."""

    job: str
    slot: str
    asset: str
    terminated: str
    seed: str
    created_ns: int
    recovered: bool = False


class JobEnd(Record):
    """What came of waiting for a job: ``done``, ``failed``, or ``unanswered`` when no worker took it in
    time."""

    job: str
    status: str


class Recovery(Record):
    """A step that a crash had cut off was finished at the next start; `action` is ``retired`` or
    ``swapped``."""

    slot: str
    epoch: int
    genome: str
    action: str


class Mismatch(Record):
    """Ledgers and account differ; no agent may enter until they agree."""

    account_cash: float
    ledger_cash: float
    differences: tuple[str, ...]


class Reconciled(Record):
    """Ledgers and account agree again; agents may enter."""

    account_cash: float
    ledger_cash: float


class Delays(Record):
    """How long messages of one class travelled in this run; see `engine.DelayReport`."""

    name: str
    lost: int
    late: int
    bins: tuple[int, ...]
    counts: tuple[int, ...]


class Finish(Record):
    """The run ended as it should, `marks` marks after it began."""

    account_cash: float
    treasury: float
    ledger_cash: float
    marks: int
    mismatches: int


def kind_of(record: type[Record] | Record) -> str:
    """Name of the line's kind: ``SwapBegin`` is ``swap_begin``, ``VerdictLine`` is ``verdict``."""
    name = (record if isinstance(record, type) else type(record)).__name__.removesuffix("Line")
    return "".join("_" + c.lower() if c.isupper() else c for c in name).lstrip("_")
