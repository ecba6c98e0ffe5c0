"""What a genome must hold beyond the types of its fields."""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from difflib import get_close_matches

from apex_nautilus.genome.errors import GenomeError
from apex_nautilus.genome.schema import (
    CLOCKS,
    MAX_FEATURES,
    MAX_KNOTS,
    SCHEMA,
    BpsStop,
    Genome,
    Isotonic,
    Platt,
    VolatilityStop,
)
from apex_nautilus.genome.trees import check_tree

# Both end up as names of folders and files, so neither may hold a separator or start with a dot.
_INSTRUMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:@^-]{0,63}\.[A-Z][A-Z0-9_]{0,31}")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_EXECUTION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,63}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FEATURE = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,63}")

_DAY_S = 86_400.0


def validate(genome: Genome, known_features: Collection[str], source: str = "<genome>") -> None:
    """Check everything the types cannot say.

    Parameters
    ----------
    genome : Genome
        Of the right types.
    known_features : collection of str
        Names of the feature registry.
    source : str
        For error messages.

    Raises
    ------
    GenomeError
        On the first violation, naming field and limit.
    """

    def require(holds: bool, path: str, reason: str) -> None:
        if not holds:
            raise GenomeError(reason, path=path, source=source)

    def between(path: str, value: float, low: float, high: float, *, above: bool = False) -> None:
        inside = math.isfinite(value) and (low < value if above else low <= value) and value <= high
        bracket = "(" if above else "["
        require(inside, path, f"{value!r} is outside {bracket}{low:g}, {high:g}]")

    require(genome.schema == SCHEMA, "schema", f"{genome.schema[:64]!r} is not known, this reads {SCHEMA!r}")
    require(
        bool(_INSTRUMENT.fullmatch(genome.instrument_id)),
        "instrument_id",
        f"{genome.instrument_id[:64]!r} is not SYMBOL.VENUE (letters, digits, _ . : @ ^ -; at most 64 + 32)",
    )
    require(genome.clock in CLOCKS, "clock", f"{genome.clock!r} is not one of {CLOCKS}")
    between("conflate_ms", genome.conflate_ms, 0, 60_000)
    require(
        genome.conflate_ms == 0 or genome.clock == "book",
        "conflate_ms",
        "only the clock 'book' can be conflated",
    )

    require(
        len(genome.features) <= MAX_FEATURES,
        "features",
        f"{len(genome.features)} features, the limit is {MAX_FEATURES}",
    )
    for i, name in enumerate(genome.features):
        path = f"features[{i}]"
        require(bool(_FEATURE.fullmatch(name)), path, f"{name[:64]!r} is not a feature name")
        if name not in known_features:
            close = get_close_matches(name, list(known_features), n=3)
            hint = f" (did you mean {', '.join(close)}?)" if close else ""
            raise GenomeError(f"{name!r} is not a known feature{hint}", path=path, source=source)
    require(len(set(genome.features)) == len(genome.features), "features", "a name stands twice")

    _check_kind(genome, require)
    for path, tree in (("signal", genome.signal), ("confidence", genome.confidence), ("size", genome.size)):
        if tree is not None:
            check_tree(tree, len(genome.features), path, source)

    between("entry_threshold", genome.entry_threshold, 0.0, 1e12)
    _check_calibration(genome.calibration, require, between)

    bracket, sizing = genome.bracket, genome.sizing
    between("bracket.reward_risk", bracket.reward_risk, 0.0, 100.0, above=True)
    between("bracket.max_hold_s", bracket.max_hold_s, 0.0, 366 * _DAY_S, above=True)
    if isinstance(bracket.stop, VolatilityStop):
        between("bracket.stop.multiple", bracket.stop.multiple, 0.0, 1000.0, above=True)
        between("bracket.stop.window", bracket.stop.window, 2, 10_000)
    elif isinstance(bracket.stop, BpsStop):
        between("bracket.stop.value", bracket.stop.value, 0.0, 5000.0, above=True)

    between("sizing.kelly_fraction", sizing.kelly_fraction, 0.0, 1.0, above=True)
    between("sizing.max_leverage", sizing.max_leverage, 0.0, 200.0, above=True)
    between("sizing.min_qty", sizing.min_qty, 0.0, 1e12)
    if sizing.max_qty is not None:
        between("sizing.max_qty", sizing.max_qty, sizing.min_qty, 1e12)
    between("sizing.lo", sizing.lo, 0.0, 1.0)
    between("sizing.hi", sizing.hi, sizing.lo, 1.0)

    require(
        bool(_EXECUTION.fullmatch(genome.execution)),
        "execution",
        "'aggressive', 'passive' or the id of an execution policy (letters, digits, _ -; at most 64)",
    )


def _check_kind(genome: Genome, require) -> None:
    """Each kind has its own fields, and only those."""
    tree, oracle, dolphin = (genome.kind == kind for kind in ("tree", "oracle", "dolphin"))
    for name in ("signal", "confidence"):
        present = getattr(genome, name) is not None
        require(present or not tree, name, "a genome of kind 'tree' needs this tree")
        require(tree or not present, name, f"a genome of kind {genome.kind!r} has no trees")
    evolved = genome.sizing.mode == "evolved"
    require(not (tree and evolved and genome.size is None), "size", "sizing.mode 'evolved' needs this tree")
    require(evolved or genome.size is None, "size", "only sizing.mode 'evolved' takes a size tree")
    require(tree or genome.size is None, "size", f"a genome of kind {genome.kind!r} has no trees")
    require(tree or not evolved, "sizing.mode", "'evolved' is for kind 'tree'")

    require(oracle == (genome.artifact is not None), "artifact", "needed by kind 'oracle', refused elsewhere")
    if genome.artifact is not None:
        name = genome.artifact.file
        require(
            bool(_PLAIN_NAME.fullmatch(name)) and not name.startswith("."),
            "artifact.file",
            f"{name[:64]!r} is not a plain file name (no path separator; letters, digits, _ . -; <= 128)",
        )
        require(
            bool(_SHA256.fullmatch(genome.artifact.sha256)),
            "artifact.sha256",
            "64 lower-case hex digits are needed",
        )
        for i, tensor in enumerate(genome.artifact.inputs):
            shape_holds = len(tensor.shape) <= 8 and all(n == -1 or 1 <= n <= 1_000_000 for n in tensor.shape)
            require(shape_holds, f"artifact.inputs[{i}].shape", "at most 8 axes, each -1 or 1 to 1000000")

    require(
        dolphin == (genome.parameters is not None),
        "parameters",
        "needed by kind 'dolphin', refused elsewhere",
    )
    for name, value in (genome.parameters or {}).items():
        path = f"parameters.{name[:64]}"
        require(
            name.isidentifier() and len(name) <= 64, "parameters", f"{name[:64]!r} is not a parameter name"
        )
        if isinstance(value, float):
            require(math.isfinite(value), path, f"{value!r} is not finite")


def _check_calibration(calibration: Platt | Isotonic, require, between) -> None:
    if isinstance(calibration, Platt):
        between("calibration.a", calibration.a, -1e6, 1e6)
        between("calibration.b", calibration.b, -1e6, 1e6)
        return
    scores, probabilities = calibration.scores, calibration.probabilities
    require(
        1 <= len(scores) <= MAX_KNOTS,
        "calibration.scores",
        f"{len(scores)} knots, the limits are 1 and {MAX_KNOTS}",
    )
    require(
        len(scores) == len(probabilities),
        "calibration.probabilities",
        f"{len(probabilities)} values for {len(scores)} scores",
    )
    for i, (score, p) in enumerate(zip(scores, probabilities, strict=True)):
        between(f"calibration.scores[{i}]", score, -1e12, 1e12)
        between(f"calibration.probabilities[{i}]", p, 0.0, 1.0)
        if i:
            require(score > scores[i - 1], f"calibration.scores[{i}]", "scores must grow")
            require(
                p >= probabilities[i - 1], f"calibration.probabilities[{i}]", "probabilities must not fall"
            )
