"""The arena: the one controller of a node, which owns its agents.

It translates. What happens in the engine (fills, the passing of time) becomes numbers for the books
(`roster`), the judge (`watchtower`) and the crew (`pit_crew`); what those decide becomes births and removals
of strategies. Everything happens at marks of engine time, in this order:

1. every living agent gets its equity at the touch it would close on;
2. the ledgers are held against the venue's account (`audit`);
3. the Watchtower judges; the condemned are told to close;
4. every minute the allocator moves the weights of the champions, which scale their orders from then on;
5. agents that are closing and flat are removed: a dead champion's slot is emptied and a replacement asked for
   and, if so configured, waited for (`forge_desk`); a swap's new champion is born (`swap_book`);
6. the Pit Crew takes what was dropped, and says which slots change hands.

A fill is judged at once as well: a ruined agent is told to close before the next event of the market. All
that was done stands in the ledger (`journal`), line by line (`agent_lines`, `records`).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec
from nautilus_trader.common.component import TestClock
from nautilus_trader.common.events import TimeEvent
from nautilus_trader.model.currencies import Currency
from nautilus_trader.model.events import OrderDenied, OrderFilled, OrderRejected
from nautilus_trader.model.identifiers import InstrumentId
from nautilus_trader.trading.controller import Controller
from nautilus_trader.trading.trader import Trader

from apex_nautilus.actors import agent_lines, records
from apex_nautilus.actors.agent_strategy import AgentStrategy, agent_strategy
from apex_nautilus.actors.allocation import AllocationDesk
from apex_nautilus.actors.allocator import ALLOCATION_TOPIC
from apex_nautilus.actors.arena_config import ArenaConfig, check_settings
from apex_nautilus.actors.audit import Audit
from apex_nautilus.actors.forge_desk import ForgeDesk
from apex_nautilus.actors.intake import CLOCKS
from apex_nautilus.actors.journal import Journal
from apex_nautilus.actors.past import read_past
from apex_nautilus.actors.pit_crew import Change, Installed, PitCrew
from apex_nautilus.actors.promotion import promotion_job, tell_promotions
from apex_nautilus.actors.recovery import recover_arena
from apex_nautilus.actors.roster import Agent, Roster, Slot
from apex_nautilus.actors.swap_book import SwapBook
from apex_nautilus.actors.touches import Touches
from apex_nautilus.actors.trade_lines import TradeLines, delay_lines
from apex_nautilus.actors.watcher import Watcher
from apex_nautilus.actors.watchtower import Watchtower
from apex_nautilus.engine import (
    BAR_CLOCKS,
    FUNDING_TOPIC,
    FundingPayment,
    Refusal,
    install_guard,
    install_network,
    remove_if_flat,
    spawn,
    spec_of,
)
from apex_nautilus.features import names as feature_names
from apex_nautilus.store import (
    CatalogLayout,
    LedgerWriter,
    SlotOwner,
    StoreError,
    expire,
    fault_point,
    open_queue,
    retire,
)

__all__ = ["ArenaController"]

_NS = 1_000_000_000
_MARKS = "arena-marks"
_OPEN = "arena-open"


class ArenaController(Controller):
    """Bears, marks, judges, swaps and buries the agents of one node.

    Parameters
    ----------
    trader : Trader
        Given by the node.
    config : ArenaConfig

    Raises
    ------
    ValueError
        When the configuration is not possible; the message names the field.
    """

    def __init__(self, trader: Trader, config: ArenaConfig) -> None:
        super().__init__(trader, config)
        check_settings(config)
        self._settings = config
        self.layout = CatalogLayout(Path(config.catalog))
        self.roster = Roster([Slot(s.slot, s.instrument_id) for s in config.slots], config.capital)
        self.crew = PitCrew(
            self.layout,
            self.roster,
            config.contest,
            known_features=(*feature_names("bar" if config.bars else "book"), *feature_names("external")),
            clocks=tuple(BAR_CLOCKS) if config.bars else CLOCKS,
        )
        self.watchtower = Watchtower(config.limits)
        self._desk = None if config.allocator is None else AllocationDesk(config.allocator)
        self.load_micros: list[float] = []
        self._touches = Touches(on_bars=config.bars)
        self._strategies: dict[str, AgentStrategy] = {}
        self._swaps = SwapBook(self.layout)
        self._condemned: list[Agent] = []
        self._marks = 0
        self._next_intake_ns = 0
        self._next_ledger_ns = 0
        self._told_stuck: dict[str, str] = {}
        self._disk_trouble = ""
        self._is_live = False
        self._ledger: Any = None  # a Journal from the start on
        self._watcher: Watcher | None = None
        self._is_open = False

    # ---------------------------------------------------------------- life cycle

    def on_start(self) -> None:
        """Recover the directories, open the ledger, and set the marks; agents are born at the first alert,
        when every other component of the node has started."""
        config = self._settings
        install_network(self.msgbus, self._trader)
        install_guard(self._trader, self.msgbus, self.cache, self.clock, self._on_refusal)
        self.layout.ensure()
        self._is_live = not isinstance(self.clock, TestClock)
        self._owner = SlotOwner(self.layout)
        writer = LedgerWriter(self.layout.ledger, config.writer, group_commit=256)
        self._ledger = Journal(writer, must_go_on=self._is_live)
        queue = open_queue(config.queue, self.layout)
        past = read_past(self.layout, config.writer)
        recover_arena(self.layout, writer, queue, past=past)
        tell_promotions(self.layout, queue, past.story)
        self._forge = ForgeDesk(
            self.layout,
            queue,
            self.roster,
            past.story,
            write=lambda now, line: self._write(now, line, flush=True),
            log=self.log,
            wait_s=config.worker_wait_s,
            must_go_on=self._is_live,
        )
        self.watchtower.restore(past.lives)
        self._trades = TradeLines(self.msgbus, lambda line: self._write(self.clock.timestamp_ns(), line))
        self._specs = {i: self._spec(i) for i in self.roster.instruments}
        self.audit = Audit(
            self.cache,
            self.roster,
            Currency.from_str(config.currency),
            lots={i: spec.lot for i, spec in self._specs.items()},
        )
        self.msgbus.subscribe(topic="events.order.*", handler=self._on_order_event)
        self.msgbus.subscribe(topic=f"{FUNDING_TOPIC}.*", handler=self._on_funding)
        if config.watch:
            self._watcher = Watcher(self.layout.incoming)
            self._watcher.start()
        now = self.clock.timestamp_ns()
        step = round(config.mark_s * _NS)
        self.clock.set_time_alert_ns(_OPEN, now, self._on_open, allow_past=True)
        self.clock.set_timer_ns(_MARKS, step, -(-now // step) * step, 0, self._on_mark, allow_past=True)

    def on_stop(self) -> None:
        """Write the last marks and close the ledger. Open positions stay open and are valued at the touch."""
        if self._watcher is not None:
            self._watcher.stop()
        self.msgbus.unsubscribe(topic="events.order.*", handler=self._on_order_event)
        self.msgbus.unsubscribe(topic=f"{FUNDING_TOPIC}.*", handler=self._on_funding)
        if not self._is_open:
            self._let_go()
            return
        now = self.clock.timestamp_ns()
        self._measure(now, forced=True)
        for line in delay_lines(self.msgbus):
            self._write(now, line)
        agents = self.roster.living()
        self._write(
            now,
            records.Finish(
                account_cash=self.audit.account_cash(),
                treasury=self.roster.treasury,
                ledger_cash=self.roster.treasury + sum(a.account.balance for a in agents),
                marks=self._marks,
                mismatches=self.audit.mismatches,
            ),
        )
        self._is_open = False
        self._let_go()

    def _let_go(self) -> None:
        """Close the ledger; the slots are anybody's from then on."""
        try:
            self._ledger.close()
        finally:
            self._owner.release()

    def abandon(self) -> None:
        """Let go of ledger and slots without a last word, where the run ended in an error and was never
        stopped."""
        if self._ledger is not None:
            self._ledger.abandon()
            self._owner.release()

    def _on_open(self, event: TimeEvent) -> None:
        now = self.clock.timestamp_ns()
        for instrument_id in self.roster.instruments:
            self._touches.subscribe(self.msgbus, InstrumentId.from_str(instrument_id))
        self.roster.treasury = self.audit.account_cash()
        opening = records.Opening(account_cash=self.roster.treasury, slots=tuple(self.roster.slots))
        self._write(now, opening, flush=True)
        for line in self._settings.funding:
            self._write(now, records.FundingRates(**msgspec.structs.asdict(line)))
        self._is_open = True
        if self._desk is not None:
            self._desk.open(now)
        for installed in self.crew.installed():
            if installed.epoch == 0 and self.roster.treasury < self.roster.capital:
                self.crew.send_back(installed)
            else:
                self._bear(installed, now)
        for job in self._forge.unanswered():
            self._forge.wait(job, now)
        self._take_incoming(now)
        if self._settings.ask_for_empty_slots:
            asked = [self._forge.ask(slot, now) for slot in self._forge.forsaken_slots()]
            for job in asked:
                self._forge.wait(job, now)
            if asked:
                self._take_incoming(now)

    # ---------------------------------------------------------------- events

    def _on_refusal(self, refusal: Refusal) -> None:
        """The guard refused a command about another's order: keep it, where the ledger is open."""
        if self._is_open:
            self._write(refusal.ts_ns, agent_lines.trespass(refusal, self.roster))

    def _on_order_event(self, event: Any) -> None:
        if not isinstance(event, OrderFilled | OrderDenied | OrderRejected):
            return
        agent = self.roster.of_strategy(event.strategy_id.value)
        if agent is None:
            return  # not ours: if it moves money or position, the next reconciliation says so
        now = event.ts_event
        order = event.client_order_id.value
        if not isinstance(event, OrderFilled):
            self._write(now, records.OrderRefusal(agent=agent.name, order=order, reason=str(event.reason)))
            return
        # Not `as_double`: it rounds twice. The decimals are exact.
        qty = float(event.last_qty.as_decimal()) * (1.0 if event.is_buy else -1.0)
        price, fee = float(event.last_px.as_decimal()), float(event.commission.as_decimal())
        agent.book_fill(qty, price, fee, now)
        self._write(now, agent_lines.fill(agent, order, qty, price, fee))
        self._judge_at_once(agent, now)

    def _on_funding(self, payment: FundingPayment) -> None:
        agent = self.roster.of_strategy(payment.strategy_id)
        if agent is None:
            return  # not ours: the account has it, and the next reconciliation says so
        agent.book_funding(payment.amount)
        self._write(payment.ts_ns, agent_lines.funding(agent, payment))
        self._judge_at_once(agent, payment.ts_ns)

    def _judge_at_once(self, agent: Agent, now: int) -> None:
        """Judge an agent whose money has just moved, before the next event of the market."""
        if self._judge(agent, self._equity(agent), now):
            # No entry from here on, not even on this event's own row. The strategy's handler of it may
            # run after this one: it is told to close once the event is through, before the next one.
            self._strategies[agent.name].are_entries_halted = True
            self._condemned.append(agent)
            name = f"arena-condemned-{agent.name}"
            # A settlement is booked a moment early: nothing that follows from it happens before its time.
            at = max(now, self.clock.timestamp_ns())
            self.clock.set_time_alert_ns(name, at, self._on_condemned, allow_past=True)

    def _on_condemned(self, event: TimeEvent | None = None) -> None:
        condemned, self._condemned = self._condemned, []
        for agent in condemned:
            self._strategies[agent.name].retire(agent.closing)

    def _on_mark(self, event: TimeEvent) -> None:
        if not self._is_open:
            return
        now = self.clock.timestamp_ns()
        self._on_condemned()  # of a fill at this very nanosecond, whose alert comes after this one
        equities = self._measure(now)
        self._marks += 1  # an agent born from here on sees its first mark at the next one
        self._reconcile(now)
        for agent in self.roster.living():
            if self._judge(agent, equities[agent.name], now):
                self._strategies[agent.name].retire(agent.closing)
        self._allocate(now)
        self._ledger.retry()
        self._gate()
        try:
            self._move_files(now)
        except (OSError, StoreError) as error:
            if not self._is_live:
                raise
            # A full disk must not keep the next mark from judging; the same is tried again then.
            self._tell_disk_trouble(f"a file cannot be written or moved ({error})")
        else:
            self._tell_disk_trouble(self._ledger.trouble)

    def _move_files(self, now: int) -> None:
        """What a mark does that changes directories: burials, births, swaps."""
        self._bury_the_flat(now)
        if now >= self._next_intake_ns or (self._watcher is not None and self._watcher.woken()):
            self._take_incoming(now)
        busy = {
            a.slot for a in self.roster.living() if a.role == "champion" and a.closing
        } | self._swaps.slots
        for change in self.crew.changes(now, busy=busy):
            self._begin(change, now)

    # ---------------------------------------------------------------- measuring

    def _measure(self, now: int, *, forced: bool = False) -> dict[str, float]:
        """Value every living agent; return the equities by name."""
        equities = {}
        written = forced or now >= self._next_ledger_ns
        if written:
            self._next_ledger_ns = now + round(self._settings.ledger_mark_s * _NS)
        for agent in self.roster.living():
            equity = equities[agent.name] = self._equity(agent)
            if not forced:
                agent.equities.append(equity)
            if written:
                self._write(now, agent_lines.mark(agent, equity))
        return equities

    def _equity(self, agent: Agent) -> float:
        bid, ask = self._touches.of(agent.instrument_id)
        return agent.account.equity(bid, ask)

    def _reconcile(self, now: int) -> None:
        line = self.audit.look()
        if line is None:
            return
        self._write(now, line, flush=True)
        if isinstance(line, records.Mismatch):
            self.log.error(f"Entries stopped, ledgers and account differ: {'; '.join(line.differences)}")
        self._gate()

    def _gate(self) -> None:
        """Let the agents enter or stop them: not while the books differ or the ledger cannot be written."""
        is_halted = not self.audit.agrees or self._ledger.is_failing
        for agent in self.roster.living():
            if not agent.closing:
                self._strategies[agent.name].are_entries_halted = is_halted

    def _tell_disk_trouble(self, trouble: str) -> None:
        if trouble and trouble.partition(";")[0] != self._disk_trouble:
            self.log.error(f"Disk: {trouble}; it is tried again at every mark")
        elif self._disk_trouble and not trouble:
            self.log.info("Disk: all is written again")
        self._disk_trouble = trouble.partition(";")[0]

    def _spec(self, instrument_id: str) -> Any:
        instrument = self.cache.instrument(InstrumentId.from_str(instrument_id))
        if instrument is None:
            raise ValueError(
                f"arena: instrument {instrument_id} of a slot is not loaded; add it to the venue's data"
            )
        return spec_of(instrument)

    # ---------------------------------------------------------------- judging

    def _judge(self, agent: Agent, equity: float, now: int) -> bool:
        """Judge a living agent worth `equity`; write what is new; return whether it was condemned."""
        if agent.is_gone:
            return False
        if agent.closing:
            self._tell_trades(agent)
            return False
        spec = self._specs[agent.instrument_id]
        bid, ask = self._touches.of(agent.instrument_id)
        smallest = max(spec.min_notional, max(spec.min_qty, spec.lot) * ask)
        if not (math.isfinite(equity) and math.isfinite(smallest)):
            return False  # no two-sided book was seen yet: there is nothing to value a position at
        self._tell_trades(agent)
        verdict = self.watchtower.judge(
            agent.name, equity, agent.capital, smallest, self._strategies[agent.name].max_leverage
        )
        if math.isfinite(verdict.dsr):
            self._forge.live_dsr[agent.genome.id] = verdict.dsr
        promoted = verdict.kind == "promote" and not agent.is_promoted
        if promoted:
            agent.is_promoted = True
        if verdict.is_terminal:
            agent.closing = verdict.kind
        if promoted or verdict.is_terminal:
            touch = bid if agent.account.position > 0.0 else ask
            line = agent_lines.verdict(agent, verdict, self._settings.limits, touch)
            self._write(now, line, flush=True)
            fault_point("arena.verdict")
            if promoted:
                self._forge.tell(promotion_job(agent.genome, msgspec.structs.asdict(line), now))
                fault_point("arena.promoted")
        return verdict.is_terminal

    def _tell_trades(self, agent: Agent) -> None:
        """Tell the Watchtower of the trades that the agent has closed since it was told last."""
        for returned in agent.returns[max(agent.judged_trades, 0) :]:
            self.watchtower.record(agent.name, returned)
            if agent.closing:
                self.watchtower.count(agent.name)
        agent.judged_trades = len(agent.returns)

    def _allocate(self, now: int) -> None:
        """Let the weights move when they are due, and the sizes with them."""
        allocation = None if self._desk is None else self._desk.look(now, self.roster, self._marks)
        if self._desk is None or allocation is None:
            return
        for name, multiplier in self._desk.multipliers(allocation, self.roster).items():
            if name in self._strategies:  # one that is closing may be gone from the node already
                self._strategies[name].set_allocation(multiplier)
        self._write(now, records.Allocation(**msgspec.structs.asdict(allocation)))
        self.msgbus.publish(topic=ALLOCATION_TOPIC, msg=allocation)

    # ---------------------------------------------------------------- births, deaths

    def _bear(self, installed: Installed, now: int) -> None:
        champion = installed.epoch > 0
        size_precision = self._specs[installed.genome.instrument_id].size_precision
        agent = self.roster.bear(
            "champion" if champion else "shadow",
            slot=installed.slot if champion else self.crew.wanted_slot(installed.genome),
            epoch=installed.epoch,
            genome=installed.genome,
            path=installed.path,
            size_precision=size_precision,
            ts_ns=now,
            mark=self._marks,
        )
        settings = self._settings
        strategy = agent_strategy(
            agent,
            shrink=settings.shrink,
            max_leverage=settings.limits.max_leverage,
            entry_retries=settings.entry_retries,
            reprice_s=settings.reprice_s,
            patience_s=settings.patience_s,
        )
        strategy.are_entries_halted = not self.audit.agrees or self._ledger.is_failing
        self._strategies[agent.name] = strategy
        self.roster.bind(agent, strategy.id.value)
        self._trades.follow(agent, strategy.id.value)
        line = agent_lines.birth(
            agent, strategy.id.value, treasury=self.roster.treasury, size_precision=size_precision
        )
        self._write(now, line, flush=True)
        spawn(self, strategy)

    def _bury_the_flat(self, now: int) -> None:
        for agent in self.roster.living():
            if agent.closing and self._is_removed(agent):
                self._bury(agent, now)
        for slot in self._swaps.ready():
            line, champion = self._swaps.finish(slot)
            self._write(now, line, flush=True)
            fault_point("arena.swapped")
            self._bear(champion, now)

    def _is_removed(self, agent: Agent) -> bool:
        """Take the strategy of a closing agent out of the node once it is flat; whether it is out."""
        strategy = self._strategies.get(agent.name)
        if strategy is None:
            return True  # at an earlier mark, whose burial the disk cut off
        if not remove_if_flat(self, strategy):
            return False
        del self._strategies[agent.name]
        self._trades.leave(strategy.id.value)
        self.watchtower.forget(agent.name)
        return True

    def _bury(self, agent: Agent, now: int) -> None:
        dead = agent.closing != "swap"
        job = None
        if dead and agent.role == "champion":
            job = self._forge.ask_for_successor(agent, now)
            fault_point("arena.asked")
            if agent.path.exists():
                retire(self.layout, agent.instrument_id, agent.slot)
        elif dead and agent.path.exists():
            expire(self.layout, agent.path)
        fault_point("arena.retired")
        self.roster.bury(agent)
        self._write(now, agent_lines.burial(agent, treasury=self.roster.treasury), flush=True)
        fault_point("arena.buried")
        if job is not None and self._forge.wait(job, now):
            self._next_intake_ns = 0  # the answer is taken at this very mark

    # ---------------------------------------------------------------- challengers

    def _take_incoming(self, now: int) -> None:
        self._next_intake_ns = now + round(self._settings.intake_s * _NS)
        # Each birth takes its capital from the treasury: what it cannot pay for waits in the folder.
        treasury, capital = self.roster.treasury, self.roster.capital
        room = int(treasury // capital) if treasury >= capital else 0
        arrivals, is_full = self.crew.take(room)
        if is_full:
            self._next_intake_ns = now  # the next portion at the next mark
        for name, why in self.crew.stuck.items():
            if self._told_stuck.get(name) != why:
                self.log.error(f"Cannot move incoming/{name} ({why}); it is tried again at every look")
        self._told_stuck = self.crew.stuck
        for arrival in arrivals:
            if arrival.genome is None:
                self._write(now, records.Rejection(name=arrival.name, reason=arrival.reason))
                self.log.warning(f"Refused {arrival.reason}")
                continue
            self.load_micros.append(arrival.micros)
            self._bear(Installed(arrival.genome, arrival.path, "", 0), now)
        if arrivals:
            self._ledger.flush()

    def _begin(self, change: Change, now: int) -> None:
        challenger = change.challenger
        if change.action == "expire":
            challenger.closing = "expired"
            self._write(now, agent_lines.expiry(challenger, change.outcome.reason), flush=True)
            self._strategies[challenger.name].retire("expired")
            return
        outgoing = self.roster.champion_of(change.slot)
        self._write(now, self._swaps.begin(change, outgoing), flush=True)
        fault_point("arena.swap_begun")
        for agent in (outgoing, challenger):
            if agent is not None:
                agent.closing = "swap"
                self._strategies[agent.name].retire("swap")

    def _write(self, ts_ns: int, record: records.Record, *, flush: bool = False) -> None:
        was_failing = self._ledger.is_failing
        self._ledger.write(ts_ns, record, flush=flush)
        if self._ledger.is_failing and not was_failing:
            self._gate()
