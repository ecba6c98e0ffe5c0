"""Peers that live in an environment of their own, or nowhere: what the rows say of them."""

from __future__ import annotations

import subprocess

import pytest

from apex_nautilus.sim import profile
from benchmarks import market_peers
from benchmarks.harness import MissingPeer


def test_a_peer_whose_environment_cannot_be_made_is_missing_and_says_why(tmp_path, monkeypatch):
    def refuse(command, **_):
        raise subprocess.CalledProcessError(1, command, stderr="resolving\nerror: no such wheel\n")

    monkeypatch.setattr(market_peers, "_ROOT", tmp_path)
    monkeypatch.setattr(market_peers.subprocess, "run", refuse)
    with pytest.raises(MissingPeer, match="no such wheel"):
        market_peers._peer_python()
    assert not list(tmp_path.rglob("complete"))

    monkeypatch.setattr(market_peers, "_beside_abides", lambda *_: None)
    row = next(market_peers.run(quick=True))
    assert "missing" in row.peer
    assert row.holds is None


def test_an_environment_that_is_there_is_not_made_again(tmp_path, monkeypatch):
    home = tmp_path / ".venv-peers" / "hftbacktest"
    home.mkdir(parents=True)
    (home / "complete").touch()
    monkeypatch.setattr(market_peers, "_ROOT", tmp_path)
    monkeypatch.setattr(market_peers.subprocess, "run", lambda *_, **__: pytest.fail("made again"))
    assert market_peers._peer_python() == home / "bin" / "python"


def test_a_figure_that_was_not_measured_here_says_so():
    row = market_peers._beside_abides(profile("BTCUSDT-LINEAR.SIM"), 1_000_000_000)
    assert "not run here" in row.peer
    assert row.same_work.startswith("not checked")
    assert row.theirs == 30_000.0
