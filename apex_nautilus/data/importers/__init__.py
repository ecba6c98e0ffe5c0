"""Recordings of other people's making, turned into what the catalog holds. One importer a module."""

from __future__ import annotations

from apex_nautilus.data.importers.binance_capture import import_binance_capture

from apex_nautilus.data.importers.report import ImportReport, RowLedger, TouchCheck

__all__ = ["ImportReport", "RowLedger", "TouchCheck", "import_binance_capture"]
