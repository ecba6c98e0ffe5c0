"""Recordings of other people's making, turned into what the catalog holds. One importer a module."""

from __future__ import annotations

from apex_nautilus.data.importers.binance_capture import BinanceCapture, import_binance_capture
from apex_nautilus.data.importers.freqtrade import import_freqtrade
from apex_nautilus.data.importers.report import ImportReport, RowLedger, TouchCheck
from apex_nautilus.data.importers.reports_kept import kept_reports

__all__ = [
    "BinanceCapture",
    "ImportReport",
    "RowLedger",
    "TouchCheck",
    "import_binance_capture",
    "import_freqtrade",
    "kept_reports",
]
