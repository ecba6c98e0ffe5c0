"""The table of features: filled by importing the modules of `features.book`, `.bars` and `.external`.

A new feature is one new module in one of these packages that calls `register`; nothing else changes.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal

from apex_nautilus._submodules import import_submodules

BOOK_INPUTS: Final = ("touch", "levels", "trades")
BAR_INPUTS: Final = ("open", "high", "low", "close", "volume")
EXTERNAL_INPUTS: Final = ("published",)

Kind = Literal["book", "bar", "external"]

_INPUTS: Final = {"book": BOOK_INPUTS, "bar": BAR_INPUTS, "external": EXTERNAL_INPUTS}
_PACKAGES: Final = (
    "apex_nautilus.features.book",
    "apex_nautilus.features.bars",
    "apex_nautilus.features.external",
)


class FeatureError(ValueError):
    """A feature, a set of features or their input is not what it must be; the message says how to mend it."""


@dataclass(frozen=True, slots=True)
class Kernels:
    """The code of a feature, see `apex_nautilus.features.kernel`.

    Parameters
    ----------
    value : callable
        ``(view, state) -> float``, called once a row.
    on_book, on_trade : callable, optional
        ``(view, state) -> None``, book features only.
    state_size : int
        Words of state, at least the number of parameters; zero at birth.
    parameters : tuple of int
        Written at the start of the state, so that one kernel serves a family.
    shared : str
        Features that name the same one have one state between them in a machine, and their common hooks are
        called once: outputs of one computation. Empty: a state of its own.
    """

    value: Callable[[Any, Any], float]
    on_book: Callable[[Any, Any], None] | None = None
    on_trade: Callable[[Any, Any], None] | None = None
    state_size: int = 0
    parameters: tuple[int, ...] = ()
    shared: str = ""


def _is_published(view: Any, state: Any) -> float:
    raise FeatureError("an external feature is published, not computed; see apex_nautilus.features.external")


PUBLISHED: Final = Kernels(value=_is_published)
"""Stands for the code of a feature that has none: its values come from outside."""


@dataclass(frozen=True, slots=True)
class FeatureSpec:
    """What a feature is.

    Parameters
    ----------
    name : str
        How genomes call it.
    kind : {"book", "bar", "external"}
        Whether it is computed from market events, from closed bars, or published from outside.
    unit : str
        Unit of the value.
    low, high : float
        The value never leaves [low, high]; infinite where there is no bound.
    inputs : tuple of str
        What it reads: "touch", "levels", "trades", the columns of a bar, or "published".
    warmup_rows, warmup_ns, warmup_trades : int
        A row is warm when it has that many rows before it, when that much time has passed since the first
        whole book (bars: when bars of that much time came before), and when that many trades have been
        seen. From then on the value depends on the market alone, not on where the data began.
    neutral : float
        The value while it is undefined; no feature is ever NaN.
    formula, source : str
        Definition, and the paper or book it is from.
    kernels : Kernels
        The code.
    stale_after_ns : int
        External features: a value older than this counts no more and the neutral one takes its place.
    """

    name: str
    kind: Kind
    unit: str
    low: float
    high: float
    inputs: tuple[str, ...]
    formula: str
    source: str
    kernels: Kernels
    warmup_rows: int = 0
    warmup_ns: int = 0
    warmup_trades: int = 0
    neutral: float = 0.0
    stale_after_ns: int = 0

    def __post_init__(self) -> None:
        allowed = _INPUTS[self.kind]
        unknown = sorted(set(self.inputs) - set(allowed))
        if unknown:
            known = ", ".join(allowed)
            raise FeatureError(f"feature {self.name!r}: unknown inputs {unknown} (known: {known})")
        if not self.low <= self.neutral <= self.high:
            raise FeatureError(
                f"feature {self.name!r}: neutral value {self.neutral} is outside [{self.low}, {self.high}]"
            )
        if self.kernels.state_size < len(self.kernels.parameters):
            raise FeatureError(f"feature {self.name!r}: state_size is too small for its parameters")
        if min(self.warmup_rows, self.warmup_ns, self.warmup_trades) < 0:
            raise FeatureError(f"feature {self.name!r}: a warm-up cannot be negative")
        if (self.kind == "external") != (self.stale_after_ns > 0):
            raise FeatureError(
                f"feature {self.name!r}: stale_after_ns must be positive for external features and 0 for "
                f"others, got {self.stale_after_ns!r}"
            )

    def is_warm(self, row_age: tuple[int, int, int]) -> bool:
        """Whether a row of this age (rows, nanoseconds and trades before it) is past the warm-up."""
        rows, nanoseconds, trades = row_age
        return rows >= self.warmup_rows and nanoseconds >= self.warmup_ns and trades >= self.warmup_trades


_registry: dict[str, FeatureSpec] = {}
_loaded = False


def register(spec: FeatureSpec) -> FeatureSpec:
    """Add a feature to the registry.

    Raises
    ------
    FeatureError
        When another feature has that name.
    """
    if spec.name in _registry:
        raise FeatureError(f"feature {spec.name!r} is registered twice; give one of them another name")
    _registry[spec.name] = spec
    return spec


def _load() -> None:
    global _loaded
    if _loaded:
        return
    for package_name in _PACKAGES:
        import_submodules(package_name)
    _loaded = True


def get(name: str) -> FeatureSpec:
    """Return the feature called `name`.

    Raises
    ------
    FeatureError
        When there is none; the message names the nearest ones.
    """
    _load()
    try:
        return _registry[name]
    except KeyError:
        near = difflib.get_close_matches(str(name), _registry, n=3, cutoff=0.5) or sorted(_registry)
        raise FeatureError(
            f"{name!r} is not a feature (did you mean {', '.join(near)}?); see docs/features.md"
        ) from None


def names(kind: Kind | None = None) -> tuple[str, ...]:
    """Return the names of all features, or of those of one kind, sorted."""
    _load()
    return tuple(sorted(n for n, s in _registry.items() if kind is None or s.kind == kind))


def resolve(wanted: Iterable[str], kind: Kind) -> tuple[FeatureSpec, ...]:
    """Return the specs of a set of features of one kind, in order.

    Raises
    ------
    FeatureError
        When the set is empty, a name is unknown, appears twice, or is of the other kind.
    """
    specs: list[FeatureSpec] = []
    seen: set[str] = set()
    if isinstance(wanted, str):
        raise FeatureError(f"feature names must be a sequence of strings, got the string {wanted!r}")
    for name in wanted:
        spec = get(name)
        if spec.kind != kind:
            raise FeatureError(
                f"{name!r} is a {spec.kind} feature and cannot be computed with {kind} features "
                f"(those are: {', '.join(names(kind))})"
            )
        if name in seen:
            raise FeatureError(f"feature {name!r} is asked for twice; name each once")
        seen.add(name)
        specs.append(spec)
    if not specs:
        raise FeatureError(f"no feature was named (known {kind} features: {', '.join(names(kind))})")
    return tuple(specs)


def place_states(specs: Iterable[FeatureSpec], start: int) -> tuple[list[int], int]:
    """Return where the state of each feature begins, one after another from `start`, and where they end.

    Raises
    ------
    FeatureError
        When features that share a state do not agree on its size and parameters.
    """
    places: list[int] = []
    shared: dict[str, tuple[FeatureSpec, int]] = {}
    end = start
    for spec in specs:
        kernels = spec.kernels
        if kernels.shared in shared:
            first, place = shared[kernels.shared]
            if (first.kernels.state_size, first.kernels.parameters) != (
                kernels.state_size,
                kernels.parameters,
            ):
                raise FeatureError(
                    f"features {first.name!r} and {spec.name!r} share the state {kernels.shared!r} but "
                    "differ in its size or parameters"
                )
            places.append(place)
            continue
        if kernels.shared:
            shared[kernels.shared] = spec, end
        places.append(end)
        end += kernels.state_size
    return places, end


__all__ = [
    "PUBLISHED",
    "FeatureError",
    "FeatureSpec",
    "Kernels",
    "Kind",
    "get",
    "names",
    "place_states",
    "register",
    "resolve",
]
