"""One arena at a time on a catalog, whatever name it writes under."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from support.arena_case import BTC_ID, arena_config, catalog, genome, path, simulate

from apex_nautilus.store import CatalogLayout, SlotOwner, StoreError

HOLD = (
    "import sys, time; from apex_nautilus.store import CatalogLayout, SlotOwner\n"
    "owner = SlotOwner(CatalogLayout(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
)


def test_a_second_owner_is_refused_until_the_first_lets_go(tmp_path):
    layout = CatalogLayout(tmp_path)
    first = SlotOwner(layout)
    with pytest.raises(StoreError, match="another arena is at work on this catalog"):
        SlotOwner(layout)
    first.release()
    first.release()
    SlotOwner(layout).release()


def test_a_killed_owner_is_none(tmp_path):
    held = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert held.stdout.readline() == b"held\n"
    with pytest.raises(StoreError):
        SlotOwner(CatalogLayout(tmp_path))
    os.kill(held.pid, signal.SIGKILL)
    held.wait()
    SlotOwner(CatalogLayout(tmp_path)).release()
    held.stdin.close()
    held.stdout.close()


def test_two_arenas_on_one_catalog_are_refused_also_under_two_names(tmp_path):
    layout = catalog(tmp_path, champions={"btc-1": genome()})
    owner = SlotOwner(layout)
    before = sorted(p.name for p in layout.ledger.iterdir())
    config = arena_config(layout, {"btc-1": BTC_ID}, writer="another")
    with pytest.raises(StoreError, match="another arena is at work"):
        simulate(config, {BTC_ID: path(2)})
    assert sorted(p.name for p in layout.ledger.iterdir()) == before
    owner.release()
    for _ in range(2):  # and an arena that has ended lets go
        simulate(config, {BTC_ID: path(2)}).dispose()
