"""Compiled genomes: `Program` for one, `ProgramBatch` for many.

A program is three flat arrays (opcodes, operands, constants) and a few sizes, so that it can be handed to any
compiled loop: the Forge's replay, the market simulator, a live strategy. `_compiler` lists the instructions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from apex_nautilus.genome._codes import RING, STEP
from apex_nautilus.genome._compiler import compile_kernel
from apex_nautilus.genome._linker import link_kernel
from apex_nautilus.genome.errors import GenomeError
from apex_nautilus.genome.flat import Flat, flatten
from apex_nautilus.genome.primitives import OP_CONSTANT, OP_FEATURE, PRIMITIVES
from apex_nautilus.genome.schema import Genome, Node
from apex_nautilus.genome.trees import check_tree

#: Rows a block holds: with 8 registers of float64 this fills half of a 48 KiB L1 cache.
BLOCK = 384

_KNOWN_CODES = np.zeros(256, np.bool_)
_KNOWN_CODES[[OP_FEATURE, OP_CONSTANT, *(p.opcode for p in PRIMITIVES.values())]] = True


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """One compiled genome.

    Attributes
    ----------
    opcodes : ndarray of uint8, shape (n,)
    operands : ndarray of int32, shape (4 n,)
        Destination and three operands of each instruction.
    constants : ndarray of float64
    n_features : int
        Least width of the rows it reads.
    n_outputs : int
        0 signal, 1 confidence, 2 size (when the genome has one).
    n_slots : int
        Registers. The first `n_columns` hold features and windows.
    n_columns, n_rings : int
        Columns filled from the data; features whose history is kept.
    state_size : int
        Length of the state of one live evaluation.
    warmup : int
        Rows before the first at which every window is full.
    digest : str
        SHA-256 of what runs, 16 hex digits.
    """

    opcodes: np.ndarray
    operands: np.ndarray
    constants: np.ndarray
    n_features: int
    n_outputs: int
    n_slots: int
    n_columns: int
    n_rings: int
    warmup: int

    @property
    def state_size(self) -> int:
        return 2 + RING * self.n_rings + self.n_slots

    @property
    def digest(self) -> str:
        parts = (self.opcodes.tobytes(), self.operands.tobytes(), self.constants.tobytes())
        return hashlib.sha256(b"|".join(parts)).hexdigest()[:16]

    def scratch(self, block: int = BLOCK) -> np.ndarray:
        """Fresh work space for `range_kernel`: (n_slots, RING + block), block rounded up to 16."""
        return np.zeros((self.n_slots, RING + -(-block // STEP) * STEP))


@dataclass(frozen=True, slots=True, eq=False)
class ProgramBatch:
    """Many compiled genomes in flat arrays.

    Program g is ``opcodes[code_at[g]:code_at[g + 1]]``, operands four times that range, and
    ``constants[constant_at[g]:constant_at[g + 1]]``. ``shape[g]`` holds its registers, columns, rings,
    warm-up rows and outputs.

    Besides, the batch is linked: `columns` lists every feature and window any program reads, each once, as
    (opcode, feature, k, column of the feature). ``body_*`` are first, before ``body_at[0]``, the instructions
    for values that several programs compute, then the programs without these and without the filling of
    columns. The first `n_fixed` registers hold columns and shared values throughout a block.
    """

    opcodes: np.ndarray
    operands: np.ndarray
    constants: np.ndarray
    code_at: np.ndarray
    constant_at: np.ndarray
    shape: np.ndarray
    n_features: int
    columns: np.ndarray
    body_opcodes: np.ndarray
    body_operands: np.ndarray
    body_at: np.ndarray
    n_fixed: int

    def __len__(self) -> int:
        return len(self.code_at) - 1

    def __getitem__(self, g: int) -> Program:
        if not 0 <= g < len(self):
            raise IndexError(f"program {g} of {len(self)}")
        i, j = self.code_at[g], self.code_at[g + 1]
        registers, columns, rings, warmup, outputs = (int(n) for n in self.shape[g])
        return Program(
            self.opcodes[i:j],
            self.operands[4 * i : 4 * j],
            self.constants[self.constant_at[g] : self.constant_at[g + 1]],
            self.n_features,
            outputs,
            registers,
            columns,
            rings,
            warmup,
        )

    @property
    def n_outputs(self) -> int:
        """Outputs of the program with most of them."""
        return int(self.shape[:, 4].max(initial=0))

    @property
    def n_slots(self) -> int:
        """Registers of the program with most of them: rows of a scratch that serves any of them."""
        return int(self.shape[:, 0].max(initial=1))

    @property
    def n_work(self) -> int:
        """Registers the linked bodies need: what all have in common and the most any body adds."""
        return self.n_fixed + int((self.shape[:, 0] - self.shape[:, 1]).max(initial=1))

    @property
    def warmup(self) -> int:
        """Longest warm-up, rows."""
        return int(self.shape[:, 3].max(initial=0))


def compile_flat(flat: Flat, n_features: int) -> ProgramBatch:
    """Compile a population given as prefix arrays.

    Parameters
    ----------
    flat : Flat
        Well-formed trees within the limits (the codec, or the Forge's operators, saw to that).
    n_features : int
        Width of the rows they will read.

    Raises
    ------
    GenomeError
        When a token is not an opcode, a feature is out of range, or the tokens do not form trees.
    """
    codes = np.ascontiguousarray(flat.codes, np.uint8)
    values = np.ascontiguousarray(flat.values, np.float64)
    trees = np.ascontiguousarray(flat.trees, np.int64)
    genomes = np.ascontiguousarray(flat.genomes, np.int64)
    if not _KNOWN_CODES[codes].all():
        raise GenomeError(f"token {int(np.argmin(_KNOWN_CODES[codes]))} is not an opcode")
    read = values[codes == OP_FEATURE]
    if read.size and not (read.min() >= 0 and read.max() < n_features):
        raise GenomeError(f"a feature beyond the {n_features} there are")
    windows = values[(codes > OP_FEATURE) & (codes < OP_CONSTANT)]
    if windows.size and not (windows.min() >= 1 and windows.max() < RING):
        raise GenomeError(f"a window beyond 1 .. {RING - 1} rows")
    n_genomes, n_trees = len(genomes) - 1, len(trees) - 1
    room = 4 * len(codes) + 2 * n_trees + 1
    opcodes = np.empty(room, np.uint8)
    operands = np.empty(4 * room, np.int32)
    constants = np.empty(room, np.float64)
    code_at = np.empty(n_genomes + 1, np.int64)
    constant_at = np.empty(n_genomes + 1, np.int64)
    shape = np.empty((n_genomes, 5), np.int64)
    fault = compile_kernel(
        codes, values, trees, genomes, opcodes, operands, constants, code_at, constant_at, shape
    )
    if fault >= 0:
        raise GenomeError(f"the tokens do not form trees (at token {fault})")
    n = int(code_at[-1])
    return _linked(
        opcodes[:n].copy(),
        operands[: 4 * n].copy(),
        constants[: int(constant_at[-1])].copy(),
        code_at,
        constant_at,
        shape,
        n_features,
    )


def _linked(opcodes, operands, constants, code_at, constant_at, shape, n_features: int) -> ProgramBatch:
    n_genomes = len(code_at) - 1
    seen = np.full((max(n_features, 1), 7, RING), -1, np.int32)
    columns = np.zeros((int(shape[:, 1].sum()) + 1, 4), np.int32)
    body = np.empty_like(opcodes)
    body_operands = np.empty_like(operands)
    body_at = np.empty(n_genomes + 1, np.int64)
    n_columns, n_fixed = link_kernel(
        opcodes,
        operands,
        constants,
        code_at,
        constant_at,
        shape,
        seen,
        columns,
        body,
        body_operands,
        body_at,
    )
    n = int(body_at[-1])
    return ProgramBatch(
        opcodes,
        operands,
        constants,
        code_at,
        constant_at,
        shape,
        n_features,
        columns[:n_columns].copy(),
        body[:n].copy(),
        body_operands[: 4 * n].copy(),
        body_at,
        n_fixed,
    )


def compile_trees(trees: Sequence[Node], n_features: int) -> Program:
    """Compile trees that are the outputs of one program.

    Raises
    ------
    GenomeError
        When a tree breaks a limit or names what does not exist.
    """
    for i, tree in enumerate(trees):
        check_tree(tree, n_features, f"trees[{i}]")
    return compile_flat(flatten([trees]), n_features)[0]


def compile_genome(genome: Genome) -> Program:
    """Compile a genome of kind ``tree``: outputs 0 signal, 1 confidence and, if it has one, 2 size."""
    if genome.kind != "tree":
        raise GenomeError(f"a genome of kind {genome.kind!r} has no trees to compile", path="kind")
    return compile_trees(genome.trees, len(genome.features))


def compile_genomes(genomes: Sequence[Genome]) -> ProgramBatch:
    """Compile genomes that read the same features, in the same order."""
    return pack([compile_genome(genome) for genome in genomes])


def pack(programs: Sequence[Program]) -> ProgramBatch:
    """Put programs that read the same rows into one batch."""
    if not programs:
        return compile_flat(flatten([]), 0)
    code_at = np.cumsum([0, *(len(p.opcodes) for p in programs)]).astype(np.int64)
    constant_at = np.cumsum([0, *(len(p.constants) for p in programs)]).astype(np.int64)
    shape = np.array([[p.n_slots, p.n_columns, p.n_rings, p.warmup, p.n_outputs] for p in programs], np.int64)
    return _linked(
        np.concatenate([p.opcodes for p in programs]),
        np.concatenate([p.operands for p in programs]),
        np.concatenate([p.constants for p in programs]),
        code_at,
        constant_at,
        shape,
        max(p.n_features for p in programs),
    )
