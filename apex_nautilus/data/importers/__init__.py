"""Recordings of other people's making, turned into what the catalog holds. One importer a module."""

from __future__ import annotations

from apex_nautilus.data.importers.binance_capture import BinanceCapture, import_binance_capture
from apex_nautilus.data.importers.bybit_capture import import_bybit_capture
from apex_nautilus.data.importers.bybit_ob500 import import_bybit_ob500
from apex_nautilus.data.importers.bybit_trades import import_bybit_trades
from apex_nautilus.data.importers.coinbase_l2 import import_coinbase_l2
from apex_nautilus.data.importers.cryptofeed import import_cryptofeed
from apex_nautilus.data.importers.csv_table import import_csv
from apex_nautilus.data.importers.freqtrade import import_freqtrade
from apex_nautilus.data.importers.report import ImportReport, RowLedger, TouchCheck
from apex_nautilus.data.importers.reports_kept import kept_reports

__all__ = [
    "BinanceCapture",
    "ImportReport",
    "RowLedger",
    "TouchCheck",
    "import_binance_capture",
    "import_bybit_capture",
    "import_bybit_ob500",
    "import_bybit_trades",
    "import_coinbase_l2",
    "import_cryptofeed",
    "import_csv",
    "import_freqtrade",
    "kept_reports",
]
