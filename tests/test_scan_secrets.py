"""The scan that keeps keys out of the repository."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def scan(monkeypatch, tmp_path):
    spec = importlib.util.spec_from_file_location("scan_secrets", ROOT / "scripts" / "scan_secrets.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    return module


@pytest.mark.parametrize(
    "line",
    [
        "api_" + 'key = "' + "a1B2" * 6 + '"',
        '{"' + "secret" + '": "' + "Zx9/" * 5 + '"}',
        "-----BEGIN RSA " + "PRIVATE KEY-----",
        "AKIA" + "ABCDEFGH12345678",
        "--index-" + "url https://example.invalid/simple",
    ],
)
def test_a_key_like_string_is_found_and_not_printed(scan, tmp_path, line):
    path = tmp_path / "settings.py"
    path.write_text(f"x = 1\n{line}\n")
    (found,) = scan.findings(path)
    assert found.startswith("settings.py:2:")
    assert line not in found


def test_ordinary_code_is_not_taken_for_a_key(scan, tmp_path):
    path = tmp_path / "ok.py"
    path.write_text('api_key = os.environ["BYBIT_TESTNET_API_KEY"]\naccess = "read"\n')
    assert scan.findings(path) == []
