"""Running instructions on a block of rows: a switch over the opcodes, a loop over vectors in each case.

The loops are written as LLVM instructions, because numba's own cannot say what is known here: that operands
do not overlap the destination, that rows come in whole vectors, that no index is out of range. Saying it
saves some 50 ns an instruction, as much as the work itself. What a loop computes is traced from `scalar`.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from apex_nautilus.genome import scalar
from apex_nautilus.genome._codes import OP_ADD_C, RING, STEP
from apex_nautilus.genome._operations import OPERATIONS
from apex_nautilus.genome._traced import Value
from apex_nautilus.genome.primitives import OP_CONSTANT

#: Doubles in a vector: one register of 512 bits, two or four where registers are narrower.
_LANES = 8

_VECTOR = ir.VectorType(ir.DoubleType(), _LANES)
_BYTE = ir.IntType(8)
_WORD = ir.IntType(64)


@intrinsic
def widest_vectors(typingctx):
    """Let LLVM use the machine's widest vectors in the function this is called in.

    On processors with 512-bit vectors LLVM prefers 256 bits, because the first of them slowed down; those of
    today do not. The width changes no result: every lane computes what scalar code would.
    """

    def codegen(context, builder, signature, arguments):
        attributes = builder.function.attributes
        if isinstance(attributes, set):  # llvmlite's own `add` knows only attributes without a value
            set.add(attributes, '"prefer-vector-width"="512"')
        return context.get_dummy_value()

    return types.none(), codegen


@intrinsic
def address(typingctx, array):
    """Where an array's data begins."""

    def codegen(context, builder, signature, arguments):
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        return builder.ptrtoint(data, _WORD)

    return types.int64(array), codegen


@intrinsic
def _run(typingctx, op, d, a, b, c, k, steps):
    """Run one instruction: destination and operands are addresses, `steps` counts `STEP` rows each."""

    def codegen(context, builder, signature, arguments):
        op, d, a, b, c, k, steps = arguments
        last = builder.mul(steps, ir.Constant(_WORD, 8 * STEP))
        pointers = {
            place: builder.inttoptr(value, _BYTE.as_pointer()) for place, value in zip("dxyz", (d, a, b, c))
        }
        constant = ir.Constant(_VECTOR, ir.Undefined)
        for lane in range(_LANES):
            constant = builder.insert_element(constant, k, ir.Constant(ir.IntType(32), lane))
        done = builder.append_basic_block("done")
        switch = builder.switch(op, done)
        for opcode, (function, places) in OPERATIONS.items():
            case = builder.append_basic_block(f"op{opcode}")
            switch.add_case(ir.Constant(op.type, opcode), case)
            builder.position_at_end(case)
            _loop(builder, done, last, pointers, constant, function, places)
        builder.position_at_end(done)
        return context.get_dummy_value()

    word = types.int64
    return types.none(word, word, word, word, word, types.float64, word), codegen


def _loop(builder, done, last, pointers, constant, function, places):
    """``d[i] = function(x[i], ...)`` for whole steps of rows, then on to `done`."""
    before = builder.block
    body = builder.append_basic_block("body")
    builder.branch(body)
    builder.position_at_end(body)
    offset = builder.phi(_WORD)
    offset.add_incoming(ir.Constant(_WORD, 0), before)
    for part in range(STEP // _LANES):
        at = builder.add(offset, ir.Constant(_WORD, 8 * _LANES * part))
        rows = {place: builder.gep(p, [at], source_etype=_BYTE) for place, p in pointers.items()}
        values = [
            constant if place == "k" else builder.load(rows[place], align=8, typ=_VECTOR) for place in places
        ]
        result = function(*(Value(builder, value) for value in values))
        builder.store(result.ir, builder.bitcast(rows["d"], _VECTOR.as_pointer()), align=8)
    following = builder.add(offset, ir.Constant(_WORD, 8 * STEP))
    offset.add_incoming(following, body)
    builder.cbranch(builder.icmp_unsigned("<", following, last), body, done)


@njit(cache=True)
def clean_column(column, X, feature, lo, hi):
    """Feature `feature` of rows lo - RING .. hi - 1, cleaned, into `column`; the NaN among rows lo .. hi - 1.

    ``column[RING + i]`` is row lo + i. Rows before row 0 are left as they are: no window reads them.
    """
    invalid = 0
    first = max(lo - RING, 0)
    for t in range(first, lo):
        column[RING + t - lo] = scalar.clean(X[t, feature])
    for t in range(lo, hi):
        x = X[t, feature]
        if x != x:
            invalid += 1
        column[RING + t - lo] = scalar.clean(x)
    return invalid


@njit(cache=True)
def run_body(opcodes, operands, start, stop, constants, base, scratch, spare, out, at, n):
    """Run instructions start .. stop - 1 on one block.

    Parameters
    ----------
    opcodes, operands : ndarray
        Register code without the instructions that fill columns.
    start, stop : int
        Range of instructions.
    constants : ndarray of float64
        All constants; the program's begin at `base`.
    scratch : ndarray of float64, shape (registers, RING + block)
        Registers; a block's rows start at ``RING``. `block` is a multiple of ``STEP``.
    spare : int
        A register no instruction names: an output that is not whole vectors passes through it.
    out : ndarray of float64, shape (outputs, rows)
        Outputs are written to columns at .. at + n - 1.
    at, n : int
        Place in `out` and number of rows.
    """
    widest_vectors()
    steps = (n + STEP - 1) // STEP
    direct = n % STEP == 0 and out.strides[1] == 8
    stride = 8 * scratch.shape[1]
    rows = address(scratch) + 8 * RING
    outputs = address(out) + 8 * at
    for i in range(start, stop):
        op = np.int64(opcodes[i])
        j = 4 * i
        to = operands[j]
        first = np.int64(operands[j + 1])
        second = np.int64(operands[j + 2])
        if to >= 0:
            d = rows + to * stride
        elif direct:
            d = outputs + (-1 - to) * out.strides[0]
        else:
            d = rows + spare * stride
        if op >= OP_ADD_C:
            k = constants[base + second]
        elif op == OP_CONSTANT:
            k = constants[base + first]
        else:
            k = 0.0
        _run(
            op,
            d,
            rows + first * stride,
            rows + second * stride,
            rows + operands[j + 3] * stride,
            k,
            steps,
        )
        if to < 0 and not direct:
            for r in range(n):
                out[-1 - to, at + r] = scratch[spare, RING + r]
