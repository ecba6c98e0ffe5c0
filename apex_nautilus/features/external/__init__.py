"""Features that are published from outside, each value at its own time.

In: publications (a time from which a value is known, and the value). Out: the value in force at the time of
a row, neutral before the first and once it has grown stale. `asof_join` gives a column for a whole dataset,
`ExternalFeatures` a row at a time; both give the same bits. A new external feature is one new module here
that calls `register`.
"""

from __future__ import annotations

from apex_nautilus.features.external.live import ExternalFeatures
from apex_nautilus.features.external.series import ExternalSeries, asof_join, external_spec

__all__ = ["ExternalFeatures", "ExternalSeries", "asof_join", "external_spec"]
