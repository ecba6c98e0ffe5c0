"""The part of each program that the signal needs.

Most rows trade nothing, so the replay asks for the signal first and for confidence and size only where it
speaks.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from apex_nautilus.genome import OP_CONSTANT, OP_FEATURE, PRIMITIVES, ProgramBatch
from apex_nautilus.genome.primitives import OP_COPY

_LARGEST = 256

#: Operands that are registers, by opcode. Forms with a constant and copies, which have no name, take one.
_REGISTERS = np.ones(_LARGEST, dtype=np.int64)
_REGISTERS[[OP_FEATURE, OP_CONSTANT]] = 0
for _primitive in PRIMITIVES.values():
    _REGISTERS[_primitive.opcode] = _primitive.arity


@njit(cache=True)
def _signal_kernel(opcodes, operands, code_at, n_registers, registers, kept_opcodes, kept_operands, kept_at):
    live = np.zeros(n_registers, dtype=np.bool_)
    keep = np.zeros(opcodes.shape[0], dtype=np.bool_)
    kept = 0
    for g in range(code_at.shape[0] - 1):
        live[:] = False
        # Backwards: an instruction is needed when it writes output 0, or a register that a needed one reads
        # later.
        for i in range(code_at[g + 1] - 1, code_at[g] - 1, -1):
            target = operands[4 * i]
            if target >= 0:
                keep[i] = live[target]
                live[target] = False
            else:
                keep[i] = target == -1
            if keep[i]:
                for j in range(registers[opcodes[i]]):
                    live[operands[4 * i + 1 + j]] = True
        kept_at[g] = kept
        for i in range(code_at[g], code_at[g + 1]):
            if keep[i]:
                kept_opcodes[kept] = opcodes[i]
                kept_operands[4 * kept : 4 * kept + 4] = operands[4 * i : 4 * i + 4]
                kept += 1
    kept_at[code_at.shape[0] - 1] = kept


def signal_part(programs: ProgramBatch) -> tuple[NDArray[np.uint8], NDArray[np.int32], NDArray[np.int64]]:
    """Return opcodes, operands and offsets of the programs without what output 0, the signal, does not need.

    Constants and registers are the batch's own.
    """
    opcodes = np.empty_like(programs.opcodes)
    operands = np.empty_like(programs.operands)
    code_at = np.zeros_like(programs.code_at)
    _signal_kernel(
        programs.opcodes,
        programs.operands,
        programs.code_at,
        programs.n_slots,
        _REGISTERS,
        opcodes,
        operands,
        code_at,
    )
    count = int(code_at[-1])
    return opcodes[:count].copy(), operands[: 4 * count].copy(), code_at


@njit(cache=True)
def _sources_kernel(opcodes, operands, code_at, sources):
    for g in range(code_at.shape[0] - 1):
        for i in range(code_at[g], code_at[g + 1]):
            target = operands[4 * i]
            if target >= 0 or opcodes[i] != OP_COPY:
                continue
            # The columns come first and keep their registers, so a copy of one is the feature itself.
            for j in range(code_at[g], i):
                if opcodes[j] == OP_FEATURE and operands[4 * j] == operands[4 * i + 1]:
                    sources[g, -1 - target] = operands[4 * j + 1]


def output_sources(programs: ProgramBatch) -> NDArray[np.int64]:
    """Return (G, 3): the feature that an output is without any arithmetic, -1 where it is computed or
    absent."""
    sources = np.full((len(programs), 3), -1, dtype=np.int64)
    _sources_kernel(programs.opcodes, programs.operands, programs.code_at, sources)
    return sources
