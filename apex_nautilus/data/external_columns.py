"""Columns of a dataset that were published from outside: funding, indices, other assets.

Each row is given what was in force by its time, joined as a live strategy would be told it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from apex_nautilus.data.external import read_external
from apex_nautilus.features import get
from apex_nautilus.features.external import ExternalSeries, asof_join

__all__ = ["ExternalColumns"]


@dataclass(frozen=True)
class ExternalColumns:
    """Which columns are joined, and from what.

    Parameters
    ----------
    wanted : tuple of str
        All columns of the dataset, in order.
    series : mapping of name to ExternalSeries
        Columns that are not in it are computed from the market.
    """

    wanted: tuple[str, ...]
    series: Mapping[str, ExternalSeries]

    @classmethod
    def of_catalog(
        cls, catalog_path: str | os.PathLike[str], instrument_id: str, wanted: Sequence[str]
    ) -> ExternalColumns:
        """Read the series of the external features among the columns.

        Raises
        ------
        FeatureError
            When a column is no feature.
        DataError
            When a series is not stored, or damaged.
        """
        names = [name for name in wanted if get(name).kind == "external"]
        return cls(tuple(wanted), {n: read_external(catalog_path, n, instrument_id) for n in names})

    @classmethod
    def none(cls, wanted: Sequence[str]) -> ExternalColumns:
        """All columns are computed from the market."""
        return cls(tuple(wanted), {})

    @property
    def names(self) -> tuple[str, ...]:
        """Columns that are joined, in order."""
        return tuple(name for name in self.wanted if name in self.series)

    @property
    def market(self) -> tuple[str, ...]:
        """Columns that are computed, in order."""
        return tuple(name for name in self.wanted if name not in self.series)

    @property
    def digests(self) -> list[tuple[str, int, str]]:
        """Each joined series as (name, age limit, SHA-256 of its times and values)."""
        found = []
        for name in self.names:
            one = self.series[name]
            digest = hashlib.sha256(one.published_ns.tobytes() + one.value.tobytes()).hexdigest()
            found.append((name, one.age_limit_ns, digest))
        return found

    def computed(self, fallback: str) -> tuple[str, ...]:
        """Features to compute: the market's columns, or one that nobody asked for where there is none, as
        the rows themselves come of computing it."""
        return self.market or (fallback,)

    def join(self, ts_ns: np.ndarray, features: np.ndarray) -> np.ndarray:
        """Return all columns in order: float64 (N, len(wanted)), C order.

        Parameters
        ----------
        ts_ns : (N,) int64
            Times of the rows.
        features : (N, len(computed)) float64
            The computed columns.
        """
        if not self.series:
            return features
        out = np.empty((len(ts_ns), len(self.wanted)))
        place = {name: i for i, name in enumerate(self.market)}
        for column, name in enumerate(self.wanted):
            if name in place:
                out[:, column] = features[:, place[name]]
            else:
                out[:, column] = asof_join(self.series[name], ts_ns)
        return out
