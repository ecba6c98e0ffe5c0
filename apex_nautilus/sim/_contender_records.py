"""The state of a market's contenders as arrays: what the kernels of `_contender_*` and `_contest` read."""

from typing import NamedTuple

import numpy as np

from ..features import DEPTH, EVENT, BookFeatures
from ..genome import Program, new_state
from ..risk import ACCOUNT as LEDGER
from ..risk import REASONS, RULES, trades
from ..risk.order_timeout import NEVER_NS, PENDING
from ..risk.trades import EXIT_KINDS
from ..risk.trades import TRADE as CONTENDER_TRADE

__all__ = [
    "CONTENDER",
    "CONTENDER_TRADE",
    "ENTRY_ENDS",
    "EXIT_KINDS",
    "HEARD",
    "MESSAGE",
    "ROW",
    "SENT",
    "Pit",
    "grown_pit",
    "new_pit",
]

# Typed, because numba compiles a kernel anew for every literal number it is called with.
# Where a position stands.
IDLE, ENTERING, HOLDING, CLOSING = np.arange(4)

# How a position ended: typed like the rest. A contender's is never closed for the end of a tape.
NOT_ENTERED = np.int64(0)
EXIT_STOP, EXIT_TAKE_PROFIT, EXIT_MAX_HOLD = (
    np.int64(kind) for kind in (trades.EXIT_STOP, trades.EXIT_TAKE_PROFIT, trades.EXIT_MAX_HOLD)
)

# What a contender hears.
BATCH, FILL, OPEN, CLOSED, FUNDED = np.arange(5)

# Rows of `Pit.pending`: the market order under way, the order that rests (of the entry, or the take-profit),
# its cancellation, and the question what became of the market order.
WORKING, RESTING, CANCELLING, PROBING = np.arange(4)

# How an entry ended, by column of `Pit.entry_ends`; `GOES_ON` while it has not.
RESTED, CROSSED, GIVEN_UP = np.arange(3)
GOES_ON = np.int64(-1)
ENTRY_ENDS = ("rested", "crossed", "given_up")

# What it sends.
AN_ORDER, A_CANCEL = np.arange(2)

NO_ORDER = np.int64(-1)
LARGEST_WAKE = 8  # orders and messages that one look at the inbox may send

#: One contender. `*_at` are offsets into the arrays of `Pit`; `*_units` are size units of the instrument.
CONTENDER = np.dtype(
    [
        # Its connection.
        ("agent", "<i8"),
        ("order_mu", "<f8"),
        ("cancel_mu", "<f8"),
        ("data_mu", "<f8"),
        ("sigma", "<f8"),
        ("loss", "<f8"),
        ("timeout_ns", "<i8"),
        ("entry_retries", "<i8"),
        ("next_ns", "<i8"),  # when it must be attended to next
        ("head", "<i8"),  # messages read and written since birth
        ("tail", "<i8"),
        ("heard", "<i8"),  # number of its next draw of a data delay
        ("last_heard_ns", "<i8"),
        ("funding_seen", "<i8"),  # of the venue's account
        # Its program.
        ("code_at", "<i8"),
        ("n_codes", "<i8"),
        ("constant_at", "<i8"),
        ("n_constants", "<i8"),
        ("state_at", "<i8"),
        ("n_state", "<i8"),
        ("n_features", "<i8"),
        ("memory_at", "<i8"),
        ("n_memory", "<i8"),
        ("mids_at", "<i8"),
        ("mids", "<i8"),
        ("mid_count", "<i8"),
        ("multiplier", "<f8"),
        # Its position.
        ("phase", "<i8"),
        ("side", "<i8"),
        ("exit_kind", "<i8"),
        ("exit_due", "<i8"),  # 1: a market order follows at the next whole book
        ("take_profit", "<f8"),
        ("stop", "<f8"),
        ("p", "<f8"),
        ("fraction", "<f8"),
        ("hold_until_ns", "<i8"),
        ("resting_id", "<i8"),  # may be at the venue; NO_ORDER when it is known not to be
        ("resting_slot", "<i8"),
        ("working_slot", "<i8"),
        ("wanted_units", "<i8"),  # of its entry, like the rest up to `entry_limit`
        ("wish", "<i8"),  # what is to be done when nothing of it is out
        ("is_crossing", "<i8"),  # 1: its market order was sent
        ("decided_ns", "<i8"),
        ("priced_ns", "<i8"),
        ("entry_limit", "<f8"),  # where its order rests
        ("profit_held", "<i8"),  # 1: too far away for the venue, watched here
        ("balance_before", "<f8"),
        ("fees_before", "<f8"),
        ("entry_row", "<i8"),
        ("entry_event", "<i8"),
        ("entry_ts_ns", "<i8"),
        ("exit_ts_ns", "<i8"),
        ("entry_units", "<i8"),
        ("exit_units", "<i8"),
        ("peak_units", "<i8"),
        ("entry_price", "<f8"),
        ("exit_price", "<f8"),
        # Counts since birth, but for the lines written in this run.
        ("n_rows", "<i8"),
        ("n_path", "<i8"),
        ("invalid", "<i8"),
        ("orders", "<i8"),
        ("lost", "<i8"),
        ("retries", "<i8"),
        ("late_fills", "<i8"),
        ("ruin_ts_ns", "<i8"),
        ("mark_ns", "<i8"),
        ("next_mark_ns", "<i8"),
        ("n_marks", "<i8"),
        ("n_trades", "<i8"),
        ("records", "<i8"),  # 1: rows, heard and sent are written
        ("n_row_lines", "<i8"),
        ("n_heard_lines", "<i8"),
        ("n_sent_lines", "<i8"),
    ],
    align=True,
)

#: Something on its way to a contender. Of a batch, `at` and `count` are its lines; of a fill, `price` in
#: ticks, `size` in lots, `left` what the order still has; of an order's end, `count` is 1 where it answers a
#: cancellation; of funding, `price` is what was paid.
MESSAGE = np.dtype(
    [
        ("due_ns", "<i8"),
        ("ts_ns", "<i8"),  # when it happened at the venue
        ("kind", "<i8"),
        ("at", "<i8"),
        ("count", "<i8"),
        ("order_id", "<i8"),
        ("side", "<i8"),
        ("price", "<i8"),
        ("size", "<i8"),
        ("left", "<i8"),
        ("maker", "<i8"),
    ]
)

#: One warm row, where rows are recorded: what the genome said and what was decided. `reason` is -1 where
#: nothing was to be decided (a position was at hand).
ROW = np.dtype(
    [
        ("ts_ns", "i8"),
        ("bid", "f8"),
        ("ask", "f8"),
        ("signal", "f8"),
        ("score", "f8"),
        ("size", "f8"),
        ("equity", "f8"),
        ("reason", "i8"),
        ("side", "i8"),
        ("quantity", "f8"),
        ("take_profit", "f8"),
        ("stop", "f8"),
        ("p", "f8"),
        ("fraction", "f8"),
    ],
    align=True,
)

#: When a batch of the feed was received, by its sequence number on the tape.
HEARD = np.dtype([("sequence", "<i8"), ("ts_ns", "<i8")])

#: A message of a contender to the venue; `arrives_ns` is -1 where it is lost, `kind` 0 an order, 1 a cancel.
SENT = np.dtype(
    [("ts_ns", "<i8"), ("arrives_ns", "<i8"), ("command", "<i8"), ("order_id", "<i8"), ("kind", "<i8")]
)


class Pit(NamedTuple):
    """Every array of a market's contenders. Replaced (not changed) when one of them must grow."""

    contenders: np.ndarray  # CONTENDER[n]
    ledgers: np.ndarray  # risk.ACCOUNT[n], the contenders' own books
    pending: np.ndarray  # PENDING[n, 4]
    rules: np.ndarray  # RULES[n]
    reasons: np.ndarray  # int64[n, reasons]
    entry_ends: np.ndarray  # int64[n, 3]: rested, crossed, given up
    opcodes: np.ndarray  # uint8, the programs one after another
    operands: np.ndarray  # int32
    constants: np.ndarray  # float64
    states: np.ndarray  # float64, of the programs
    outputs: np.ndarray  # float64[n, 3]: signal, score, size
    memory: np.ndarray  # int64, the feature machines
    floats: np.ndarray  # the same, as float64
    mids: np.ndarray  # float64
    top: np.ndarray  # float64[4, DEPTH]
    inbox: np.ndarray  # MESSAGE[n, 2**k], a ring a contender
    lines: np.ndarray  # EVENT[2**k], a ring of what is on its way to somebody
    ring: np.ndarray  # int64[2]: lines written, oldest that may still be read
    curves: np.ndarray  # float64[n, marks]
    trades: np.ndarray  # CONTENDER_TRADE[n, room]
    rows: np.ndarray  # ROW[n, room]
    heard: np.ndarray  # HEARD[n, room]
    sent: np.ndarray  # SENT[n, room]


def _joined(parts: list[np.ndarray], dtype: type) -> np.ndarray:
    return np.concatenate([np.zeros(0, dtype), *parts]).astype(dtype)


def new_pit(
    contenders: np.ndarray,
    programs: list[Program],
    machines: list[BookFeatures],
    rules: np.ndarray,
    capital: np.ndarray,
    start_ns: int,
) -> Pit:
    """Lay the contenders' programs, features and books out in arrays.

    `contenders` has connection, multiplier and what is recorded; everything else of it is set here.
    """
    n = len(contenders)
    states = [new_state(program) for program in programs]
    windows = np.maximum(rules["stop_window"], 0) + 1

    def starts(lengths: list[int] | np.ndarray) -> np.ndarray:
        return np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64)

    for name, lengths in (
        ("code", [len(p.opcodes) for p in programs]),
        ("constant", [len(p.constants) for p in programs]),
        ("state", [len(s) for s in states]),
        ("memory", [len(m.memory) for m in machines]),
    ):
        contenders[f"{name}_at"] = starts(lengths)
        contenders["n_state" if name == "state" else "n_memory" if name == "memory" else f"n_{name}s"] = (
            lengths
        )
    contenders["mids"] = windows
    contenders["mids_at"] = starts(2 * windows)
    contenders["n_features"] = [len(m.specs) for m in machines]
    contenders["next_ns"] = NEVER_NS
    contenders["last_heard_ns"] = start_ns
    contenders["resting_id"] = NO_ORDER
    contenders["ruin_ts_ns"] = -1
    contenders["next_mark_ns"] = start_ns + contenders["mark_ns"]
    ledgers = np.zeros(n, LEDGER)
    ledgers["capital"] = capital
    ledgers["size_scale"] = rules["size_scale"]
    pending = np.zeros((n, 4), PENDING)
    pending["order_id"] = -1
    pending["deadline_ns"] = NEVER_NS
    memory = _joined([m.memory for m in machines], np.int64)
    room = 64 if contenders["records"].any() else 1
    return Pit(
        contenders=contenders,
        ledgers=ledgers,
        pending=pending,
        rules=np.ascontiguousarray(rules, RULES),
        reasons=np.zeros((n, len(REASONS)), np.int64),
        entry_ends=np.zeros((n, len(ENTRY_ENDS)), np.int64),
        opcodes=_joined([p.opcodes for p in programs], np.uint8),
        operands=_joined([p.operands for p in programs], np.int32),
        constants=_joined([p.constants for p in programs], np.float64),
        states=_joined(states, np.float64),
        outputs=np.zeros((n, 3)),
        memory=memory,
        floats=memory.view(np.float64),
        mids=np.zeros(int(2 * windows.sum())),
        top=np.zeros((4, DEPTH)),
        inbox=np.zeros((n, 256), MESSAGE),
        lines=np.zeros(1 << 11, EVENT),
        ring=np.zeros(2, np.int64),
        curves=np.zeros((n, 0)),
        trades=np.zeros((n, 64), CONTENDER_TRADE),
        rows=np.zeros((n, room), ROW),
        heard=np.zeros((n, room), HEARD),
        sent=np.zeros((n, room), SENT),
    )


def _longer(array: np.ndarray, used: np.ndarray) -> np.ndarray:
    """The same lines with more room, where a contender has used half of it."""
    needed = 2 * (int(used.max(initial=0)) + LARGEST_WAKE)
    if needed <= array.shape[1]:
        return array
    fresh = np.zeros((array.shape[0], max(needed, 2 * array.shape[1])), array.dtype)
    fresh[:, : array.shape[1]] = array
    return fresh


def grown_pit(pit: Pit, most: int) -> Pit:
    """Return the same contenders with more room wherever half of it is used.

    `most` is the largest number of fills, or of levels changed, that one message at the venue may bring.
    """
    c = pit.contenders
    inbox, lines = pit.inbox, pit.lines
    waiting = int((c["tail"] - c["head"]).max())
    if 2 * (waiting + most + 8) > inbox.shape[1]:
        length = inbox.shape[1]
        while 2 * (waiting + most + 8) > length:
            length *= 2
        inbox = np.zeros((len(c), length), MESSAGE)
        for who in range(len(c)):
            at = np.arange(c["head"][who], c["tail"][who])
            inbox[who, at & (length - 1)] = pit.inbox[who, at & (pit.inbox.shape[1] - 1)]
    written, oldest = int(pit.ring[0]), int(pit.ring[1])
    needed = 2 * (written - oldest + 2 * most + 8)
    if needed > len(lines):
        length = len(lines)
        while needed > length:
            length *= 2
        at = np.arange(max(oldest, written - len(lines)), written)
        lines = np.zeros(length, EVENT)
        lines[at & (length - 1)] = pit.lines[at & (len(pit.lines) - 1)]
    return pit._replace(
        inbox=inbox,
        lines=lines,
        trades=_longer(pit.trades, c["n_trades"]),
        rows=_longer(pit.rows, c["n_row_lines"]),
        heard=_longer(pit.heard, c["n_heard_lines"]),
        sent=_longer(pit.sent, c["n_sent_lines"]),
    )
