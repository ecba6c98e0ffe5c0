"""A rogue on the champion's node, instrument and account: whatever it tries, the champion lives as alone.

`support.rogue` has the ways. Without the guard most of them succeed; the list of those that do is held here
too, so that the tests of the guard are known to have something to find.
"""

from __future__ import annotations

import functools
import json
from contextlib import contextmanager

import msgspec
import pytest
from nautilus_trader.model.events import OrderCancelRejected, OrderDenied, OrderModifyRejected
from nautilus_trader.persistence.catalog import ParquetDataCatalog
from support.arena_case import (
    BTC_ID,
    arena_config,
    books,
    catalog,
    controller_of,
    genome,
    path,
    perpetual,
    simulate,
)
from support.rogue import WAYS_WITH_ORDERS, WAYS_WITH_POSITIONS, Rogue

from apex_nautilus.actors import arena, arena_backtest, load_arena_config, read_result, run_arena
from apex_nautilus.data import import_freqtrade
from apex_nautilus.engine import NOT_ITS_OWN
from apex_nautilus.genome import sealed
from apex_nautilus.store import read_all

KEEP = {"confidence": 0.999, "min_trades": 10_000, "min_shadow_s": 1e6, "idle_expiry_s": 0.0}
QUIET = {"cancel all", "market exit", "hand-made cancel all", "close all"}
"""What is the sender's right, and reaches its own orders and positions alone."""
UNSIGNED = {
    "cancel in its name",
    "amend in its name",
    "cancel all in its name",
    "cancel under its id",
    "command in its name",
    "remove it",
    "stop it",
}
HARMLESS = {"submit its order again", "use its order's id", "list in its name", "close all"}
"""What Nautilus refuses or overlooks by itself, on a netting venue."""


def fills_and_more(root):
    result = read_result(root)
    fills = [(f.qty, f.price, f.fee, f.position, f.cash) for f in result.agents["btc-1.e1"].fills]
    assert result.mismatches == []
    lines = [line.fields for line in read_all(root / "ledger", kinds=("trespass",))]
    return fills, lines


def lived(root, rogue=None, seconds=25.0):
    """A champion's life beside `rogue`; return the engine, ended."""
    layout = catalog(root, champions={"btc-1": genome(side=-1.0, hold_s=5.0)})
    config = arena_config(layout, {"btc-1": BTC_ID}, limits={"decay_psr": 0.0}, contest=KEEP, allocator=None)
    prices = {BTC_ID: path(seconds, bps_per_s=5.0, wave_bps=5.0)}
    return simulate(config, prices, strategies=[] if rogue is None else [rogue])


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    root = tmp_path_factory.mktemp("alone")
    lived(root).dispose()
    fills, lines = fills_and_more(root)
    assert len(fills) > 15
    assert lines == []
    return fills


@pytest.mark.parametrize("way", [*WAYS_WITH_ORDERS, *WAYS_WITH_POSITIONS])
def test_whatever_a_rogue_tries_the_champion_lives_as_alone(tmp_path, alone, way):
    rogue = Rogue(BTC_ID, way, hedging=way in WAYS_WITH_POSITIONS and way != "close all")
    engine = lived(tmp_path, rogue)
    fills, lines = fills_and_more(tmp_path)
    assert fills == alone
    assert rogue.tries > 30
    if way in QUIET:
        assert lines == []
    else:
        assert len(lines) == rogue.tries
        assert {line["owner"] for line in lines} == {"btc-1.e1"}
        assert {line["sender"] for line in lines} == {"" if way in UNSIGNED else "Rogue-ROGUE"}
        assert all(line["reason"].startswith(NOT_ITS_OWN) for line in lines)
    if way not in QUIET | UNSIGNED:
        told = [
            e for e in rogue.events if isinstance(e, OrderCancelRejected | OrderModifyRejected | OrderDenied)
        ]
        assert len(told) == rogue.tries
        assert {event.strategy_id.value for event in told} == {"Rogue-ROGUE"}
    # At the end no order of the champion bears a mark that it did not ask for.
    assert not [o for o in engine.cache.orders() if o.is_pending_cancel or o.is_pending_update]
    engine.dispose()


@pytest.mark.parametrize(
    "way", ["cancel", "amend", "cancel in a batch", "hand-made cancel", "cancel under its id"]
)
def test_the_victims_order_is_back_in_its_state_before_the_call_returns(tmp_path, way):
    states = []
    attack = WAYS_WITH_ORDERS[way]

    def watched(rogue, order):
        before = order.status, order.quantity
        attack(rogue, order)
        states.append((before, (order.status, order.quantity)))

    rogue = Rogue(BTC_ID, way)
    rogue.attack = watched
    lived(tmp_path, rogue, seconds=8.0).dispose()
    assert len(states) > 5
    assert all(before == after for before, after in states)


@pytest.mark.parametrize("way", sorted({*WAYS_WITH_ORDERS, *WAYS_WITH_POSITIONS} - HARMLESS))
def test_without_the_guard_nautilus_lets_it_happen(tmp_path, alone, monkeypatch, way):
    monkeypatch.setattr(arena, "install_guard", lambda *args: None)
    rogue = Rogue(BTC_ID, way, hedging=way in WAYS_WITH_POSITIONS)
    if way == "remove it":
        with pytest.raises(ValueError, match="not found"):  # the arena's own removal comes too late
            lived(tmp_path, rogue)
        return
    lived(tmp_path, rogue).dispose()
    result = read_result(tmp_path)
    fills = [(f.qty, f.price, f.fee, f.position, f.cash) for f in result.agents["btc-1.e1"].fills]
    assert fills != alone or result.mismatches


def test_cancel_all_orders_of_1_231_cancels_everybodys_and_behind_the_guard_ones_own(tmp_path, monkeypatch):
    """The reason that our own agents never use it: the venue's side of it knows no strategies."""
    cancelled = {}
    for guarded in (True, False):
        if not guarded:
            monkeypatch.setattr(arena, "install_guard", lambda *args: None)
        rogue = Rogue(BTC_ID, "cancel all")
        engine = lived(tmp_path / str(guarded), rogue, seconds=6.0)
        victims = [o for o, _ in rogue.seen]
        ours = [o for o in engine.cache.orders() if o.strategy_id == rogue.id]
        cancelled[guarded] = any(
            o.status.name == "CANCELED" and o.events[-1].ts_event == mine.events[-1].ts_event
            for o in victims
            for mine in ours
        )
        assert sum(o.status.name == "CANCELED" for o in ours) == rogue.tries  # its own are gone in both
        engine.dispose()
    assert cancelled == {True: False, False: True}


def test_a_strategy_may_do_with_its_own_what_it_likes(tmp_path):
    """Lists, links, batches, amendments, position ids: the guard is in nobody's way."""
    rogue = Rogue(BTC_ID, "all of its own")
    engine = lived(tmp_path, rogue, seconds=10.0)
    assert read_all(tmp_path / "ledger", kinds=("trespass",)) == []
    # Of two that are linked the venue cancels the second with the first, and then no longer knows it.
    refused = rogue.refusals()
    assert {engine.cache.order(e.client_order_id).status.name for e in refused} <= {"CANCELED"}
    assert all("not found" in e.reason for e in refused)
    assert rogue.tries >= 3  # then its fills stop the entries of all: the arena has no ledger for it
    assert {o.status.name for o in engine.cache.orders(strategy_id=rogue.id)} >= {"CANCELED", "FILLED"}
    engine.dispose()


def test_nobody_may_reuse_a_tag(tmp_path):
    """Two strategies of one id or tag can not be on one node: the second is refused when it comes."""
    twin = Rogue(BTC_ID, "cancel")
    twin.change_order_id_tag("BTC1E1")
    with pytest.raises(RuntimeError, match="order_id_tag"):
        lived(tmp_path, twin, seconds=3.0)


# -- in every configuration ---------------------------------------------------------------------------------

CONFIGURATIONS = {
    "books": {},
    "queue": {"venue": {"fills": "queue"}},
    "network": {"network": {"seed": 3, "loss": 0.05, "timeout_ms": 300.0, "feed": {"loss": 0.05}}},
}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    root = tmp_path_factory.mktemp("recorded")
    market = ParquetDataCatalog(str(root / "market"))
    market.write_data([perpetual(BTC_ID)])
    batches = books(BTC_ID, path(20, bps_per_s=5.0, wave_bps=5.0))
    market.write_data([delta for batch in batches for delta in batch.deltas])
    catalog(root / "catalog", champions={"btc-1": genome(side=-1.0, hold_s=5.0)})
    return root


def with_rogues(rogues):
    """`open_engine`, and the rogues on its node."""

    @contextmanager
    def opened(config):
        with real(config) as engine:
            for rogue in rogues:
                engine.add_strategy(rogue)
            yield engine

    real = arena_backtest.open_engine
    return opened


@functools.cache
def run_beside(folder, name, way):
    changes = CONFIGURATIONS[name]
    run = f"{name}-{way.replace(' ', '-').replace(',', '')}" if way else name
    config = {
        "schema": "apex.arena/1",
        "name": run,
        "market": "market",
        "strategies": "catalog",
        "slots": [{"slot": "btc-1", "instrument_id": BTC_ID}],
        "contest": KEEP,
        "allocator": None,
        "limits": {"decay_psr": 0.0},
        **changes,
    }
    (folder / f"{run}.json").write_text(json.dumps(config))
    rogues = [Rogue(BTC_ID, way)] if way else []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arena_backtest, "open_engine", with_rogues(rogues))
        run_arena(load_arena_config(folder / f"{run}.json"), run_id=run)
    return (*fills_and_more(folder / "runs" / run), rogues)


@pytest.mark.parametrize("name", CONFIGURATIONS)
@pytest.mark.parametrize("way", ["cancel", "amend", "cancel all", "cancel in its name", "order in its name"])
def test_the_guard_stands_with_every_fill_model_and_on_a_network(recorded, name, way):
    alone, _, _ = run_beside(recorded, name, "")
    fills, lines, (rogue,) = run_beside(recorded, name, way)
    assert len(alone) > 8
    assert fills == alone
    assert rogue.tries > 8
    assert len(lines) == (0 if way in QUIET else rogue.tries)


def test_a_live_risk_engine_that_hands_commands_on_later_is_let_through(tmp_path):
    """A risk engine with a queue passes a command on when the strategy's call is long over."""
    held = []

    def later(controller):
        real = controller._trader._risk_engine.execute

        def queue(command):
            held.append(command)
            controller.clock.set_time_alert_ns(
                f"later-{len(held)}", controller.clock.timestamp_ns() + 1_000_000, lambda _: real(command)
            )

        controller.msgbus.deregister("RiskEngine.execute", real)
        controller.msgbus.register("RiskEngine.execute", queue)

    layout = catalog(tmp_path, champions={"btc-1": genome(side=-1.0, hold_s=5.0)})
    config = arena_config(layout, {"btc-1": BTC_ID}, limits={"decay_psr": 0.0}, contest=KEEP, allocator=None)
    prices = {BTC_ID: path(15.0, bps_per_s=5.0, wave_bps=5.0)}
    engine = simulate(config, prices, before=[later])
    fills, lines = fills_and_more(tmp_path)
    assert len(fills) > 8
    assert len(held) > 8
    assert lines == []
    assert controller_of(engine).audit.mismatches == 0
    engine.dispose()


# -- on bars ------------------------------------------------------------------------------------------------

CANDLES = "BTCUSDT-PERP.BINANCE"


@pytest.fixture(scope="module")
def candles(tmp_path_factory, root):
    folder = tmp_path_factory.mktemp("candles")
    import_freqtrade([root / "tests" / "data" / "BTC_USDT_USDT-5m-futures.feather"], folder / "market")
    champion = genome(side=-1.0, stop_bps=40.0, hold_s=1800.0, instrument_id=CANDLES, leverage=2.0)
    champion = sealed(msgspec.structs.replace(champion, id="", clock="5m", features=("bar_return",)))
    catalog(folder / "catalog", champions={"btc-1": champion})
    return folder


@functools.cache
def run_on_bars(folder, way):
    name = f"bars-{way.replace(' ', '-')}"
    config = {
        "schema": "apex.arena/1",
        "name": name,
        "market": "market",
        "strategies": "catalog",
        "slots": [{"slot": "btc-1", "instrument_id": CANDLES}],
        "bars": {"path": "5m"},
        "end": "2025-04-01T18:00:00Z",
        "contest": KEEP,
        "allocator": None,
        "limits": {"decay_psr": 0.0, "drawdown": 1.0},
        "mark_s": 300.0,
        "intake_s": 300.0,
    }
    (folder / f"{name}.json").write_text(json.dumps(config))
    rogues = [Rogue(CANDLES, way, every_s=60.0, first_s=61.0)] if way else []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arena_backtest, "open_engine", with_rogues(rogues))
        run_arena(load_arena_config(folder / f"{name}.json"), run_id=name)
    return (*fills_and_more(folder / "runs" / name), rogues)


@pytest.mark.parametrize("way", ["cancel", "amend", "cancel all", "cancel in its name", "order in its name"])
def test_the_guard_stands_on_bars(candles, way):
    alone, _, _ = run_on_bars(candles, "")
    fills, lines, (rogue,) = run_on_bars(candles, way)
    assert len(alone) > 20
    assert fills == alone
    assert rogue.tries > 20
    assert len(lines) == (0 if way in QUIET else rogue.tries)
