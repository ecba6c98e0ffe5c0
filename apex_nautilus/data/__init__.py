"""Market data: recordings into the Nautilus catalog, datasets out of it.

In: captures and candles of venues (`importers`), or a simulator's tape. Between: a Nautilus
ParquetDataCatalog, written whole or not at all, each batch of a book ordered so that no part of it shows a
price that never was. Out: streams of market events (`read_events`), and `Dataset`: memory-mapped rows of
features, the path of the market between them, triple-barrier labels and purged splits, with a card whose id
is the hash of what went in.
"""

from __future__ import annotations

from apex_nautilus.data.bars import bar_type_name
from apex_nautilus.data.book_rows import dataset_from_events
from apex_nautilus.data.build import build_dataset, dataset_from_bars
from apex_nautilus.data.catalog import bar_types, instrument_ids, load_instrument
from apex_nautilus.data.catalog_reader import read_bars, read_events
from apex_nautilus.data.catalog_writer import CatalogWriter, Written, to_catalog, write_bars, write_events
from apex_nautilus.data.dataset import Dataset, DatasetCard
from apex_nautilus.data.errors import DataError, DatasetError, ImportRefused
from apex_nautilus.data.held_out import Opening, TestPartOpened, open_test_part, openings_by_study
from apex_nautilus.data.importers import ImportReport, import_binance_capture, import_freqtrade
from apex_nautilus.data.inspect import inspect_catalog
from apex_nautilus.data.labels import LABEL, LABEL_CODES, Bracket
from apex_nautilus.data.lobster import LobsterFiles, to_lobster
from apex_nautilus.data.nautilus_tables import BARS, from_nautilus_instrument, to_nautilus_instrument
from apex_nautilus.data.splits import Splits
from apex_nautilus.data.venues.binance import binance_instrument

__all__ = [
    "BARS",
    "LABEL",
    "LABEL_CODES",
    "Bracket",
    "CatalogWriter",
    "DataError",
    "Dataset",
    "DatasetCard",
    "DatasetError",
    "ImportRefused",
    "ImportReport",
    "LobsterFiles",
    "Opening",
    "Splits",
    "TestPartOpened",
    "Written",
    "bar_type_name",
    "bar_types",
    "binance_instrument",
    "build_dataset",
    "dataset_from_bars",
    "dataset_from_events",
    "from_nautilus_instrument",
    "import_binance_capture",
    "import_freqtrade",
    "inspect_catalog",
    "instrument_ids",
    "load_instrument",
    "open_test_part",
    "openings_by_study",
    "read_bars",
    "read_events",
    "to_catalog",
    "to_lobster",
    "to_nautilus_instrument",
    "write_bars",
    "write_events",
]
