"""The arena in a Nautilus backtest on a small market."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from nautilus_trader.model.enums import OrderSide
from nautilus_trader.model.events import OrderFilled
from nautilus_trader.model.identifiers import ClientOrderId, InstrumentId
from nautilus_trader.trading.config import StrategyConfig
from nautilus_trader.trading.strategy import Strategy
from support.arena_case import (
    BTC_ID,
    CASH,
    ETH_ID,
    SOL_ID,
    account_cash,
    arena_config,
    catalog,
    controller_of,
    doomed,
    genome,
    path,
    simulate,
)

from apex_nautilus.actors import read_result
from apex_nautilus.genome import encode
from apex_nautilus.store import FileJobQueue, RecycleJob, drop, list_champions, read_all

SIX = {"btc-1": BTC_ID, "btc-2": BTC_ID, "eth-1": ETH_ID, "eth-2": ETH_ID, "sol-1": SOL_ID, "sol-2": SOL_ID}
QUICK = {"confidence": 0.9, "min_trades": 4, "min_shadow_s": 5.0, "idle_expiry_s": 0.0, "every_s": 5.0}
NO_DECAY = {"decay_psr": 0.0}


def busy_catalog(root: Path):
    """Six slots, five of them filled; challengers for each instrument, good ones and bad ones."""
    champions = {
        slot: doomed(i, instrument_id=SIX[slot])
        if slot.endswith("1")
        else genome(stop_bps=12.0 + i, instrument_id=SIX[slot])
        for i, slot in enumerate(SIX)
        if slot != "sol-2"
    }
    incoming = [
        genome(side=side, stop_bps=30.0, hold_s=6.0, instrument_id=instrument)
        for instrument in (BTC_ID, ETH_ID, SOL_ID)
        for side in (1.0, -1.0)
    ]
    return catalog(root, champions=champions, incoming=incoming)


def busy_run(root: Path):
    layout = busy_catalog(root)
    config = arena_config(layout, SIX, contest=QUICK)
    prices = {i: path(90, bps_per_s=6.0, seed=k) for k, i in enumerate((BTC_ID, ETH_ID, SOL_ID))}
    return simulate(config, prices)


@pytest.fixture(scope="module")
def busy(tmp_path_factory):
    root = tmp_path_factory.mktemp("busy")
    engine = busy_run(root)
    yield root, engine
    engine.dispose()


def test_ledgers_reconcile_with_the_account_to_the_cent_through_births_swaps_and_deaths(busy):
    root, engine = busy
    result = read_result(root)
    assert len(result.swaps) >= 2
    assert len(result.deaths) >= 2
    assert len(result.agents) >= 12
    assert result.mismatches == []
    assert result.finish.account_cash == pytest.approx(account_cash(engine), abs=1e-9)
    assert abs(result.finish.account_cash - result.finish.ledger_cash) < 0.005

    # The same from the fills alone, by another arithmetic: cash flow of a flat agent is its profit.
    left = CASH
    for agent in result.agents.values():
        position = sum(f.qty for f in agent.fills)
        flow = -sum(f.qty * f.price + f.fee for f in agent.fills)
        if agent.burial is not None:
            assert position == pytest.approx(0.0, abs=1e-9)
            assert agent.burial.cash == pytest.approx(agent.birth.capital + flow, abs=1e-6)
            left += flow
        elif abs(position) < 1e-9:
            left += flow
        else:
            left += (
                controller_of(engine).roster.agents[agent.birth.agent].account.balance - agent.birth.capital
            )
    assert left == pytest.approx(account_cash(engine), abs=0.005)


def test_an_agents_ledger_is_what_nautilus_realised_for_its_strategy(busy):
    root, engine = busy
    for agent in read_result(root).agents.values():
        positions = [
            p
            for p in [*engine.cache.positions(), *engine.cache.position_snapshots()]
            if p.strategy_id.value == agent.birth.strategy_id
        ]
        realised = sum(p.realized_pnl.as_double() for p in positions if p.realized_pnl is not None)
        ours = controller_of(engine).roster.agents[agent.birth.agent].account
        assert ours.balance - agent.birth.capital == pytest.approx(realised, abs=0.005)


def test_prices_sizes_and_fees_are_booked_to_the_last_digit(busy):
    """Nautilus's own floats round twice: 60035.0 comes out as 60035.00000000001."""
    root, engine = busy
    book = engine.cache
    for agent in read_result(root).agents.values():
        for fill in agent.fills:
            order = book.order(ClientOrderId(fill.order))
            assert fill.price in {
                float(e.last_px.as_decimal()) for e in order.events if isinstance(e, OrderFilled)
            }


def test_the_dead_weigh_nothing_at_a_mark(busy):
    _, engine = busy
    roster = controller_of(engine).roster
    living = roster.living()
    assert 0 < len(living) < len(roster.agents)
    for agent in roster.agents.values():
        assert agent.is_gone == (agent not in living)
        assert bool(agent.equities) != agent.is_gone


def test_no_order_is_touched_by_another_agent(busy):
    root, engine = busy
    owner = {f.order: a.birth.strategy_id for a in read_result(root).agents.values() for f in a.fills}
    orders = engine.cache.orders()
    assert len(orders) > 100
    for order in orders:
        assert {event.strategy_id for event in order.events} == {order.strategy_id}
        if order.client_order_id.value in owner:
            assert owner[order.client_order_id.value] == order.strategy_id.value
    tags = [agent.birth.strategy_id for agent in read_result(root).agents.values()]
    assert len(set(tags)) == len(tags)


def test_every_slot_has_one_champion_and_no_genome_is_lost(busy):
    root, engine = busy
    layout = controller_of(engine).layout
    held = [c.slot for c in list_champions(layout)]
    assert len(set(held)) == len(held)
    on_disk = b"".join(p.read_bytes() for p in layout.genome_files())
    for agent in read_result(root).agents.values():
        assert agent.birth.genome.encode() in on_disk


def test_two_runs_write_the_same_bytes_in_this_process_and_in_another(busy, tmp_path):
    root, _ = busy
    ledger = (root / "ledger" / "arena.jsonl").read_bytes()
    busy_run(tmp_path / "again").dispose()
    assert (tmp_path / "again" / "ledger" / "arena.jsonl").read_bytes() == ledger
    code = "import sys; from pathlib import Path; import test_arena; test_arena.busy_run(Path(sys.argv[1]))"
    environment = {
        **os.environ,
        "PYTHONHASHSEED": "12345",
        "PYTHONPATH": os.pathsep.join(map(str, Path(__file__).parents[:2])),
    }
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "other")], env=environment, check=True, timeout=300
    )
    assert (tmp_path / "other" / "ledger" / "arena.jsonl").read_bytes() == ledger


def fills_of(root: Path, agent: str):
    return read_result(root).agents[agent].fills


def test_champions_trade_on_whatever_is_dropped_and_whoever_shadows_them(tmp_path):
    champion = genome(side=1.0)
    alone = catalog(tmp_path / "alone", champions={"btc-1": champion})
    crowded = catalog(tmp_path / "crowded", champions={"btc-1": champion})
    (crowded.incoming / "broken.json").write_bytes(b'{"schema": ')
    (crowded.incoming / "link.json").symlink_to("/dev/zero")
    (crowded.incoming / "old.json").write_bytes(b'{"root": {"primitive": {"Feature": 0}}}')
    for challenger in (genome(side=1.0, p=0.65), genome(side=-1.0, stop_bps=14.0)):
        drop(crowded, challenger.id, encode(challenger))
    prices = {BTC_ID: path(40, wave_bps=10.0)}
    keep = {**QUICK, "min_trades": 10_000}
    for layout in (alone, crowded):
        simulate(arena_config(layout, {"btc-1": BTC_ID}, limits=NO_DECAY, contest=keep), prices).dispose()
    assert len(fills_of(alone.root, "btc-1.e1")) > 10
    assert fills_of(crowded.root, "btc-1.e1") == fills_of(alone.root, "btc-1.e1")
    result = read_result(crowded.root)
    assert len(result.agents) == 3
    assert min(len(a.fills) for a in result.agents.values()) > 10
    assert sorted(r.name for _, r in result.rejections) == ["broken.json", "link.json", "old.json"]
    assert "apex-forge convert" in (crowded.rejected / "old.json.reason.txt").read_text()


def test_sudden_death_closes_buries_and_asks_for_a_descendant_of_the_best(tmp_path):
    poor = doomed()
    best, worse = genome(p=0.61, dsr=0.7), genome(p=0.62, dsr=0.3)
    layout = catalog(tmp_path, champions={"btc-1": poor})
    for kept in (best, worse):
        (layout.retired / f"strategy_challenger_{kept.id}.json").write_bytes(encode(kept))
    drawdown = {"decay_psr": 0.0, "drawdown": 0.5}
    engine = simulate(
        arena_config(layout, {"btc-1": BTC_ID}, limits=drawdown), {BTC_ID: path(60, bps_per_s=5.0)}
    )
    ((died_ns, verdict),) = read_result(tmp_path).deaths
    assert (verdict.verdict, verdict.agent) == ("drawdown", "btc-1.e1")
    assert verdict.equity < verdict.floor == 100.0
    agent = read_result(tmp_path).agents["btc-1.e1"]
    assert agent.buried_ns - died_ns <= 1_000_000_000
    lines = read_all(layout.ledger, kinds=("fill",))
    assert all(line.ts_ns <= died_ns + 250_000_000 for line in lines)
    assert sum(f.qty for f in agent.fills) == pytest.approx(0.0, abs=1e-9)
    assert list_champions(layout) == []
    (status,) = FileJobQueue(layout).jobs()
    assert status.job.terminated_model_id == poor.id
    assert status.job.seed_dna_from == best.id
    assert (status.job.slot, status.job.asset, status.job.job_type) == ("btc-1", BTC_ID, "RECYCLE_DNA")
    assert engine.trader.strategy_ids() == []
    assert engine.cache.orders_open() == []
    assert engine.cache.positions_open() == []
    assert engine.trader.strategy_ids() == []
    assert engine.cache.orders_open() == []
    assert engine.cache.positions_open() == []
    engine.dispose()


def test_a_challenger_that_is_better_with_confidence_takes_the_slot(tmp_path):
    champion, challenger = genome(side=-1.0), genome(side=1.0, stop_bps=30.0, hold_s=6.0, slot="btc-1")
    layout = catalog(tmp_path, champions={"btc-1": champion}, incoming=[challenger])
    engine = simulate(
        arena_config(layout, {"btc-1": BTC_ID}, limits=NO_DECAY, contest=QUICK),
        {BTC_ID: path(80, bps_per_s=8.0)},
    )
    result = read_result(tmp_path)
    ((_, swap),) = result.swaps
    assert (swap.slot, swap.epoch, swap.outgoing, swap.incoming) == ("btc-1", 2, champion.id, challenger.id)
    (begin,) = read_all(layout.ledger, kinds=("swap_begin",))
    assert begin.fields["probability"] >= 0.9
    (held,) = list_champions(layout)
    assert (held.genome_id, held.epoch) == (challenger.id, 2)
    assert layout.retired_file("btc-1", 1, champion.id).exists()
    assert not layout.challenger_file(BTC_ID, challenger.id).exists()
    old, shadow, new = (result.agents[name] for name in ("btc-1.e1", "shadow-1", "btc-1.e2"))
    assert sum(f.qty for f in old.fills) == pytest.approx(0.0, abs=1e-9)
    assert old.burial.cause == shadow.burial.cause == "swap"
    assert new.born_ns >= max(old.buried_ns, shadow.buried_ns)
    assert new.birth.capital == 200.0  # the closing cost is the outgoing generation's, not the new one's
    assert len(new.fills) > 2
    assert result.finish.mismatches == 0
    engine.dispose()


def test_no_agent_holds_more_than_the_limit_whatever_its_genome_asks_for(tmp_path):
    held = {}
    for leverage in (50.0, 4.0):
        layout = catalog(tmp_path / str(leverage), champions={"btc-1": genome(p=0.9, leverage=50.0)})
        limits = {"max_leverage": leverage, "decay_psr": 0.0}
        simulate(arena_config(layout, {"btc-1": BTC_ID}, limits=limits), {BTC_ID: path(20)}).dispose()
        fills = fills_of(layout.root, "btc-1.e1")
        held[leverage] = max(abs(f.position) * f.price for f in fills)
    assert held[50.0] > 200.0 * 20.0
    assert 200.0 * 3.0 < held[4.0] <= 200.0 * 4.0


def test_an_empty_slot_waits_for_the_shadow_time_and_takes_the_best_evidence(tmp_path):
    better, worse = genome(p=0.61, dsr=0.9), genome(p=0.62, dsr=0.2)
    layout = catalog(tmp_path, incoming=[better, worse])
    simulate(
        arena_config(layout, {"btc-1": BTC_ID}, contest=QUICK, limits=NO_DECAY), {BTC_ID: path(15)}
    ).dispose()
    result = read_result(tmp_path)
    ((swapped_ns, swap),) = result.swaps
    assert (swap.incoming, swap.outgoing, swap.epoch) == (better.id, "", 1)
    assert swapped_ns - result.agents["shadow-1"].born_ns >= 5_000_000_000


def test_an_idle_challenger_expires_and_its_genome_is_kept(tmp_path):
    idle = genome(side=1.0, p=0.2)  # never worth a bet
    layout = catalog(tmp_path, champions={"btc-1": genome()}, incoming=[idle])
    contest = {**QUICK, "idle_expiry_s": 10.0}
    simulate(
        arena_config(layout, {"btc-1": BTC_ID}, contest=contest, limits=NO_DECAY), {BTC_ID: path(30)}
    ).dispose()
    assert read_result(tmp_path).agents["shadow-1"].burial.cause == "expired"
    assert layout.retired.joinpath(f"strategy_challenger_{idle.id}.json").exists()


class StrangerConfig(StrategyConfig, frozen=True, kw_only=True):
    instrument_id: InstrumentId


class Stranger(Strategy):
    """Trades once on the arena's account without being one of its agents."""

    def on_start(self):
        self.clock.set_time_alert_ns("buy", self.clock.timestamp_ns() + 20_300_000_000, self.buy)

    def buy(self, event):
        instrument = self.cache.instrument(self.config.instrument_id)
        self.submit_order(self.order_factory.market(instrument.id, OrderSide.BUY, instrument.make_qty(0.01)))


def test_a_stranger_on_the_account_stops_all_entries_and_is_named(tmp_path):
    layout = catalog(tmp_path, champions={"btc-1": genome()})
    stranger = Stranger(StrangerConfig(instrument_id=InstrumentId.from_str(BTC_ID), order_id_tag="X"))
    simulate(
        arena_config(layout, {"btc-1": BTC_ID}, limits=NO_DECAY), {BTC_ID: path(60)}, strategies=[stranger]
    ).dispose()
    result = read_result(tmp_path)
    ((found_ns, mismatch),) = result.mismatches
    assert any("cash" in text for text in mismatch.differences)
    assert any("BTCUSDT" in text and "venue" in text for text in mismatch.differences)
    before = [f for f in read_all(layout.ledger, kinds=("fill",)) if f.ts_ns <= found_ns]
    after = [f for f in read_all(layout.ledger, kinds=("fill",)) if f.ts_ns > found_ns]
    assert len(before) > 5
    assert all(
        f.fields["position"] == 0.0 for f in after
    )  # what was open was guarded and closed, nothing opened


def answer_jobs(layout, stop: threading.Event, genomes):
    """A worker: answers each recycle job with the next genome."""
    queue = FileJobQueue(layout)
    answers = iter(genomes)
    while not stop.is_set():
        claim = queue.claim("worker")
        if claim is None:
            stop.wait(0.01)
            continue
        answer = next(answers)
        drop(layout, answer.id, encode(answer))
        queue.complete(claim, {"genome_id": answer.id})


def recycled_run(root: Path):
    layout = catalog(root, champions={"btc-1": doomed()})
    config = arena_config(
        layout, {"btc-1": BTC_ID}, limits=NO_DECAY, worker_wait_s=60.0, contest={**QUICK, "min_shadow_s": 2.0}
    )
    stop = threading.Event()
    answers = [doomed(k / 4, slot="btc-1") for k in range(1, 60)]
    worker = threading.Thread(target=answer_jobs, args=(layout, stop, answers), daemon=True)
    worker.start()
    try:
        simulate(config, {BTC_ID: path(90, bps_per_s=5.0)}).dispose()
    finally:
        stop.set()
        worker.join()
    return layout


def test_a_recycled_genome_enters_at_the_mark_of_the_death_and_runs_repeat(tmp_path):
    one, two = recycled_run(tmp_path / "one"), recycled_run(tmp_path / "two")
    lines = (one.ledger / "arena.jsonl").read_bytes()
    assert lines == (two.ledger / "arena.jsonl").read_bytes()
    result = read_result(one.root)
    assert len(result.deaths) >= 2
    for asked_ns, _ in result.jobs:
        assert any(a.born_ns == asked_ns and a.birth.role == "shadow" for a in result.agents.values())
    assert next(s.incoming for _, s in result.swaps) == result.agents["shadow-1"].birth.genome


def test_what_was_asked_at_the_opening_is_waited_for_as_well(tmp_path):
    """A request at the start, one that an earlier run left: both are answered before the first mark."""
    runs = []
    for name in ("one", "two"):
        layout = catalog(tmp_path / name)
        job = RecycleJob.create(asset=BTC_ID, slot="btc-2", created_ns=10**18)
        FileJobQueue(layout).put(job)
        stop = threading.Event()
        answers = [genome(p=0.6 + k / 100, slot=f"btc-{2 - k}") for k in range(2)]
        worker = threading.Thread(target=answer_jobs, args=(layout, stop, answers), daemon=True)
        config = arena_config(
            layout,
            {"btc-1": BTC_ID, "btc-2": BTC_ID},
            ask_for_empty_slots=True,
            worker_wait_s=60.0,
            contest={**QUICK, "min_shadow_s": 1.0},
        )
        worker.start()
        try:
            simulate(config, {BTC_ID: path(5)}).dispose()
        finally:
            stop.set()
            worker.join()
        runs.append((layout.ledger / "arena.jsonl").read_bytes())
        result = read_result(layout.root)
        opened = min(a.born_ns for a in result.agents.values())
        assert [a.born_ns for a in result.agents.values() if a.birth.role == "shadow"] == [opened, opened]
        assert {s.slot for _, s in result.swaps} == {"btc-1", "btc-2"}
    assert runs[0] == runs[1]


def test_a_flood_of_challengers_waits_until_the_treasury_can_pay_for_them(tmp_path):
    incoming = [genome(p=0.55 + k / 100) for k in range(6)]
    layout = catalog(tmp_path, champions={"btc-1": genome(side=-1.0)}, incoming=incoming)
    config = arena_config(layout, {"btc-1": BTC_ID}, capital=CASH / 4, limits=NO_DECAY)
    simulate(config, {BTC_ID: path(5)}).dispose()
    result = read_result(tmp_path)
    assert len(result.agents) == 4
    assert result.finish.treasury >= 0.0
    assert len(list(layout.incoming.iterdir())) == 3


def test_challengers_of_an_earlier_run_wait_as_well_where_there_is_no_money_for_them(tmp_path):
    layout = catalog(tmp_path, champions={"btc-1": genome(side=-1.0)})
    for k in range(6):
        one = genome(p=0.55 + k / 100)
        layout.challengers(BTC_ID).mkdir(parents=True, exist_ok=True)
        layout.challenger_file(BTC_ID, one.id).write_bytes(encode(one))
    config = arena_config(layout, {"btc-1": BTC_ID}, capital=CASH / 4, limits=NO_DECAY)
    simulate(config, {BTC_ID: path(5)}).dispose()
    result = read_result(tmp_path)
    assert len(result.agents) == 4
    assert min(agent.birth.treasury for agent in result.agents.values()) >= 0.0
    assert len(list(layout.incoming.iterdir())) == 3


def test_without_a_worker_the_run_goes_on_and_says_so_once(tmp_path):
    layout = catalog(tmp_path, champions={s: doomed(k) for k, s in enumerate(("btc-1", "btc-2"))})
    slots = {"btc-1": BTC_ID, "btc-2": BTC_ID}
    config = arena_config(layout, slots, limits=NO_DECAY, worker_wait_s=0.05)
    simulate(config, {BTC_ID: path(60, bps_per_s=5.0)}).dispose()
    assert len(read_result(tmp_path).deaths) == 2
    (end,) = read_all(layout.ledger, kinds=("job_end",))
    assert end.fields["status"] == "unanswered"
    assert len(list(layout.jobs_todo.iterdir())) == 2
    assert read_result(tmp_path).finish is not None


def test_empty_slots_ask_the_forge_when_told_to(tmp_path):
    layout = catalog(tmp_path)
    config = arena_config(layout, SIX, ask_for_empty_slots=True)
    simulate(config, {i: path(3) for i in (BTC_ID, ETH_ID, SOL_ID)}).dispose()
    jobs = list(FileJobQueue(layout).jobs())
    assert sorted(s.job.slot for s in jobs) == sorted(SIX)
    assert {s.job.terminated_model_id for s in jobs} == {None}


@pytest.mark.parametrize(
    ("changes", "fragment"),
    [({"mark_s": 0.0}, "mark_s"), ({"worker_wait_s": -1.0}, "worker_wait_s"), ({"capital": 0.0}, "capital")],
)
def test_an_impossible_configuration_is_refused_by_name(tmp_path, changes, fragment):
    layout = catalog(tmp_path)
    with pytest.raises(ValueError, match=fragment):
        simulate(arena_config(layout, {"btc-1": BTC_ID}, **changes), {BTC_ID: path(2)})
