"""Recordings and catalogs that the tests of the data room share."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from apex_nautilus.data import import_binance_capture

sys.path.insert(0, str(Path(__file__).parent))  # `synthetic_capture`, beside the tests

BTC = "BTCUSDT-PERP.BINANCE"


@pytest.fixture(scope="session")
def samples(root: Path) -> Path:
    """The folder of sample recordings."""
    return root / "tests" / "data"


@pytest.fixture(scope="session")
def btc_capture(samples: Path) -> Path:
    return samples / "btcusdt_usdm_20240808.gz"


@pytest.fixture(scope="session")
def btc_import(btc_capture: Path, tmp_path_factory: pytest.TempPathFactory):
    """(catalog path, import report) of the BTCUSDT sample."""
    catalog = tmp_path_factory.mktemp("market") / "catalog"
    return catalog, import_binance_capture([btc_capture], catalog, BTC)
