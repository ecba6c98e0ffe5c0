"""The eigen scan's outputs as features: what the whole market says to one of its parts."""

from __future__ import annotations

from typing import Final

from apex_nautilus.features.registry import PUBLISHED, FeatureSpec, register

__all__ = ["EIGEN_FEATURES", "EIGEN_WINDOWS"]

EIGEN_WINDOWS: Final = (50, 150, 300, 750)

_STALE_AFTER_NS: Final = 60_000_000_000  # twelve scans of the 5 s clock

_OF_A_WINDOW: Final = (
    ("lambda_max", "ratio", 0.0, 1.0, "largest eigenvalue of the correlations over {} samples / assets"),
    ("velocity", "a scan", -1.0, 1.0, "eigen_lambda_max_{0} now - at the scan before"),
    ("rotation", "ratio", 0.0, 1.0, "1 - |v(t) . v(t-1)|, v the leading eigenvector over {} samples"),
    ("instability", "ratio", 0.0, 1.0, "rank of |eigen_velocity_{}| among the last 750"),
)


def _output(name: str, unit: str, low: float, high: float, formula: str) -> str:
    register(
        FeatureSpec(
            name=name,
            kind="external",
            unit=unit,
            low=low,
            high=high,
            inputs=("published",),
            formula=formula,
            source="eigen scan, docs/eigen-scan.md",
            kernels=PUBLISHED,
            stale_after_ns=_STALE_AFTER_NS,
        )
    )
    return name


EIGEN_FEATURES: Final = (
    *(
        _output(f"eigen_{stem}_{w}", unit, low, high, formula.format(w))
        for stem, unit, low, high, formula in _OF_A_WINDOW
        for w in EIGEN_WINDOWS
    ),
    _output("eigen_vel_div", "a scan", -2.0, 2.0, "eigen_velocity_50 - eigen_velocity_750"),
    _output("eigen_instability_composite", "ratio", 0.0, 1.0, "mean of the four eigen_instability_*"),
    _output("eigen_regime_signal", "sign", -1.0, 1.0, "-1 calm, 0 neutral, 1 stressed"),
)
"""Names of the features that one scan publishes."""
