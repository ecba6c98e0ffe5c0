"""Agents whose entries rest, in the arena: taken in or refused, swapped and buried while an order is out."""

from __future__ import annotations

import msgspec
import pytest
from nautilus_trader.model.enums import OrderStatus, OrderType
from support.arena_case import (
    BTC_ID,
    account_cash,
    arena_config,
    catalog,
    genome,
    path,
    simulate,
)

from apex_nautilus.actors import read_result
from apex_nautilus.genome import sealed
from apex_nautilus.store import read_all

QUICK = {"confidence": 0.9, "min_trades": 4, "min_shadow_s": 5.0, "idle_expiry_s": 0.0, "every_s": 5.0}
NO_DECAY = {"decay_psr": 0.0}
SLOT = {"btc-1": BTC_ID}


def passive(one, execution="passive"):
    return sealed(msgspec.structs.replace(one, id="", execution=execution))


def test_a_champion_is_swapped_while_its_entry_rests(tmp_path):
    """In a rising market a buyer that rests is left behind; one that crosses takes its slot."""
    champion, challenger = passive(genome(hold_s=2.0)), genome(stop_bps=30.0, hold_s=6.0)
    layout = catalog(tmp_path, champions={"btc-1": champion}, incoming=[challenger])
    config = arena_config(layout, SLOT, contest=QUICK, limits=NO_DECAY)
    engine = simulate(config, {BTC_ID: path(80, bps_per_s=8.0)})
    result = read_result(tmp_path)
    ((swapped_ns, swap),) = result.swaps
    assert (swap.outgoing, swap.incoming) == (champion.id, challenger.id)
    (begin,) = read_all(layout.ledger, kinds=("swap_begin",))
    outgoing = next(a for a in result.agents.values() if a.birth.genome == champion.id)
    orders = [o for o in engine.cache.orders() if o.strategy_id.value == outgoing.birth.strategy_id]
    last = max(orders, key=lambda o: o.ts_init)
    assert (last.order_type, last.status, last.is_post_only) == (OrderType.LIMIT, OrderStatus.CANCELED, True)
    assert begin.ts_ns <= last.ts_last <= swapped_ns
    assert not [o for o in engine.cache.orders() if o.strategy_id == last.strategy_id and not o.is_closed]
    assert result.finish.mismatches == 0
    paid = sum(a.final_equity - 200.0 for a in result.agents.values() if a.burial is not None)
    assert paid != 0.0
    assert abs(result.finish.account_cash - result.finish.ledger_cash) < 0.005
    assert account_cash(engine) == pytest.approx(result.finish.account_cash, abs=1e-6)
    engine.dispose()
