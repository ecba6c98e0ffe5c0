"""One genome's live side as one flat array: a row in, a decision out, in one compiled call.

A call from Python into compiled code costs some 70 ns for each array it passes, more than the work itself.
So everything an agent owns (program, window state, trading rules, mids for a volatility stop, the levels it
reads, its outputs) lies in one int64 array, and one call with the feed's memory and the agent's does it
all. The kernels inside are those of the rooms `genome` and `risk`; nothing is computed here.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numba import carray, njit  # pyright: ignore[reportPrivateImportUsage]

from apex_nautilus.engine.decode import as_pointer
from apex_nautilus.features import DEPTH, top_levels
from apex_nautilus.features.header import ASK, BID, ROW_AT
from apex_nautilus.genome import Program, new_state, row_kernel
from apex_nautilus.risk import RULES, decide_kernel

__all__ = ["EVALUATE", "GenomeMachine", "Order"]

# Header of the array; `*_AT` are word offsets.
_N_CODES: Final = 0
_CODES_AT: Final = 1
_OPERANDS_AT: Final = 2
_N_CONSTANTS: Final = 3
_CONSTANTS_AT: Final = 4
_N_COLUMNS: Final = 5
_COLUMNS_AT: Final = 6
_N_STATE: Final = 7
_STATE_AT: Final = 8
_INPUTS_AT: Final = 9
_RULES_AT: Final = 10
_MIDS: Final = 11
_MIDS_AT: Final = 12
_MID_COUNT: Final = 13
_TOP_AT: Final = 14
_OUTPUTS: Final = 16  # signal, score, size
_ORDER: Final = 19  # side, quantity, take-profit, stop, p, fraction
_HEADER: Final = 32

_CERTAINTY: Final = (RULES.fields or {})["certainty"][1] // 8  # its word in a record of rules

EVALUATE: Final = 1
"""Move the program on by the feed's present row."""
DECIDE: Final = 2
"""Decide on the program's outputs."""


class Order(NamedTuple):
    """What the last decision came to."""

    side: int
    quantity: float
    take_profit: float
    stop: float
    p: float
    fraction: float


@njit(cache=True)
def _step(memory, agent, actions, equity, multiplier):
    """Evaluate and decide, as `actions` say; return the reason code of the decision, or -1 without one."""
    base = agent.ctypes.data
    floats = carray(as_pointer(base), agent.shape[0], np.float64)
    market = carray(as_pointer(memory.ctypes.data), memory.shape[0], np.float64)
    bid, ask = market[BID], market[ASK]
    outputs = floats[_OUTPUTS : _OUTPUTS + 3]
    mids_at, length = agent[_MIDS_AT], agent[_MIDS]
    if actions & EVALUATE:
        n = agent[_N_COLUMNS]
        inputs = floats[agent[_INPUTS_AT] : agent[_INPUTS_AT] + n]
        columns = agent[_COLUMNS_AT] + np.int64(0)
        row_at = memory[ROW_AT]
        for i in range(n):
            inputs[i] = market[row_at + agent[columns + i]]
        codes = carray(as_pointer(base + 8 * agent[_CODES_AT]), agent[_N_CODES], np.uint8)
        operands = carray(as_pointer(base + 8 * agent[_OPERANDS_AT]), 4 * agent[_N_CODES], np.int32)
        constants = floats[agent[_CONSTANTS_AT] : agent[_CONSTANTS_AT] + agent[_N_CONSTANTS]]
        state = floats[agent[_STATE_AT] : agent[_STATE_AT] + agent[_N_STATE]]
        row_kernel(codes, operands, constants, inputs, state, outputs)
        # Written twice, `length` apart, so that the latest ones are always one stretch, oldest first.
        place = agent[_MID_COUNT] % length
        floats[mids_at + place] = floats[mids_at + place + length] = 0.5 * (bid + ask)
        agent[_MID_COUNT] += 1
    if not actions & DECIDE:
        return -1
    held = min(agent[_MID_COUNT], length)
    first = mids_at + (agent[_MID_COUNT] - held) % length
    mids = floats[first : first + held]
    top = carray(as_pointer(base + 8 * agent[_TOP_AT]), (4, DEPTH), np.float64)
    top_levels(memory, top)
    rules = carray(as_pointer(base + 8 * agent[_RULES_AT]), 1, RULES)
    decision = decide_kernel(
        rules[0], outputs[0], outputs[1], outputs[2], bid, ask, top, mids, equity, multiplier
    )
    floats[_ORDER] = decision.side
    floats[_ORDER + 1] = decision.quantity
    floats[_ORDER + 2] = decision.take_profit
    floats[_ORDER + 3] = decision.stop
    floats[_ORDER + 4] = decision.p
    floats[_ORDER + 5] = decision.fraction
    return decision.reason


class GenomeMachine:
    """Evaluates one genome row by row and decides.

    Parameters
    ----------
    program : Program
        The compiled genome.
    rules : numpy.void
        Its record of dtype `RULES`.
    columns : (n,) int64
        Where the genome's features stand in the feed's row.

    Notes
    -----
    Holds no addresses, so it may be copied; the memory of the feed is passed in at each step.
    """

    __slots__ = ("_floats", "memory")

    def __init__(self, program: Program, rules: np.void, columns: np.ndarray) -> None:
        state = new_state(program)
        mids = int(rules["stop_window"]) + 1
        parts = {
            _CODES_AT: program.opcodes,
            _OPERANDS_AT: program.operands,
            _CONSTANTS_AT: program.constants,
            _COLUMNS_AT: np.asarray(columns, dtype=np.int64),
            _STATE_AT: state,
            _INPUTS_AT: np.zeros(max(len(columns), 1)),
            _RULES_AT: np.array([rules], dtype=RULES),
            _MIDS_AT: np.zeros(2 * mids),
            _TOP_AT: np.zeros((4, DEPTH)),
        }
        words = [-(-part.nbytes // 8) for part in parts.values()]
        places = np.cumsum([_HEADER, *words])
        self.memory = memory = np.zeros(int(places[-1]), dtype=np.int64)
        for (slot, part), at in zip(parts.items(), places, strict=False):
            memory[slot] = at
            memory[at:].view(np.uint8)[: part.nbytes] = np.frombuffer(part.tobytes(), dtype=np.uint8)
        memory[_N_CODES] = len(program.opcodes)
        memory[_N_CONSTANTS] = len(program.constants)
        memory[_N_COLUMNS] = len(columns)
        memory[_N_STATE] = len(state)
        memory[_MIDS] = mids
        self._floats = memory.view(np.float64)

    def set_certainty(self, value: float) -> None:
        """Bet this share of f* from now on."""
        self._floats[int(self.memory[_RULES_AT]) + _CERTAINTY] = value

    def evaluate(self, feed_memory: np.ndarray) -> None:
        """Move the program on by the row just closed (`BookFeatures.memory` holds it)."""
        _step(feed_memory, self.memory, EVALUATE, 0.0, 0.0)

    def step(self, feed_memory: np.ndarray, equity: float, multiplier: float) -> int:
        """Evaluate the row just closed and decide on it; return the reason code. `order` has the rest."""
        return _step(feed_memory, self.memory, EVALUATE | DECIDE, equity, multiplier)

    def decide(self, feed_memory: np.ndarray, equity: float, multiplier: float) -> int:
        """Decide on the row evaluated last, against the book as it is now; return the reason code."""
        return _step(feed_memory, self.memory, DECIDE, equity, multiplier)

    @property
    def outputs(self) -> np.ndarray:
        """Signal, score and size of the row evaluated last, (3,) float64; a view."""
        return self._floats[_OUTPUTS : _OUTPUTS + 3]

    @property
    def order(self) -> Order:
        """What the last decision came to."""
        side, *rest = self._floats[_ORDER : _ORDER + 6].tolist()
        return Order(int(side), *rest)
