"""Opcodes of compiled programs beyond those of the table, and the room a window needs."""

from __future__ import annotations

from typing import Final

# Forms with a constant as one operand; they spare filling a register with it.
OP_ADD_C: Final = 32  # a + c (and a - c as a + -c)
OP_MUL_C: Final = 33
OP_C_SUB: Final = 34  # c - a
OP_DIV_C: Final = 35  # a / c, |c| >= TINY
OP_C_DIV: Final = 36  # c / a
OP_MIN_C: Final = 37
OP_MAX_C: Final = 38
OP_GT_C: Final = 39
OP_LT_C: Final = 40

#: Rows a ring, and the history before a block, hold: the next power of two above the longest window and the
#: row itself.
RING: Final = 64
#: Rows that an iteration of a loop over a block handles, two vectors of eight. Blocks are padded to a
#: multiple; what the padding computes is ignored.
STEP: Final = 16
