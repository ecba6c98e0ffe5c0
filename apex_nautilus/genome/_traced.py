"""Arithmetic written once and compiled for one row and for eight: tracing to LLVM instructions.

A function decorated with `traced` takes and gives doubles. Numba compiles a call of it by running it on a
`Value`, a stand-in that writes down each operation as an LLVM instruction; `_block` runs the same function on
a `Value` of eight doubles. So one row and a block of rows cannot differ, and numba need not type any of it.

Selecting goes through `lesser`, `greater` and `choose`: one min, max or blend instruction each, where a
Python conditional would be a branch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core.cgutils import get_or_insert_function
from numba.core.typing.templates import AbstractTemplate, infer, infer_global, signature
from numba.extending import lower_builtin

_DOUBLE = ir.DoubleType()
_WORD = ir.IntType(64)


class Value:
    """A double, an int64 or a truth value of the code being written, or a vector of them.

    Operators take a `Value` or a Python number on either side.
    """

    __slots__ = ("_ir", "builder")

    def __init__(self, builder: ir.IRBuilder, value: ir.Value) -> None:
        self.builder = builder
        self._ir = value

    @property
    def ir(self) -> Any:
        """The LLVM value."""
        return self._ir

    def shaped(self, element: ir.Type) -> ir.Type:
        """The type with as many elements as this value."""
        kind = self.ir.type
        return ir.VectorType(element, kind.count) if isinstance(kind, ir.VectorType) else element

    def lifted(self, other: Value | float, kind: ir.Type | None = None) -> Any:
        """The LLVM value of `other`, a number becoming a constant of the type `kind` or of this value's."""
        if isinstance(other, Value):
            return other.ir
        kind = kind or self.ir.type
        if isinstance(kind, ir.VectorType):
            return ir.Constant(kind, [ir.Constant(kind.element, other)] * kind.count)
        return ir.Constant(kind, other)

    def _new(self, value: ir.Value) -> Value:
        return Value(self.builder, value)

    @property
    def _whole(self) -> bool:
        return self.shaped(_WORD) == self.ir.type

    def __add__(self, other):
        emit = self.builder.add if self._whole else self.builder.fadd
        return self._new(emit(self.ir, self.lifted(other)))

    __radd__ = __add__

    def __sub__(self, other):
        emit = self.builder.sub if self._whole else self.builder.fsub
        return self._new(emit(self.ir, self.lifted(other)))

    def __rsub__(self, other):
        return self._new(self.builder.fsub(self.lifted(other), self.ir))

    def __mul__(self, other):
        return self._new(self.builder.fmul(self.ir, self.lifted(other)))

    __rmul__ = __mul__

    def __truediv__(self, other):
        return self._new(self.builder.fdiv(self.ir, self.lifted(other)))

    def __rtruediv__(self, other):
        return self._new(self.builder.fdiv(self.lifted(other), self.ir))

    def __neg__(self):
        return self._new(self.builder.fneg(self.ir))

    def __abs__(self):
        return self._intrinsic("llvm.fabs", self.ir)

    def __lshift__(self, bits):
        return self._new(self.builder.shl(self.ir, self.lifted(bits)))

    def __rshift__(self, bits):
        return self._new(self.builder.ashr(self.ir, self.lifted(bits)))

    def _compare(self, how: str, other):
        return self._new(self.builder.fcmp_ordered(how, self.ir, self.lifted(other)))

    def __lt__(self, other):
        return self._compare("<", other)

    def __gt__(self, other):
        return self._compare(">", other)

    def __ge__(self, other):
        return self._compare(">=", other)

    def __eq__(self, other):
        return self._compare("==", other)

    __hash__ = None  # type: ignore[assignment]

    def _intrinsic(self, name: str, *arguments: ir.Value) -> Value:
        kind = self.ir.type
        width = f"v{kind.count}f64" if isinstance(kind, ir.VectorType) else "f64"
        form = ir.FunctionType(kind, [kind] * len(arguments))
        function = get_or_insert_function(self.builder.module, form, f"{name}.{width}")
        return self._new(self.builder.call(function, arguments))


def traced(function: Callable) -> Callable:
    """Let numba compile calls of `function`, doubles to double, by tracing it."""
    return _known_to_numba(function, types.float64, types.float64)


def _known_to_numba(function: Callable, result: types.Type, argument: types.Type) -> Callable:
    arguments = [argument] * function.__code__.co_argcount

    @infer
    class Typed(AbstractTemplate):
        key = function

        def generic(self, args, kws):
            return signature(result, *arguments) if len(args) == len(arguments) and not kws else None

    infer_global(function, types.Function(Typed))

    @lower_builtin(function, *arguments)
    def lowered(context, builder, signature, values):
        return function(*(Value(builder, value) for value in values)).ir

    return function


def choose(condition: Value, a: Value | float, b: Value | float) -> Value:
    """``a if condition else b``, both at hand."""
    kind = condition.shaped(_DOUBLE)
    builder = condition.builder
    return Value(builder, builder.select(condition.ir, condition.lifted(a, kind), condition.lifted(b, kind)))


def lesser(a: Value, b: Value | float) -> Value:
    """``a if a < b else b``."""
    return choose(a < b, a, b)


def greater(a: Value, b: Value | float) -> Value:
    """``a if a > b else b``."""
    return choose(a > b, a, b)


def root(a: Value) -> Value:
    """The square root of what is not negative."""
    return a._intrinsic("llvm.sqrt", a.ir)


def with_sign(size: Value, sign: Value) -> Value:
    """The magnitude of the one with the sign of the other."""
    return size._intrinsic("llvm.copysign", size.ir, sign.ir)


def float_bits(a: Value) -> Value:
    """The 64 bits of a double as an int64."""
    return Value(a.builder, a.builder.bitcast(a.ir, a.shaped(_WORD)))


def bits_float(a: Value) -> Value:
    """The double with these 64 bits."""
    return Value(a.builder, a.builder.bitcast(a.ir, a.shaped(_DOUBLE)))


_known_to_numba(float_bits, types.int64, types.float64)
_known_to_numba(bits_float, types.float64, types.int64)
