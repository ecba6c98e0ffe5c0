"""Swaps, deaths and their recovery, without crashes (those are in test_crashes)."""

from __future__ import annotations

import json

import pytest

from apex_nautilus.store import (
    CatalogLayout,
    StoreError,
    drop,
    expire,
    holds,
    install,
    list_champions,
    next_epoch,
    read_champion,
    recover,
    retire,
    swap,
)

BTC = "BTCUSDT-LINEAR.BYBIT"
A, B, C = "a" * 16, "b" * 16, "c" * 16


def genome(genome_id, instrument_id=BTC, job_id=None) -> bytes:
    document = {"id": genome_id, "instrument_id": instrument_id, "schema": "apex.genome/1"}
    return json.dumps(document | {"provenance": {"job_id": job_id}}, indent=2).encode()


@pytest.fixture
def layout(tmp_path):
    return CatalogLayout(tmp_path / "catalog").ensure()


def challenger(layout, genome_id, **kwargs):
    path = layout.challenger_file(kwargs.get("instrument_id", BTC), genome_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(genome(genome_id, **kwargs))
    return path


def test_a_swap_installs_the_challenger_and_keeps_the_retired_genome(layout):
    install(layout, "btc-1", genome(A))
    path = challenger(layout, B)
    champion = swap(layout, "btc-1", path)
    assert (champion.genome_id, champion.epoch, champion.instrument_id) == (B, 2, BTC)
    assert read_champion(layout.champion_file(BTC, "btc-1")) == champion
    assert champion.genome_json() == genome(B)
    kept = read_champion(layout.retired_file("btc-1", 1, A))
    assert kept.genome_json() == genome(A)
    assert not path.exists()
    assert recover(layout).champions == {"btc-1": B}
    assert recover(layout).removed == []


def test_a_death_empties_the_slot_and_its_epochs_go_on(layout):
    install(layout, "btc-1", genome(A))
    kept = retire(layout, BTC, "btc-1")
    assert kept == layout.retired_file("btc-1", 1, A)
    assert list_champions(layout) == []
    assert next_epoch(layout, BTC, "btc-1") == 2
    assert swap(layout, "btc-1", challenger(layout, B)).epoch == 2
    with pytest.raises(FileNotFoundError):
        retire(layout, BTC, "btc-2")


def test_a_genome_may_return_to_a_slot_it_once_held(layout):
    install(layout, "btc-1", genome(A))
    swap(layout, "btc-1", challenger(layout, B))
    swap(layout, "btc-1", challenger(layout, A))
    recover(layout)
    names = sorted(path.name for path in layout.retired.iterdir())
    assert names == [f"btc-1.000001.{A}.json", f"btc-1.000002.{B}.json"]


def test_recovery_keeps_a_proposal_that_only_has_the_same_genome(layout):
    install(layout, "btc-1", genome(A, job_id="one"))
    again = challenger(layout, A, job_id="two")
    assert recover(layout).removed == []
    assert again.exists()


def test_instruments_with_a_slash_have_a_folder_of_their_own(layout):
    install(layout, "spot-1", genome(A, instrument_id="BTC/USDT.BINANCE"))
    assert recover(layout).champions == {"spot-1": A}
    assert layout.instruments() == ["BTC/USDT.BINANCE"]


def test_a_slot_belongs_to_one_instrument(layout):
    install(layout, "btc-1", genome(A))
    with pytest.raises(StoreError, match="trades BTCUSDT-LINEAR"):
        install(layout, "btc-1", genome(B, instrument_id="ETHUSDT-LINEAR.BYBIT"))


@pytest.mark.parametrize("slot", ["", "../btc", "btc.1", "btc/1", "-x", "x" * 65, ".hidden", "btc\n"])
def test_a_slot_that_could_leave_its_folder_is_refused(layout, slot):
    with pytest.raises(StoreError, match="cannot name a file"):
        install(layout, slot, genome(A))


@pytest.mark.parametrize("data", [b"", b"[]", b'{"id": 3, "instrument_id": "X"}', b"{" * 5000, b"\xff"])
def test_what_is_no_genome_changes_nothing(layout, data):
    install(layout, "btc-1", genome(A))
    path = challenger(layout, B)
    path.write_bytes(data)
    with pytest.raises(StoreError, match="not a genome"):
        swap(layout, "btc-1", path)
    assert recover(layout).champions == {"btc-1": A}


def test_a_champion_nested_too_deep_to_follow_is_named(layout):
    install(layout, "btc-1", genome(A))
    path = layout.champion_file(BTC, "btc-1")
    path.write_bytes(path.read_bytes().replace(b"null", b"[" * 200_000 + b"]" * 200_000))
    with pytest.raises(StoreError, match="not a champion file"):
        recover(layout)


@pytest.mark.parametrize("instrument_id", ["", ".hidden", "x" * 129, "é" * 100])
def test_an_instrument_that_cannot_name_a_folder_is_refused(layout, instrument_id):
    with pytest.raises(StoreError, match="cannot name a folder"):
        layout.champions(instrument_id)


def test_a_champion_file_in_the_wrong_place_is_named(layout):
    install(layout, "btc-1", genome(A))
    layout.champion_file(BTC, "btc-1").rename(layout.champion_file(BTC, "btc-2"))
    with pytest.raises(StoreError, match="holds slot 'btc-1'"):
        recover(layout)


def test_a_genome_is_found_in_every_role(layout):
    assert holds(layout, A) is None
    path = drop(layout, A, genome(A))
    assert holds(layout, A) == path
    path.rename(challenger(layout, A))
    assert holds(layout, A) == layout.challenger_file(BTC, A)
    swap(layout, "btc-1", layout.challenger_file(BTC, A))
    assert holds(layout, A) == layout.champion_file(BTC, "btc-1")
    retire(layout, BTC, "btc-1")
    assert holds(layout, A) == layout.retired_file("btc-1", 1, A)
    assert expire(layout, challenger(layout, C)) == holds(layout, C)
