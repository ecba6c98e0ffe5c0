"""A challenger beside a champion on one instrument and one account: the champion does not notice."""

from __future__ import annotations

import pytest
from support.arena_case import BTC_ID, arena_config, catalog, doomed, genome, path, simulate

from apex_nautilus.actors import read_result

KEEP = {"confidence": 0.999, "min_trades": 10_000, "min_shadow_s": 1e6, "idle_expiry_s": 0.0}


def champions_life(root, incoming, **contest):
    layout = catalog(root, champions={"btc-1": genome(side=-1.0, hold_s=5.0)}, incoming=incoming)
    config = arena_config(
        layout,
        {"btc-1": BTC_ID},
        limits={"decay_psr": 0.0},
        contest={**KEEP, **contest},
        allocator=None,
    )
    simulate(config, {BTC_ID: path(40, bps_per_s=5.0, wave_bps=5.0)}).dispose()
    result = read_result(root)
    assert result.mismatches == []
    fills = [(f.qty, f.price, f.fee, f.position, f.cash) for f in result.agents["btc-1.e1"].fills]
    return fills, result


@pytest.mark.parametrize(
    ("challengers", "cause"),
    [
        ([genome(side=1.0, hold_s=3.0)], None),  # against it all the time: the venue nets the two
        ([genome(side=-1.0, stop_bps=11.0, hold_s=2.0)], None),  # with it, in and out of the same orders
        ([doomed(k) for k in range(3)], "drawdown"),  # cancelled and closed at market beside it
        ([genome(side=1.0, p=0.2)], "expired"),  # sent away
    ],
)
def test_a_challengers_life_and_end_change_no_fill_of_the_champion(tmp_path, challengers, cause):
    """It can not cancel, amend or net what the champion has: fills and ledger are those of a life alone."""
    contest = {"idle_expiry_s": 5.0, "every_s": 5.0} if cause == "expired" else {}
    alone, _ = champions_life(tmp_path / "alone", [])
    beside, result = champions_life(tmp_path / "beside", challengers, **contest)
    assert len(alone) > 8
    assert beside == alone
    shadows = [a for a in result.agents.values() if a.birth.role == "shadow"]
    assert len(shadows) == len(challengers)
    if cause != "expired":
        assert all(a.fills for a in shadows)
    if cause is not None:
        assert cause in {a.burial.cause for a in shadows if a.burial is not None}
