"""External series in the catalog: what was published, beside the market it was published about."""

from __future__ import annotations

import os
from pathlib import Path

from apex_nautilus.data.errors import DataError
from apex_nautilus.features import FeatureError
from apex_nautilus.features.external import ExternalSeries, external_spec
from apex_nautilus.store import StoreError
from apex_nautilus.store.external import StoredSeries, list_external, load_external, store_external

__all__ = ["read_external", "write_external"]


def read_external(
    catalog_path: str | os.PathLike[str], name: str, instrument_id: str | None = None
) -> ExternalSeries:
    """Read the series of an external feature.

    Parameters
    ----------
    catalog_path : path
        The market catalog.
    name : str
        A registered external feature.
    instrument_id : str, optional
        Whose series: the instrument's own where one is stored, else the market's.

    Raises
    ------
    FeatureError
        When the feature is unknown.
    DataError
        When no series is stored, or the file is damaged.
    """
    external_spec(name)
    try:
        stored = load_external(catalog_path, name, instrument_id)
        if stored is not None:
            return ExternalSeries(stored.name, stored.published_ns, stored.value, stored.stale_after_ns)
    except (StoreError, FeatureError) as error:
        raise DataError(f"external series {name!r} of {Path(catalog_path)}: {error}") from error
    held = ", ".join(n if i is None else f"{n} of {i}" for n, i in list_external(catalog_path)) or "none"
    whom = f" for {instrument_id} or the market" if instrument_id else ""
    raise DataError(
        f"{Path(catalog_path)}: no external series {name!r}{whom} is stored (stored: {held}); "
        "import one first, see docs/external-features.md"
    )


def write_external(
    catalog_path: str | os.PathLike[str],
    series: ExternalSeries,
    instrument_id: str | None = None,
    *,
    replace: bool = True,
) -> Path:
    """Store a series, whole or not at all; return its file.

    Parameters
    ----------
    instrument_id : str, optional
        Whose series it is; left out, it speaks of the whole market.
    replace : bool
        Take the place of a stored series. Otherwise the two are joined, which they allow where they agree
        on every time that both hold.

    Raises
    ------
    DataError
        When the series cannot be stored under its name, or not joined with the stored one.
    """
    try:
        if not replace:
            series = _joined(catalog_path, series, instrument_id)
        return store_external(
            catalog_path,
            StoredSeries(
                series.name, instrument_id, series.published_ns, series.value, series.stale_after_ns
            ),
        )
    except StoreError as error:
        raise DataError(f"external series {series.name!r}: {error}") from error


def _joined(
    catalog_path: str | os.PathLike[str], series: ExternalSeries, instrument_id: str | None
) -> ExternalSeries:
    stored = load_external(catalog_path, series.name, instrument_id)
    if stored is None or stored.instrument_id != instrument_id:
        return series
    values = dict(zip(stored.published_ns.tolist(), stored.value.tolist(), strict=True))
    for ts_ns, value in zip(series.published_ns.tolist(), series.value.tolist(), strict=True):
        if values.setdefault(ts_ns, value) != value:
            raise DataError(
                f"external series {series.name!r}: the catalog holds {values[ts_ns]!r} as published at "
                f"{ts_ns}, the source {value!r}; write with replace to take the source's"
            )
    return ExternalSeries.from_publications(
        series.name, list(values), list(values.values()), series.stale_after_ns
    )
