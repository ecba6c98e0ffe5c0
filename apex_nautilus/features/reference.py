"""The table of features as Markdown, for the documentation."""

from __future__ import annotations

import math

from apex_nautilus.features.registry import FeatureSpec, get, names

_COMPUTED = ("name", "unit", "range", "undefined", "warm-up", "formula", "source")
_PUBLISHED = ("name", "unit", "range", "neutral", "stale after", "formula", "source")


def bound_text(x: float) -> str:
    """A bound of a range, short."""
    if math.isinf(x):
        return "∞" if x > 0 else "-∞"
    return f"{x:.6g}"


def warmup_text(spec: FeatureSpec) -> str:
    """The warm-up of a feature in words."""
    parts = []
    if spec.warmup_rows:
        parts.append(f"{spec.warmup_rows} row{'s' if spec.warmup_rows > 1 else ''}")
    if spec.warmup_ns:
        seconds = spec.warmup_ns / 1e9
        parts.append(f"{seconds / 3600:g} h" if seconds >= 3600 else f"{seconds:g} s")
    if spec.warmup_trades:
        parts.append(f"{spec.warmup_trades} trade{'s' if spec.warmup_trades > 1 else ''}")
    return ", ".join(parts) or "none"


def age_text(ns: int) -> str:
    """An age limit in the largest unit that divides it."""
    for unit, size in (("day", 86_400), ("h", 3600), ("s", 1)):
        count, rest = divmod(ns, size * 10**9)
        if count and not rest:
            return f"{count} {unit}{'s' if unit == 'day' and count > 1 else ''}"
    return f"{ns / 1e9:g} s"


def _line(spec: FeatureSpec) -> str:
    cells = (
        f"`{spec.name}`",
        spec.unit,
        f"{bound_text(spec.low)} to {bound_text(spec.high)}",
        f"{spec.neutral:g}",
        age_text(spec.stale_after_ns) if spec.kind == "external" else warmup_text(spec),
        spec.formula.replace("|", "\\|"),
        spec.source,
    )
    return "| " + " | ".join(cells) + " |\n"


def feature_table(kind: str) -> str:
    """Return the Markdown table of the features of one kind ("book", "bar" or "external"), by name."""
    titles = _PUBLISHED if kind == "external" else _COMPUTED
    head = f"| {' | '.join(titles)} |\n{'|---' * len(titles)}|\n"
    return head + "".join(_line(get(n)) for n in names(kind))  # pyright: ignore[reportArgumentType]


def main() -> None:
    """Print the tables: ``python -m apex_nautilus.features.reference``."""
    for kind in ("book", "bar", "external"):
        print(f"<!-- {kind} features: begin -->\n{feature_table(kind)}<!-- {kind} features: end -->\n")


if __name__ == "__main__":
    main()
