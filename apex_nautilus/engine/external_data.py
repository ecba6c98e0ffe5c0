"""External features at a feed hub, of books or of bars: histories out of the catalog, and values published
while a node runs.

Who learns a value publishes an `ExternalValue` on the message bus, topic `EXTERNAL_TOPIC`; all hubs hear it.
In a backtest the hub reads the stored series of the catalog and each row sees what was published by its time,
as in a dataset.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from apex_nautilus.features import FeatureError, get
from apex_nautilus.features.external import ExternalFeatures, ExternalSeries, external_spec
from apex_nautilus.store.external import load_external

__all__ = ["EXTERNAL_TOPIC", "ExternalSource", "ExternalValue", "split_external"]

EXTERNAL_TOPIC = "apex.external"
"""The message bus topic of `ExternalValue`."""


@dataclass(frozen=True, slots=True)
class ExternalValue:
    """A value of an external feature, known from `ts_ns` on.

    Attributes
    ----------
    name : str
    ts_ns : int
    value : float
    instrument_id : str or None
        Whom it is about; None for every instrument.
    """

    name: str
    ts_ns: int
    value: float
    instrument_id: str | None = None


class ExternalSource:
    """What one instrument's hub knows from outside.

    Parameters
    ----------
    instrument_id : str
    catalog : str, optional
        Catalog whose series are read when a feature is first asked for. Without one: published values
        alone.
    """

    def __init__(self, instrument_id: str, catalog: str | None) -> None:
        self.instrument_id = instrument_id
        self.catalog = catalog
        self._features: dict[str, ExternalFeatures] = {}

    def ask(self, name: str) -> ExternalFeatures:
        """The feature's publications, one column.

        Raises
        ------
        FeatureError
            When it is no external feature, or the catalog holds no series of it.
        """
        if name in self._features:
            return self._features[name]
        external_spec(name)
        features = ExternalFeatures([name])
        if self.catalog is not None:
            stored = load_external(self.catalog, name, self.instrument_id)
            if stored is None:
                raise FeatureError(
                    f"external feature {name!r}: catalog {self.catalog} holds no series of it for "
                    f"{self.instrument_id} or the market; import one, see docs/external-features.md"
                )
            features.load(
                ExternalSeries(stored.name, stored.published_ns, stored.value, stored.stale_after_ns)
            )
        self._features[name] = features
        return features

    def take(self, message: ExternalValue) -> None:
        """Take a published value, if it is about this instrument."""
        if message.instrument_id in (None, self.instrument_id):
            self.ask(message.name).publish(message.name, message.ts_ns, message.value)

    def row(self, names: Sequence[str], ts_ns: int, out: np.ndarray) -> None:
        """Write the values in force at `ts_ns` into `out`, (len(names),)."""
        for i, name in enumerate(names):
            out[i] = self.ask(name).row(ts_ns)[0]


def split_external(names: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the computed and the external features among `names`, each in order."""
    external = tuple(name for name in names if get(name).kind == "external")
    return tuple(name for name in names if name not in external), external
